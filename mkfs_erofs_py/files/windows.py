"""Small reads that lie close together, answered from few large ones: how an image's metadata is read.

A window is 16 KiB of a file at a multiple of that; the newest 512 are kept, 8 MiB. Measured on metadata in the page
cache: a window costs as little as three reads of a single inode, and a walk through an image meets a hundred inodes in
one. Larger windows make random reads of large indexes slower, and walks no faster.
"""

from __future__ import annotations

import threading

from ..errors import ErofsError
from .read_at import Buffer, ReadAt

__all__ = ["MOST_WINDOWS", "WINDOW", "WINDOW_BITS", "Windows"]

WINDOW_BITS = 14
WINDOW = 1 << WINDOW_BITS
MOST_WINDOWS = 512


class Windows:
    """The windows on one source. Threads share it: what two of them load at once is kept once.

    ``whole`` are the windows by number, but for a shorter one at the source's end. Whoever reads a lot looks there
    first: bytes ``offset`` to ``offset + length`` lie in ``whole.get(offset >> WINDOW_BITS)`` from
    ``offset & WINDOW - 1`` on if that sum does not exceed `WINDOW`; for the rest there is :meth:`view`.
    What a window held before its file was cut short may be answered afterwards.
    """

    def __init__(self, source: ReadAt) -> None:
        self._source = source
        self._size = source.size
        self._lock = threading.Lock()
        self.whole: dict[int, Buffer] = {}
        self._last: Buffer = b""

    def view(self, offset: int, length: int) -> tuple[Buffer, int]:
        """Return ``(buffer, at)`` such that ``buffer[at:at+length]`` are the bytes from ``offset``.

        Bytes that fit no window are read by themselves. Raises what :meth:`ReadAt.read_at` does.
        """
        number, at = offset >> WINDOW_BITS, offset & WINDOW - 1
        if at + length <= WINDOW and 0 <= offset <= self._size - length:
            held = self.whole.get(number) or self._load(number)
            if held:
                return held, at
        return self._source.read_at(offset, length), 0

    def _load(self, number: int) -> Buffer:
        """Return a window, empty where it cannot be read: perhaps the bytes that are wanted can."""
        start = number << WINDOW_BITS
        if start + WINDOW > self._size:
            if not self._last:
                self._last = self._read(start, self._size - start)
            return self._last
        held = self._read(start, WINDOW)
        if held:
            with self._lock:
                self.whole[number] = held
                if len(self.whole) > MOST_WINDOWS:
                    del self.whole[next(iter(self.whole))]
        return held

    def _read(self, start: int, length: int) -> Buffer:
        try:
            return self._source.read_at(start, length)
        except ErofsError:
            return b""

    def clear(self) -> None:
        """Let go of all windows."""
        with self._lock:
            self.whole.clear()
            self._last = b""
