"""What the commands that read images have in common: arguments, names as text, JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from ..read import Image, Inode
from ..units import text

__all__ = [
    "describe_inode",
    "device_option",
    "image_argument",
    "json_option",
    "open_image",
    "print_json",
    "when",
]

Command = TypeVar("Command", bound=Callable[..., Any])

image_argument = click.argument("image", type=click.Path())
device_option = click.option(
    "--device", "devices", multiple=True, metavar="FILE", help="An extra device of the image; repeat in their order."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def open_image(image: str, devices: Sequence[str]) -> Image:
    """Open an image with its extra devices. Raises what `Image.open` does."""
    return Image.open(image, devices=devices)


def when(inode: Inode) -> str:
    """Return the time of modification as text, in UTC; seconds since 1970 where no calendar reaches."""
    try:
        return datetime.fromtimestamp(inode.mtime, UTC).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError, OSError):
        return f"@{inode.mtime}"


def describe_inode(path: bytes, inode: Inode) -> dict[str, Any]:
    """Return the facts of an inode's own fields, for JSON."""
    found: dict[str, Any] = {
        "path": text(path),
        "type": inode.type.name.lower(),
        "mode": f"{inode.mode & 0o7777:04o}",
        "nlink": inode.nlink,
        "uid": inode.uid,
        "gid": inode.gid,
        "size": inode.size,
        "mtime": inode.mtime,
        "mtime_nsec": inode.nsec,
        "nid": inode.nid,
    }
    if inode.is_device:
        found["rdev"] = list(inode.rdev)
    return found


def print_json(rows: Iterable[object]) -> None:
    """Print a JSON array, one row a line, as the rows come."""
    write = sys.stdout.write
    first = True
    for row in rows:
        write("[\n" if first else ",\n")
        write(json.dumps(row))
        first = False
    write("[]\n" if first else "\n]\n")
