"""The data area of an image: contents get their addresses as they come, each stored form once."""

from __future__ import annotations

from array import array
from itertools import accumulate
from typing import NamedTuple

from ..encode.encoded import Encoded, Key, Spans
from ..encode.encoding import Encoding
from ..files.output import Output
from ..files.spool import Spool

__all__ = ["Area", "Placed"]


class Placed(NamedTuple):
    """A content that has its place. Addresses are bytes from the image's beginning, sizes bytes.

    ``addresses`` has one for each span; of a content that is stored as it is, ``spans`` is ``None`` and the only
    address is that of its first block, 0 where it has none. ``stored`` are the bytes taken at these addresses.
    ``tail`` is where the bytes that go into the inode's block wait in the spool, -1 where there are none.
    """

    key: Key
    spans: Spans | None
    addresses: array[int]
    stored: int
    tail: int = -1


#: What tells stored forms of one encoding apart: a content's digest, its size, and whether its tail is inline.
_Known = tuple[bytes, int, bool]


class Area:
    """Appends contents to the image.

    The same stored form is kept once: `add` and `close` return what was placed before. ``duplicates`` and
    ``duplicate_bytes`` count what that saved, in contents and their sizes.
    """

    def __init__(self, output: Output, spool: Spool) -> None:
        self._output = output
        self._spool = spool
        # By encoding, then by what else tells stored forms apart. Contents side by side mostly have the same encoding,
        # and to hash one takes longer than to see that.
        self._known: dict[Encoding, dict[_Known, Placed]] = {}
        self._encoding: Encoding | None = None
        self._alike: dict[_Known, Placed] = {}
        self._start = -1
        self.duplicates = 0
        self.duplicate_bytes = 0

    def add(self, encoded: Encoded, inline_room: int) -> Placed:
        """Place a whole content. ``inline_room`` is how many bytes of tail its inode's block takes."""
        key, spans, data = encoded
        assert data is not None
        block = key.encoding.block_size
        tail_size = key.size % block if spans is None else 0
        inline = 0 < tail_size <= inline_room
        alike, known = self._find(key, inline)
        if known is not None:
            return known
        if spans is None:
            placed = self._add_flat(key, data, tail_size if inline else 0, block)
        else:
            if not key.encoding.unaligned:
                # Contents packed to the byte may stand before it.
                self._output.pad(block)
            placed = Placed(key, spans, _addresses(self._output.position, spans), len(data))
            self._output.append(data)
        alike[key.digest, key.size, inline] = placed
        return placed

    def part(self, data: bytes | memoryview, block_size: int) -> None:
        """Append the next bytes of a large content."""
        if self._start < 0:
            # Block-aligned, so that a content which turns out plain throughout can be laid out flat.
            self._output.pad(block_size)
            self._start = self._output.position
        self._output.append(data)

    def close(self, encoded: Encoded) -> Placed:
        """Place the large content whose parts were appended; if it is stored already, they are taken back."""
        key, spans, _ = encoded
        start, self._start = self._start, -1
        alike, known = self._find(key, False)
        if known is not None:
            self._output.rewind(start)
            return known
        if spans is None:
            self._output.pad(key.encoding.block_size)
            placed = Placed(key, None, array("Q", (start,)), self._output.position - start)
        else:
            placed = Placed(key, spans, _addresses(start, spans), self._output.position - start)
        alike[key.digest, key.size, False] = placed
        return placed

    def flush(self) -> None:
        """Write all that was appended: the memory it stands in is about to be used again. Raises `OutputError`."""
        self._output.flush()

    def _find(self, key: Key, inline: bool) -> tuple[dict[_Known, Placed], Placed | None]:
        """Return where contents of a key's encoding are known, and the one that is stored already, if one is."""
        if key.encoding is not self._encoding:
            self._encoding = key.encoding
            self._alike = self._known.setdefault(key.encoding, {})
        known = self._alike.get((key.digest, key.size, inline))
        if known is not None:
            self.duplicates += 1
            self.duplicate_bytes += key.size
        return self._alike, known

    def _add_flat(self, key: Key, data: bytes | memoryview, tail_size: int, block: int) -> Placed:
        full = len(data) - tail_size
        tail = self._spool.append(data[full:]) if tail_size else -1
        if not full:
            return Placed(key, None, _NOWHERE, 0, tail)
        self._output.pad(block)
        start = self._output.position
        self._output.append(data[:full], bytes(-full % block))
        return Placed(key, None, array("Q", (start,)), self._output.position - start, tail)


_NOWHERE = array("Q", (0,))


def _addresses(start: int, spans: Spans) -> array[int]:
    """Return the addresses of spans that stand one behind the other from ``start`` on."""
    addresses = array("Q", accumulate(spans.stored, initial=start))
    addresses.pop()
    return addresses
