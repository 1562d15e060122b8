"""Answers the calls of ``boot.Guest`` inside the guest: a line of JSON for each, over the second serial port."""

from __future__ import annotations

import json
import tty
from pathlib import Path
from traceback import format_exc

from tests.kernel.harness import probes

PORT = "/dev/ttyS1"


def main() -> None:
    """Answer calls until the other side says goodbye."""
    with open(PORT, "r+b", buffering=0) as port:
        tty.setraw(port.fileno())
        release = Path("/proc/sys/kernel/osrelease").read_text().strip()
        port.write(json.dumps({"result": release}).encode() + b"\n")
        waiting = b""
        while True:
            while b"\n" not in waiting:
                waiting += port.read(65536)
            line, waiting = waiting.split(b"\n", 1)
            call = json.loads(line)
            if call["name"] == "goodbye":
                return
            try:
                answer = {"result": getattr(probes, call["name"])(**call["arguments"])}
            except Exception:
                answer = {"error": format_exc()}
            port.write(json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main()
