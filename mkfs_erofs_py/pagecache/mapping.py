"""Who maps what: attached images, shared files, and the mappings that join them.

Everything here is plain state, read and changed under the lock of the `mkfs_erofs_py.pagecache.store.PageStore` that
owns it, and then atomically as others see it. The exceptions are what never changes: names, domains, identities,
fetchers, sizes and fingerprints.
"""

from __future__ import annotations

from collections.abc import Hashable

from .counters import Tally
from .fetcher import PAGE, Fetcher
from .proof import Proof
from .run import PageRun

__all__ = ["Attachment", "Fill", "Mapping", "SharedFile"]


class Attachment:
    """One image in the cache. ``domain`` is None for an image that shares with nobody."""

    __slots__ = ("announced", "attached", "domain", "mappings", "name", "tally")

    def __init__(self, name: str, domain: bytes | None, announced: bool, total: Tally) -> None:
        self.name = name
        self.domain = domain
        self.announced = announced
        self.attached = True
        self.mappings: dict[Hashable, Mapping] = {}
        self.tally = Tally(total)


class SharedFile:
    """One content: its page table, and all mappings that read through it. What the kernel calls the shared inode.

    ``key`` is what it is known by in the cache. ``fingerprint`` is None for the pages of a single file, which has them
    for itself. ``table`` holds for each page that is not absent the run in which it is resident, or its fill.
    ``proof`` is set in strict mode, once the content is known to be what the fingerprint claims.
    """

    __slots__ = ("fingerprint", "key", "mappings", "pages", "proof", "resident", "size", "table")

    def __init__(self, key: Hashable, size: int, fingerprint: bytes | None) -> None:
        self.key = key
        self.size = size
        self.pages = -(-size // PAGE)
        self.fingerprint = fingerprint
        self.table: dict[int, PageRun | Fill] = {}
        self.resident = 0
        self.mappings: set[Mapping] = set()
        self.proof: Proof | None = None

    def idle(self) -> bool:
        """Tell whether nothing would be lost by forgetting this file."""
        return not self.table and not any(mapping.handles for mapping in self.mappings)

    def runs(self) -> set[PageRun]:
        """Return all resident runs."""
        return {run for run in self.table.values() if isinstance(run, PageRun)}

    def runs_within(self, first: int, stop: int) -> set[PageRun]:
        """Return the runs that have a page from ``first`` to ``stop``; takes time in proportion to that range."""
        return {run for page in range(first, stop) if isinstance(run := self.table.get(page), PageRun)}

    def absent_until(self, page: int, limit: int) -> int:
        """Return the end of the run of absent pages that begins at ``page``, at most ``limit``."""
        table = self.table
        if not table:
            return limit
        end = page + 1
        while end < limit and end not in table:
            end += 1
        return end


class Mapping:
    """One image's use of a shared file. What the kernel calls the real inode.

    ``ident`` names the file within its image. ``handles`` counts open files and whoever works on it at the moment:
    while there are any, the shared file is not forgotten. ``proved`` tells in strict mode that this image's own
    bytes are what the fingerprint claims. ``file`` changes once at most, when the image is caught lying.
    """

    __slots__ = ("fetcher", "file", "handles", "ident", "image", "proved")

    def __init__(self, image: Attachment, ident: Hashable, fetcher: Fetcher, file: SharedFile) -> None:
        self.image = image
        self.ident = ident
        self.fetcher = fetcher
        self.file = file
        self.handles = 0
        self.proved = False


class Fill:
    """Stands in the page table for pages that are being brought through ``mapping``; ``error`` if that failed."""

    __slots__ = ("error", "mapping")

    def __init__(self, mapping: Mapping) -> None:
        self.mapping = mapping
        self.error: Exception | None = None
