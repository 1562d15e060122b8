"""``diff``: how two images differ, content by fingerprint where both have one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import click

from ..ondisk.constants import FINGERPRINT_NAME
from ..read import Image, Inode
from ..units import shown, text
from .reading import image_argument, json_option, open_image, print_json

__all__ = ["command"]

_STEP = 1 << 20
_FIELDS = ("mode", "owner", "time", "xattrs", "links")


@click.command("diff")
@click.option("--ignore", multiple=True, type=click.Choice(_FIELDS), help="Differences of no interest; repeatable.")
@click.option("--device-a", "devices_a", multiple=True, metavar="FILE", help="An extra device of the first image.")
@click.option("--device-b", "devices_b", multiple=True, metavar="FILE", help="An extra device of the second image.")
@json_option
@image_argument
@click.argument("other", type=click.Path())
def command(
    image: str,
    other: str,
    ignore: tuple[str, ...],
    devices_a: tuple[str, ...],
    devices_b: tuple[str, ...],
    as_json: bool,
) -> int:
    """Show what changed from IMAGE to OTHER: - gone, + new, M changed (and what).

    Exit status: 0 the same, 1 different, 2 trouble.
    """
    with open_image(image, devices_a) as a, open_image(other, devices_b) as b:
        rows = sorted(_differences(a, b, frozenset(ignore)), key=lambda row: row["path"])
        if as_json:
            found = [row | {"path": text(row["path"])} for row in rows]
            print_json(found)
            return int(bool(found))
        status = 0
        for row in rows:
            status = 1
            words = "; ".join(
                name if before is None else f"{name} {before} -> {after}" for name, before, after in row["changes"]
            )
            sys.stdout.write(f"{row['mark']} {shown(row['path'])}{': ' + words if words else ''}\n")
        return status


def _differences(a: Image, b: Image, ignore: frozenset[str]) -> Iterator[dict[str, Any]]:
    before = dict(a.walk())
    for path, inode in b.walk():
        old = before.pop(path, None)
        if old is None:
            yield {"mark": "+", "path": path, "changes": []}
            continue
        changes = [change for change in _changes(a, old, b, inode) if change[0] not in ignore]
        if changes:
            yield {"mark": "M", "path": path, "changes": changes}
    for path in before:
        yield {"mark": "-", "path": path, "changes": []}


def _changes(a: Image, old: Inode, b: Image, new: Inode) -> Iterator[tuple[str, Any, Any]]:
    if old.type != new.type:
        yield "type", old.type.name.lower(), new.type.name.lower()
        return
    if old.mode != new.mode:
        yield "mode", f"{old.mode & 0o7777:04o}", f"{new.mode & 0o7777:04o}"
    if (old.uid, old.gid) != (new.uid, new.gid):
        yield "owner", f"{old.uid}:{old.gid}", f"{new.uid}:{new.gid}"
    if old.mtime_ns != new.mtime_ns:
        yield "time", _seconds(old), _seconds(new)
    if old.nlink != new.nlink and not new.is_dir:
        yield "links", old.nlink, new.nlink
    if old.rdev != new.rdev:
        yield "device", "{}:{}".format(*old.rdev), "{}:{}".format(*new.rdev)
    if new.is_symlink and a.readlink(old) != b.readlink(new):
        yield "target", shown(a.readlink(old)), shown(b.readlink(new))
    if new.is_file:
        yield from _content(a, old, b, new)
    yield from _xattrs(a, old, b, new)


def _seconds(inode: Inode) -> str:
    return f"{inode.mtime}.{inode.nsec:09}"


def _content(a: Image, old: Inode, b: Image, new: Inode) -> Iterator[tuple[str, Any, Any]]:
    if old.size != new.size:
        yield "size", old.size, new.size
        return
    if not new.size:
        return
    prints = a.fingerprint(old), b.fingerprint(new)
    if prints[0] is not None and prints[1] is not None and prints[0][:7] == prints[1][:7]:
        if prints[0] != prints[1]:
            yield "content", None, None
        return
    for offset in range(0, new.size, _STEP):
        if a.pread(old, _STEP, offset) != b.pread(new, _STEP, offset):
            yield "content", None, None
            return


def _xattrs(a: Image, old: Inode, b: Image, new: Inode) -> Iterator[tuple[str, Any, Any]]:
    one, two = a.xattrs(old), b.xattrs(new)
    one.pop(FINGERPRINT_NAME, None)
    two.pop(FINGERPRINT_NAME, None)
    if one != two:
        names = sorted(name for name in one.keys() | two.keys() if one.get(name) != two.get(name))
        was, became = (" ".join(shown(name) for name in names if name in tree) or "none" for tree in (one, two))
        yield "xattrs", was, became
