"""Encoded extents (48-bit layout): byte-addressed pieces, back to back, in records of 4 to 32 bytes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from .structure import Structure

__all__ = [
    "EXTENT_FORMS",
    "PLEN_FORMAT_SHIFT",
    "PLEN_MASK",
    "PLEN_PARTIAL",
    "RECORD_SIZES",
    "START_FORM",
    "ExtentRecord",
    "pack_extents",
    "pack_lengths",
    "plen_word",
]

_FIELDS = (
    (0x00, "I", "plen", "bits 0 to 20: bytes stored; bit 27: partial; bits 28 to 31: algorithm + 1, 0 for plain"),
    (0x04, "I", "pstart_low", "address in bytes"),
    (0x08, "I", "pstart_high", "bits 32 to 63 of it"),
    (0x0C, "I", "lstart_low", "the file's byte at which the piece begins"),
    (0x10, "I", "lstart_high", "bits 32 to 63 of it"),
    (0x14, "12x", "", "reserved"),
)
#: The record of each size: each adds to what the one before it has.
EXTENT_FORMS = {size: Structure(size, *_FIELDS[:count]) for size, count in ((4, 1), (8, 2), (16, 4), (32, 6))}
#: What stands in front of records of 4 bytes.
START_FORM = Structure(8, (0x00, "Q", "start", "address of the first piece; the others lie back to back behind it"))
RECORD_SIZES = tuple(EXTENT_FORMS)
PLEN_MASK = (1 << 21) - 1
PLEN_PARTIAL = 1 << 27
PLEN_FORMAT_SHIFT = 28
_LOW = 0xFFFF_FFFF


class ExtentRecord(NamedTuple):
    """One piece: where its decoded bytes start in the file, where its encoded bytes lie in the image.

    ``length`` is the encoded length in bytes (0 a hole), ``algorithm`` ``None`` for plain data.
    """

    logical: int
    physical: int
    length: int
    algorithm: int | None = None
    partial: bool = False


def plen_word(length: int, algorithm: int | None, partial: bool = False) -> int:
    """Return the word of length (bits 0-20), partial flag (27) and algorithm + 1 (28-31, 0 plain)."""
    form = 0 if algorithm is None or not length else algorithm + 1
    return length | (PLEN_PARTIAL if partial else 0) | form << PLEN_FORMAT_SHIFT


def pack_lengths(start: int, words: Sequence[int]) -> bytes:
    """Return 4-byte records: the address of the first piece, then a `plen_word` for each.

    The pieces hold one fixed logical size and lie back to back.
    """
    return struct.pack(f"<Q{len(words)}I", start, *words)


def pack_extents(extents: Sequence[ExtentRecord], record_size: int) -> bytes:
    """Return records of 8, 16 or 32 bytes.

    8: length and low address, for pieces of one fixed logical size. 16 adds the address's high word
    and the logical start, 32 that start's high word.
    """
    words = [plen_word(e.length, e.algorithm, e.partial) for e in extents]
    if record_size == 8:
        pairs = [x for e, w in zip(extents, words, strict=True) for x in (w, e.physical & _LOW)]
        return struct.pack(f"<{len(pairs)}I", *pairs)
    short, long = EXTENT_FORMS[16].struct, EXTENT_FORMS[32].struct
    return b"".join(
        short.pack(w, e.physical & _LOW, e.physical >> 32, e.logical & _LOW)
        if record_size == 16
        else long.pack(w, e.physical & _LOW, e.physical >> 32, e.logical & _LOW, e.logical >> 32)
        for e, w in zip(extents, words, strict=True)
    )
