"""A page run: resident pages that stand one behind the other in one piece of memory."""

from __future__ import annotations

from .counters import Tally
from .fetcher import PAGE

__all__ = ["PageRun"]


class PageRun:
    """A run of resident pages, from page ``first`` of a file on. ``tally`` is that of the image that filled it.

    Memory is pinned by the buffer protocol itself: a ``bytearray`` refuses to be cleared while any
    memoryview of it, or slice of one, is held anywhere. So handing out a view needs no
    bookkeeping, and reuse of memory that somebody still looks at is impossible, not just avoided.

    Nothing but ``free`` changes a run, and nobody writes to its memory: looking at it needs no lock. `free` and
    `view` must not race, since a run that was freed has no pages to view: call both under the cache's lock.
    """

    __slots__ = ("count", "data", "first", "tally")

    def __init__(self, first: int, data: bytearray, tally: Tally) -> None:
        self.first = first
        self.count = -(-len(data) // PAGE)
        self.data = data
        self.tally = tally

    @property
    def stop(self) -> int:
        """The page behind the last."""
        return self.first + self.count

    def view(self, page: int, stop: int) -> memoryview:
        """Return the pages from ``page`` to ``stop`` or this run's end, read-only and pinned."""
        base = self.first
        return memoryview(self.data).toreadonly()[(page - base) * PAGE : (stop - base) * PAGE]

    def outside(self, first: int, stop: int) -> list[tuple[int, int]]:
        """Return the parts of this run, as (first page, page behind the last), that lie outside of a range."""
        return [(a, b) for a, b in ((self.first, first), (stop, self.stop)) if a < b]

    def free(self) -> bool:
        """Give the memory back; ``False`` if somebody still holds a view of it."""
        try:
            self.data.clear()
        except BufferError:
            return False
        return True
