"""``stat``: everything an image says of a file."""

from __future__ import annotations

import sys
from typing import Any

import click

from ..describe import describe_file
from ..errors import printable
from ..read import Image
from ..units import absolute, exact_time
from .reading import device_option, image_argument, json_option, print_json

__all__ = ["command"]


@click.command("stat")
@click.option("-L", "--dereference", is_flag=True, help="Follow a symbolic link at the end.")
@json_option
@device_option
@image_argument
@click.argument("paths", nargs=-1, required=True)
def command(image: str, paths: tuple[str, ...], dereference: bool, as_json: bool, devices: tuple[str, ...]) -> None:
    """Show the metadata of what is at PATHS inside IMAGE: inode, layout, extended attributes, fingerprint."""
    with Image.open(image, devices=devices) as opened:
        places = [absolute(path) for path in paths]
        found = [describe_file(opened, place, opened.lookup(place, follow=dereference)) for place in places]
    if as_json:
        print_json(found)
        return
    for one in found:
        sys.stdout.write(_shown(one) + "\n")


def _shown(one: dict[str, Any]) -> str:
    name = printable(one["path"])
    if "target" in one:
        name += f" -> {printable(one['target'])}"
    size = "device {}:{}".format(*one["rdev"]) if "rdev" in one else f"{one['size']} bytes"
    exact = exact_time(one["mtime"] * 10**9 + one["mtime_nsec"])
    lines = [
        f"  File: {name}",
        f"  Type: {one['type']}, {size}, {one['permissions']} ({one['mode']}), links {one['nlink']}",
        f" Owner: {one['uid']}:{one['gid']}",
        f"  Time: {one['time']} UTC ({exact})",
        f" Inode: {one['nid']}, {one['inode']}, at offset {one['offset']}{' of the metabox' * one['in_metabox']}",
    ]
    if "extents" in one:
        lines.append(f"  Data: {one['layout']}, {one['extents']} extents, {one['stored']} bytes stored")
    if one["fingerprint"]:
        lines.append(f" Print: {one['fingerprint']}")
    for key, value in one["xattrs"].items():
        raw = bytes.fromhex(value)
        lines.append(f" Xattr: {printable(key)} = {printable(raw) if raw.isascii() else '0x' + value}")
    return "\n".join(lines)
