"""Undoing what mounting did."""

from __future__ import annotations

import os
import subprocess

from ..errors import MountError
from .points import ours_below

__all__ = ["unmount"]


def unmount(point: str) -> None:
    """Unmount what `mount_images` mounted at ``point`` and below it, by whichever backend, the last first.

    Raises `MountError` where there is nothing, or where something is in use.
    """
    mounted = ours_below(os.path.realpath(point))
    if not mounted:
        raise MountError(point, "nothing that mount made is mounted there")
    for where, kind in reversed(mounted):
        _unmount(where, kind)


def _unmount(where: str, kind: str) -> None:
    argv = ["fusermount3", "-u", where] if kind.startswith("fuse") and os.geteuid() else ["umount", where]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace")
    except FileNotFoundError:
        raise MountError(where, f"cannot be unmounted: there is no {argv[0]}") from None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1].removeprefix(f"{argv[0]}: ")
        raise MountError(where, f"cannot be unmounted: {reason.removeprefix(f'{where}: ')}")
