"""``ls``: what is in an image."""

from __future__ import annotations

import itertools
import stat
import sys
from collections.abc import Iterator

import click

from ..describe import describe_directory, directories
from ..errors import printable
from ..read import Image, Inode
from ..units import absolute, format_time
from .reading import device_option, image_argument, json_option, print_rows

__all__ = ["command"]

#: Lines written at once.
_LINES = 4096


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
    with Image.open(image, devices=devices) as opened:
        places = [absolute(path) for path in paths] or [b"/"]
        if as_json:
            found = (describe_directory(opened, place, recursive=recursive, follow=not long) for place in places)
            print_rows(itertools.chain.from_iterable(found))
            return
        out: list[str] = []
        for line in _lines(opened, places, long, recursive):
            out.append(line)
            if len(out) > _LINES:
                sys.stdout.write("\n".join(out) + "\n")
                out.clear()
        if out:
            sys.stdout.write("\n".join(out) + "\n")


def _lines(image: Image, places: list[bytes], long: bool, recursive: bool) -> Iterator[str]:
    """Yield what is printed; an empty line stands between directories that are listed with their names."""
    several = recursive or len(places) > 1
    gap = False
    for place in places:
        inode = image.lookup(place, follow=not long)
        if not inode.is_dir:
            if gap:
                yield ""
                gap = False
            yield _line(image, place, inode) if long else printable(place)
            continue
        for path, entries in directories(image, place, inode, recursive=recursive):
            if gap:
                yield ""
            if several:
                yield f"{printable(path)}:"
            for entry in entries:
                yield _line(image, entry.name, image.inode(entry.nid)) if long else printable(entry.name)
            gap = several


def _line(image: Image, name: bytes, inode: Inode) -> str:
    size = "{}, {}".format(*inode.rdev) if inode.is_device else str(inode.size)
    link = f" -> {printable(image.readlink(inode))}" if inode.is_symlink else ""
    mode = stat.filemode(inode.mode)
    when = format_time(inode.mtime)
    return f"{mode} {inode.nlink:3} {inode.uid:5} {inode.gid:5} {size:>10} {when} {printable(name)}{link}"
