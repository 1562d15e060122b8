"""``stat``: everything an image says of a file."""

from __future__ import annotations

import json
import stat as modes
import sys
from typing import Any

import click

from ..errors import CorruptError, printable
from ..fingerprint import describe
from ..ondisk.constants import Layout
from ..read import Image
from ..units import absolute, text
from .reading import describe_inode, device_option, image_argument, json_option, open_image, when

__all__ = ["command"]


@click.command("stat")
@click.option("-L", "--dereference", is_flag=True, help="Follow a symbolic link at the end.")
@json_option
@device_option
@image_argument
@click.argument("paths", nargs=-1, required=True)
def command(image: str, paths: tuple[str, ...], dereference: bool, as_json: bool, devices: tuple[str, ...]) -> None:
    """Show the metadata of what is at PATHS inside IMAGE: inode, layout, extended attributes, fingerprint."""
    with open_image(image, devices) as opened:
        found = [facts(opened, absolute(path), dereference) for path in paths]
    if as_json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return
    for one in found:
        sys.stdout.write(_shown(one) + "\n")


def facts(image: Image, path: bytes, dereference: bool) -> dict[str, Any]:
    """Return all that is known of one inode; attributes' values in hex."""
    inode = image.lookup(path, follow=dereference)
    found = describe_inode(path, inode)
    found |= {
        "time": when(inode),
        "permissions": modes.filemode(inode.mode),
        "inode": "extended" if inode.extended else "compact",
        "layout": Layout(inode.layout).name.lower(),
        "offset": inode.offset,
        "in_metabox": inode.in_metabox,
        "blocks_512": image.stat(inode).st_blocks,
        "xattrs": {text(name): value.hex() for name, value in image.xattrs(inode).items()},
        "fingerprint": _fingerprint(image.fingerprint(inode)),
    }
    if inode.is_symlink:
        found["target"] = text(image.readlink(inode))
    if inode.is_file or inode.is_dir or inode.is_symlink:
        extents = list(image.extents(inode))
        found["extents"] = len(extents)
        found["stored"] = sum(extent.stored for extent in extents)
    return found


def _fingerprint(value: bytes | None) -> str | None:
    if value is None:
        return None
    try:
        return describe(value)
    except CorruptError:
        return f"malformed:{value.hex()}"


def _shown(one: dict[str, Any]) -> str:
    name = printable(one["path"])
    if "target" in one:
        name += f" -> {printable(one['target'])}"
    size = "device {}:{}".format(*one["rdev"]) if "rdev" in one else f"{one['size']} bytes"
    lines = [
        f"  File: {name}",
        f"  Type: {one['type']}, {size}, {one['permissions']} ({one['mode']}), links {one['nlink']}",
        f" Owner: {one['uid']}:{one['gid']}",
        f"  Time: {one['time']} UTC ({one['mtime']}.{one['mtime_nsec']:09})",
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
