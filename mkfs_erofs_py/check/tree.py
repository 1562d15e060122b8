"""Comparing what an image holds with a tree on disk."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from ..errors import SourceError, printable
from ..files.read_at import Buffer
from ..ondisk.constants import FINGERPRINT_NAME
from ..read import Image, Inode
from .inode import Finding

__all__ = ["SourceFile", "compare_metadata", "paths_below"]

#: Attributes that a builder adds: fingerprints, and mkfs.erofs's mark on directories that hold whiteouts.
_ADDED = {FINGERPRINT_NAME, b"trusted.overlay.origin"}


class SourceFile:
    """A file of the tree that is compared with content given in order; remembers the first difference."""

    def __init__(self, path: bytes) -> None:
        self._path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise SourceError.of(path, error) from error
        self._pos = 0
        self.differs_at: int | None = None

    def __call__(self, data: Buffer) -> None:
        """Compare the next bytes."""
        if self.differs_at is None:
            try:
                there = os.pread(self._fd, len(data), self._pos)
            except OSError as error:
                raise SourceError.of(self._path, error) from error
            if there != data:
                same = next((i for i, (a, b) in enumerate(zip(there, data, strict=False)) if a != b), len(there))
                self.differs_at = self._pos + same
        self._pos += len(data)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def compare_metadata(image: Image, path: bytes, inode: Inode, source: bytes) -> list[Finding]:
    """Return how an inode differs from the tree's file: mode, owner, size, seconds of time, device, target, xattrs."""
    try:
        st = os.lstat(source)
    except FileNotFoundError:
        return [Finding("differs", path, "is not in the tree")]
    except OSError as error:
        raise SourceError.of(source, error) from error
    pairs: list[tuple[str, object, object]] = [
        ("mode", stat.filemode(st.st_mode), stat.filemode(inode.mode)),
        ("owner", f"{st.st_uid}:{st.st_gid}", f"{inode.uid}:{inode.gid}"),
        ("time", st.st_mtime_ns // 10**9, inode.mtime),
    ]
    if inode.is_file:
        pairs.append(("size", st.st_size, inode.size))
    if inode.is_device:
        pairs.append(("device", (os.major(st.st_rdev), os.minor(st.st_rdev)), inode.rdev))
    if inode.is_symlink and stat.S_ISLNK(st.st_mode):
        pairs.append(("target", printable(os.readlink(source)), printable(image.readlink(inode))))
    pairs += _xattr_pairs(image, inode, source)
    return [
        Finding("differs", path, f"{what} is not that of the tree", str(want), str(got))
        for what, want, got in pairs
        if want != got
    ]


def _xattr_pairs(image: Image, inode: Inode, source: bytes) -> Iterator[tuple[str, object, object]]:
    try:
        want = {
            os.fsencode(name): os.getxattr(source, name, follow_symlinks=False)
            for name in os.listxattr(source, follow_symlinks=False)
        }
    except OSError:
        return  # the tree's file system has none
    got = image.xattrs(inode)
    hidden = (b"trusted.", b"security.") if os.geteuid() else ()
    for name in sorted((want.keys() | got.keys()) - _ADDED):
        if name in want or not name.startswith(hidden or (b"\0",)):
            yield f"attribute {printable(name)}", _hex(want.get(name)), _hex(got.get(name))


def _hex(value: bytes | None) -> str:
    return "absent" if value is None else f"0x{value.hex()}"


def paths_below(top: bytes) -> Iterator[bytes]:
    """Yield all paths of a tree as absolute paths inside it, in no order."""
    waiting = [b"/"]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(top + folder) as entries:
                for entry in entries:
                    path = folder + entry.name
                    yield path
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(path + b"/")
        except OSError as error:
            raise SourceError.of(top + folder, error) from error
