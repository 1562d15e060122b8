"""Boot a fetched kernel under QEMU and call functions of ``probes`` inside it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.kernel.harness.fetch import Kernel
from tests.kernel.harness.initramfs import pack
from tests.support.requirements import ROOT, UnavailableError

__all__ = ["Guest", "GuestError"]

QEMU = "qemu-system-x86_64"


class GuestError(AssertionError):
    """The guest died, hung, or a call failed inside it; carries its last words."""


class Guest:
    """A running kernel. Sees the host's files read-only, and ``share`` (a folder) writable at its own path.

    ``disks`` are images it sees as read-only /dev/vda, /dev/vdb, …
    """

    def __init__(self, kernel: Kernel, share: Path, *, disks: tuple[Path, ...] = (), megabytes: int = 2048) -> None:
        self.share = share.resolve()
        self.release = ""
        self._kernel = kernel
        self._disks = disks
        self._megabytes = megabytes
        self._console = self.share / "console.log"
        self._log = self.share / "qemu.log"
        self._buffer = b""

    def __enter__(self) -> Self:
        # Under emulation, on a busy machine, a kernel now and then stops before its first process.
        for attempt in (1, 2, 3):
            self._start()
            try:
                self.release = self._receive("boot", 60)
                return self
            except BaseException as error:
                self._stop()
                if not isinstance(error, GuestError) or attempt == 3:
                    raise
        raise AssertionError("unreachable")

    def _start(self) -> None:
        qemu = shutil.which(QEMU)
        if qemu is None:
            raise UnavailableError(f"{QEMU} is missing: install qemu-system-x86")
        initramfs = pack(self._kernel, self.share / "initramfs.gz")
        code = os.path.realpath(ROOT)
        arguments = {
            "agent_share": self.share,
            "agent_code": code,
            "agent_python": os.path.realpath(sys.executable),
        }
        ours, theirs = socket.socketpair()
        command: list[str | Path] = [
            qemu, "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2",
            "-m", str(self._megabytes), "-nodefaults", "-display", "none", "-no-reboot",
            "-kernel", self._kernel.image, "-initrd", initramfs,
            "-append", " ".join(["console=ttyS0 panic=-1 quiet loglevel=5"]
                                + [f"{key}={value}" for key, value in arguments.items()]),
            "-serial", f"file:{self._console}",
            "-chardev", f"socket,id=agent,fd={theirs.fileno()}", "-serial", "chardev:agent",
            "-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap",
            "-virtfs", f"local,path={self.share},mount_tag=share,security_model=none,multidevs=remap",
        ]  # fmt: skip
        for disk in self._disks:
            command += ["-drive", f"file={disk},if=virtio,format=raw,readonly=on"]
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[theirs.fileno()]
            )
        theirs.close()
        self._socket = ours
        self._buffer = b""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._socket.sendall(b'{"name": "goodbye"}\n')
            self._process.wait(10)
        except (OSError, subprocess.TimeoutExpired):
            pass
        self._stop()

    def call(self, name: str, /, *, seconds: float = 120, **arguments: object) -> Any:
        """Run a function of ``probes`` in the guest; return what it returns, by way of JSON.

        Raises GuestError where it raises, or has not answered after ``seconds``.
        """
        self._socket.sendall(json.dumps({"name": name, "arguments": arguments}).encode() + b"\n")
        return self._receive(name, seconds)

    def _receive(self, what: str, seconds: float) -> Any:
        until = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            self._socket.settimeout(max(until - time.monotonic(), 0.001))
            try:
                data = self._socket.recv(1 << 16)
            except TimeoutError:
                raise GuestError(f"{what}: no answer after {seconds} s\n{self._last_words()}") from None
            if not data:
                raise GuestError(f"{what}: the guest died\n{self._last_words()}")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        answer = json.loads(line)
        if "error" in answer:
            raise GuestError(f"{what}: {answer['error']}")
        return answer["result"]

    def _last_words(self, lines: int = 30) -> str:
        self._stop()
        files = [file for file in (self._log, self._console) if file.exists()]
        return "\n".join(line for file in files for line in file.read_text(errors="replace").splitlines()[-lines:])

    def _stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._socket.close()
