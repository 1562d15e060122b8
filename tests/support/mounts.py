"""Mounting images with the host's own kernel, for tests."""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.requirements import UnavailableError

__all__ = ["MountError", "check_kernel", "kernel_version", "mounted"]


class MountError(AssertionError):
    """The kernel refused an image; carries what it said."""


def kernel_version() -> tuple[int, int]:
    """Return the running kernel's version as (major, minor)."""
    major, minor = platform.release().split(".")[:2]
    return int(major), int(minor)


def check_kernel() -> None:
    """Raise UnavailableError unless this process can mount EROFS images."""
    if os.geteuid() != 0:
        raise UnavailableError("mounting needs root")
    if not _registered():
        subprocess.run(["modprobe", "-q", "erofs"], capture_output=True, check=False)
    if not _registered():
        raise UnavailableError(f"this kernel ({platform.release()}) has no EROFS")
    if not os.path.exists("/dev/loop-control"):
        raise UnavailableError("there are no loop devices here (/dev/loop-control is missing)")


def _registered() -> bool:
    with open("/proc/filesystems") as file:
        return any(line.split()[-1] == "erofs" for line in file)


@contextmanager
def mounted(image: str | os.PathLike[str], options: str = "") -> Iterator[Path]:
    """Mount ``image`` read-only through a loop device; yield the mount point; always unmount.

    Raises MountError, with the last words of the kernel, where it refuses the image.
    """
    with tempfile.TemporaryDirectory(prefix="erofs-mount-") as point:
        chosen = ",".join(filter(None, ("loop,ro", options)))
        done = subprocess.run(
            ["mount", "-t", "erofs", "-o", chosen, os.fspath(image), point], capture_output=True, text=True
        )
        if done.returncode:
            raise MountError(f"{os.fspath(image)}: {done.stderr.strip()}\n{_last_words()}")
        try:
            yield Path(point)
        finally:
            if subprocess.run(["umount", point], capture_output=True).returncode:
                subprocess.run(["umount", "--lazy", point], check=True)


def _last_words(lines: int = 5) -> str:
    """Return the kernel's last messages about EROFS."""
    log = subprocess.run(["dmesg"], capture_output=True, text=True, errors="replace").stdout
    return "\n".join([line for line in log.splitlines() if "erofs" in line][-lines:])
