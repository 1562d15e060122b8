"""Images keep some of their own structures in an inode's data: fragments in the packed inode, inodes in the metabox."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice

from ..errors import CorruptError, OutOfBoundsError
from ..files.read_at import Buffer
from .data import DataReader
from .inode import Inode
from .span import Kind, Span

__all__ = ["InodeReader"]

#: Spans kept of an inode that is read at random all the time: some 16 MiB.
_KEPT_SPANS = 100_000


class InodeReader:
    """One inode's data as a `ReadAt`: how the packed inode and the metabox are read. Keeps spans it has met."""

    def __init__(self, reader: DataReader, inode: Inode, name: str, fragments: bool) -> None:
        self._reader = reader
        self._fragments = fragments
        self.inode = inode
        self.size = inode.size
        self.name = name
        self._kept: list[Span] | None = None
        self._starts: list[int] = []
        self._too_many = False

    def _index(self) -> bool:
        """Keep all spans unless they are too many; two threads may do so at once, to the same end."""
        if self._kept is None and not self._too_many:
            kept = []
            for span in self._reader.spans(self.inode):
                kept.append(span)
                if len(kept) > _KEPT_SPANS:
                    self._too_many = True
                    return False
            self._starts = [span.start for span in kept]
            self._kept = kept
        return self._kept is not None

    def read_at(self, offset: int, length: int) -> Buffer:
        """Return exactly ``length`` bytes; ``OutOfBoundsError`` beyond the inode's size."""
        if offset < 0 or offset + length > self.size:
            raise OutOfBoundsError(f"{length} bytes wanted of the {self.name}, which has {self.size}", offset)
        if not length:
            return b""
        spans: Iterator[Span]
        if self._index():
            assert self._kept is not None
            spans = islice(self._kept, bisect_right(self._starts, offset) - 1, None)
        else:
            spans = self._reader.spans(self.inode, offset)
        if not self._fragments:
            spans = self._refusing(spans)
        return self._reader.read_spans(spans, offset, offset + length)

    def _refusing(self, spans: Iterator[Span]) -> Iterator[Span]:
        for span in spans:
            if span.kind == Kind.FRAGMENT:
                raise CorruptError(f"the {self.name} itself has a fragment", self.inode.offset)
            yield span

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Like `read_at`, into ``buffer``."""
        buffer[:] = self.read_at(offset, len(buffer))

    def check(self) -> None:
        """Nothing of its own could be cut short."""

    def close(self) -> None:
        """Nothing to close: the image owns its readers."""
