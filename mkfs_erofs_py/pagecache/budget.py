"""The budget: which runs are resident, which go when there is no room, and how many pages there are in all."""

from __future__ import annotations

from collections import OrderedDict

from .counters import Tally
from .fetcher import PAGE
from .mapping import SharedFile
from .run import PageRun

__all__ = ["MAX_RUN", "PageBudget"]

MAX_RUN = 256
"""Pages filled at most in one go, 1 MiB: the largest physical cluster there is."""


class PageBudget:
    """The resident runs in the order of their use, under a ``limit`` in bytes (``None``: there is none).

    ``resident + reserved <= limit`` holds at every moment: room for a fill is reserved before the fill begins.
    Pinned runs (a view of them is held) stay and stay accounted, even after they were taken out of their file.

    Not locked: every method is to be called under the lock of the cache.
    """

    def __init__(self, budget: int | None) -> None:
        self.limit = budget
        # A budget holds eight runs or more, so that evicting one gives up little.
        self.most = MAX_RUN if budget is None else max(1, min(MAX_RUN, budget // PAGE // 8))
        self.resident = 0  # pages, those of runs that are gone but pinned included
        self.reserved = 0  # pages being filled
        self._used: OrderedDict[PageRun, SharedFile] = OrderedDict()
        self._gone: list[PageRun] = []  # out of their files, still pinned

    def install(self, file: SharedFile, first: int, data: bytearray, tally: Tally) -> None:
        """Make ``data`` the pages of ``file`` from ``first`` on, which are absent."""
        run = PageRun(first, data, tally)
        file.table.update(dict.fromkeys(range(first, run.stop), run))
        file.resident += run.count
        self.resident += run.count
        self._used[run] = file

    def touch(self, run: PageRun) -> None:
        """Note that a resident run was used just now."""
        self._used.move_to_end(run)

    def remove(self, run: PageRun) -> None:
        """Take a run out of its file; a pinned one stays accounted until it is let go."""
        file = self._used.pop(run)
        for page in range(run.first, run.stop):
            del file.table[page]
        file.resident -= run.count
        if run.free():
            self.resident -= run.count
        else:
            self._gone.append(run)

    def drop(self, file: SharedFile, first: int, stop: int) -> None:
        """Give up the unpinned pages of ``file`` from ``first`` to ``stop``.

        A run is freed as a whole, so what it has outside of the range is copied, or given up too if there is no room.
        """
        for run in file.runs_within(first, stop):
            rest = [(a, bytearray(run.view(a, b))) for a, b in self._copied(run.outside(first, stop))]
            if not run.free():
                continue
            before = file.resident
            self.remove(run)
            for page, data in rest:
                self.install(file, page, data, run.tally)
            run.tally.add(drops=before - file.resident)

    def _copied(self, parts: list[tuple[int, int]]) -> list[tuple[int, int]]:
        copied = sum(b - a for a, b in parts)
        fits = self.limit is None or (self.resident + self.reserved + copied) * PAGE <= self.limit
        return parts if fits else []

    def sweep(self) -> None:
        """Stop accounting for runs that were pinned when they were removed and are let go now."""
        still = [run for run in self._gone if not run.free()]
        self.resident -= sum(run.count for run in self._gone) - sum(run.count for run in still)
        self._gone = still

    def make_room(self, pages: int) -> tuple[int, list[SharedFile]]:
        """Evict what was used longest ago until ``pages`` fit -> how many fit now, files that lost a run.

        Fewer fit where nothing more can go. The caller is to forget those of the files that have become idle.
        """
        if self.limit is None:
            return pages, []
        if self._gone:
            self.sweep()
        limit = self.limit // PAGE
        losers = []
        for _ in range(len(self._used)):
            if self.resident + self.reserved + pages <= limit:
                break
            run, file = next(iter(self._used.items()))
            if not run.free():
                self.touch(run)  # somebody looks at it: as good as used just now
                continue
            self.remove(run)
            run.tally.add(evictions=run.count)
            losers.append(file)
        return max(0, min(pages, limit - self.resident - self.reserved)), losers
