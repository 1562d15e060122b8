"""Answers the calls of a ``Remote`` where the agent runs: a line of JSON for each, over its standard input."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import tty
from pathlib import Path
from traceback import format_exc

from tests.kernel.harness import probes

SIOCSIFFLAGS, IFF_UP = 0x8914, 1


def main() -> None:
    """Answer calls until the other side says goodbye, or is gone."""
    with open(os.dup(0), "r+b", buffering=0) as line:
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)  # what is started from here must not hold the line
        if line.isatty():
            tty.setraw(line.fileno())
        _raise_loopback()
        release = Path("/proc/sys/kernel/osrelease").read_text().strip()
        line.write(json.dumps({"result": release}).encode() + b"\n")
        waiting = b""
        while data := line.read(65536):
            waiting += data
            while b"\n" in waiting:
                asked, waiting = waiting.split(b"\n", 1)
                call = json.loads(asked)
                if call["name"] == "goodbye":
                    return
                line.write(json.dumps(_answer(call["name"], call["arguments"])).encode() + b"\n")


def _answer(name: str, arguments: dict[str, object]) -> dict[str, object]:
    try:
        return {"result": getattr(probes, name)(**arguments)}
    except Exception:
        return {"error": format_exc()}


def _raise_loopback() -> None:
    """Set the first network interface up: a new network has it, but down."""
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


if __name__ == "__main__":
    main()
