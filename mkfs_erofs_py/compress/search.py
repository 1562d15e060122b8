"""Filling an output of given size with a library that has no such call: a search in few tries."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

__all__ = ["FillSearch"]

_FIRST_RATIO = 3.0
_TRIES = 4
# A pcluster this full, of 1024 parts, ends the search.
_FULL_ENOUGH = 1004


class FillSearch:
    """Finds the longest prefix, or nearly, whose stream fits; learns the ratio from fill to fill.

    ``compress(dst, room, src, length)`` compresses exactly ``length`` bytes and returns the size of
    the stream, or any number above ``room`` where it does not fit.
    """

    def __init__(self, compress: Callable[[int, int, int, int], int], max_output: int) -> None:
        self._compress = compress
        # A try that is too long by a little tells by how much only if it has room to end.
        self._room = max_output + max_output // 4
        self._scratch = ctypes.create_string_buffer(self._room)
        self._scratch_at = ctypes.addressof(self._scratch)
        self._ratio = _FIRST_RATIO

    def forget(self) -> None:
        """Expect a ratio of three again, as for the first fill of all."""
        self._ratio = _FIRST_RATIO

    def fill(self, src: int, src_len: int, dst: int, dst_len: int) -> tuple[int, int]:
        """See Encoder.fill."""
        compress, scratch = self._compress, self._scratch_at
        room = min(self._room, dst_len + dst_len // 4)
        enough = dst_len * _FULL_ENOUGH >> 10
        best = produced = 0
        limit = src_len + 1  # the shortest prefix known not to fit
        length = int(dst_len * self._ratio)
        for _ in range(_TRIES):
            length = min(max(length, best + 1), limit - 1)
            size = compress(scratch, room, src, length)
            if size <= dst_len:
                ctypes.memmove(dst, scratch, size)
                best, produced = length, size
                if length + 1 >= limit or size >= enough:
                    break
                length = int((dst_len - 4) * length / size * 0.998)
            else:
                limit = length
                length = int(dst_len * length / size * 0.99) if size <= room else length * 7 // 10
                if length <= best:
                    break
        if not produced:
            return limit - 1, 0
        self._ratio = best / produced
        return best, produced
