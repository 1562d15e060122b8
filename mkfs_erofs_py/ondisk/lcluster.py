"""Compressed files' map header and their per-lcluster indexes, full (8-byte) and compact (2/4-byte).

An *lcluster* is a block-sized piece of the file; a *pcluster* the blocks one extent takes in the
image. Each lcluster's record describes at most one extent start (a head); all others say how far
the head before and the head after them are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..errors import OutOfBoundsError
from .structure import Structure

__all__ = [
    "BASE_FORM",
    "COMPACT_MAX_BITS",
    "D0_CBLKCNT",
    "DELTA_MAX",
    "HEADER_FORM",
    "HEADER_SIZE",
    "HEAD_FORM",
    "LCLUSTER_HEAD1",
    "LCLUSTER_HEAD2",
    "LCLUSTER_NONHEAD",
    "LCLUSTER_PLAIN",
    "NONHEAD_FORM",
    "RECORD_SIZE",
    "Advise",
    "MapHeader",
    "Pcluster",
    "compact_counts",
    "compact_pack",
    "compact_size",
    "full_size",
    "pack_compact",
    "pack_full",
    "unpack_full",
    "unpack_packs",
]

LCLUSTER_PLAIN, LCLUSTER_HEAD1, LCLUSTER_NONHEAD, LCLUSTER_HEAD2 = range(4)
#: Bits of a full record's first word.
TYPE_MASK, HOLE_FLAG, PARTIAL_REF = 0x3, 0x4000, 0x8000
#: Marks the first NONHEAD behind a head: the rest of d0 is the pcluster's block count.
D0_CBLKCNT = 0x800
#: Largest distance a record can hold; one more would read as D0_CBLKCNT.
DELTA_MAX = 0x7FF
#: Compact indexes exist for lclusters up to 16 KiB, their 2-byte packs up to 4 KiB.
COMPACT_MAX_BITS, COMPACT_2B_MAX_BITS = 14, 12

HEADER_SIZE = RECORD_SIZE = 8
HEADER_FORM = Structure(
    HEADER_SIZE,
    (0x00, "I", "union", "by advise: a fragment's offset, an inline pcluster's bytes (high half), a count of extents"),
    (0x04, "H", "advise", "bits of `Advise`"),
    (0x06, "B", "algorithms", "HEAD1's algorithm in the low four bits, HEAD2's in the high ones"),
    (0x07, "B", "cluster_bits", "log2 of lclusters over blocks; bit 7: the file is one fragment"),
)
#: A full index's record where a pcluster begins.
HEAD_FORM = Structure(
    RECORD_SIZE,
    (0x00, "H", "word", "bits 0 and 1: type; `HOLE_FLAG`; `PARTIAL_REF`"),
    (0x02, "H", "clusterofs", "byte of the lcluster at which it begins"),
    (0x04, "I", "block", "its first block"),
)
#: A full index's record where none begins.
NONHEAD_FORM = Structure(
    RECORD_SIZE,
    (0x00, "H", "word", "as of a head, with the type `LCLUSTER_NONHEAD`"),
    (0x02, "2x", "", "reserved"),
    (
        0x04,
        "H",
        "d0",
        "lclusters back to the head; right behind it `D0_CBLKCNT` and the pcluster's blocks, where stored",
    ),
    (0x06, "H", "d1", "lclusters on to the next head"),
)
#: What ends a compact index's pack.
BASE_FORM = Structure(4, (0x00, "I", "base", "block from which the blocks of the pack's heads are counted"))
_HEADER, _HEAD, _NONHEAD = HEADER_FORM.struct, HEAD_FORM.struct, NONHEAD_FORM.struct


class Advise:
    """Bits of the map header's advise word. 1 means 2-byte packs in the compact layout, extents in the full."""

    COMPACTED_2B = EXTENTS = 0x01
    BIG_PCLUSTER_1 = 0x02
    BIG_PCLUSTER_2 = 0x04
    INLINE_PCLUSTER = 0x08
    INTERLACED = 0x10
    FRAGMENT = 0x20
    #: With EXTENTS: log2 of (record size / 4), shifted left once.
    EXTENT_SIZE_SHIFT, EXTENT_SIZE_MASK = 1, 0x3


class MapHeader(NamedTuple):
    """The 8 bytes in front of every compressed inode's index.

    ``union`` is the fragment's offset, or carries an inline pcluster's size in its high half, or an
    extent count; ``algorithms`` holds HEAD1's in its low and HEAD2's in its high nibble;
    ``cluster_bits`` is log2 of lcluster size over block size, bit 7 set for a whole-file fragment.
    """

    advise: int = 0
    algorithms: int = 0
    cluster_bits: int = 0
    union: int = 0

    def pack(self) -> bytes:
        """Return the 8 bytes."""
        return _HEADER.pack(self.union, self.advise, self.algorithms, self.cluster_bits)

    @classmethod
    def unpack(cls, data: bytes | memoryview, offset: int) -> tuple[MapHeader, int]:
        """Read the header at ``offset`` (8-byte aligned by the caller) -> header, end."""
        if offset < 0 or offset + HEADER_SIZE > len(data):
            raise OutOfBoundsError("compression header lies outside the image", offset)
        union, advise, algorithms, bits = _HEADER.unpack_from(data, offset)
        return cls(advise, algorithms, bits, union), offset + HEADER_SIZE


