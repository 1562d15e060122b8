"""The cache and its tenants, as their users see them; `store` does the work."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable

from ..errors import UsageError
from ..units import expect
from .counters import Counters
from .fetcher import PAGE, Fetcher
from .handle import CachedFile
from .mapping import Attachment
from .store import PageStore

__all__ = ["PageCache", "Tenant"]

_log = logging.getLogger(__name__)


class Tenant:
    """One mounted image, as the cache sees it. Made by :meth:`PageCache.attach`.

    All methods may be called from any thread.
    """

    def __init__(self, store: PageStore, image: Attachment) -> None:
        self._store = store
        self._image = image

    @property
    def shares(self) -> bool:
        """Whether files of this image may share at all, so that their fingerprints matter. Never changes."""
        return self._image.domain is not None and self._image.announced

    def open(
        self,
        ident: Hashable,
        fetcher: Fetcher,
        fingerprint: bytes | None = None,
        *,
        compressed: bool | None = None,
    ) -> CachedFile:
        """Open a file through the cache.

        ``ident`` names the file within this image (hard links are one file); ``fetcher`` serves as
        long as the cache remembers that file. Files of one domain share their pages if `sharing.sharing_key` gives
        them the same key; others have pages of their own. ``compressed`` is None for files that share whether or not
        they are compressed.

        Raises :class:`~mkfs_erofs_py.errors.UnreadableError` if this image is detached.
        """
        return CachedFile(self._store, self._store.map(self._image, ident, fetcher, fingerprint, compressed))

    def pass_by(self, pages: int) -> None:
        """Count pages that are read without the cache: a reader's own decision, if nobody would share them.

        Raises :class:`~mkfs_erofs_py.errors.UnreadableError` if this image is detached.
        """
        self._store.count_bypass(self._image, pages)

    def counters(self) -> Counters:
        """Return what was done through this image and what of it is resident."""
        return self._store.counters(self._image)

    def detach(self) -> None:
        """Unmount: its open files stop working, pages that no other image maps are dropped.

        Views handed out before stay valid. Detaching twice is harmless.
        """
        self._store.detach(self._image)


class PageCache:
    """Pages keyed by domain and fingerprint. All methods may be called from any thread.

    ``budget`` is the most bytes it holds (``None``: no limit). ``strict`` decides whether
    content is checked against a fingerprint before it is shared; not checking is the default, as
    in the kernel. ``warn`` is told, in one line of text, when sharing is refused.

    The budget holds at every moment, fills under way included: room is made, by evicting what was used longest ago,
    before a fill begins. Pages of which a view is held stay. If nothing can be evicted, a copying read goes around the
    cache, and a view is refused with :class:`~mkfs_erofs_py.errors.CacheFullError`.

    Raises :class:`~mkfs_erofs_py.errors.UsageError` for a budget below one page.
    """

    def __init__(
        self,
        budget: int | None = None,
        *,
        strict: bool = False,
        warn: Callable[[str], None] = _log.warning,
    ) -> None:
        if budget is not None and expect("budget", budget, int, "a whole number of bytes") < PAGE:
            raise UsageError(f"a page cache of {budget} bytes cannot hold a page of {PAGE}")
        self.budget = budget
        self.strict = strict
        self._store = PageStore(budget, strict, warn)

    def attach(self, name: str, domain: bytes | None = b"", *, announced: bool = True) -> Tenant:
        """Admit an image. Only images of the same ``domain`` share; ``None`` shares with nobody.

        ``announced`` tells whether the image's superblock announces fingerprints.
        """
        if domain is not None:
            expect("domain", domain, bytes, "bytes")
        return Tenant(self._store, self._store.attach(name, domain, announced))

    def counters(self) -> Counters:
        """Return what was done through all images together, and what is resident."""
        return self._store.counters()
