"""The bytes of files: extents of every layout, decoded.

Two ways to read. `DataReader.pieces` goes through a file once, front to back, and keeps nothing. `DataReader.pread`
reads anywhere and keeps what it decoded in one cache of bounded size that all files and threads share.
"""

from __future__ import annotations

import ctypes
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING

from ..compress import Decoder, decoder, decompress, window_of
from ..errors import CorruptError, ImageError, OutOfBoundsError, UsageError
from ..files.read_at import Buffer
from ..ondisk.constants import Layout
from ..ondisk.lcluster import Advise, MapHeader
from .extent import PACKED, Extent, Kind
from .flat import chunk_map_span, chunked_extents, flat_extents
from .inode import Inode
from .xmap import ExtentIndex
from .zmap import ClusterIndex, map_header, whole_fragment

if TYPE_CHECKING:
    from .volume import Volume

__all__ = ["CACHE_BYTES", "MAX_READ", "DataReader", "InodeReader"]

#: Bytes of decoded extents kept; one extent is at most 12 MiB.
CACHE_BYTES = 32 << 20
#: Longest single `DataReader.pread`: what read(2) itself grants, so that a size on disk never becomes an allocation.
MAX_READ = 1 << 31
#: Longest view that `DataReader.pieces` hands out of data stored as it is.
_PIECE = 1 << 18
#: Walks through files that wait to be gone on with: files that are read front to back at the same time.
_MOST_WALKS = 16
#: Extents kept of an inode that is read at random all the time (packed inode, metabox): some 16 MiB.
_KEPT_EXTENTS = 100_000

#: Kinds below it are compressed. A plain number: it is compared with hundreds of times a megabyte.
_STORED = int(Kind.HOLE)

_Key = tuple[int, int, int, int]
_Walk = tuple[Iterator[Extent], Extent | None]


