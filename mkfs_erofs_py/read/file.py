"""A file inside an image as a Python file object."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any

from ..errors import UsageError
from .data import MAX_READ
from .inode import Inode

__all__ = ["ErofsFile"]


class ErofsFile(io.RawIOBase):
    """A regular file, read-only and seekable. Not for two threads at once, unlike the image it belongs to.

    ``pread`` reads at an offset without moving the position, and that from any number of threads.
    """

    def __init__(self, pread: Callable[[Inode, int, int], bytes], inode: Inode, name: bytes | str) -> None:
        super().__init__()
        self._pread = pread
        self._inode = inode
        self._pos = 0
        self.name = name
        self.size = inode.size

    @property
    def mode(self) -> str:
        """As ``open`` spells it."""
        return "rb"

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Return the position in bytes."""
        self._check()
        return self._pos

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move the position; beyond the end is allowed, before the beginning is not (``UsageError``)."""
        self._check()
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._pos, os.SEEK_END: self.size}.get(whence)
        if base is None or base + offset < 0:
            raise UsageError(f"cannot seek by {offset} from {whence}")
        self._pos = base + offset
        return self._pos

    def pread(self, length: int, offset: int) -> bytes:
        """Return up to ``length`` bytes from ``offset``; see `Image.pread`."""
        self._check()
        return self._pread(self._inode, length, offset)

    def readinto(self, buffer: Any, /) -> int:
        """Fill a writable buffer from the position on -> bytes read, 0 at the end."""
        self._check()
        view = memoryview(buffer).cast("B")
        data = self._pread(self._inode, min(len(view), MAX_READ), self._pos)
        view[: len(data)] = data
        self._pos += len(data)
        return len(data)

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to ``size`` bytes from the position on, without copying them through a buffer."""
        if size is None or size < 0:
            return self.readall()
        self._check()
        data = self._pread(self._inode, min(size, MAX_READ), self._pos)
        self._pos += len(data)
        return data

    def readall(self) -> bytes:
        """Return the rest. Raises ``UsageError`` where that exceeds what one read may return."""
        self._check()
        data = self._pread(self._inode, max(self.size - self._pos, 0), self._pos)
        self._pos += len(data)
        return data

    def _check(self) -> None:
        if self.closed:
            raise UsageError("the file is closed")
