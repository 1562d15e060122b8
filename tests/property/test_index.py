"""Indexes of compressed files: what is packed reads back by the format's own rule, written down here once more."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mkfs_erofs_py.ondisk.extent import ExtentRecord, pack_extents, pack_lengths, plen_word
from mkfs_erofs_py.ondisk.lcluster import (
    LCLUSTER_HEAD1,
    LCLUSTER_NONHEAD,
    LCLUSTER_PLAIN,
    Advise,
    MapHeader,
    Pcluster,
    compact_counts,
    compact_size,
    full_size,
    pack_compact,
    pack_full,
    unpack_full,
    unpack_packs,
)

COUNT = 0x800
"""Set in the first distance behind a head: the rest is the number of blocks."""


@dataclass(frozen=True)
class File:
    """A compressed file: its extents, in blocks that follow each other from ``first`` on."""

    bits: int
    big: bool
    extents: tuple[Pcluster, ...]

    @property
    def size(self) -> int:
        return sum(extent.length for extent in self.extents)

    @property
    def total(self) -> int:
        return -(-self.size >> self.bits)

    def heads(self) -> list[tuple[int, int, int, int]]:
        """Return (start, type, first block, blocks) of every extent."""
        found, start = [], 0
        for extent in self.extents:
            found.append((start, extent.type, extent.block, extent.blocks))
            start += extent.length
        return found


@st.composite
def files(draw: st.DrawFn) -> File:
    """Draw a file as the packer makes them: all extents but the last decode to at least what they take."""
    bits = draw(st.sampled_from([9, 12, 14]))
    big = draw(st.booleans())
    block = 1 << bits
    at = draw(st.integers(1, 1 << 30))
    extents = []
    lengths = st.one_of(
        st.integers(0, 3 * block),
        st.integers(0, 40).map(lambda n: n * block),
        st.integers(2040, 2056).map(lambda n: n * block),
    )
    for number, extra in enumerate(draw(st.lists(lengths, min_size=1, max_size=40))):
        last = number + 1 == 40
        blocks = draw(st.integers(1, 20)) if big else 1
        if draw(st.booleans()):
            extents.append(Pcluster(block, LCLUSTER_PLAIN, at, 1))
            at += 1
            continue
        extents.append(Pcluster(blocks * block + max(extra, not last), LCLUSTER_HEAD1, at, blocks))
        at += blocks
    if draw(st.booleans()):
        # At the end, anything goes that is no larger than plain.
        length = draw(st.integers(1, 30 * block))
        blocks = draw(st.integers(1, max(1, (length - 1) // block))) if big else 1
        plain = length <= block and draw(st.booleans())
        extents.append(Pcluster(length, LCLUSTER_PLAIN if plain else LCLUSTER_HEAD1, at, blocks))
    return File(bits, big, tuple(extents))


def cut(extents: list[tuple[int, int, int, int]], size: int) -> list[tuple[int, int, int, int]]:
    """Leave out the head that only tells where the data ends."""
    return [extent for extent in extents if extent[0] < size]


def counted(slots: list[tuple[int, int]], lcn: int) -> int:
    """Return the blocks of the extent whose head is slot ``lcn``: a count follows it, or it is one."""
    if lcn + 1 < len(slots) and slots[lcn + 1][0] == LCLUSTER_NONHEAD and slots[lcn + 1][1] & COUNT:
        return slots[lcn + 1][1] & ~COUNT
    return 1


# -- the full index ------------------------------------------------------------------------------------


@settings(deadline=None)
@given(files())
def test_a_full_index_reads_back(file: File) -> None:
    header = MapHeader(Advise.BIG_PCLUSTER_1 | Advise.BIG_PCLUSTER_2 if file.big else 0, 3)
    packed = pack_full(header, file.extents, file.size, file.bits, file.big)
    assert len(packed) == full_size(file.size, file.bits)
    assert MapHeader.unpack(packed, 0) == (header, 8)
    assert packed[8:16] == bytes(8)
    records = unpack_full(packed[16:])
    assert len(records) == file.total
    slots = [(word & 3, first) for word, first, _ in records]
    heads = [
        ((lcn << file.bits) + first, word & 3, second, counted(slots, lcn) if file.big else 1)
        for lcn, (word, first, second) in enumerate(records)
        if word & 3 != LCLUSTER_NONHEAD
    ]
    assert cut(heads, file.size) == file.heads()
    check_distances([(kind, first) for kind, first in slots], file.big)


def check_distances(slots: list[tuple[int, int]], big: bool) -> None:
    """Every record that is no head says how far back its head is, as far as it can."""
    since = 0
    for number, (kind, d0) in enumerate(slots):
        since = 0 if kind != LCLUSTER_NONHEAD else since + 1
        if kind == LCLUSTER_NONHEAD and not (big and since == 1):
            assert d0 == min(since, 2047), number


# -- the compact index ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pack:
    """A pack's entries, from its lowest bits on, as (type, low bits), and its base."""

    entries: list[tuple[int, int]]
    base: int


