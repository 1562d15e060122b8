"""Where images are to be mounted: what was asked for, checked before anything is mounted."""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import MountError, UsageError, printable

__all__ = ["OURS", "STATISTICS", "MountPoint", "mounts_at", "ours_below", "pack_statistics", "places", "statistics"]

OURS = "mkfs-erofs-py"
"""What our own mounts call their source: that of the folder which holds several images."""

STATISTICS = "user.mkfs-erofs-py.statistics"
"""An attribute of every FUSE mount point, never listed: the counters as JSON, deflated, since 64 KiB is the most."""


@dataclass(frozen=True, slots=True)
class MountPoint:
    """An image and where it goes: a folder ``name`` below ``point``, or (no name) ``point`` itself."""

    image: str
    point: str
    name: str | None = None


def places(arguments: Sequence[str]) -> list[MountPoint]:
    """Read ``IMAGE... DIR`` or ``IMAGE=MOUNTPOINT...``; a path that exists is never split at its ``=``.

    Raises :class:`~mkfs_erofs_py.errors.UsageError` where the arguments make no sense, two images would get one mount
    point, or a mount point is no folder, and :class:`~mkfs_erofs_py.errors.MountError` where an image
    is mounted there already.
    """
    split = [_split(argument) for argument in arguments]
    if arguments and all(split):
        chosen = [MountPoint(image, _folder(point)) for image, point in filter(None, split)]
    elif any(split):
        raise UsageError("give each image a mount point of its own (IMAGE=MOUNTPOINT), or all of them one folder")
    elif len(arguments) < 2:
        raise UsageError("name at least one image and the folder to mount at")
    else:
        point = _folder(arguments[-1])
        chosen = [MountPoint(image, point, os.path.basename(os.path.abspath(image))) for image in arguments[:-1]]
    seen: dict[tuple[str, str | None], str] = {}
    for place in chosen:
        other = seen.setdefault((place.point, place.name), place.image)
        if other is not place.image:
            where = printable(os.path.join(place.point, place.name or "").rstrip("/"))
            raise UsageError(f"{printable(other)} and {printable(place.image)} have the same mount point {where}")
    for point in {place.point for place in chosen}:
        if any(kind == "erofs" or source == OURS for kind, source in mounts_at(point)):
            raise MountError(point, "an image is mounted there already")
    return chosen


def _split(argument: str) -> tuple[str, str] | None:
    if os.path.exists(argument):
        return None
    image, separator, point = argument.rpartition("=")
    return (image, point) if separator and image and point else None


def _folder(path: str) -> str:
    if not os.path.isdir(path):
        what = "is not a folder" if os.path.exists(path) else "no such folder to mount at"
        raise UsageError(f"{printable(path)}: {what}")
    return os.path.realpath(path)


def mounts_at(point: str) -> list[tuple[str, str]]:
    """Return (type, source) of what is mounted at ``point`` itself, the topmost last."""
    return [(kind, source) for where, kind, source in _mounts() if where == point]


def ours_below(point: str) -> list[tuple[str, str]]:
    """Return (mount point, type) of what ``mount`` made at ``point`` or below it, in the order of mounting.

    The kernel's mounts carry no mark of ours: an image counts if ``point`` is its very mount point, or in a folder that
    ``mount`` made for several.
    """
    found: list[tuple[str, str]] = []
    ours: list[str] = []
    for where, kind, source in _mounts():
        if source == OURS and os.path.join(where, "").startswith(os.path.join(point, "")):
            ours.append(os.path.join(where, ""))
        elif not (kind == "erofs" and (where == point or where.startswith(tuple(ours)))):
            continue
        found.append((where, kind))
    return found


def pack_statistics(facts: dict[str, Any]) -> bytes:
    """Return the value of :data:`STATISTICS`."""
    return zlib.compress(json.dumps(facts).encode())


def statistics(point: str) -> dict[str, Any]:
    """Return what the process behind a FUSE mount counts. Raises ``MountError`` where nothing of ours is mounted."""
    if not any(source == OURS and kind.startswith("fuse") for kind, source in mounts_at(os.path.realpath(point))):
        raise MountError(point, "no image is mounted through FUSE there")
    try:
        facts: dict[str, Any] = json.loads(zlib.decompress(os.getxattr(point, STATISTICS)))
    except OSError as error:
        raise MountError.of(point, error) from error
    return facts


def _mounts() -> Iterator[tuple[str, str, str]]:
    """Yield (mount point, type, source) of everything mounted, in the order of mounting."""
    with open("/proc/self/mountinfo", "rb") as lines:
        for line in lines:
            before, _, after = line.rstrip(b"\n").partition(b" - ")
            where = re.sub(rb"\\([0-7]{3})", lambda code: bytes([int(code[1], 8)]), before.split(b" ")[4])
            kind, source = after.split(b" ")[:2]
            yield os.fsdecode(where), os.fsdecode(kind), os.fsdecode(source)
