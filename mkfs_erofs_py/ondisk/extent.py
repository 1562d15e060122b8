"""Encoded extents (48-bit layout): byte-addressed pieces, back to back, in records of 4 to 32 bytes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "PLEN_FORMAT_SHIFT",
    "PLEN_MASK",
    "PLEN_PARTIAL",
    "RECORD_SIZES",
    "ExtentRecord",
    "pack_extents",
    "pack_lengths",
    "plen_word",
]

RECORD_SIZES = (4, 8, 16, 32)
PLEN_MASK = (1 << 21) - 1
PLEN_PARTIAL = 1 << 27
PLEN_FORMAT_SHIFT = 28
_LOW = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class ExtentRecord:
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
    short, long = struct.Struct("<IIII"), struct.Struct("<IIIII12x")
    return b"".join(
        short.pack(w, e.physical & _LOW, e.physical >> 32, e.logical & _LOW)
        if record_size == 16
        else long.pack(w, e.physical & _LOW, e.physical >> 32, e.logical & _LOW, e.logical >> 32)
        for e, w in zip(extents, words, strict=True)
    )
