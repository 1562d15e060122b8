"""One file of any type as sources tell of it, and as it stands in a finished tree."""

from __future__ import annotations

import stat
from typing import NamedTuple

from .content import Content

__all__ = ["Facts", "Node"]


class Facts(NamedTuple):
    """What a source knows of one file, except its name.

    ``mode`` is the whole ``st_mode``; ``mtime`` is in seconds since 1970 and ``nsec`` the nanoseconds to add;
    ``xattrs`` are (full name, value) pairs in ascending order. ``content`` and its ``size`` in bytes belong to regular
    files, ``target`` to symbolic links, ``rdev``, (major, minor), to devices.
    """

    mode: int
    uid: int
    gid: int
    mtime: int
    nsec: int
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    size: int = 0
    content: Content | None = None
    target: bytes = b""
    rdev: tuple[int, int] = (0, 0)


class Node(NamedTuple):
    """A file in a finished tree; one for all hard links to it, with the name that the tree's order meets first.

    ``number`` is its place in `Tree.nodes`, ``parent`` that of the directory which holds the name (the root's is its
    own). ``nlink`` is the link count as Linux shows it. ``children`` are a directory's (name, number) pairs in
    ascending order of raw bytes, without ``.`` and ``..``. The other fields are those of `Facts`.
    """

    number: int
    name: bytes
    parent: int
    nlink: int
    children: tuple[tuple[bytes, int], ...]
    mode: int
    uid: int
    gid: int
    mtime: int
    nsec: int
    xattrs: tuple[tuple[bytes, bytes], ...]
    size: int
    content: Content | None
    target: bytes
    rdev: tuple[int, int]

    @property
    def is_dir(self) -> bool:
        """Whether this is a directory."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_regular(self) -> bool:
        """Whether this is a regular file."""
        return stat.S_ISREG(self.mode)

    @property
    def is_symlink(self) -> bool:
        """Whether this is a symbolic link."""
        return stat.S_ISLNK(self.mode)

    @property
    def is_device(self) -> bool:
        """Whether this is a character or block device."""
        return stat.S_ISCHR(self.mode) or stat.S_ISBLK(self.mode)
