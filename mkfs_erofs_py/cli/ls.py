"""``ls``: what is in an image."""

from __future__ import annotations

import stat
import sys
from collections.abc import Iterator
from typing import Any

import click

from ..errors import CorruptError
from ..ondisk.constants import FileType
from ..ondisk.dirent import Dirent
from ..read import Image, Inode
from ..units import absolute, shown, text
from .reading import (
    describe_inode,
    device_option,
    image_argument,
    json_option,
    open_image,
    print_json,
    when,
)

__all__ = ["command"]

Listing = tuple[bytes, Inode, list[Dirent]]


@click.command("ls")
@click.option("-l", "long", is_flag=True, help="Mode, links, owner, size, time, link target.")
@click.option("-R", "--recursive", is_flag=True, help="Directories inside directories, too.")
@json_option
@device_option
@image_argument
@click.argument("paths", nargs=-1)
def command(
    image: str, paths: tuple[str, ...], long: bool, recursive: bool, as_json: bool, devices: tuple[str, ...]
) -> None:
    """List what is at PATHS (the root by default) inside IMAGE."""
    with open_image(image, devices) as opened:
        places = [absolute(path) for path in paths] or [b"/"]
        if as_json:
            print_json(row for place in places for row in _rows(opened, place, long, recursive))
            return
        out: list[str] = []
        several = recursive or len(places) > 1
        for place in places:
            inode = opened.lookup(place, follow=not long)
            if not inode.is_dir:
                out.append(_line(opened, place, inode) if long else shown(place))
                continue
            for path, directory, entries in _directories(opened, place, inode, recursive):
                if several:
                    out.append(f"{shown(path)}:")
                if long:
                    out += [_line(opened, entry.name, opened.inode(entry.nid)) for entry in entries]
                else:
                    out += [shown(entry.name) for entry in entries]
                if several:
                    out.append("")
                if len(out) > 4096:
                    sys.stdout.write("\n".join(out) + "\n")
                    out.clear()
                del directory
        if several and out and not out[-1]:
            out.pop()
        if out:
            sys.stdout.write("\n".join(out) + "\n")


def _directories(image: Image, path: bytes, top: Inode, recursive: bool) -> Iterator[Listing]:
    """Yield a directory and, if asked, all below it, each with its entries but for ``.`` and ``..``.

    Only directories' inodes are read.
    """
    seen = {top.nid}
    stack = [(path, top)]
    while stack:
        path, inode = stack.pop()
        entries = [entry for entry in image.readdir(inode) if entry.name not in (b".", b"..")]
        yield path, inode, entries
        if not recursive:
            return
        prefix = path.rstrip(b"/") + b"/"
        for entry in reversed(entries):
            if entry.type in (FileType.DIRECTORY, FileType.UNKNOWN):
                child = image.inode(entry.nid)
                if not child.is_dir:
                    if entry.type == FileType.DIRECTORY:
                        raise CorruptError(f"{entry.name!r} is listed as a directory but is none", child.offset)
                    continue
                if child.nid in seen:
                    raise CorruptError(f"directory inode {child.nid} is reached a second time", child.offset)
                seen.add(child.nid)
                stack.append((prefix + entry.name, child))


def _line(image: Image, name: bytes, inode: Inode) -> str:
    size = "{}, {}".format(*inode.rdev) if inode.is_device else str(inode.size)
    link = f" -> {shown(image.readlink(inode))}" if inode.is_symlink else ""
    mode = stat.filemode(inode.mode)
    return f"{mode} {inode.nlink:3} {inode.uid:5} {inode.gid:5} {size:>10} {when(inode)} {shown(name)}{link}"


def _rows(image: Image, place: bytes, long: bool, recursive: bool) -> Iterator[dict[str, Any]]:
    top = image.lookup(place, follow=not long)
    if not top.is_dir:
        yield _row(image, place, top)
        return
    for path, _, entries in _directories(image, place, top, recursive):
        prefix = path.rstrip(b"/") + b"/"
        for entry in entries:
            yield _row(image, prefix + entry.name, image.inode(entry.nid))


def _row(image: Image, path: bytes, inode: Inode) -> dict[str, Any]:
    row = describe_inode(path, inode)
    if inode.is_symlink:
        row["target"] = text(image.readlink(inode))
    return row
