"""Filling an output of given size with a library that has no such call: a search in few tries."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

__all__ = ["FillSearch"]

_FIRST_RATIO = 3.0

# Chosen on 175 MB of Debian's /usr with zstd level 3 at 4 KiB: 2.14 tries a pcluster and 1.0% more
# blocks than filling to the last byte, which takes eight. Ending after two tries that fit saves 7% of
# the time for 1.1% of the blocks; aiming at 0.9 first costs 8% more tries.
_FIRST_AIM = 0.97  # of the output, by the last pcluster's ratio
_AIM = 0.99  # of the output, once the data at hand has been tried
_FULL = 0.97  # of the output: full enough to stop
_FITTING_TRIES = 3
_TRIES = 6
# The first bytes of a stream have no history and compress worse than those at its end: by so much
# the size changes less than the length when the end moves.
_MARGINAL = 0.9


class FillSearch:
    """Finds a prefix, nearly the longest, whose stream fits; learns the ratio from fill to fill.

    ``compress(dst, room, src, length)`` compresses exactly ``length`` bytes and returns the size of
    the stream, or any number above ``room`` where it does not fit.
    """

    def __init__(self, compress: Callable[[int, int, int, int], int], max_output: int) -> None:
        self._compress = compress
        # A try that does not fit the pcluster tells by how much as long as it fits this.
        self._room = 4 * max_output
        self._scratch = ctypes.create_string_buffer(self._room)
        self._scratch_at = ctypes.addressof(self._scratch)
        self._ratio = _FIRST_RATIO

    def forget(self) -> None:
        """Expect a ratio of three again, as for the first fill of all."""
        self._ratio = _FIRST_RATIO

    def fill(self, src: int, src_len: int, dst: int, dst_len: int) -> tuple[int, int]:
        """See Encoder.fill."""
        compress, room, scratch = self._compress, self._room, self._scratch_at
        aim, full = dst_len * _AIM, dst_len * _FULL
        short = produced = 0  # the longest prefix known to fit and its stream's size
        long, excess = src_len + 1, 0  # the shortest known not to fit; its size, where it is known
        length = int(dst_len * self._ratio * _FIRST_AIM)
        tries = fitting = 0
        while True:
            length = min(max(length, short + 1), long - 1)
            size = compress(scratch, room, src, length)
            tries += 1
            if size <= dst_len:
                ctypes.memmove(dst, scratch, size)
                short, produced = length, size
                fitting += 1
                if long <= short + 1 or size >= full or fitting == _FITTING_TRIES:
                    break
            else:
                long, excess = length, size if size <= room else 0
            if tries >= _TRIES and short:
                break
            if short and excess:
                length = short + int((aim - produced) * (long - short) / (excess - produced))
            elif short:
                length = short + int((aim - produced) * short / (produced * _MARGINAL))
            elif excess and tries < _TRIES:
                length = long - int((excess - aim) * long / (excess * _MARGINAL))
            else:
                length = long // 2
            if short:
                if length <= short:
                    break
            elif length <= dst_len:
                # Nothing to gain, unless the line through the origin says otherwise.
                length = int(aim * long / excess) if excess else length
                if length <= dst_len or tries >= _TRIES:
                    return long, 0
        self._ratio = short / produced
        return short, produced
