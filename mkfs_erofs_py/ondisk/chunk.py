"""Chunk maps: 4-byte block maps and 8-byte indexes that name a device."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from .structure import Structure

__all__ = ["BLOCK_BITS_MASK", "FORMAT_48BIT", "FORMAT_INDEXES", "HOLE", "ChunkFormat", "pack_chunks", "unpack_chunks"]

#: The format word: log2 of blocks a chunk, whether entries are 8-byte indexes, whether their addresses have 48 bits.
BLOCK_BITS_MASK = 0x1F
FORMAT_INDEXES = 0x20
FORMAT_48BIT = 0x40
#: The block address that marks a hole, as `unpack_chunks` reports it.
HOLE = -1
_INDEX = Structure(
    8,
    (0x00, "H", "block_high", "bits 32 to 47 of the block, where addresses have 48 bits"),
    (0x02, "H", "device", "0 for the image itself, else the number of its extra device"),
    (0x04, "I", "block_low", "the chunk's first block; all ones (of 32 or 48 bits) for a hole"),
).struct


@dataclass(frozen=True, slots=True)
class ChunkFormat:
    """What an inode's ``u`` says of its chunks: log2 of blocks a chunk, entry form, 48-bit addresses."""

    chunk_bits: int
    indexes: bool = False
    wide: bool = False

    @property
    def entry_size(self) -> int:
        """Bytes of an entry, which is also the map's alignment."""
        return 8 if self.indexes else 4

    def pack(self) -> int:
        """Return the format word."""
        return self.chunk_bits | (FORMAT_INDEXES if self.indexes else 0) | (FORMAT_48BIT if self.wide else 0)

    @classmethod
    def unpack(cls, word: int) -> ChunkFormat:
        """Read the format word; unknown bits are the caller's business."""
        return cls(word & BLOCK_BITS_MASK, bool(word & FORMAT_INDEXES), bool(word & FORMAT_48BIT))


def pack_chunks(form: ChunkFormat, chunks: Iterable[tuple[int, int]]) -> bytes:
    """Return the map for (device id, block) pairs, block `HOLE` for a hole."""
    if not form.indexes:
        return b"".join(struct.pack("<I", block & 0xFFFF_FFFF) for _, block in chunks)
    high_mask = 0xFFFF if form.wide else 0
    return b"".join(_INDEX.pack(block >> 32 & high_mask, device, block & 0xFFFF_FFFF) for device, block in chunks)


def unpack_chunks(data: bytes | memoryview, form: ChunkFormat) -> list[tuple[int, int]]:
    """Read a whole map -> (device id, block) pairs; a hole's block is `HOLE`.

    All ones over 32 bits (48 with the wide format) are a hole; device ids come unmasked.
    """
    if not form.indexes:
        return [(0, HOLE if block == 0xFFFF_FFFF else block) for (block,) in struct.iter_unpack("<I", data)]
    hole = 0xFFFF_FFFF_FFFF if form.wide else 0xFFFF_FFFF
    out = []
    for high, device, low in _INDEX.iter_unpack(data):
        block = low | (high << 32 if form.wide else 0)
        out.append((device, HOLE if block == hole else block))
    return out
