"""Directories as an image has them: their entries in order, the dots among them, and the bytes these take."""

from __future__ import annotations

import bisect

from ..ondisk.dirent import DIRENT_SIZE, directory_size
from ..tree import Node

__all__ = ["directory_bytes", "entries"]


def entries(node: Node, dot: bool) -> list[tuple[bytes, int]]:
    """Return a directory's (name, inode number) pairs in the order of raw bytes; ``dot`` is whether ``.`` is one."""
    found = list(node.children)
    if dot:
        bisect.insort(found, (b".", node.number))
    bisect.insort(found, (b"..", node.parent))
    return found


def directory_bytes(node: Node, dot: bool, block_size: int) -> int:
    """Return the bytes of a directory's data."""
    size = sum([len(name) for name, _ in node.children]) + DIRENT_SIZE * len(node.children) + DIRENT_SIZE + 2
    if dot:
        size += DIRENT_SIZE + 1
    if size <= block_size:
        return size
    # In which block a name lands, and what is lost at its end, depends on the names before it.
    return directory_size((len(name) for name, _ in entries(node, dot)), block_size)
