"""Bytes at offsets: what an image is read from, whatever holds it.

A :class:`ReadAt` has a size and answers ``read_at(offset, length)``; it keeps no position, so any number of
threads may share one. There are three: :class:`Mapped` (a file or block device, through ``mmap``: the reads are
views, no bytes are copied), :class:`Positional` (a descriptor, through ``pread``, where mapping is impossible)
and :class:`Memory` (bytes at hand); :class:`Seekable` adapts a Python file object under a lock.
"""

from __future__ import annotations

import mmap
import os
import stat
import threading
from typing import Any, BinaryIO, Protocol

from ..errors import OutOfBoundsError, UnreadableError

__all__ = ["Buffer", "Mapped", "Memory", "PathOrFile", "Positional", "ReadAt", "Seekable", "open_read_at"]

Buffer = bytes | memoryview
PathOrFile = str | bytes | os.PathLike[str] | os.PathLike[bytes] | BinaryIO | memoryview | bytearray


class ReadAt(Protocol):
    """Random access to ``size`` bytes."""

    @property
    def size(self) -> int:
        """How many bytes there are."""

    @property
    def whole(self) -> memoryview | None:
        """All of them as one view, where that costs nothing; otherwise ``None``."""

    def read_at(self, offset: int, length: int) -> Buffer:
        """Return exactly ``length`` bytes from ``offset``; raise ``OutOfBoundsError`` where that is impossible."""

    def check(self) -> None:
        """Raise ``UnreadableError`` if ``whole`` was cut short underneath: touching it would end the process (SIGBUS).

        For whoever keeps an image open for long. Reads that are refused by the system need no check.
        """

    def close(self) -> None:
        """Let go of what lies underneath; harmless when repeated."""


def _refuse(offset: int, length: int, size: int) -> OutOfBoundsError:
    return OutOfBoundsError(f"{length} bytes wanted, but the image ends at {size}", offset)


class Memory:
    """Bytes at hand."""

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self.whole: memoryview | None = memoryview(data).cast("B").toreadonly()
        self._view = self.whole
        self.size = len(self._view)

    def read_at(self, offset: int, length: int) -> Buffer:
        """Return a view, no copy."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise _refuse(offset, length, self.size)
        return self._view[offset : offset + length]

    def check(self) -> None:
        """Bytes at hand stay what they are."""

    def close(self) -> None:
        """Nothing to let go of: views that were handed out keep the bytes alive."""


class Mapped(Memory):
    """A file or block device, mapped read-only. Views that were handed out keep the mapping alive after ``close``."""

    def __init__(self, fd: int, size: int, path: Any) -> None:
        self._map: mmap.mmap | None = mmap.mmap(fd, size, prot=mmap.PROT_READ)
        self._path = path
        super().__init__(memoryview(self._map))
        # A device has no size of that kind, and none that changes.
        self._file_size = self._map.size()

    def check(self) -> None:
        """See :meth:`ReadAt.check`."""
        if self._map is not None and self._map.size() < self._file_size:
            raise UnreadableError(self._path, "was cut short while it was open")

    def close(self) -> None:
        """Unmap, or leave that to the last view."""
        self.whole = None
        self._view = memoryview(b"")
        self.size = 0
        held, self._map = self._map, None
        if held is not None:
            try:
                held.close()
            except BufferError:  # a view is still held: the mapping goes with it
                pass


class Positional:
    """A descriptor that cannot be mapped. Owns it: ``close`` closes it."""

    whole = None

    def __init__(self, fd: int, size: int, path: Any) -> None:
        self._fd = fd
        self._path = path
        self.size = size

    def read_at(self, offset: int, length: int) -> Buffer:
        """Read with ``pread``, again after a short count."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise _refuse(offset, length, self.size)
        parts = []
        while length:
            try:
                part = os.pread(self._fd, length, offset)
            except OSError as error:
                raise UnreadableError(self._path, error.strerror or str(error)) from error
            if not part:
                raise OutOfBoundsError("the file ended while it was read", offset)
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def check(self) -> None:
        """Reads find out by themselves."""

    def close(self) -> None:
        """Close the descriptor once."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class Seekable:
    """A Python file object (of any fsspec file system, of ``zipfile`` …): ``seek`` and ``read`` under one lock.

    The object stays its owner's: ``close`` does not close it.
    """

    whole = None

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._name = str(getattr(file, "name", "image"))
        try:
            self.size = file.seek(0, os.SEEK_END)
        except (OSError, ValueError, AttributeError) as error:
            raise UnreadableError(self._name, "an image is read from a file that can seek") from error

    def read_at(self, offset: int, length: int) -> Buffer:
        """Seek and read, again after a short count."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise _refuse(offset, length, self.size)
        with self._lock:
            try:
                self._file.seek(offset)
                data = bytearray()
                while len(data) < length:
                    part = self._file.read(length - len(data))
                    if not part:
                        raise OutOfBoundsError("the file ended while it was read", offset + len(data))
                    data += part
            except OSError as error:
                raise UnreadableError(self._name, error.strerror or str(error)) from error
        return bytes(data)

    def check(self) -> None:
        """Reads find out by themselves."""

    def close(self) -> None:
        """Leave the file to its owner."""


def open_read_at(source: PathOrFile) -> ReadAt:
    """Open a path, file object or bytes for reading at offsets.

    Raises ``UnreadableError`` for what is missing, forbidden, a directory, a pipe; ``TypeError`` for what is
    neither a path nor a file.
    """
    if isinstance(source, (memoryview, bytearray)):
        return Memory(source)
    if isinstance(source, (str, bytes, os.PathLike)):
        return _open_path(source)
    if hasattr(source, "read") and hasattr(source, "seek"):
        return Seekable(source)
    raise TypeError(f"an image is a path, a file object or a memoryview, not {type(source).__name__}")


def _open_path(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> ReadAt:
    try:
        # O_NONBLOCK: a fifo that nobody writes to must not hang us before we can refuse it.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise UnreadableError.of(path, error) from error
    except ValueError as error:
        raise UnreadableError(path, str(error)) from error
    keep = False
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            raise UnreadableError(path, "is a directory, not an image")
        if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
            raise UnreadableError(path, "an image is a file or a block device")
        size = os.lseek(fd, 0, os.SEEK_END)
        if size == 0:
            return Memory(b"")
        try:
            return Mapped(fd, size, path)
        except (OSError, ValueError):  # a file system without mmap
            keep = True
            return Positional(fd, size, path)
    except OSError as error:
        if isinstance(error, UnreadableError):
            raise
        raise UnreadableError(path, error.strerror or str(error)) from error
    finally:
        if not keep:
            os.close(fd)
