"""A compressed file's index: how many bytes it takes where, and those bytes."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from ..compress import CompressorSpec
from ..encode.packer import TYPE_SHIFT
from ..encode.packing import IndexForm, Packing
from ..ondisk.constants import Layout
from ..ondisk.extent import PLEN_FORMAT_SHIFT, PLEN_MASK, EncodedExtent, pack_extents, pack_lengths
from ..ondisk.lcluster import (
    COMPACT_2B_MAX_BITS,
    HEADER_SIZE,
    Advise,
    Extent,
    MapHeader,
    compact_size,
    full_size,
    pack_compact,
    pack_full,
)

__all__ = ["index_bytes", "index_layout", "index_size"]

#: Records of encoded extents: without addresses up to so many, since a reader adds up lengths from the
#: first on; with low addresses while the data ends below 4 GiB; with whole ones behind.
_ADDRESSLESS = 32
_LOW = 1 << 32


def index_layout(packing: Packing) -> Layout:
    """Return the layout that compressed inodes of a profile have."""
    return Layout.COMPRESSED_COMPACT if packing.index is IndexForm.COMPACT else Layout.COMPRESSED_FULL


def index_size(packing: Packing, pieces: bytes, start: int, size: int, at: int) -> int:
    """Return the bytes from the absolute offset ``at``, where inode and xattrs end, to the index's end.

    ``start`` is where the content's ``size`` bytes are stored, as ``pieces``.
    """
    begin = _up(at, 8)
    if packing.index is IndexForm.COMPACT:
        return begin - at + compact_size(begin + HEADER_SIZE, size, packing.block_bits, _two_byte(packing))
    if packing.index is IndexForm.FULL:
        return begin - at + full_size(size, packing.block_bits)
    record = _record_size(pieces, start, size)
    table = _up(begin + HEADER_SIZE, record)
    return table - at + record * (len(pieces) // 4) + (8 if record == 4 else 0)


def index_bytes(packing: Packing, pieces: bytes, start: int, size: int, at: int) -> bytes:
    """Return the bytes that `index_size` measures."""
    assert packing.compressor is not None
    begin = _up(at, 8)
    lead = bytes(begin - at)
    if packing.index is IndexForm.EXTENTS:
        return lead + _encoded(packing, packing.compressor, pieces, start, size, begin + HEADER_SIZE)
    advise = Advise.BIG_PCLUSTER_1 | Advise.BIG_PCLUSTER_2 if packing.big else 0
    extents = _extents(pieces, start >> packing.block_bits)
    if packing.index is IndexForm.FULL:
        header = MapHeader(advise, packing.compressor.algorithm)
        return lead + pack_full(header, extents, size, packing.block_bits, packing.big)
    header = MapHeader(advise | (Advise.COMPACTED_2B if _two_byte(packing) else 0), packing.compressor.algorithm)
    return lead + pack_compact(header, extents, size, packing.block_bits, begin + HEADER_SIZE)


def _two_byte(packing: Packing) -> bool:
    return packing.block_bits <= COMPACT_2B_MAX_BITS


def _extents(pieces: bytes, block: int) -> Iterator[Extent]:
    words = array("I", pieces)
    for word, blocks in zip(words[::2], words[1::2], strict=True):
        yield Extent(word & (1 << TYPE_SHIFT) - 1, word >> TYPE_SHIFT, block, blocks)
        block += blocks


def _record_size(pieces: bytes, start: int, size: int) -> int:
    count = len(pieces) // 4
    if count <= _ADDRESSLESS:
        return 4
    if start + sum(word & PLEN_MASK for word in array("I", pieces)) <= _LOW:
        return 8
    return 16 if size <= _LOW else 32


def _encoded(packing: Packing, spec: CompressorSpec, pieces: bytes, start: int, size: int, end: int) -> bytes:
    """Return header and records; ``end`` is the absolute offset behind the header."""
    words = array("I", pieces)
    record = _record_size(pieces, start, size)
    advise = Advise.EXTENTS | (record.bit_length() - 3) << Advise.EXTENT_SIZE_SHIFT
    bits = packing.pcluster.bit_length() - 1 - packing.block_bits
    if record == 4:
        return MapHeader(advise, spec.algorithm, bits).pack() + pack_lengths(start, words)
    extents = []
    physical = start
    for number, word in enumerate(words):
        length = word & PLEN_MASK
        form = word >> PLEN_FORMAT_SHIFT
        # A hole's address means nothing; zero keeps the same content's bytes the same.
        where = physical if length else 0
        extents.append(EncodedExtent(number * packing.pcluster, where, length, form - 1 if form else None))
        physical += length
    if record == 8:
        header = MapHeader(advise, spec.algorithm, bits).pack()
    else:
        # The count's high half shares its place with algorithms and cluster bits, which have no use here.
        header = MapHeader(advise, 0, 0, len(words)).pack()
    return header + bytes(_up(end, record) - end) + pack_extents(extents, record)


def _up(value: int, unit: int) -> int:
    return -(-value // unit) * unit
