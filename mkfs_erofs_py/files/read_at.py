"""Bytes at offsets: what an image is read from, whatever holds it.

A :class:`ReadAt` has a size and answers ``read_at(offset, length)``; it keeps no position, so any number of
threads may share one. There are three: :class:`Positional` (a file or block device, through ``pread``),
:class:`Memory` (bytes at hand: the reads are views) and :class:`Seekable` (a Python file object, under a lock).

Nothing is mapped. Of a mapped file that somebody cuts short, or whose device fails, the next byte that is touched ends
the whole process (SIGBUS); ``pread`` says what happened, and where.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from typing import BinaryIO, Protocol

from ..errors import NAME_ROOM, CutShortError, OutOfBoundsError, UnreadableError, UsageError, printable

__all__ = ["Buffer", "Memory", "PathOrFile", "Positional", "ReadAt", "Seekable", "open_read_at"]

Buffer = bytes | memoryview
PathOrFile = str | bytes | os.PathLike[str] | os.PathLike[bytes] | BinaryIO | memoryview | bytearray
_Name = str | bytes


class ReadAt(Protocol):
    """Random access to ``size`` bytes, which errors call ``name`` (``None``: bytes that have none)."""

    @property
    def size(self) -> int:
        """How many bytes there were when it was opened."""

    @property
    def name(self) -> _Name | None:
        """The path of the file, or what else it is known by."""

    def read_at(self, offset: int, length: int) -> Buffer:
        """Return exactly ``length`` bytes from ``offset``.

        Raises ``OutOfBoundsError`` for bytes beyond ``size``, ``CutShortError`` for bytes that are no longer there,
        ``UnreadableError`` where the device fails, ``UsageError`` once a file was closed by `close`.
        """

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill ``buffer`` with the bytes from ``offset``. Raises like `read_at`; the buffer then holds anything."""

    def check(self) -> None:
        """Raise ``CutShortError`` if there are fewer bytes by now, though nobody has asked for the missing ones.

        For whoever keeps an image open for long, and would rather have it answer nothing than what it remembers.
        """

    def close(self) -> None:
        """Let go of what lies underneath; harmless when repeated, and while others still read."""


def _refuse(offset: int, length: int, size: int) -> OutOfBoundsError:
    return OutOfBoundsError(f"{length} bytes wanted, but the image ends at {size}", offset)


def _failure(name: _Name, error: OSError | ValueError, offset: int) -> UnreadableError:
    what = f"cannot be read at offset {offset}: {getattr(error, 'strerror', None) or error}"
    return UnreadableError(name, what, getattr(error, "errno", None))


def _cut_short(name: _Name, missing: int, size: int) -> CutShortError:
    return CutShortError(f"was cut short: it had {size} bytes when it was opened", missing, name)


class Memory:
    """Bytes at hand."""

    name = None

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._view = memoryview(data).cast("B").toreadonly()
        self.size = len(self._view)

    def read_at(self, offset: int, length: int) -> Buffer:
        """Return a view, no copy."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise _refuse(offset, length, self.size)
        return self._view[offset : offset + length]

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """See :meth:`ReadAt.read_into`."""
        buffer[:] = self.read_at(offset, len(buffer))

    def check(self) -> None:
        """Bytes at hand stay what they are."""

    def close(self) -> None:
        """Nothing to let go of: views that were handed out keep the bytes alive."""


class _Descriptor:
    """An open file, closed when nobody refers to it any more."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.close(self.number)


