"""What a reader keeps between two reads, in bounded memory: decoded spans, and walks that may be gone on with."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator

from .span import Span

__all__ = ["DecodedCache", "Walks"]

#: Walks through files that wait to be gone on with: files that are read front to back at the same time.
_MOST_WALKS = 16

_Key = tuple[int, int, int, int]
_Walk = tuple[Iterator[Span], Span | None]


class DecodedCache:
    """Decoded spans, ``budget`` bytes of them, least recently used out first. Every method is atomic."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._used = 0
        self._held: OrderedDict[_Key, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: _Key) -> bytes | None:
        """Return what is kept for ``key``: (device, address, stored bytes, length)."""
        with self._lock:
            data = self._held.get(key)
            if data is not None:
                self._held.move_to_end(key)
            return data

    def put(self, key: _Key, data: bytes) -> None:
        """Keep ``data`` unless it exceeds the budget alone."""
        with self._lock:
            if key in self._held or len(data) > self._budget:
                return
            self._held[key] = data
            self._used += len(data)
            while self._used > self._budget:
                _, old = self._held.popitem(last=False)
                self._used -= len(old)


class Walks:
    """Walks along files' spans that stopped where a read ended, so that the next read need not search its place.

    By inode and byte; each with the span it stopped in, if that goes on. Every method is atomic, and a walk that was
    taken is nobody else's: two threads that read on from the same byte do not share one, the second begins anew.
    """

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[int, int], _Walk] = OrderedDict()

    def take(self, nid: int, pos: int) -> _Walk | None:
        """Return the walk of inode ``nid`` that stopped at byte ``pos``, which is the caller's from now on."""
        return self._held.pop((nid, pos), None)

    def keep(self, nid: int, pos: int, walk: _Walk) -> None:
        """Keep a walk that stopped at byte ``pos``, and forget the one kept longest where there are too many."""
        self._held[nid, pos] = walk
        if len(self._held) > _MOST_WALKS:
            try:
                self._held.popitem(last=False)
            except KeyError:  # others have taken them all meanwhile
                pass