class _Cache:
    """Decoded extents, least recently used out first. Every method is atomic."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._used = 0
        self._held: OrderedDict[_Key, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: _Key) -> bytes | None:
        with self._lock:
            data = self._held.get(key)
            if data is not None:
                self._held.move_to_end(key)
            return data

    def put(self, key: _Key, data: bytes) -> None:
        with self._lock:
            if key in self._held or len(data) > self._budget:
                return
            self._held[key] = data
            self._used += len(data)
            while self._used > self._budget:
                _, old = self._held.popitem(last=False)
                self._used -= len(old)


class _Walks:
    """Walks along files' extents that stopped where a read ended, so that the next read need not search its place.

    By inode and byte; each with the extent it stopped in, if that goes on. Every method is atomic, and a walk that was
    taken is nobody else's: two threads that read on from the same byte do not share one, the second begins anew.
    """

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[int, int], _Walk] = OrderedDict()

    def take(self, nid: int, pos: int) -> _Walk | None:
        return self._held.pop((nid, pos), None)

    def keep(self, nid: int, pos: int, walk: _Walk) -> None:
        self._held[nid, pos] = walk
        if len(self._held) > _MOST_WALKS:
            try:
                self._held.popitem(last=False)
            except KeyError:  # others have taken them all meanwhile
                pass


class DataReader:
    """Reads the data of any inode of one volume; any number of threads at once."""

    def __init__(self, volume: Volume, cache_bytes: int = CACHE_BYTES) -> None:
        self._volume = volume
        self._cache = _Cache(cache_bytes)
        self._walks = _Walks()
        self._windows = {int(record.algorithm): window_of(record) for record in volume.records}
        self._decoders: dict[int, Decoder] = {
            algorithm: decoder(algorithm, self._windows.get(algorithm)) for algorithm in volume.algorithms
        }
        #: Reads the packed inode; set by `Image` where there is one.
        self.packed: InodeReader | None = None

    # -- extents -----------------------------------------------------------------------------------

    def extents(self, inode: Inode, pos: int = 0) -> Iterator[Extent]:
        """Yield an inode's extents in order, from the one that holds byte ``pos``; together they tile the rest of it.

        Memory does not grow with the file. Raises what a malformed index deserves when it is reached.
        """
        layout = inode.layout
        if layout in (Layout.FLAT_PLAIN, Layout.FLAT_INLINE):
            return flat_extents(self._volume, inode, pos)
        if layout == Layout.CHUNK_BASED:
            return chunked_extents(self._volume, inode, pos)
        if not inode.size:
            return iter(())
        header, start = map_header(self._volume, inode)
        offset = whole_fragment(header)
        if offset is not None:
            return iter((Extent(0, inode.size, Kind.FRAGMENT, PACKED, offset, inode.size),))
        return self._index(inode, header, start).extents(pos)

    def _index(self, inode: Inode, header: MapHeader, start: int) -> ClusterIndex | ExtentIndex:
        if inode.layout == Layout.COMPRESSED_FULL and header.advise & Advise.EXTENTS:
            return ExtentIndex(self._volume, inode, header, start)
        return ClusterIndex(self._volume, inode, header, start)

    def index_span(self, inode: Inode) -> tuple[int, int] | None:
        """Return (start, end) of an inode's chunk map or cluster index in its metadata; ``None`` without one."""
        if inode.layout == Layout.CHUNK_BASED and inode.size:
            return chunk_map_span(self._volume, inode)
        if not inode.is_compressed or not inode.size:
            return None
        header, start = map_header(self._volume, inode)
        if whole_fragment(header) is not None:
            return start - 8, start
        return self._index(inode, header, start).span

    # -- whole files -------------------------------------------------------------------------------

    def pieces(self, inode: Inode, pos: int = 0) -> Iterator[tuple[int, Buffer]]:
        """Yield ``(offset, bytes)`` from byte ``pos`` on, in order; what is between them are holes, of zeros.

        Views of stored data are at most 1 MiB, decoded pieces at most 12 MiB.
        """
        for extent in self.extents(inode, pos):
            start, length, kind, _, _, _, _ = extent
            if kind < _STORED:
                data: Buffer = self.decode(extent)
                if pos > start:
                    yield pos, data[pos - start :]
                else:
                    yield start, data
            elif kind != Kind.HOLE:
                low = max(pos - start, 0)
                while low < length:
                    high = min(low + _PIECE, length)
                    yield start + low, self._part(extent, low, high)
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
        return _join(self._parts(self.extents(inode, offset), offset, stop))

    def preadinto(self, inode: Inode, buffer: memoryview, offset: int) -> int:
        """Like `pread`, into ``buffer`` (contiguous, writable) -> bytes written.

        What lies in it as a whole is decoded in place. A read that begins where one before ended goes on with its walk
        through the extents: of a file that is read front to back, the index is read once.
        """
        if offset < 0:
            raise UsageError(f"cannot read at {offset}")
        stop = min(offset + len(buffer), inode.size)
        if stop <= offset:
            return 0
        walk = self._walks.take(inode.nid, offset)
        extents, held = walk or (self.extents(inode, offset), None)
        memory = ctypes.c_char.from_buffer(buffer)  # keeps the buffer where it is
        base = ctypes.addressof(memory) - offset
        decoders, stream = self._decoders, self._stream
        at = offset
        for extent in chain(() if held is None else (held,), extents):
            start, length, kind, _, address, _, _ = extent
            end = start + length
            if kind < _STORED and start >= offset and end <= stop:
                data, partial = stream(extent)
                try:
                    decoders[kind](data, base + start, length, partial)
                except ImageError as error:
                    raise type(error)(error.what, address) from error
            else:
                low, high = max(start, offset), min(end, stop)
                buffer[low - offset : high - offset] = self._part(extent, low - start, high - start)
            at = end
            if end >= stop:
                if stop < inode.size:
                    self._walks.keep(inode.nid, stop, (extents, extent if end > stop else None))
                break
        return min(at, stop) - offset

    def _parts(self, extents: Iterator[Extent], offset: int, stop: int) -> list[Buffer]:
        parts = []
        for extent in extents:
            start, end = extent.start, extent.start + extent.length
            parts.append(self._part(extent, max(offset - start, 0), min(stop, end) - start))
            if end >= stop:
                break
        return parts

    def _part(self, extent: Extent, low: int, high: int) -> Buffer:
        """Return bytes ``low`` to ``high`` of an extent."""
        _, length, kind, device, address, stored, _ = extent
        if kind < _STORED:
            key = (device, address, stored, length)
            data = self._cache.get(key)
            if data is None:
                data = self.decode(extent)
                self._cache.put(key, data)
            return data if low == 0 and high == length else memoryview(data)[low:high]
        if kind == Kind.HOLE:
            return bytes(high - low)
        if kind == Kind.RAW:
            return self._volume.stored(device, address + low, high - low)
        if kind == Kind.FRAGMENT:
            if self.packed is None:
                raise CorruptError("a file has a fragment in a packed inode that the image does not have", address)
            return self.packed.read_at(address + low, high - low)
        block = self._volume.stored(device, address, stored)
        skip = (extent.start + low) % self._volume.block_size
        first = block[skip : skip + high - low]
        return _join([first, block[: high - low - len(first)]])

    def decode(self, extent: Extent) -> bytes:
        """Decode a compressed extent, whole.

        Padding: zeros in front of the stream, fewer than a block of them; LZ4 images of before Linux 5.4 have
        them behind it instead. A stream must end where its cluster ends unless the extent is a partial reference.
        """
        data, partial = self._stream(extent)
        kind = extent.kind
        try:
            return decompress(kind, data, extent.length, partial=partial, window=self._windows.get(kind))
        except ImageError as error:
            raise type(error)(error.what, extent.address) from error

    def _stream(self, extent: Extent) -> tuple[bytes, bool]:
        """Return a compressed extent's stream without padding, and whether it may go on behind the extent's bytes."""
        _, _, kind, device, address, stored, partial = extent
        volume = self._volume
        if not device and address + stored <= volume.plain_size:
            data = bytes(volume.image.read_at(address, stored))
        else:
            data = bytes(volume.stored(device, address, stored))
        if not volume.padding_in_front and kind == Kind.LZ4:
            return data, True
        if not data[0]:
            data = data.lstrip(b"\0")
            if stored - len(data) >= volume.block_size:
                raise CorruptError(f"cluster of {stored} bytes holds no stream in its first block", address)
        return data, partial


