"""``umount``: undo what ``mount`` did."""

from __future__ import annotations

import os
import subprocess

import click

from ..errors import MountError, UsageError
from ..mount.points import ours_below

__all__ = ["command"]


@click.command("umount")
@click.argument("points", nargs=-1, metavar="DIR...")
def command(points: tuple[str, ...]) -> None:
    """Unmount what `mount` mounted at each DIR and below it, by whichever backend.

    Images that the kernel's driver serves at mount points of their own are unmounted at these only.
    """
    if not points:
        raise UsageError("name the folders to unmount")
    for point in points:
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
