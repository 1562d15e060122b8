"""What a cache has done and what it holds, in one immutable record."""

from __future__ import annotations

import dataclasses

__all__ = ["Counters", "Tally"]


@dataclasses.dataclass(frozen=True, slots=True)
class Counters:
    """A snapshot. The counts are pages since the beginning; the bytes are those held now.

    ``fills - evictions - drops`` pages are resident in the whole cache, always.
    """

    hits: int
    """Pages that were asked for and there."""
    misses: int
    """Pages that were asked for and had to be filled, by this reader or one it waited for."""
    fills: int
    """Pages brought in, those of read-ahead included."""
    evictions: int
    """Pages pushed out to stay within the budget; counted with the image that filled them."""
    drops: int
    """Pages given up on advice or because the last image that mapped them went."""
    bypasses: int
    """Pages read around the cache, because all its room was pinned or being filled."""
    resident_bytes: int
    """Memory held. For one image: of the pages that its files map, whoever filled them."""
    shared_bytes: int
    """Of these, the memory that more than one file maps."""


@dataclasses.dataclass(slots=True)
class Tally:
    """The running counts of one image, or of a cache. Changed under the cache's lock only.

    What is counted here is counted in ``total`` as well, so that the counts of images add up to the cache's.
    """

    total: Tally | None = None
    hits: int = 0
    misses: int = 0
    fills: int = 0
    evictions: int = 0
    drops: int = 0
    bypasses: int = 0

    def add(
        self,
        hits: int = 0,
        misses: int = 0,
        fills: int = 0,
        evictions: int = 0,
        drops: int = 0,
        bypasses: int = 0,
    ) -> None:
        """Count pages; see :class:`Counters` for what each is."""
        self.hits += hits
        self.misses += misses
        self.fills += fills
        self.evictions += evictions
        self.drops += drops
        self.bypasses += bypasses
        if self.total is not None:
            self.total.add(hits, misses, fills, evictions, drops, bypasses)

    def snapshot(self, resident_bytes: int, shared_bytes: int) -> Counters:
        """Return these counts together with the bytes held now."""
        return Counters(
            hits=self.hits,
            misses=self.misses,
            fills=self.fills,
            evictions=self.evictions,
            drops=self.drops,
            bypasses=self.bypasses,
            resident_bytes=resident_bytes,
            shared_bytes=shared_bytes,
        )
