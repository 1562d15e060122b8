"""A file's pages through a shared mapping, to the end of the last one, where Python's mmap stops at the file's end."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["PAGE", "mapping", "resident"]

PAGE = os.sysconf("SC_PAGE_SIZE")
PROT_READ, MAP_SHARED = 1, 1

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (*(ctypes.c_void_p, ctypes.c_size_t), *(ctypes.c_int,) * 3, ctypes.c_long)
_libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


@contextmanager
def mapping(fd: int) -> Iterator[tuple[int, int]]:
    """Map a file that is not empty; yield the address and the length in bytes, a multiple of the page size."""
    length = -(-os.fstat(fd).st_size // PAGE) * PAGE
    address = _libc.mmap(None, length, PROT_READ, MAP_SHARED, fd, 0)
    if address == ctypes.c_void_p(-1).value:
        raise _error("mmap")
    try:
        yield address, length
    finally:
        _libc.munmap(address, length)


def resident(fd: int) -> int:
    """Return how many pages of a file that is not empty are in memory.

    Asks mincore, because the mapping is of the pages a file really uses; cachestat asks the file's own
    inode, which knows nothing of pages shared with other files.
    """
    with mapping(fd) as (address, length):
        flags = (ctypes.c_ubyte * (length // PAGE))()
        if _libc.mincore(address, length, flags):
            raise _error("mincore")
        return sum(flag & 1 for flag in flags)


def _error(call: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")