class Pcluster(NamedTuple):
    """One physical cluster as the indexes need it: bytes of content, head type, first block and count of blocks."""

    length: int
    type: int
    block: int
    blocks: int


#: What the packers take: a `Pcluster`, or its fields in a plain tuple, since a large tree has a hundred thousand.
Fields = tuple[int, int, int, int]

#: One lcluster: type, then clusterofs and block of a head, or d0 (or D0_CBLKCNT|blocks) and d1.
_Slot = tuple[int, int, int]


def _slots(pclusters: Iterable[Fields], size: int, bits: int, big: bool) -> Iterator[_Slot]:
    """Yield ceil(size / lcluster) slots; every pcluster but the last covers at least one lcluster.

    Where the data ends inside an lcluster in which no pcluster starts, that lcluster is a PLAIN head
    at the very end of the data, so that the last one's length can be read off the index.
    """
    mask = (1 << bits) - 1
    start = 0
    for length, kind, block, blocks in pclusters:
        end = start + length
        lcn, stop = start >> bits, end >> bits
        yield kind, start & mask, block
        if end == size and end & mask and stop == lcn:
            return
        if stop <= lcn:
            raise AssertionError(f"two pclusters start in lcluster {lcn}")
        for d0 in range(1, stop - lcn):
            first = D0_CBLKCNT | blocks if big and d0 == 1 else min(d0, DELTA_MAX)
            yield LCLUSTER_NONHEAD, first, min(stop - lcn - d0, DELTA_MAX)
        start = end
    if start != size:
        raise AssertionError(f"pclusters cover {start} of {size} bytes")
    if start & mask:
        yield LCLUSTER_PLAIN, start & mask, 0


def full_size(size: int, bits: int) -> int:
    """Return the bytes of a full index of a file of ``size`` bytes: header, 8 spare bytes, records."""
    return HEADER_SIZE + 8 + RECORD_SIZE * -(-size >> bits)


def pack_full(header: MapHeader, pclusters: Iterable[Fields], size: int, bits: int, big: bool) -> bytes:
    """Return a full index: header, 8 spare bytes, one record an lcluster of ``1 << bits`` bytes.

    ``big`` tells whether block counts are stored (`Advise.BIG_PCLUSTER_1`).
    """
    out = bytearray(header.pack() + bytes(8))
    for kind, first, second in _slots(pclusters, size, bits, big):
        if kind == LCLUSTER_NONHEAD:
            out += _NONHEAD.pack(kind, first, second)
        else:
            out += _HEAD.pack(kind, first, second)
    return bytes(out)


def compact_counts(base: int, total: int, two_byte: bool) -> tuple[int, int, int]:
    """Share ``total`` lclusters out to packs behind offset ``base`` -> in 4B, in 2B, in 4B packs.

    Packs of sixteen 2-byte entries are 32-byte aligned; 4-byte ones lead up to the alignment and
    take what is left.
    """
    lead = (32 - base % 32) // 4 % 8
    if not two_byte or lead >= total:
        return total, 0, 0
    middle = (total - lead) & ~15
    return lead, middle, total - lead - middle


def compact_pack(counts: tuple[int, int, int], lcn: int) -> tuple[int, int, int, int]:
    """Return the pack of lcluster ``lcn``: its begin and end behind ``base``, its first lcluster, and how many it has.

    ``counts`` are what `compact_counts` returned.
    """
    lead, middle, _ = counts
    if lcn < lead or not middle:
        first = lcn & ~1
        return 4 * first, 4 * first + 8, first, 2
    if lcn < lead + middle:
        nth = (lcn - lead) >> 4
        at = 4 * lead + 32 * nth
        return at, at + 32, lead + 16 * nth, 16
    nth = (lcn - lead - middle) >> 1
    at = 4 * lead + 2 * middle + 8 * nth
    return at, at + 8, lead + middle + 2 * nth, 2


def compact_size(base: int, size: int, bits: int, two_byte: bool) -> int:
    """Return the bytes of a compact index whose packs start at offset ``base``, its header included."""
    lead, middle, rest = compact_counts(base, -(-size >> bits), two_byte)
    pairs = (lead + rest + 1) // 2 if not middle else -(-lead // 2) + -(-rest // 2)
    return HEADER_SIZE + 8 * pairs + 2 * middle


