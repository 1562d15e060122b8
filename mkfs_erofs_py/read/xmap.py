"""The spans of compressed files that list encoded extents (48-bit layout): records of 4, 8, 16 or 32 bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ..errors import CorruptError, OutOfBoundsError, UnsupportedError
from ..ondisk.constants import MAX_DECODED, MAX_ENCODED
from ..ondisk.extent import EXTENT_FORMS, PLEN_FORMAT_SHIFT, PLEN_MASK, PLEN_PARTIAL
from ..ondisk.lcluster import Advise, MapHeader
from .inode import Inode
from .span import PACKED, Kind, Span
from .volume import Volume

__all__ = ["ExtentIndex"]

_FIRST_BATCH, _LAST_BATCH = 32, 4096
#: plen, low and high word of the address, low and high word of the logical start; what a size lacks is absent.
_RECORDS = {size: form.struct for size, form in EXTENT_FORMS.items()}
_Record = tuple[int, int, int]  # logical start, plen word, address


class ExtentIndex:
    """The list of one inode's encoded extents; ``spans`` walks it from any byte."""

    def __init__(self, volume: Volume, inode: Inode, header: MapHeader, start: int) -> None:
        self._volume = volume
        self._inode = inode
        self._record = 4 << (header.advise >> Advise.EXTENT_SIZE_SHIFT & Advise.EXTENT_SIZE_MASK)
        self._fragment = bool(header.advise & Advise.FRAGMENT)
        self._interlaced = bool(header.advise & Advise.INTERLACED)
        self._bits = volume.block_bits + (header.cluster_bits & 15)
        self._at = -(-start // self._record) * self._record
        self._base = 0
        if self._record <= 8:
            # Pieces of one fixed logical size; the smallest record begins with the address of the first.
            self._count = -(-inode.size >> self._bits)
            if self._record == 4 and self._count:
                data, at = volume.meta(inode.in_metabox, self._at, 8)
                (self._base,) = struct.unpack_from("<Q", data, at)
                self._at += 8
        else:
            self._count = header.union | (header.algorithms | header.cluster_bits << 8) << 32
        if self._at + self._count * self._record > volume.meta_size(inode.in_metabox):
            raise OutOfBoundsError(f"list of {self._count} extents of inode {inode.nid} reaches past the end", self._at)
        #: Where the list lies in the inode's metadata, its header included.
        self.place = start - 8, self._at + self._count * self._record

    def _load(self, number: int, count: int, address: int) -> list[_Record]:
        """Read records from ``number``; ``address`` is the first one's where records do not say."""
        size = self._record
        count = min(count, self._count - number)
        data, at = self._volume.meta(self._inode.in_metabox, self._at + number * size, count * size)
        rows = _RECORDS[size].iter_unpack(data[at : at + count * size])
        if size == 32:
            return [(low | high << 32, plen, pa | pa_high << 32) for plen, pa, pa_high, low, high in rows]
        if size == 16:
            return [(low, plen, pa | pa_high << 32) for plen, pa, pa_high, low in rows]
        bits = self._bits
        if size == 8:
            return [(i << bits, plen, pa) for i, (plen, pa) in enumerate(rows, number)]
        out = []
        for i, (plen,) in enumerate(rows, number):
            out.append((i << bits, plen, address))
            address += plen & PLEN_MASK
        return out

    def _find(self, pos: int) -> tuple[int, int]:
        """Return the number of the record that covers byte ``pos`` (-1: none before it) and its implied address."""
        if self._record > 8:
            # From the beginning every record is seen, also where several claim it.
            low, high = 0, self._count if pos else min(self._count, 1)
            while low < high:
                middle = (low + high) // 2
                if self._load(middle, 1, 0)[0][0] <= pos:
                    low = middle + 1
                else:
                    high = middle
            return low - 1, 0
        number, address = pos >> self._bits, self._base
        if self._record == 4:
            for i in range(0, number, _LAST_BATCH):
                count = min(_LAST_BATCH, number - i)
                address += sum(plen & PLEN_MASK for _, plen, _ in self._load(i, count, 0))
        return number, address

    def spans(self, pos: int = 0) -> Iterator[Span]:
        """Yield the spans from the one that holds byte ``pos`` to the end of the file."""
        size = self._inode.size
        if pos >= size:
            return
        number, address = self._find(pos)
        held: tuple[int, _Record] | None = None
        if number < 0:
            number = 0
            if not self._count:
                yield Span(0, size, Kind.HOLE, 0, 0, 0)
                return
            (first,) = self._load(0, 1, 0)
            yield Span(0, min(first[0], size), Kind.HOLE, 0, 0, 0)
        batch = _FIRST_BATCH
        while number < self._count:
            records = self._load(number, batch, address)
            batch = min(batch * 2, _LAST_BATCH)
            for record in records:
                start, plen, at = record
                if start >= size or (held is not None and start <= max(held[1][0], pos)):
                    raise CorruptError(
                        f"extent {number} of inode {self._inode.nid} starts at {start}, out of order or past the end",
                        self._at + number * self._record,
                    )
                if held is not None:
                    yield self._span(*held, start)
                held = number, record
                number += 1
            address = at + (plen & PLEN_MASK)
        if held is not None:
            yield self._span(*held, size)

    def _span(self, number: int, record: _Record, end: int) -> Span:
        start, plen, address = record
        length = end - start
        nid = self._inode.nid
        if self._fragment and number == self._count - 1:
            offset = plen | ((address & 0xFFFF_FFFF) << 32 if self._record > 4 else 0)
            return Span(start, length, Kind.FRAGMENT, PACKED, offset, length)
        stored = plen & PLEN_MASK
        if not stored:
            return Span(start, length, Kind.HOLE, 0, 0, 0)
        form = plen >> PLEN_FORMAT_SHIFT
        partial = bool(plen & PLEN_PARTIAL)
        if length > MAX_DECODED:
            raise UnsupportedError(f"extent of {length} bytes in inode {nid} exceeds 12 MiB", address)
        if stored > MAX_ENCODED:
            raise UnsupportedError(f"cluster of {stored} bytes in inode {nid} exceeds 1 MiB", address)
        if form:
            algorithm = form - 1
            if algorithm > 3:
                raise UnsupportedError(f"extent {number} of inode {nid} has the unknown algorithm {algorithm}", address)
            if algorithm not in self._volume.algorithms:
                raise CorruptError(
                    f"inode {nid} uses algorithm {algorithm}, which the superblock does not announce", address
                )
            return Span(start, length, algorithm, 0, address, stored, partial)
        if length > stored:
            raise CorruptError(f"plain extent {number} of inode {nid} stores {stored} of {length} bytes", address)
        block_mask = self._volume.block_size - 1
        if self._interlaced and not (address | stored) & block_mask:
            if stored > block_mask + 1:
                raise CorruptError(f"interlaced cluster of {stored} bytes in inode {nid}", address)
            return Span(start, length, Kind.INTERLACED, 0, address, stored)
        return Span(start, length, Kind.RAW, 0, address, length)
