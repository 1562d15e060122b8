"""A content as encoded extents: pieces packed to the byte."""

from __future__ import annotations

import ctypes
from array import array

from ..compress import Encoder
from ..ondisk.constants import LZ4_MAX_BLOCKS, MAX_ENCODED, Algorithm
from .encoded import HOLE, PLAIN, Spans

__all__ = ["ExtentPacker"]


class ExtentPacker:
    """Byte-packed encoded extents: each ``1 << piece_bits`` bytes of content become one piece.

    A piece of zeros is a hole.
    """

    def __init__(self, encoder: Encoder, block_bits: int, piece_bits: int) -> None:
        self._encoder = encoder
        self._piece = 1 << piece_bits
        self._zeros = bytes(self._piece)
        # Unaligned, a stream may reach into one block more; readers count 1 MiB of blocks at most.
        self._most = MAX_ENCODED - (1 << block_bits)
        if encoder.record.algorithm is Algorithm.LZ4:
            self._most = min(self._most, (LZ4_MAX_BLOCKS - 1) << block_bits)
        # Zeros make no longer stream than this, so of other pieces nobody needs to look whether they are zeros.
        self._suspicious = 64 + (self._piece >> 7)

    def pack(self, src: int, size: int, dst: int, final: bool) -> tuple[Spans, int]:  # noqa: ARG002 - pieces end alike
        """See `Packer.pack`."""
        encode = self._encoder.piece
        step = self._piece
        algorithm = int(self._encoder.record.algorithm)
        lengths, stored, kinds = array("I"), array("I"), bytearray()
        out = 0
        self._encoder.begin_file()
        for position in range(0, size, step):
            length = min(step, size - position)
            made = encode(src + position, length, dst + out, min(length - 1, self._most))
            kind = algorithm
            if not made:
                ctypes.memmove(dst + out, src + position, length)
                made, kind = length, PLAIN
            elif made <= self._suspicious and ctypes.string_at(src + position, length) == self._zeros[:length]:
                made, kind = 0, HOLE
            lengths.append(length)
            stored.append(made)
            kinds.append(kind)
            out += made
        return Spans(lengths, stored, bytes(kinds)), out
