"""Boot a fetched kernel under QEMU and call functions of ``probes`` inside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Self

from tests.kernel.harness.fetch import Kernel
from tests.kernel.harness.initramfs import pack
from tests.kernel.harness.remote import LEASH, Remote, RemoteError
from tests.support.requirements import ROOT, UnavailableError

__all__ = ["Guest"]

QEMU = "qemu-system-x86_64"


class Guest(Remote):
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

    def __enter__(self) -> Self:
        # Under emulation, on a busy machine, a kernel now and then stops before its first process.
        for attempt in (1, 2, 3):
            self._start()
            try:
                self.release = self._receive("boot", 60)
                return self
            except BaseException as error:
                self._stop()
                if not isinstance(error, RemoteError) or attempt == 3:
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
        theirs = self._connect()
        command: list[str | Path] = [
            *LEASH, qemu, "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2",
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

    def _last_words(self) -> str:
        self._stop()
        files = [file for file in (self._log, self._console) if file.exists()]
        return "\n".join(line for file in files for line in file.read_text(errors="replace").splitlines()[-30:])
