"""A compressed file's index: how many bytes it takes where, and those bytes."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import NamedTuple

from ..encode.encoded import HOLE, PLAIN, Spans
from ..encode.encoding import Encoding, IndexForm
from ..ondisk.extent import ExtentRecord, pack_extents, pack_lengths, plen_word
from ..ondisk.lcluster import (
    COMPACT_2B_MAX_BITS,
    HEADER_SIZE,
    LCLUSTER_HEAD1,
    LCLUSTER_PLAIN,
    RECORD_SIZE,
    Advise,
    MapHeader,
    compact_size,
    full_size,
    pack_compact,
    pack_full,
)
from ..ondisk.rounding import round_up
from .area import Placed

__all__ = ["IndexPlaces", "index_bytes", "index_places", "index_size"]

#: The most records of encoded extents that are written without addresses. A reader then has to add up the lengths of
#: all in front of the one it wants.
_ADDRESSLESS = 32
#: Records have addresses of 32 bits where the file's data ends at or before this offset in the image, and whole ones
#: otherwise. Whole ones go with starts of 32 bits while the file is no larger than this.
_LOW = 1 << 32


def index_size(placed: Placed, at: int) -> int:
    """Return the bytes from the absolute offset ``at``, where inode and xattrs end, to the index's end."""
    encoding, size = placed.key.encoding, placed.key.size
    begin = round_up(at, 8)
    if encoding.index is IndexForm.COMPACT:
        return begin - at + compact_size(begin + HEADER_SIZE, size, encoding.block_bits, _two_byte(encoding))
    if encoding.index is IndexForm.FULL:
        return begin - at + full_size(size, encoding.block_bits)
    assert placed.spans is not None
    record = _record_size(placed, placed.spans)
    table = round_up(begin + HEADER_SIZE, record)
    return table - at + record * len(placed.addresses) + (8 if record == 4 else 0)


class IndexPlaces(NamedTuple):
    """Where the parts of an index stand, as absolute offsets.

    ``records`` is where the first record or pack is, ``record`` the bytes of a record (0 for packs), ``end`` where the
    index ends.
    """

    header: int
    records: int
    record: int
    end: int


def index_places(placed: Placed, at: int) -> IndexPlaces:
    """Return where the parts of the index are that `index_size` measures."""
    begin, end = round_up(at, 8), at + index_size(placed, at)
    index = placed.key.encoding.index
    if index is IndexForm.EXTENTS:
        assert placed.spans is not None
        record = _record_size(placed, placed.spans)
        return IndexPlaces(begin, end - record * len(placed.addresses), record, end)
    if index is IndexForm.FULL:
        return IndexPlaces(begin, begin + HEADER_SIZE + 8, RECORD_SIZE, end)
    return IndexPlaces(begin, begin + HEADER_SIZE, 0, end)


def index_bytes(placed: Placed, at: int) -> bytes:
    """Return the bytes that `index_size` measures."""
    encoding, size = placed.key.encoding, placed.key.size
    assert encoding.compressor is not None
    assert placed.spans is not None
    begin = round_up(at, 8)
    lead = bytes(begin - at)
    if encoding.index is IndexForm.EXTENTS:
        return lead + _extents(placed, placed.spans, begin + HEADER_SIZE)
    algorithm = int(encoding.compressor.algorithm)
    advise = Advise.BIG_PCLUSTER_1 | Advise.BIG_PCLUSTER_2 if encoding.big else 0
    pclusters = _pclusters(placed.spans, placed.addresses, encoding.block_bits)
    if encoding.index is IndexForm.FULL:
        return lead + pack_full(MapHeader(advise, algorithm), pclusters, size, encoding.block_bits, encoding.big)
    header = MapHeader(advise | (Advise.COMPACTED_2B if _two_byte(encoding) else 0), algorithm)
    return lead + pack_compact(header, pclusters, size, encoding.block_bits, begin + HEADER_SIZE)


def _two_byte(encoding: Encoding) -> bool:
    return encoding.block_bits <= COMPACT_2B_MAX_BITS


#: Kinds of spans -> types of heads.
_HEADS = bytes(LCLUSTER_PLAIN if kind == PLAIN else LCLUSTER_HEAD1 for kind in range(256))


def _pclusters(spans: Spans, addresses: array[int], bits: int) -> Iterator[tuple[int, int, int, int]]:
    """Return what `Pcluster` has of each span."""
    blocks = [address >> bits for address in addresses]
    counts = [stored >> bits for stored in spans.stored]
    return zip(spans.lengths, spans.kinds.translate(_HEADS), blocks, counts, strict=True)


def _record_size(placed: Placed, spans: Spans) -> int:
    if len(placed.addresses) <= _ADDRESSLESS:
        return 4
    if placed.addresses[-1] + spans.stored[-1] <= _LOW:
        return 8
    return 16 if placed.key.size <= _LOW else 32


def _extents(placed: Placed, spans: Spans, end: int) -> bytes:
    """Return header and records; ``end`` is the absolute offset behind the header."""
    encoding = placed.key.encoding
    assert encoding.compressor is not None
    record = _record_size(placed, spans)
    advise = Advise.EXTENTS | (record.bit_length() - 3) << Advise.EXTENT_SIZE_SHIFT
    bits = encoding.pcluster.bit_length() - 1 - encoding.block_bits
    algorithm = int(encoding.compressor.algorithm)
    if record == 4:
        words = [
            plen_word(stored, None if kind in (PLAIN, HOLE) else kind)
            for stored, kind in zip(spans.stored, spans.kinds, strict=True)
        ]
        return MapHeader(advise, algorithm, bits).pack() + pack_lengths(placed.addresses[0], words)
    records = []
    start = 0
    for length, stored, kind, address in zip(spans.lengths, spans.stored, spans.kinds, placed.addresses, strict=True):
        # A hole's address means nothing; zero keeps the same content's bytes the same.
        where = 0 if kind == HOLE else address
        records.append(ExtentRecord(start, where, stored, None if kind in (PLAIN, HOLE) else kind))
        start += length
    if record == 8:
        header = MapHeader(advise, algorithm, bits).pack()
    else:
        # The count's high half shares its place with algorithms and cluster bits, which have no use here.
        header = MapHeader(advise, 0, 0, len(records)).pack()
    return header + bytes(round_up(end, record) - end) + pack_extents(records, record)