def packs_of(data: bytes, begin: int, total: int, bits: int, two_byte: bool) -> list[Pack]:
    """Cut a compact index whose packs begin at the absolute offset ``begin``, by the text of the format."""
    low = max(bits, 12)
    lead = (32 - begin % 32) // 4 % 8
    middle = (total - lead) // 16 * 16 if two_byte and lead < total else 0
    lead = lead if middle or (two_byte and lead < total) else total
    found, at, left = [], 0, total
    plan = [(2, 16)] * -(-lead // 2) + [(16, 14)] * (middle // 16) + [(2, 16)] * -(-(total - lead - middle) // 2)
    for slots, width in plan:
        size = slots * width // 8 + 4
        vector = int.from_bytes(data[at : at + size - 4], "little")
        words = [vector >> n * width & (1 << width) - 1 for n in range(slots)]
        (base,) = struct.unpack_from("<I", data, at + size - 4)
        entries = [(word >> low, word & (1 << low) - 1) for word in words]
        assert all(entry == (0, 0) for entry in entries[left:]), "the filler is zero"
        found.append(Pack(entries[:left], base))
        at, left = at + size, left - slots
    assert at == len(data)
    return found


def block_of(pack: Pack, slot: int, big: bool) -> int:
    """Return the block of the head in a slot of a pack: heads count with it, or blocks before it."""
    before = pack.entries[:slot]
    if not big:
        return pack.base + 1 + sum(kind != LCLUSTER_NONHEAD for kind, _ in before)
    block = pack.base
    for number, (kind, low) in enumerate(before):
        follower = pack.entries[number + 1]
        if kind == LCLUSTER_NONHEAD:
            block += low & ~COUNT if low & COUNT else 0
        elif follower[0] != LCLUSTER_NONHEAD or not follower[1] & COUNT:
            block += 1
    return block


@settings(deadline=None)
@given(files(), st.integers(0, 3).map(lambda n: n * 8), st.booleans())
def test_a_compact_index_reads_back(file: File, phase: int, two_byte: bool) -> None:
    assume(not two_byte or file.bits <= 12)
    begin = 4096 + phase
    advise = (Advise.BIG_PCLUSTER_1 | Advise.BIG_PCLUSTER_2 if file.big else 0) | (1 if two_byte else 0)
    packed = pack_compact(MapHeader(advise), file.extents, file.size, file.bits, begin)
    assert len(packed) == compact_size(begin, file.size, file.bits, two_byte)
    packs = packs_of(packed[8:], begin, file.total, file.bits, two_byte)
    slots = [entry for pack in packs for entry in pack.entries]
    assert len(slots) == file.total
    heads, lcn = [], 0
    for pack in packs:
        for number, (kind, low) in enumerate(pack.entries):
            if kind != LCLUSTER_NONHEAD:
                blocks = counted(slots, lcn) if file.big else 1
                heads.append(((lcn << file.bits) + low, kind, block_of(pack, number, file.big), blocks))
            lcn += 1
    # The head that ends the data has no block of its own.
    assert cut(heads, file.size) == file.heads()


@settings(deadline=None)
@given(files(), st.integers(0, 3).map(lambda n: n * 8), st.booleans())
def test_the_library_reads_compact_packs_as_it_reads_full_records(file: File, phase: int, two_byte: bool) -> None:
    assume(not two_byte or file.bits <= 12)
    begin = phase
    advise = (Advise.BIG_PCLUSTER_1 | Advise.BIG_PCLUSTER_2 if file.big else 0) | (1 if two_byte else 0)
    compact = pack_compact(MapHeader(advise), file.extents, file.size, file.bits, begin)[8:]
    records = unpack_full(pack_full(MapHeader(), file.extents, file.size, file.bits, file.big)[16:])
    low = max(file.bits, 12)
    lead, middle, _ = compact_counts(begin, file.total, two_byte)
    at = 4 * (lead + lead % 2)
    cuts = (compact[:at], 2), (compact[at : at + 2 * middle], 16), (compact[at + 2 * middle :], 2)
    slots = [slot for data, entries in cuts for slot in unpack_packs(data, low, entries, file.big)][: file.total]
    start = 0
    for slot, record in zip(slots, records, strict=True):
        assert slot[0] == record[0] & 3
        assert slot[1] == record[1]
        if slot[0] != LCLUSTER_NONHEAD:
            if start + slot[1] < file.size:
                assert slot[2] == record[2]
        elif slot[2]:
            assert slot[2] == record[2]
        start += 1 << file.bits


EXAMPLE = (Pcluster(5 * 4096, LCLUSTER_HEAD1, 1, 4), Pcluster(4 * 4096, LCLUSTER_HEAD1, 5, 4), Pcluster(8192, 1, 9, 1))


def test_the_example_of_the_format() -> None:
    # A head, its count of 4 blocks; then two records 2 and 3 behind the head, the last of which looks ahead 2.
    data = pack_compact(MapHeader(Advise.BIG_PCLUSTER_1), EXAMPLE, 11 * 4096, 12, 0)[8:]
    packs = packs_of(data, 0, 11, 12, False)
    assert packs[0] == Pack([(1, 0), (2, COUNT | 4)], 1)
    assert packs[1] == Pack([(2, 2), (2, 2)], packs[1].base)


@pytest.mark.parametrize(
    ("begin", "total", "two_byte", "counts"),
    [
        (0, 100, True, (0, 96, 4)),
        (8, 100, True, (6, 80, 14)),
        (16, 100, True, (4, 96, 0)),
        (24, 100, True, (2, 96, 2)),
        (24, 2, True, (2, 0, 0)),
        (8, 6, True, (6, 0, 0)),
        (0, 15, True, (0, 0, 15)),
        (8, 100, False, (100, 0, 0)),
        (0, 0, True, (0, 0, 0)),
    ],
)
def test_how_lclusters_are_shared_out_to_packs(
    begin: int, total: int, two_byte: bool, counts: tuple[int, int, int]
) -> None:
    assert compact_counts(begin, total, two_byte) == counts


# -- encoded extents -----------------------------------------------------------------------------------


@st.composite
def encoded(draw: st.DrawFn) -> list[ExtentRecord]:
    found = []
    logical, physical = 0, draw(st.integers(0, 1 << 47))
    for length in draw(st.lists(st.integers(0, (1 << 21) - 1), max_size=30)):
        algorithm = draw(st.sampled_from([None, 0, 1, 2, 3])) if length else None
        found.append(ExtentRecord(logical, physical, length, algorithm, draw(st.booleans())))
        logical += draw(st.integers(1, 1 << 33))
        physical += length
    return found


@given(encoded(), st.sampled_from([8, 16, 32]))
def test_encoded_extents_read_back(extents: list[ExtentRecord], record: int) -> None:
    packed = pack_extents(extents, record)
    assert len(packed) == record * len(extents)
    for number, extent in enumerate(extents):
        words = struct.unpack_from(f"<{record // 4}I", packed, number * record)
        assert words[0] & (1 << 21) - 1 == extent.length
        assert words[0] >> 28 == (0 if extent.algorithm is None else extent.algorithm + 1)
        assert bool(words[0] >> 27 & 1) == extent.partial
        assert words[0] >> 21 & 0x3F == 0
        assert words[1] == extent.physical & 0xFFFF_FFFF
        if record >= 16:
            assert words[2] == extent.physical >> 32
            assert words[3] == extent.logical & 0xFFFF_FFFF
        if record == 32:
            assert words[4:] == (extent.logical >> 32, 0, 0, 0)


@given(encoded())
def test_lengths_alone_follow_one_address(extents: list[ExtentRecord]) -> None:
    start = extents[0].physical if extents else 0
    words = [plen_word(e.length, e.algorithm, e.partial) for e in extents]
    packed = pack_lengths(start, words)
    assert struct.unpack_from("<Q", packed)[0] == start
    assert list(struct.unpack_from(f"<{len(words)}I", packed, 8)) == words
    assert len(packed) == 8 + 4 * len(words)
