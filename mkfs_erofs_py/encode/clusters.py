"""A content as block-aligned physical clusters, each filled with as much data as goes in."""

from __future__ import annotations

import ctypes
from array import array

from ..compress import Encoder
from ..ondisk.constants import MAX_DECODED
from .encoded import PLAIN, Spans

__all__ = ["LclusterPacker"]

#: After tries that failed, the most blocks that are stored plain before the next try.
_MAX_SKIP = 16


class _Columns:
    """Spans in the making."""

    __slots__ = ("kinds", "lengths", "stored")

    def __init__(self) -> None:
        self.lengths = array("I")
        self.stored = array("I")
        self.kinds = bytearray()

    def add(self, length: int, stored: int, kind: int) -> None:
        self.lengths.append(length)
        self.stored.append(stored)
        self.kinds.append(kind)

    def drop(self, end: int, out: int) -> tuple[int, int]:
        """Take off the last span, which ends at ``end`` in the segment and ``out`` in the output -> where it began."""
        del self.kinds[-1:]
        return end - self.lengths.pop(), out - self.stored.pop()

    def spans(self) -> Spans:
        return Spans(self.lengths, self.stored, bytes(self.kinds))


class LclusterPacker:
    """Block-aligned pclusters of at most ``pcluster`` bytes, each holding as much data as fits.

    A stream stands at the end of its pcluster, behind zeros; plain data takes a block each.

    Every span but a content's last decodes to at least as many bytes as it takes, since Linux from 7.1 on calls others
    corrupt. So each covers at least one lcluster, and no two begin in the same one.
    """

    def __init__(self, encoder: Encoder, block_bits: int, pcluster: int) -> None:
        self._encoder = encoder
        self._algorithm = int(encoder.record.algorithm)
        self._bits = block_bits
        self._pcluster = pcluster

    def pack(self, src: int, size: int, dst: int, final: bool) -> tuple[Spans, int]:
        """See `Packer.pack`; a segment that is not final is a multiple of the block size."""
        fill = self._encoder.fill
        bits, limit = self._bits, self._pcluster
        block = 1 << bits
        made_of = _Columns()
        position = out = 0
        skip = 1
        self._encoder.begin_file()
        while position < size:
            left = size - position
            room = min(limit, (left + block - 1 >> bits) << bits)
            taken, made = fill(src + position, min(left, MAX_DECODED), dst + out, room)
            blocks = made + block - 1 >> bits
            used = blocks << bits
            if made and (taken > used or (final and taken == left and blocks < left + block - 1 >> bits)):
                self._align(dst + out, made, used)
                made_of.add(taken, used, self._algorithm)
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
                self._plain(made_of, src + position, length, dst + out)
                position += length
                out += block
            skip = min(2 * skip, _MAX_SKIP)
        if not final:
            out = self._mend_end(made_of, src, size, dst, out)
        return made_of.spans(), out

    def _plain(self, made_of: _Columns, src: int, length: int, dst: int) -> None:
        ctypes.memmove(dst, src, length)
        if length < 1 << self._bits:
            ctypes.memset(dst + length, 0, (1 << self._bits) - length)
        made_of.add(length, 1 << self._bits, PLAIN)

    def _mend_end(self, made_of: _Columns, src: int, size: int, dst: int, out: int) -> int:
        """Have the last span of a segment that is not final decode to what it takes -> bytes written.

        Where it is too short, give up spans from the end until one can be shortened such that whole plain blocks fill
        the rest. At worst the whole segment becomes plain blocks, of whose size it is a multiple.
        """
        bits = self._bits
        block = 1 << bits
        if made_of.lengths[-1] >= made_of.stored[-1]:
            return out
        end, out = made_of.drop(size, out)
        while (size - end) % block:
            stop = end
            end, out = made_of.drop(end, out)
            length = stop - end - block + (size - stop) % block
            made = self._encoder.piece(src + end, length, dst + out, length) if length > block else 0
            blocks = made + block - 1 >> bits
            if made and blocks << bits < length and blocks << bits <= self._pcluster:
                self._align(dst + out, made, blocks << bits)
                made_of.add(length, blocks << bits, self._algorithm)
                end += length
                out += blocks << bits
        for start in range(end, size, block):
            self._plain(made_of, src + start, block, dst + out)
            out += block
        return out

    @staticmethod
    def _align(dst: int, made: int, used: int) -> None:
        """Move a stream of ``made`` bytes to the end of its ``used`` bytes, zeros in front."""
        if made < used:
            ctypes.memmove(dst + used - made, dst, made)
            ctypes.memset(dst, 0, used - made)