def pack_compact(header: MapHeader, pclusters: Iterable[Fields], size: int, bits: int, base: int) -> bytes:
    """Return a compact index: header, then packs that start at the absolute offset ``base``.

    Whether 2-byte packs and block counts are in use is read from the header's advise word. The
    pclusters' blocks must follow each other without gaps: a pack stores only its first one.
    """
    two_byte = bool(header.advise & Advise.COMPACTED_2B)
    big = bool(header.advise & Advise.BIG_PCLUSTER_1)
    slots = _slots(pclusters, size, bits, big)
    packs = _Packs(max(bits, COMPACT_2B_MAX_BITS), big)
    out = bytearray(header.pack())
    lead, middle, rest = compact_counts(base, -(-size >> bits), two_byte)
    for count, width, step in ((lead, 16, 2), (middle, 14, 16), (rest, 16, 2)):
        for i in range(0, count, step):
            out += packs.pack([next(slots) for _ in range(min(step, count - i))], width, step)
    return bytes(out)


def unpack_full(data: bytes | memoryview) -> list[tuple[int, int, int]]:
    """Read full records -> (first word, clusterofs, block) of heads, (first word, d0, d1) of the others.

    The first word holds the type (`TYPE_MASK`), `HOLE_FLAG` and `PARTIAL_REF`.
    """
    return [
        (word, offset, value) if word & TYPE_MASK != LCLUSTER_NONHEAD else (word, value & 0xFFFF, value >> 16)
        for word, offset, value in _HEAD.iter_unpack(data)
    ]


def unpack_packs(data: bytes | memoryview, low_bits: int, entries: int, big: bool) -> list[tuple[int, int, int]]:
    """Read whole packs of ``entries`` (2 or 16) slots -> (type, clusterofs, block) or (type, d0, d1).

    ``low_bits``: log2 of the lcluster size, at least 12. ``big`` tells whether block counts are stored. d1 is 0 where
    it is not (all slots but a pack's last one), and d0 of a pack's last slot follows from its neighbour's.
    """
    size = entries * (4 if entries == 2 else 2)
    width = (size - 4) * 8 // entries
    mask, kinds = (1 << low_bits) - 1, 3 << low_bits
    nonhead = LCLUSTER_NONHEAD << low_bits
    shifts = range(0, width * entries, width)
    last = shifts[-1]
    data = bytes(data)
    from_bytes = int.from_bytes
    out: list[tuple[int, int, int]] = []
    append = out.append
    for at in range(0, len(data) - size + 1, size):
        end = at + size
        vector = from_bytes(data[at : end - 4], "little")
        block = from_bytes(data[end - 4 : end], "little")
        if not big:
            block += 1
        d0 = 0
        pending = False  # a head whose blocks are not yet counted
        for shift in shifts:
            value = vector >> shift
            low = value & mask
            kind = value & kinds
            if kind != nonhead:
                if pending:
                    block += 1
                append((kind >> low_bits, low, block))
                pending = True
                d0 = 0
            elif low & D0_CBLKCNT:
                if big:
                    block += low & ~D0_CBLKCNT
                    pending = False
                d0 = 1
                append((LCLUSTER_NONHEAD, low, 0))
            elif shift != last:
                d0 = low
                append((LCLUSTER_NONHEAD, low, 0))
            else:
                # One more than the greatest distance would read as a block count; any head further back will do.
                append((LCLUSTER_NONHEAD, min(d0 + 1, DELTA_MAX), low))
    return out


class _Packs:
    """Packs slots; remembers the block that the next pack's addresses count from.

    A pack's base is such that a reader finds a head's block by adding, without big pclusters, the
    heads up to and including it; with them, the blocks of all pclusters that are charged to earlier
    slots of the same pack. A pcluster is charged to its block count's slot, or to its head's where
    it has none, so one whose head ends a pack is charged to the next pack.
    """

    def __init__(self, low_bits: int, big: bool) -> None:
        self._low_bits = low_bits
        self._big = big
        self._carried: int | None = None  # block of a head in the last slot of the pack before

    def pack(self, slots: list[_Slot], width: int, entries: int) -> bytes:
        vector = 0
        base: int | None = None
        if self._carried is not None and slots[0][0] == LCLUSTER_NONHEAD:
            base = self._carried
        for i, (kind, first, second) in enumerate(slots):
            low = first
            if kind == LCLUSTER_NONHEAD:
                if i == entries - 1 and not (self._big and first & D0_CBLKCNT):
                    low = second
            elif base is None:
                base = second if self._big else second - 1
            vector |= (kind << self._low_bits | low) << width * i
        last = slots[-1]
        self._carried = last[2] if self._big and last[0] != LCLUSTER_NONHEAD else None
        return vector.to_bytes(entries * width // 8, "little") + ((base or 0) & 0xFFFF_FFFF).to_bytes(4, "little")
