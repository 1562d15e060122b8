"""All that the packed form of a content depends on, besides the content: equal here, equal there."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ..compress import CompressorSpec

__all__ = ["IndexForm", "Packing"]


class IndexForm(enum.Enum):
    """How compressed files are indexed."""

    NONE = "none"
    COMPACT = "compact"
    FULL = "full"
    EXTENTS = "extents"


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """The part of a profile that workers need.

    ``pcluster`` is bytes of a block-aligned cluster, or of content in a piece of encoded extents;
    ``segment`` how many bytes of a content one worker packs at a time. ``digest`` names the hash that
    tells contents apart, which is the fingerprint's where there is one.
    """

    block_bits: int
    index: IndexForm
    compressor: CompressorSpec | None
    pcluster: int
    segment: int
    digest: str

    @property
    def block_size(self) -> int:
        """Bytes in a block."""
        return 1 << self.block_bits

    @property
    def big(self) -> bool:
        """Whether block-aligned clusters may take more than a block."""
        return self.index in (IndexForm.COMPACT, IndexForm.FULL) and self.pcluster > self.block_size