class Positional:
    """A file or block device, read with ``pread``. Owns the descriptor.

    ``close`` lets go of it; it is closed when the last read under way is done. Were it closed at once, its number
    could be another file's by the time a thread that had just looked it up reads.
    """

    def __init__(self, fd: int, size: int, name: _Name) -> None:
        #: What ``fstat`` says: 0 for a device, whose size cannot be asked for that way.
        self._file_size = os.fstat(fd).st_size
        self._held: _Descriptor | None = _Descriptor(fd)
        self.size = size
        self.name = name

    def read_at(self, offset: int, length: int) -> Buffer:
        """See :meth:`ReadAt.read_at`."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise _refuse(offset, length, self.size)
        held = self._held
        if held is None:
            raise self._closed()
        try:
            data = os.pread(held.number, length, offset)
        except OSError as error:
            raise _failure(self.name, error, offset) from error
        return data if len(data) == length else self._on(held, data, offset, length)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """See :meth:`ReadAt.read_into`."""
        length = len(buffer)
        if offset < 0 or offset + length > self.size:
            raise _refuse(offset, length, self.size)
        held = self._held
        if held is None:
            raise self._closed()
        try:
            done = os.preadv(held.number, (buffer,), offset)
        except OSError as error:
            raise _failure(self.name, error, offset) from error
        if done < length:
            buffer[done:] = self._on(held, b"", offset + done, length - done)

    def _closed(self) -> UsageError:
        return UsageError(f"{printable(self.name, NAME_ROOM)}: was closed, nothing can be read any more")

    def _on(self, held: _Descriptor, data: bytes, offset: int, length: int) -> bytes:
        """Read on after a short count, which a signal, a failing device, the end or sheer length may have caused."""
        parts = [data]
        end = offset + length
        at = offset + len(data)
        while at < end:
            try:
                part = os.pread(held.number, end - at, at)
            except OSError as error:
                raise _failure(self.name, error, at) from error
            if not part:
                raise _cut_short(self.name, at, self.size)
            parts.append(part)
            at += len(part)
        return b"".join(parts)

    def check(self) -> None:
        """See :meth:`ReadAt.check`."""
        held = self._held
        if held is None:
            raise self._closed()
        left = os.fstat(held.number).st_size
        if left < self._file_size:
            raise _cut_short(self.name, left, self._file_size)

    def close(self) -> None:
        """See the class."""
        self._held = None

    def __reduce__(self) -> tuple[object, ...]:
        """Have a worker process that was not forked open the same file again: by its name it might find another."""
        held = self._held
        if held is None:
            raise self._closed()
        return _reopened, (b"/proc/%d/fd/%d" % (os.getpid(), held.number), self.size, self.name)


def _reopened(descriptor: bytes, size: int, name: _Name) -> Positional:
    try:
        return Positional(os.open(descriptor, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), size, name)
    except OSError as error:
        raise UnreadableError(name, f"cannot be read by another process: {error.strerror}", error.errno) from error


class Seekable:
    """A Python file object (of any fsspec file system, of ``zipfile`` …): ``seek`` and ``read`` under one lock.

    The object stays its owner's: ``close`` does not close it.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lock = threading.Lock()
        name = getattr(file, "name", "image")
        # A file that was opened by its descriptor has that number as its name.
        self.name: _Name = os.fspath(name) if isinstance(name, (str, bytes, os.PathLike)) else f"descriptor {name}"
        try:
            self.size = file.seek(0, os.SEEK_END)
        except (OSError, ValueError, AttributeError) as error:
            raise UnreadableError(self.name, "an image is read from a file that can seek") from error

    def read_at(self, offset: int, length: int) -> Buffer:
        """Seek and read, again after a short count; see :meth:`ReadAt.read_at`."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise _refuse(offset, length, self.size)
        data = bytearray()
        with self._lock:
            try:
                self._file.seek(offset)
                while len(data) < length:
                    part = self._file.read(length - len(data))
                    if not part:
                        raise _cut_short(self.name, offset + len(data), self.size)
                    data += part
            except (OSError, ValueError) as error:  # a file that is closed raises the latter
                if isinstance(error, CutShortError):
                    raise
                raise _failure(self.name, error, offset + len(data)) from error
        return bytes(data)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """See :meth:`ReadAt.read_into`."""
        buffer[:] = self.read_at(offset, len(buffer))

    def check(self) -> None:
        """Reads find out by themselves: to ask costs as much as a read, and may move others' position."""

    def close(self) -> None:
        """Leave the file to its owner."""


def open_read_at(source: PathOrFile) -> ReadAt:
    """Open a path, a file object, or bytes at hand (``memoryview`` or ``bytearray``) to be read at offsets.

    Raises ``UnreadableError`` for what is missing, forbidden, a directory, a pipe; ``TypeError`` for what is
    neither a path nor a file.
    """
    if isinstance(source, (memoryview, bytearray)):
        return Memory(source)
    if isinstance(source, (str, bytes, os.PathLike)):
        return _open_path(os.fspath(source))
    if hasattr(source, "read") and hasattr(source, "seek"):
        if hasattr(source, "encoding"):
            raise TypeError("an image is read from a binary file, not from one that was opened for text")
        return Seekable(source)
    raise TypeError(f"an image is a path, a file object or a memoryview, not {type(source).__name__}")


def _open_path(path: _Name) -> ReadAt:
    try:
        # O_NONBLOCK: a fifo that nobody writes to must not hang us before we can refuse it.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise UnreadableError.of(path, error) from error
    except ValueError as error:
        raise UnreadableError(path, str(error)) from error
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            raise UnreadableError(path, "is a directory, not an image", errno.EISDIR)
        if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
            raise UnreadableError(path, "an image is a file or a block device")
        return Positional(fd, os.lseek(fd, 0, os.SEEK_END), path)
    except BaseException as error:
        os.close(fd)
        if isinstance(error, OSError) and not isinstance(error, UnreadableError):
            raise UnreadableError.of(path, error) from error
        raise
