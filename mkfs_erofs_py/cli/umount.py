"""``umount``: undo what ``mount`` did."""

from __future__ import annotations

import click

from ..errors import UsageError
from ..mount.unmount import unmount

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
        unmount(point)
