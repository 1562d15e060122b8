"""The bytes of files, from any byte on.

Two ways to read. `DataReader.pieces` goes through a file once, front to back, and keeps nothing. `DataReader.pread`
reads anywhere and keeps what it decoded in one cache of bounded size that all files and threads share; with
`DataReader.preadinto` whoever calls has the memory, and what lies in it as a whole is read or decoded in place.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from itertools import chain

from ..errors import CorruptError, UsageError
from ..files.read_at import Buffer, ReadAt
from .inode import Inode
from .kept import DecodedCache, Walks
from .layout import spans_of
from .pcluster import PclusterReader
from .span import Kind, Span
from .volume import Volume

__all__ = ["CACHE_BYTES", "MAX_READ", "DataReader"]

#: Bytes of decoded spans kept; one span is at most 12 MiB.
CACHE_BYTES = 32 << 20
#: Longest single `DataReader.pread`: what read(2) itself grants, so that a size on disk never becomes an allocation.
MAX_READ = 1 << 31
#: Longest piece that `DataReader.pieces` hands out of data stored as it is: what a hash then reads again is still in
#: the processor's cache. Pieces of 1 MiB are hashed a fifth slower.
_PIECE = 1 << 18

#: Kinds as plain numbers: they are compared with hundreds of times a megabyte. Those below the first are compressed.
_STORED = _HOLE = int(Kind.HOLE)
_RAW, _FRAGMENT = int(Kind.RAW), int(Kind.FRAGMENT)


class DataReader:
    """Reads the data of any inode of one volume; any number of threads at once."""

    def __init__(self, volume: Volume, cache_bytes: int = CACHE_BYTES) -> None:
        self._volume = volume
        self._pclusters = PclusterReader(volume)
        self._cache = DecodedCache(cache_bytes)
        self._walks = Walks()
        #: Reads the packed inode; set by `Image` where there is one.
        self.packed: ReadAt | None = None

    def spans(self, inode: Inode, pos: int = 0) -> Iterator[Span]:
        """See `spans_of`."""
        return spans_of(self._volume, inode, pos)

    # -- whole files -------------------------------------------------------------------------------

    def pieces(self, inode: Inode, pos: int = 0) -> Iterator[tuple[int, Buffer]]:
        """Yield ``(offset, bytes)`` from byte ``pos`` on, in order; what is between them are holes, of zeros.

        Pieces of stored data are at most 256 KiB, decoded ones at most 12 MiB.
        """
        decode = self._pclusters.decode
        for span in self.spans(inode, pos):
            start, length, kind, _, _, _, _ = span
            if kind < _STORED:
                data: Buffer = decode(span)
                if pos > start:
                    yield pos, data[pos - start :]
                else:
                    yield start, data
            elif kind != _HOLE:
                low = max(pos - start, 0)
                while low < length:
                    high = min(low + _PIECE, length)
                    yield start + low, self._part(span, low, high)
                    low = high

    # -- parts of files ----------------------------------------------------------------------------

    def pread(self, inode: Inode, length: int, offset: int) -> bytes:
        """Return up to ``length`` bytes from byte ``offset``; fewer only where the file ends.

        Raises ``UsageError`` for a negative offset or more than `MAX_READ` bytes.
        """
        if offset < 0 or length < 0:
            raise UsageError(f"cannot read {length} bytes at {offset}")
        stop = min(offset + length, inode.size)
        if stop <= offset:
            return b""
        if stop - offset > MAX_READ:
            raise UsageError(f"{stop - offset} bytes are too many for one read")
        return self.read_spans(self.spans(inode, offset), offset, stop)

    def read_spans(self, spans: Iterator[Span], offset: int, stop: int) -> bytes:
        """Return bytes ``offset`` to ``stop`` of the file that ``spans`` lead along."""
        parts = []
        for span in spans:
            start, end = span.start, span.start + span.length
            parts.append(self._part(span, max(offset - start, 0), min(stop, end) - start))
            if end >= stop:
                break
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    def preadinto(self, inode: Inode, buffer: memoryview, offset: int) -> int:
        """Like `pread`, into ``buffer`` (contiguous, writable) -> bytes written.

        A read that begins where one before ended goes on with its walk through the spans: of a file that is read
        front to back, the index is read once.
        """
        if offset < 0:
            raise UsageError(f"cannot read at {offset}")
        stop = min(offset + len(buffer), inode.size)
        if stop <= offset:
            return 0
        spans, held = self._walks.take(inode.nid, offset) or (self.spans(inode, offset), None)
        memory = ctypes.c_char.from_buffer(buffer)  # keeps the buffer where it is
        base = ctypes.addressof(memory) - offset
        decode_into = self._pclusters.decode_into
        at = offset
        for span in chain(() if held is None else (held,), spans):
            start, length, kind, device, address, _, _ = span
            end = start + length
            if kind < _STORED and start >= offset and end <= stop:
                decode_into(span, base + start)
            else:
                low, high = max(start, offset), min(end, stop)
                target = buffer[low - offset : high - offset]
                if kind == _RAW:
                    self._volume.stored_into(device, address + low - start, target)
                else:
                    target[:] = self._part(span, low - start, high - start)
            at = end
            if end >= stop:
                if stop < inode.size:
                    self._walks.keep(inode.nid, stop, (spans, span if end > stop else None))
                break
        return min(at, stop) - offset

    def _part(self, span: Span, low: int, high: int) -> Buffer:
        """Return bytes ``low`` to ``high`` of a span."""
        _, length, kind, device, address, stored, _ = span
        if kind < _STORED:
            key = (device, address, stored, length)
            data = self._cache.get(key)
            if data is None:
                data = self._pclusters.decode(span)
                self._cache.put(key, data)
            return data if low == 0 and high == length else memoryview(data)[low:high]
        if kind == _RAW:
            return self._volume.stored(device, address + low, high - low)
        if kind == _HOLE:
            return bytes(high - low)
        if kind == _FRAGMENT:
            if self.packed is None:
                raise CorruptError("a file has a fragment in a packed inode that the image does not have", address)
            return self.packed.read_at(address + low, high - low)
        block = self._volume.stored(device, address, stored)
        skip = (span.start + low) % self._volume.block_size
        first = block[skip : skip + high - low]
        return b"".join((first, block[: high - low - len(first)]))
