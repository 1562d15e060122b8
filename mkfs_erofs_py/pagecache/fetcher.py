"""What the cache asks of a file, and what a user may ask of the cache."""

from __future__ import annotations

import enum
from typing import Protocol

__all__ = ["PAGE", "Advice", "Fetcher", "page_round"]

PAGE = 4096
"""Bytes in a page. Everything is accounted in whole pages, as the kernel does, on every machine."""


def page_round(size: int) -> int:
    """Return the bytes of page cache that a whole file of ``size`` bytes needs."""
    return -(-size // PAGE) * PAGE


class Advice(enum.Enum):
    """How a file is going to be used: the ``posix_fadvise`` values that matter to a cache."""

    NORMAL = "normal"
    SEQUENTIAL = "sequential"
    RANDOM = "random"
    WILLNEED = "willneed"
    DONTNEED = "dontneed"


class Fetcher(Protocol):
    """Brings the bytes of one file of one image. Called from many threads at once."""

    @property
    def size(self) -> int:
        """The file's size in bytes; never changes."""

    def readinto(self, offset: int, buffer: memoryview) -> int:
        """Fill ``buffer`` with the bytes from ``offset`` on and return how many were written.

        ``offset + len(buffer) <= size`` always holds; fewer bytes than asked for are an error.
        May raise any :class:`~mkfs_erofs_py.errors.ErofsError` or :class:`OSError`. ``buffer`` must
        not be kept.
        """
