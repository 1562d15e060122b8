"""A content's bytes in memory become pieces: compressed or plain, block-aligned or back to back.

Nothing here knows where in the image the pieces will lie. Addresses are raw (``int``), since a
large tree takes a hundred thousand calls into the compressors.
"""

from __future__ import annotations

import ctypes
from array import array
from typing import Protocol

from ..compress import Encoder
from ..ondisk.constants import LZ4_MAX_BLOCKS, MAX_DECODED, MAX_ENCODED, Algorithm
from ..ondisk.extent import PLEN_FORMAT_SHIFT, plen_word
from ..ondisk.lcluster import LCLUSTER_HEAD1, LCLUSTER_PLAIN

__all__ = ["TYPE_SHIFT", "ExtentPacker", "LclusterPacker", "Packer"]

#: In a packed piece of `LclusterPacker`: the head's type stands above its decoded length.
TYPE_SHIFT = 28
#: Most plain blocks written in a row without another try, where the tries before all failed.
_MAX_SKIP = 16
_LENGTH = (1 << TYPE_SHIFT) - 1


class Packer(Protocol):
    """Packs one segment of a content; the same bytes give the same pieces in every process."""

    def pack(self, src: int, size: int, dst: int, final: bool) -> tuple[array[int], int]:
        """Pack ``size`` bytes at ``src`` to ``dst`` -> pieces, bytes written.

        ``final`` tells whether the content ends here. ``dst`` has room for ``size`` bytes and one pcluster more.
        """
        ...


class LclusterPacker:
    """Block-aligned pclusters of at most ``pcluster`` bytes, each holding as much data as fits.

    Pieces are pairs: decoded length with the head type above it, and blocks taken. A stream stands
    at the end of its pcluster, behind zeros; plain data takes a block each.

    Every extent but a content's last decodes to at least what it takes (Linux 7.1 on calls others
    corrupt), hence to at least one lcluster, so that no two start in the same one.
    """

    def __init__(self, encoder: Encoder, block_bits: int, pcluster: int) -> None:
        self._encoder = encoder
        self._bits = block_bits
        self._pcluster = pcluster

    def pack(self, src: int, size: int, dst: int, final: bool) -> tuple[array[int], int]:
        """See `Packer.pack`; a segment that is not final is a multiple of the block size."""
        fill = self._encoder.fill
        bits, limit = self._bits, self._pcluster
        block = 1 << bits
        pieces = array("I")
        position = out = 0
        skip = 1
        head = LCLUSTER_HEAD1 << TYPE_SHIFT
        self._encoder.begin_file()
        while position < size:
            left = size - position
            room = min(limit, (left + block - 1 >> bits) << bits)
            taken, made = fill(src + position, min(left, MAX_DECODED), dst + out, room)
            blocks = made + block - 1 >> bits
            used = blocks << bits
            if made and (taken > used or (final and taken == left and blocks < left + block - 1 >> bits)):
                self._align(dst + out, made, used)
                pieces.extend((taken | head, blocks))
                position += taken
                out += used
                skip = 1
                continue
            # What a fill could not shrink is stored as it is, together with ever more of what
            # follows while tries keep failing: each costs as much as a successful one.
            for _ in range(max(skip, taken >> bits)):
                length = min(block, size - position)
                if not length:
                    break
                self._plain(pieces, src + position, length, dst + out)
                position += length
                out += block
            skip = min(2 * skip, _MAX_SKIP)
        if not final:
            out = self._mend_end(pieces, src, size, dst, out)
        return pieces, out

    def _plain(self, pieces: array[int], src: int, length: int, dst: int) -> None:
        ctypes.memmove(dst, src, length)
        if length < 1 << self._bits:
            ctypes.memset(dst + length, 0, (1 << self._bits) - length)
        pieces.extend((length | LCLUSTER_PLAIN << TYPE_SHIFT, 1))

    def _mend_end(self, pieces: array[int], src: int, size: int, dst: int, out: int) -> int:
        """Make the last extent of a segment that is not final decode to what it takes -> bytes written.

        Where it is too short, give up extents from the end until one can be shortened such that
        whole plain blocks fill the rest; at worst the whole segment, which is a multiple of blocks.
        """
        bits = self._bits
        block = 1 << bits
        if pieces[-2] & _LENGTH >= pieces[-1] << bits:
            return out
        end, out = self._drop(pieces, size, out)
        while (size - end) % block:
            stop = end
            end, out = self._drop(pieces, end, out)
            length = stop - end - block + (size - stop) % block
            made = self._encoder.piece(src + end, length, dst + out, length) if length > block else 0
            blocks = made + block - 1 >> bits
            if made and blocks << bits < length and blocks << bits <= self._pcluster:
                self._align(dst + out, made, blocks << bits)
                pieces.extend((length | LCLUSTER_HEAD1 << TYPE_SHIFT, blocks))
                end += length
                out += blocks << bits
        for start in range(end, size, block):
            self._plain(pieces, src + start, block, dst + out)
            out += block
        return out

    def _drop(self, pieces: array[int], end: int, out: int) -> tuple[int, int]:
        """Take the last extent off -> where it started, in the segment and in the output."""
        length, blocks = pieces[-2] & _LENGTH, pieces[-1]
        del pieces[-2:]
        return end - length, out - (blocks << self._bits)

    @staticmethod
    def _align(dst: int, made: int, used: int) -> None:
        """Move a stream of ``made`` bytes to the end of its ``used`` bytes, zeros in front."""
        if made < used:
            ctypes.memmove(dst + used - made, dst, made)
            ctypes.memset(dst, 0, used - made)


class ExtentPacker:
    """Byte-packed encoded extents: each ``1 << piece_bits`` bytes of content become one piece.

    Pieces are single words, the ``plen`` of `mkfs_erofs_py.ondisk.extent`; a piece of zeros is a hole.
    """

    def __init__(self, encoder: Encoder, block_bits: int, piece_bits: int) -> None:
        self._encoder = encoder
        self._piece = 1 << piece_bits
        self._zeros = bytes(self._piece)
        # Unaligned, a stream may reach into one block more; readers count 1 MiB of blocks at most.
        self._most = MAX_ENCODED - (1 << block_bits)
        if encoder.record.algorithm is Algorithm.LZ4:
            self._most = min(self._most, (LZ4_MAX_BLOCKS - 1) << block_bits)
        # A stream this short can only be one long repetition, so it is worth a look whether of zeros.
        self._suspicious = 64 + (self._piece >> 7)

    def pack(self, src: int, size: int, dst: int, final: bool) -> tuple[array[int], int]:  # noqa: ARG002 - pieces end alike
        """See `Packer.pack`."""
        encode = self._encoder.piece
        step = self._piece
        form = plen_word(1, self._encoder.record.algorithm) & ~1
        assert form >> PLEN_FORMAT_SHIFT
        pieces = array("I")
        out = 0
        self._encoder.begin_file()
        for position in range(0, size, step):
            length = min(step, size - position)
            made = encode(src + position, length, dst + out, min(length - 1, self._most))
            if not made:
                ctypes.memmove(dst + out, src + position, length)
                pieces.append(length)
                out += length
            elif made <= self._suspicious and ctypes.string_at(src + position, length) == self._zeros[:length]:
                pieces.append(0)
            else:
                pieces.append(made | form)
                out += made
        return pieces, out
