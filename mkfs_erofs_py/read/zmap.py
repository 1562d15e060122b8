"""The spans of compressed files whose index has one record for each logical cluster, full or compact.

An index is read in batches, front to back, so that memory does not grow with it: each head begins a span, which
ends where the next one begins. Distances between records only lead back to the first head when a read starts in the
middle; they must still be consistent with the heads.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import CorruptError, OutOfBoundsError, UnsupportedError
from ..ondisk.constants import MAX_DECODED, MAX_ENCODED, Incompat, Layout
from ..ondisk.lcluster import (
    COMPACT_MAX_BITS,
    D0_CBLKCNT,
    HOLE_FLAG,
    LCLUSTER_HEAD1,
    LCLUSTER_HEAD2,
    LCLUSTER_NONHEAD,
    LCLUSTER_PLAIN,
    PARTIAL_REF,
    TYPE_MASK,
    Advise,
    MapHeader,
    compact_counts,
    compact_pack,
    unpack_full,
    unpack_packs,
)
from .inode import Inode
from .span import METABOX, PACKED, Kind, Span
from .volume import Volume

__all__ = ["ClusterIndex", "map_header", "whole_fragment"]

_Slot = tuple[int, int, int]
#: Records in the first batch of a walk and in later ones (each batch is twice the one before).
_FIRST_BATCH, _LAST_BATCH = 64, 8192
_NO_BLOCKS = -1
_NO_HEAD = -0x1_0000  # further back than any distance leads


def map_header(volume: Volume, inode: Inode) -> tuple[MapHeader, int]:
    """Read the header behind a compressed inode (8-byte aligned) -> header, where its index begins."""
    at = (inode.body + 7) & ~7
    data, start = volume.meta(inode.in_metabox, at, 8)
    header, _ = MapHeader.unpack(data, start)
    return header, at + 8


def whole_fragment(header: MapHeader) -> int | None:
    """Return the offset in the packed inode of a file that is one fragment, else ``None``."""
    word = int.from_bytes(header.pack(), "little")
    return word & ~(1 << 63) if word >> 63 else None


class ClusterIndex:
    """The index of one compressed inode, judged when made; ``spans`` walks it from any byte."""

    def __init__(self, volume: Volume, inode: Inode, header: MapHeader, start: int) -> None:
        self._volume = volume
        self._inode = inode
        self._start = start
        advise = header.advise
        self._compact = inode.layout == Layout.COMPRESSED_COMPACT
        self._bits = volume.block_bits + (header.cluster_bits & 15)
        self._big1 = bool(advise & Advise.BIG_PCLUSTER_1)
        self._big2 = bool(advise & Advise.BIG_PCLUSTER_2)
        self._interlaced = bool(advise & Advise.INTERLACED)
        self._fragment = bool(advise & Advise.FRAGMENT)
        self._header = header
        self._judge_header()
        self._total = -(-inode.size >> self._bits)
        self._layout = (0, 0, 0)
        end = start + 8 + 8 * self._total
        if self._compact:
            blocks = -(-inode.size >> volume.block_bits)
            self._layout = compact_counts(start, blocks, bool(advise & Advise.COMPACTED_2B))
            end = start + self._compact_place(self._total - 1)[1] if self._total else start
        # The whole index must exist before a single span of it is believed.
        if end > volume.meta_size(inode.in_metabox):
            raise OutOfBoundsError(f"index of inode {inode.nid} reaches past the end", start)
        #: Where the index lies in the inode's metadata, its header included.
        self.place = start - 8, end
        self._inline = 0
        self._inline_at = end
        if advise & Advise.INLINE_PCLUSTER and not self._fragment:
            self._inline = header.union >> 16
            self._judge_inline()

    # -- rules -------------------------------------------------------------------------------------

    def _judge_header(self) -> None:
        volume, header, nid = self._volume, self._header, self._inode.nid
        at = self._start - 8
        if header.algorithms & 0xCC:
            raise UnsupportedError(f"inode {nid} uses the unknown algorithms {header.algorithms:#04x}", at + 6)
        if self._compact:
            if self._bits > COMPACT_MAX_BITS:
                raise UnsupportedError(f"inode {nid} has compact indexes of 2**{self._bits}-byte clusters", at + 7)
            if header.advise & Advise.COMPACTED_2B and self._bits > 12:
                raise UnsupportedError(f"inode {nid} has 2-byte indexes of 2**{self._bits}-byte clusters", at + 4)
            if self._big1 != self._big2:
                raise CorruptError(f"inode {nid} has big clusters for one kind of head only", at + 4)
        if (self._big1 or self._big2) and not volume.incompat & Incompat.BIG_PCLUSTER:
            raise CorruptError(f"inode {nid} has big clusters, which the superblock does not announce", at + 4)

    def _judge_inline(self) -> None:
        size, at, bs = self._inline, self._inline_at, self._volume.block_size
        if not 0 < size <= bs:
            raise CorruptError(f"inline tail of {size} bytes in inode {self._inode.nid}", self._start - 8)
        if at % bs + size > bs:
            raise CorruptError(f"inline tail of inode {self._inode.nid} crosses a block", at)

    # -- records -----------------------------------------------------------------------------------

    def _compact_place(self, lcn: int) -> tuple[int, int, int, int]:
        """Return the pack of record ``lcn``: (offset from the start, end, first record, records in it)."""
        return compact_pack(self._layout, lcn)

    def _load(self, lcn: int, count: int) -> tuple[int, list[_Slot]]:
        """Read about ``count`` records around and from ``lcn`` -> number of the first, records."""
        metabox = self._inode.in_metabox
        if not self._compact:
            count = min(count, self._total - lcn)
            at = self._start + 8 + 8 * lcn
            data, start = self._volume.meta(metabox, at, 8 * count)
            return lcn, unpack_full(data[start : start + 8 * count])
        lead, middle, _ = self._layout
        offset, _, first, entries = self._compact_place(lcn)
        # A batch stays within one of the three areas, whose packs are alike.
        if entries == 16:
            stop = lead + middle
        elif first < lead:
            stop = lead
        else:
            stop = self._total
        packs = max(1, min(-(-count // entries), -(-(stop - first) // entries)))
        size = packs * (32 if entries == 16 else 8)
        data, start = self._volume.meta(metabox, self._start + offset, size)
        slots = unpack_packs(data[start : start + size], max(self._bits, 12), entries, self._big1)
        return first, slots[: min(stop, self._total) - first]

    # -- spans -----------------------------------------------------------------------------------

    def _first_head(self, pos: int) -> int:
        """Return the number of the record whose head begins the span that holds byte ``pos``."""
        lcn = pos >> self._bits
        first, slots = self._load(lcn, 2)
        kind, low, _ = slots[lcn - first]
        if kind & TYPE_MASK != LCLUSTER_NONHEAD and low <= pos & ((1 << self._bits) - 1):
            return lcn
        while True:
            if kind & TYPE_MASK != LCLUSTER_NONHEAD or low & D0_CBLKCNT:
                back = 1
            else:
                back = low
            if not 0 < back <= lcn:
                raise self._corrupt(lcn, f"leads back by {back}, to no head")
            lcn -= back
            if pos - (lcn << self._bits) > MAX_DECODED + (1 << self._bits):
                raise self._corrupt(lcn, "belongs to an extent of more than 12 MiB")
            if lcn < first or lcn >= first + len(slots):
                first, slots = self._load(lcn, 2)
            kind, low, _ = slots[lcn - first]
            if kind & TYPE_MASK != LCLUSTER_NONHEAD:
                return lcn

    def spans(self, pos: int = 0) -> Iterator[Span]:  # noqa: C901 - one loop, since a call an lcluster would show
        """Yield the spans from the one that holds byte ``pos`` to the end of the file."""
        size = self._inode.size
        if pos >= size:
            return
        bits, total = self._bits, self._total
        lsize = 1 << bits
        block_bits = self._volume.block_bits
        most = MAX_ENCODED >> block_bits
        at = self._first_head(pos)
        batch = _FIRST_BATCH
        # The head of the span that is open: what it says and where it stands, before all records if there is none.
        word = begin = block = blocks = 0
        head_lcn = _NO_HEAD
        big = False
        judged: dict[int, int] = {}  # the algorithms of heads without flags that were met
        while at < total:
            first, slots = self._load(at, batch)
            if first < at:
                del slots[: at - first]
            batch = min(batch * 2, _LAST_BATCH)
            for lcn, (kind, low, extra) in enumerate(slots, at):
                if kind & TYPE_MASK != LCLUSTER_NONHEAD:
                    if low >= lsize:
                        raise self._corrupt(lcn, f"begins at {low} of {lsize} bytes")
                    here = lcn << bits | low
                    if head_lcn != _NO_HEAD:
                        if here <= pos:
                            raise self._corrupt(lcn, "is a head that a record behind it leads back over")
                        algorithm, length = judged.get(word), here - begin
                        if algorithm is not None and here < size and length <= MAX_DECODED and 0 <= blocks <= most:
                            # Nearly all spans are like this, and their index is what a long read waits for.
                            yield Span(begin, length, algorithm, 0, block << block_bits, (blocks or 1) << block_bits)
                        else:
                            span = self._span(word, block, begin, min(here, size), blocks)
                            if word in (LCLUSTER_HEAD1, LCLUSTER_HEAD2) and here < size:
                                judged[word] = span.kind
                            yield span
                    elif low and not lcn:
                        raise self._corrupt(lcn, "has no head before it")
                    if here >= size:
                        return
                    word, begin, head_lcn, block, blocks = kind, here, lcn, extra, 0
                    big = self._big1 if kind & TYPE_MASK == LCLUSTER_HEAD1 else self._big2
                    continue
                if low & D0_CBLKCNT and head_lcn != _NO_HEAD:
                    # A tail fragment's head has no blocks, and mkfs.erofs says so by a count of 0.
                    blocks = low & ~D0_CBLKCNT or (_NO_BLOCKS if self._fragment else 0)
                    if not blocks or not big or lcn != head_lcn + 1:
                        raise self._corrupt(lcn, "holds a block count out of place")
                elif low != lcn - head_lcn or extra or big:
                    self._judge_distances(lcn, low, extra, head_lcn, big)
                if (lcn << bits) - begin > MAX_DECODED:
                    raise self._corrupt(lcn, "belongs to an extent of more than 12 MiB")
            at += len(slots)
        if head_lcn != _NO_HEAD:
            yield self._span(word, block, begin, size, blocks)

    def _judge_distances(self, lcn: int, d0: int, d1: int, head_lcn: int, big: bool) -> None:
        """Judge a record that is no head, in all but the length of the span."""
        if head_lcn == _NO_HEAD:
            raise self._corrupt(lcn, "has no head before it")
        if not 0 < d0 <= lcn - head_lcn:
            raise self._corrupt(lcn, f"leads back by {d0}, but its head is {lcn - head_lcn} before it")
        if big and lcn == head_lcn + 1:
            raise self._corrupt(lcn, "should hold a block count")
        if d1 > self._total - lcn:
            raise self._corrupt(lcn, f"leads on by {d1}, past the end")

    def _span(self, word: int, block: int, begin: int, end: int, blocks: int) -> Span:
        kind = word & TYPE_MASK
        length = end - begin
        if end == self._inode.size:
            if self._fragment:
                offset = self._header.union | (0 if self._compact else block << 32)
                return Span(begin, length, Kind.FRAGMENT, PACKED, offset, length)
            if self._inline:
                device = METABOX if self._inode.in_metabox else 0
                how = Kind.RAW if kind == LCLUSTER_PLAIN else self._algorithm(kind)
                self._judge_plain(kind, length, self._inline, begin)
                stored = length if kind == LCLUSTER_PLAIN else self._inline
                return Span(begin, length, how, device, self._inline_at, stored, bool(word & PARTIAL_REF))
        if word & HOLE_FLAG and not self._compact:
            return Span(begin, length, Kind.HOLE, 0, 0, 0)
        if blocks == _NO_BLOCKS:
            raise self._corrupt((begin >> self._bits) + 1, "holds a block count of 0")
        stored = (blocks or 1) << self._volume.block_bits
        address = block << self._volume.block_bits
        if length > MAX_DECODED:
            raise UnsupportedError(f"extent of {length} bytes in inode {self._inode.nid} exceeds 12 MiB", address)
        if stored > MAX_ENCODED:
            raise UnsupportedError(f"cluster of {stored} bytes in inode {self._inode.nid} exceeds 1 MiB", address)
        if kind != LCLUSTER_PLAIN:
            return Span(begin, length, self._algorithm(kind), 0, address, stored, bool(word & PARTIAL_REF))
        self._judge_plain(kind, length, stored, begin)
        if self._interlaced:
            if stored > self._volume.block_size:
                raise CorruptError(f"interlaced cluster of {stored} bytes in inode {self._inode.nid}", address)
            return Span(begin, length, Kind.INTERLACED, 0, address, stored)
        return Span(begin, length, Kind.RAW, 0, address, length)

    def _algorithm(self, kind: int) -> int:
        nibbles = self._header.algorithms
        algorithm = nibbles & 15 if kind == LCLUSTER_HEAD1 else nibbles >> 4
        if algorithm not in self._volume.algorithms:
            raise CorruptError(
                f"inode {self._inode.nid} uses algorithm {algorithm}, which the superblock does not announce",
                self._start - 2,
            )
        return algorithm

    def _judge_plain(self, kind: int, length: int, stored: int, begin: int) -> None:
        if kind == LCLUSTER_PLAIN and length > stored:
            raise CorruptError(
                f"plain extent at byte {begin} of inode {self._inode.nid} stores {stored} of {length} bytes",
                self._start,
            )

    def _corrupt(self, lcn: int, what: str) -> CorruptError:
        at = self._start + (self._compact_place(lcn)[0] if self._compact else 8 + 8 * lcn)
        return CorruptError(f"record of cluster {lcn} of inode {self._inode.nid} {what}", at)
