"""Stored forms that wait for their turn: contents that came once, in an order that is not the tree's."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from ..files.spool import Spool
from ..tree import Kept
from .encoded import Encoded

__all__ = ["Shelf", "Shelved"]

#: Bytes of a large content that are read back at once.
_PART = 1 << 20


class Shelved(Kept):
    """A content that is encoded already; its bytes wait on the shelf."""

    __slots__ = ("_offset", "_spool", "_stored", "encoded")

    #: What became of the content; ``data`` is ``None`` until the content has been read.
    encoded: Encoded | None

    def __init__(self, label: bytes, spool: Spool) -> None:
        super().__init__(label)
        self.encoded = None
        self._spool = spool
        self._offset = 0
        self._stored = 0

    def keep(self, offset: int, stored: int, encoded: Encoded) -> None:
        """Note what became of the content, and where its bytes are in the spool."""
        self._offset, self._stored = offset, stored
        self.encoded = encoded._replace(data=None)

    def parts(self) -> Iterator[bytes]:
        """Yield the stored bytes in order."""
        for start in range(0, self._stored, _PART):
            yield self._spool.read(self._offset + start, min(_PART, self._stored - start))

    def whole(self) -> Encoded:
        """Return the content with all its bytes."""
        assert self.encoded is not None
        return self.encoded._replace(data=self._spool.read(self._offset, self._stored))


class Shelf:
    """Puts what a `Service` hands over into a spool: its `Receiver` where the tree is not finished yet."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._waiting: deque[Shelved] = deque()
        self._start = -1
        self._stored = 0

    def expect(self, label: bytes) -> Shelved:
        """Name the next content that is given to the service -> what will hold it."""
        content = Shelved(label, self._spool)
        self._waiting.append(content)
        return content

    def whole(self, encoded: Encoded) -> None:
        """See `Receiver.whole`."""
        assert encoded.data is not None
        self._waiting.popleft().keep(self._spool.append(encoded.data), len(encoded.data), encoded)

    def part(self, data: memoryview | bytes, block_size: int) -> None:
        """See `Receiver.part`."""
        del block_size
        offset = self._spool.append(data)
        if self._start < 0:
            self._start = offset
        self._stored += len(data)

    def last(self, encoded: Encoded) -> None:
        """See `Receiver.last`."""
        self._waiting.popleft().keep(self._start, self._stored, encoded)
        self._start, self._stored = -1, 0

    def settle(self) -> None:
        """See `Receiver.settle`: the spool keeps copies."""
