"""Trees on disk: everything a program can see in one, and the differences between two.

Uses the standard library alone, because the kernel tests run it in a guest that has nothing else.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass, fields
from typing import TypeAlias

__all__ = ["FINGERPRINT", "Entry", "Snapshot", "compare_trees", "differences", "snapshot"]

AnyPath: TypeAlias = "str | bytes | os.PathLike[str] | os.PathLike[bytes]"

FINGERPRINT = "trusted.erofs.fingerprint"
"""The attribute that a built image adds to regular files, and that comparisons pass over."""

KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


@dataclass(frozen=True)
class Entry:
    """What programs see of one file: ``content`` is a file's SHA-256 or a symlink's target."""

    kind: str
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int | None
    rdev: tuple[int, int] | None
    content: str | bytes | None
    links: tuple[bytes, ...]
    nlink: int | None
    xattrs: tuple[tuple[str, bytes], ...]


Snapshot: TypeAlias = "dict[bytes, Entry]"


def snapshot(root: AnyPath, *, ignore_xattrs: Collection[str] = (FINGERPRINT,)) -> Snapshot:
    """Return every path under ``root`` (itself as ``b"."``) with what can be seen of it.

    ``links`` names all paths of the tree that are the same file; ``nlink`` is recorded where all of a
    file's links lie in the tree, since an image holds no others. Sizes of directories, times other than
    mtime, and inode numbers belong to the file system, not to the tree, and are left out.
    """
    found: list[tuple[bytes, bytes, os.stat_result]] = list(_walk(os.fsencode(root)))
    groups: dict[tuple[int, int], list[bytes]] = {}
    for path, _, st in found:
        if not stat.S_ISDIR(st.st_mode):
            groups.setdefault((st.st_dev, st.st_ino), []).append(path)
    result = {}
    for path, full, st in found:
        links = tuple(sorted(groups.get((st.st_dev, st.st_ino), [path])))
        regular, symlink = stat.S_ISREG(st.st_mode), stat.S_ISLNK(st.st_mode)
        device = stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode)
        result[path] = Entry(
            kind=KINDS[stat.S_IFMT(st.st_mode)],
            mode=stat.S_IMODE(st.st_mode),
            uid=st.st_uid,
            gid=st.st_gid,
            mtime_ns=st.st_mtime_ns,
            size=st.st_size if regular or symlink else None,
            rdev=(os.major(st.st_rdev), os.minor(st.st_rdev)) if device else None,
            content=_sha256(full) if regular else os.readlink(full) if symlink else None,
            links=links,
            nlink=st.st_nlink if len(links) == st.st_nlink and not stat.S_ISDIR(st.st_mode) else None,
            xattrs=tuple(
                (name, os.getxattr(full, name, follow_symlinks=False))
                for name in sorted(os.listxattr(full, follow_symlinks=False))
                if name not in ignore_xattrs
            ),
        )
    return result


def differences(expected: Snapshot, found: Snapshot) -> list[str]:
    """Return one line for each way in which ``found`` differs from ``expected``; empty when equal."""
    lines = [f"{_show(path)}: missing" for path in sorted(expected.keys() - found.keys())]
    lines += [f"{_show(path)}: not in the source" for path in sorted(found.keys() - expected.keys())]
    for path in sorted(expected.keys() & found.keys()):
        want, got = expected[path], found[path]
        for field in fields(Entry):
            a, b = getattr(want, field.name), getattr(got, field.name)
            if field.name == "nlink" and (None in (a, b) or want.links != got.links):
                continue
            if a != b:
                a, b = (oct(a), oct(b)) if field.name == "mode" else (a, b)
                lines.append(f"{_show(path)}: {field.name} is {_cut(b)}, expected {_cut(a)}")
    return lines


def compare_trees(expected: AnyPath, found: AnyPath, *, ignore_xattrs: Collection[str] = (FINGERPRINT,)) -> list[str]:
    """Return how the tree ``found`` differs from ``expected``, one line for each difference.

    Compared are names, kinds, content, modes, owners, nanosecond mtimes, hard links, device numbers,
    symlink targets and extended attributes.
    """
    return differences(snapshot(expected, ignore_xattrs=ignore_xattrs), snapshot(found, ignore_xattrs=ignore_xattrs))


def _walk(root: bytes) -> Iterator[tuple[bytes, bytes, os.stat_result]]:
    """Yield (path under root, path, lstat) of root and everything below it."""
    yield b".", root, os.lstat(root)
    waiting = [b""]
    while waiting:
        folder = waiting.pop()
        with os.scandir(os.path.join(root, folder)) as entries:
            for entry in entries:
                path = os.path.join(folder, entry.name)
                st = os.lstat(entry.path)
                yield path, entry.path, st
                if stat.S_ISDIR(st.st_mode):
                    waiting.append(path)


def _sha256(path: bytes) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _show(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")


def _cut(value: object, limit: int = 160) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"
