"""One file of any type, and what its content is read from."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Content", "Node", "OpenContent"]


class OpenContent(Protocol):
    """A content being read, from its start on."""

    def readinto(self, view: memoryview) -> int:
        """Read the next bytes into ``view`` -> how many; 0 at the end, fewer than asked only just before it.

        Raises `SourceError`.
        """
        ...

    def skip_hole(self, size: int) -> bool:
        """Skip the next ``size`` bytes if they are known to be zeros that were never stored -> whether they are."""
        ...


class Content(Protocol):
    """A regular file's bytes: something that can be opened and read in order, in any process.

    Implementations pickle. ``label`` names the content in messages.
    """

    @property
    def label(self) -> bytes:
        """What to call this content when something is wrong with it."""
        ...

    def open(self) -> AbstractContextManager[OpenContent]:
        """Open for reading.

        Entering and leaving raise `SourceError` where the content cannot be read, or is not what it
        was when the tree was made.
        """
        ...


@dataclass(slots=True, eq=False)
class Node:
    """A file of any type; one object for all hard links to it.

    ``mode`` is the whole ``st_mode``, ``mtime`` in seconds and ``nsec`` nanoseconds; ``xattrs`` are
    (full name, value) pairs in ascending order; ``rdev`` is (major, minor). ``size`` is the
    content's in bytes, for regular files only. ``children`` are (name, node) pairs in ascending
    order of raw bytes, without ``.`` and ``..``.
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
    children: tuple[tuple[bytes, Node], ...] = ()

    @property
    def is_dir(self) -> bool:
        """Whether this is a directory."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_regular(self) -> bool:
        """Whether this is a regular file."""
        return stat.S_ISREG(self.mode)

    def walk(self) -> Iterator[Node]:
        """Yield this node and all below it, each once: a directory, its files, then its directories.

        What is listed together is yielded together. No recursion, so any depth will do.
        """
        seen: set[int] = set()
        if not self.is_dir:
            yield self
            return
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            below = []
            for _, child in node.children:
                if child.is_dir:
                    below.append(child)
                elif id(child) not in seen:
                    seen.add(id(child))
                    yield child
            stack.extend(reversed(below))
