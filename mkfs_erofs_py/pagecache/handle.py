"""An open file of the cache: reading, viewing, advice and read-ahead."""

from __future__ import annotations

from collections.abc import Hashable
from types import TracebackType
from typing import Self

from ..errors import ErofsError, UsageError
from .fetcher import PAGE, Advice
from .mapping import Mapping
from .store import PageStore

__all__ = ["CachedFile"]

FIRST_WINDOW = 16
"""Pages that the first read of a file fills at least, and every sequential one at first."""

LAST_WINDOW = 256
"""Pages that read-ahead grows to, doubling with each sequential read that misses."""


class CachedFile:
    """One open file. Made by :meth:`~mkfs_erofs_py.pagecache.Tenant.open`; also a context manager.

    Reading, viewing and advising are safe from many threads. What read-ahead remembers (where the
    last read ended, the window) is not locked: threads that race over it only change how much is
    read ahead, never what is read.
    """

    def __init__(self, store: PageStore, mapping: Mapping) -> None:
        self._store = store
        self._mapping = mapping
        self._advice = Advice.NORMAL
        self._next = 0
        self._window = 0
        self._open = True
        self.size: int = mapping.fetcher.size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Its pages stay cached, views stay valid. Closing twice is harmless."""
        if self._open:
            self._open = False
            self._store.close(self._mapping)

    @property
    def shared(self) -> bool:
        """Whether this file's pages are open to others with the same fingerprint."""
        return self._mapping.file.fingerprint is not None

    @property
    def pages_key(self) -> Hashable:
        """Equal for two files of one cache iff they read the same pages."""
        return self._mapping.file.key

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes from ``offset`` on: ``length`` of them, or fewer where the file ends.

        Raises what the fetcher raises, ``UnreadableError`` if the image is no longer mounted, and
        ``UsageError`` for negative numbers or a closed file.
        """
        length = self._clip(offset, length)
        if not length:
            return b""
        page, end = offset // PAGE, offset + length
        piece = self._store.piece(self._mapping, page, -(-end // PAGE), self._ahead(offset, end))
        if piece is None:
            rest = bytearray(length)
            self._readinto(offset, memoryview(rest), 0)
            return bytes(rest)
        with piece:
            head = bytes(piece[offset - page * PAGE : end - page * PAGE])
        if len(head) == length:
            return head
        rest = bytearray(length - len(head))
        self._readinto(offset + len(head), memoryview(rest), 0)
        return head + rest

    def readinto(self, offset: int, buffer: bytearray | memoryview) -> int:
        """Like :meth:`read`, into ``buffer``; return how many bytes were written."""
        length = self._clip(offset, len(buffer))
        with memoryview(buffer)[:length] as out:
            self._readinto(offset, out, self._ahead(offset, offset + length))
        return length

    def _readinto(self, offset: int, out: memoryview, ahead: int) -> None:
        at, end = offset, offset + len(out)
        stop = -(-end // PAGE)
        while at < end:
            page = at // PAGE
            here = out[at - offset :]
            piece = self._store.piece(self._mapping, page, stop, ahead)
            if piece is None:
                got = min(len(here), LAST_WINDOW * PAGE)
                self._store.bypass(self._mapping, at, here[:got])
            else:
                with piece:  # not pinned while the next one needs room
                    skip = at - page * PAGE
                    got = min(len(piece) - skip, len(here))
                    here[:got] = piece[skip : skip + got]
            at += got

    def views(self, offset: int, length: int) -> list[memoryview]:
        """Return the range as read-only views of the cache's own memory, in order, without a copy.

        Their lengths add up to what :meth:`read` would return. Pages stay in memory as long as a
        view of them (or a slice of one) is held, whatever becomes of this file, its image or the budget.
        Raises as :meth:`read`, and ``CacheFullError`` if the pages cannot all be held within the budget.
        """
        end = offset + self._clip(offset, length)
        stop = -(-end // PAGE)
        ahead = self._ahead(offset, end)
        found: list[memoryview] = []
        at = offset
        while at < end:
            page = at // PAGE
            piece = self._store.piece(self._mapping, page, stop, ahead, pin=True)
            if piece is None:
                raise self._store.full()
            view = piece[at - page * PAGE : end - page * PAGE]
            found.append(view)
            at += len(view)
        return found

    def advise(self, advice: Advice, offset: int = 0, length: int | None = None) -> None:
        """Take advice as ``posix_fadvise`` does.

        NORMAL, SEQUENTIAL and RANDOM change the read-ahead of this open file. WILLNEED fills, and
        DONTNEED drops, the pages that lie in the range: the shared ones, for whoever reads them. To the end
        of the file without ``length``. WILLNEED is a wish: no room or a failing read ends it silently.
        Pages of which a view is held are not dropped.
        """
        length = self._clip(offset, self.size if length is None else length)
        end = min(offset, self.size) + length
        if advice is Advice.WILLNEED:
            self._populate(offset // PAGE, -(-end // PAGE) if length else 0)
        elif advice is Advice.DONTNEED:
            # Only whole pages: a page at the range's edge may be needed by its other part.
            stop = -(-end // PAGE) if end == self.size else end // PAGE
            self._store.drop(self._mapping, -(-offset // PAGE), stop)
        else:
            self._advice = advice
            self._window = 0

    def resident_pages(self) -> int:
        """Return a bit map of this file's pages in the cache, whoever filled them: bit ``n`` is page ``n``."""
        return self._store.resident_pages(self._mapping)

    def _populate(self, page: int, stop: int) -> None:
        try:
            while page < stop:
                piece = self._store.piece(self._mapping, page, stop, stop)
                if piece is None:
                    return
                page += -(-len(piece) // PAGE)
        except (ErofsError, OSError):
            pass

    def _clip(self, offset: int, length: int) -> int:
        if not self._open:
            raise UsageError("the file is closed")
        if offset < 0 or length < 0:
            raise UsageError(f"cannot read {length} bytes at offset {offset}")
        return max(0, min(length, self.size - offset))

    def _ahead(self, offset: int, end: int) -> int:
        """Return the page up to which a read of these bytes fills, and remember the read.

        A read at the file's start or at the end of the one before is sequential: its window
        begins at 64 KiB and doubles up to 1 MiB. Any other read fills just its own pages.
        """
        sequential = offset == self._next
        self._next = end
        if self._advice is Advice.RANDOM or not (sequential or self._advice is Advice.SEQUENTIAL):
            self._window = 0
            return 0
        if self._advice is Advice.SEQUENTIAL:
            self._window = LAST_WINDOW
        else:
            self._window = min(max(2 * self._window, FIRST_WINDOW), LAST_WINDOW)
        return offset // PAGE + self._window
