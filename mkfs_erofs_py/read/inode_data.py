"""Images keep some of their own structures in an inode's data: fragments in the packed inode, inodes in the metabox."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice

from ..errors import CorruptError, OutOfBoundsError
from ..files.read_at import Buffer
from .data import DataReader
from .extent import Extent, Kind
from .inode import Inode

__all__ = ["InodeReader"]

#: Extents kept of an inode that is read at random all the time: some 16 MiB.
_KEPT_EXTENTS = 100_000


class InodeReader:
    """One inode's data as a `ReadAt`: how the packed inode and the metabox are read. Keeps extents it has met."""

    def __init__(self, reader: DataReader, inode: Inode, name: str, fragments: bool) -> None:
        self._reader = reader
        self._fragments = fragments
        self.inode = inode
        self.size = inode.size
        self.name = name
        self._kept: list[Extent] | None = None
        self._starts: list[int] = []
        self._too_many = False

    def _index(self) -> bool:
        """Keep all extents unless they are too many; two threads may do so at once, to the same end."""
        if self._kept is None and not self._too_many:
            kept = []
            for extent in self._reader.extents(self.inode):
                kept.append(extent)
                if len(kept) > _KEPT_EXTENTS:
                    self._too_many = True
                    return False
            self._starts = [extent.start for extent in kept]
            self._kept = kept
        return self._kept is not None

    def read_at(self, offset: int, length: int) -> Buffer:
        """Return exactly ``length`` bytes; ``OutOfBoundsError`` beyond the inode's size."""
        if offset < 0 or offset + length > self.size:
            raise OutOfBoundsError(f"{length} bytes wanted of the {self.name}, which has {self.size}", offset)
        if not length:
            return b""
        extents: Iterator[Extent]
        if self._index():
            assert self._kept is not None
            extents = islice(self._kept, bisect_right(self._starts, offset) - 1, None)
        else:
            extents = self._reader.extents(self.inode, offset)
        if not self._fragments:
            extents = self._refusing(extents)
        return self._reader.read_extents(extents, offset, offset + length)

    def _refusing(self, extents: Iterator[Extent]) -> Iterator[Extent]:
        for extent in extents:
            if extent.kind == Kind.FRAGMENT:
                raise CorruptError(f"the {self.name} itself has a fragment", self.inode.offset)
            yield extent

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Like `read_at`, into ``buffer``."""
        buffer[:] = self.read_at(offset, len(buffer))

    def check(self) -> None:
        """Nothing of its own could be cut short."""

    def close(self) -> None:
        """Nothing to close: the image owns its readers."""
