"""How a content is to be stored: everything that its stored form depends on, besides the content itself."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from ..compress import CompressorSpec
from ..ondisk.constants import Layout

__all__ = ["Encoding", "IndexForm"]

#: Large contents are packed in segments, each by any worker. A segment has at least this many bytes, and at least the
#: bytes of this many pclusters, so that what is lost at its end (half a block, and the compressor's context) does not
#: show.
_SEGMENT, _SEGMENT_PCLUSTERS = 4 << 20, 8


class IndexForm(enum.Enum):
    """How compressed files are indexed."""

    NONE = "none"
    COMPACT = "compact"
    FULL = "full"
    EXTENTS = "extents"


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """The way one content is stored; equal encodings of equal contents give equal bytes, whoever makes them.

    ``digest`` names the hash that tells contents apart, which is the fingerprint's where there is one. ``index`` and
    ``compressor`` go together: `IndexForm.NONE` and ``None`` store a content as it is. ``pcluster`` is the most bytes
    a block-aligned physical cluster takes, or the content in a piece of encoded extents. ``cuts`` are bytes of the
    content, ascending multiples of `unit`, at which a span has to begin: who compares contents with each other asks
    for them where one has something in common with another.
    """

    block_bits: int
    digest: str
    index: IndexForm
    compressor: CompressorSpec | None
    pcluster: int
    cuts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if (self.compressor is None) != (self.index is IndexForm.NONE):
            raise ValueError("an index goes with a compressor, and a compressor with an index")
        if self.pcluster < self.block_size or self.pcluster % self.block_size:
            raise ValueError(f"a physical cluster of {self.pcluster} bytes is not a multiple of {self.block_size}")
        if self.unaligned and self.pcluster & self.pcluster - 1:
            raise ValueError(f"pieces of {self.pcluster} bytes are not a power of two, by which a record is found")
        if any(cut % self.unit for cut in self.cuts) or list(self.cuts) != sorted(set(self.cuts) - {0}):
            raise ValueError(f"cuts {self.cuts} are not ascending multiples of {self.unit}")

    @property
    def block_size(self) -> int:
        """Bytes in a block."""
        return 1 << self.block_bits

    @property
    def unaligned(self) -> bool:
        """Whether spans begin at any byte; those of the other forms begin a block."""
        return self.index is IndexForm.EXTENTS

    @property
    def unit(self) -> int:
        """Bytes of content at whose multiples a segment may end: a piece of encoded extents, a block of the others."""
        return self.pcluster if self.index is IndexForm.EXTENTS else self.block_size

    @property
    def segment(self) -> int:
        """The most bytes of a content that one worker packs at a time."""
        return max(_SEGMENT, _SEGMENT_PCLUSTERS * self.pcluster)

    @property
    def big(self) -> bool:
        """Whether block-aligned clusters may take more than a block."""
        return self.index in (IndexForm.COMPACT, IndexForm.FULL) and self.pcluster > self.block_size

    @property
    def layout(self) -> Layout:
        """The layout of inodes whose content is compressed in this way."""
        return Layout.COMPRESSED_COMPACT if self.index is IndexForm.COMPACT else Layout.COMPRESSED_FULL

    def segments(self, size: int) -> Iterator[tuple[int, int]]:
        """Yield (start, bytes) of the segments in which a content of ``size`` bytes is packed."""
        start = 0
        limit = self.segment
        for end in (*[cut for cut in self.cuts if cut < size], size):
            while start < end:
                length = min(limit, end - start)
                yield start, length
                start += length