class InodeReader:
    """One inode's data as a `ReadAt`: how the packed inode and the metabox are read. Keeps extents it has met."""

    def __init__(self, reader: DataReader, inode: Inode, name: str, fragments: bool) -> None:
        self._reader = reader
        self._inode = inode
        self._name = name
        self._fragments = fragments
        self.inode = inode
        self.size = inode.size
        self.name = name
        self._kept: list[Extent] | None = None
        self._starts: list[int] = []
        self._too_many = False

    def _index(self) -> bool:
        """Keep all extents unless they are too many; two threads may do so at once, to the same end."""
        if self._kept is None and not self._too_many:
            kept = []
            for extent in self._reader.extents(self._inode):
                kept.append(extent)
                if len(kept) > _KEPT_EXTENTS:
                    self._too_many = True
                    return False
            self._starts = [extent.start for extent in kept]
            self._kept = kept
        return self._kept is not None

    def read_at(self, offset: int, length: int) -> Buffer:
        """Return exactly ``length`` bytes; ``OutOfBoundsError`` beyond the inode's size."""
        if offset < 0 or offset + length > self.size:
            raise OutOfBoundsError(f"{length} bytes wanted of the {self._name}, which has {self.size}", offset)
        if not length:
            return b""
        extents: Iterator[Extent]
        if self._index():
            assert self._kept is not None
            extents = islice(self._kept, bisect_right(self._starts, offset) - 1, None)
        else:
            extents = self._reader.extents(self._inode, offset)
        if not self._fragments:
            extents = self._refusing(extents)
        return _join(self._reader._parts(extents, offset, offset + length))

    def _refusing(self, extents: Iterator[Extent]) -> Iterator[Extent]:
        for extent in extents:
            if extent.kind == Kind.FRAGMENT:
                raise CorruptError(f"the {self._name} itself has a fragment", self._inode.offset)
            yield extent

    def check(self) -> None:
        """Nothing of its own could be cut short."""

    def close(self) -> None:
        """Nothing to close: the image owns its readers."""


def _join(parts: list[Buffer]) -> bytes:
    if len(parts) == 1:
        return bytes(parts[0])
    return b"".join(parts)
