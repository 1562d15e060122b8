"""The cache: who maps what, which pages are resident, and what goes when there is no room.

Locking. One lock guards all state below :class:`PageCache`; it is never held while a fetcher
works, a digest is computed or a reader copies. A page is absent, pending or resident: the thread
that finds it absent makes it pending and fills it, the others wait. So a page is filled once
however many threads miss it together. If the fill fails, the page is absent again and everybody
who waited through the same file gets that error; who waited through another image's file tries
with its own, so a damaged image harms nobody else.

Budget. ``resident + being filled <= budget`` holds at every moment. Room for a fill is taken
before the fill begins, by evicting the extents used longest ago. Pinned extents (a view of them
is held) stay and stay accounted, even after their file is gone. If nothing can be evicted, a copying
read goes around the cache, and a view is refused with :class:`~mkfs_erofs_py.errors.CacheFullError`.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator

from ..errors import CacheFullError, OutOfBoundsError, UnreadableError, UsageError, printable
from .counters import Counters, Tally
from .fetcher import PAGE, Fetcher
from .handle import CachedFile
from .inode import Extent, Inode, Pending, User
from .proof import UNIT, Proof, can_prove, holds, prove

__all__ = ["PageCache", "Tenant"]

_log = logging.getLogger(__name__)

MAX_EXTENT = 256
"""Pages filled at most in one go, 1 MiB: the largest physical cluster there is."""


class _LieError(Exception):
    """What a file holds is not what its fingerprint claims."""


class Tenant:
    """One mounted image, as the cache sees it. Made by :meth:`PageCache.attach`.

    All methods may be called from any thread.
    """

    def __init__(self, cache: PageCache, name: str, domain: bytes | None) -> None:
        self.name = name
        self.domain = domain
        self._cache = cache
        # Below: under the cache's lock.
        self.users: dict[Hashable, User] = {}
        self.tally = Tally()
        self.attached = True

    def open(
        self, ident: Hashable, fetcher: Fetcher, fingerprint: bytes | None = None, kind: Hashable = None
    ) -> CachedFile:
        """Open a file through the cache.

        ``ident`` names the file within this image (hard links are one file); ``fetcher`` serves as
        long as the cache remembers that file. Files of one domain with equal ``fingerprint`` and
        ``kind`` share their pages; one without a fingerprint has pages of its own.

        Raises :class:`~mkfs_erofs_py.errors.UnreadableError` if this image is detached.
        """
        return CachedFile(self._cache, self._cache.map_file(self, ident, fetcher, fingerprint, kind))

    def pass_by(self, pages: int) -> None:
        """Count pages that are read without the cache: a reader's own decision, if nobody would share them.

        Raises :class:`~mkfs_erofs_py.errors.UnreadableError` if this image is detached.
        """
        self._cache.count_bypass(self, pages)

    def counters(self) -> Counters:
        """Return what was done through this image and what of it is resident."""
        return self._cache.counters(self)

    def detach(self) -> None:
        """Unmount: its open files stop working, pages that no other image maps are dropped.

        Views handed out before stay valid. Detaching twice is harmless.
        """
        self._cache.detach(self)


class PageCache:
    """Pages keyed by domain and fingerprint. All methods may be called from any thread.

    ``budget`` is the most bytes it holds (``None``: no limit). ``strict`` decides whether
    content is checked against a fingerprint before it is shared; not checking is the default, as
    in the kernel. ``warn`` is told, in one line of text, when sharing is refused.

    Raises :class:`~mkfs_erofs_py.errors.UsageError` for a budget below one page.
    """

    def __init__(
        self,
        budget: int | None = None,
        *,
        strict: bool = False,
        warn: Callable[[str], None] = _log.warning,
    ) -> None:
        if budget is not None and budget < PAGE:
            raise UsageError(f"a page cache of {budget} bytes cannot hold a page of {PAGE}")
        self.budget = budget
        self.strict = strict
        self._warn = warn
        self._lock = threading.Lock()
        self._filled = threading.Condition(self._lock)
        self._inodes: dict[Hashable, Inode] = {}
        self._total = Tally()
        self._lru: OrderedDict[Extent, None] = OrderedDict()
        self._dead: list[Extent] = []  # of forgotten inodes, still pinned
        # A budget holds eight extents or more, so that evicting one gives up little.
        self._most = MAX_EXTENT if budget is None else max(1, min(MAX_EXTENT, budget // PAGE // 8))
        self._resident = 0  # pages, those of dead extents included
        self._reserved = 0  # pages being filled

    # Images and files

    def attach(self, name: str, domain: bytes | None = b"") -> Tenant:
        """Admit an image. Only images of the same ``domain`` share; ``None`` shares with nobody."""
        return Tenant(self, name, domain)

    def detach(self, tenant: Tenant) -> None:
        """See :meth:`Tenant.detach`."""
        with self._lock:
            if not tenant.attached:
                return
            tenant.attached = False
            for user in list(tenant.users.values()):
                inode = user.inode
                inode.users.discard(user)
                if not inode.users:
                    self._forget(inode)
            tenant.users.clear()

    def map_file(
        self, tenant: Tenant, ident: Hashable, fetcher: Fetcher, fingerprint: bytes | None, kind: Hashable
    ) -> User:
        """Find or make the inode behind a file and count one more handle; :meth:`Tenant.open` calls this."""
        warning = None
        with self._lock:
            self._check_attached(tenant)
            user = tenant.users.get(ident)
            if user is None:
                inode = None
                if fingerprint and tenant.domain is not None:
                    inode, warning = self._shared_inode(tenant, fingerprint, kind, fetcher.size)
                if inode is None:
                    inode = self._private_inode(tenant, ident, fetcher.size)
                user = tenant.users[ident] = User(tenant, ident, fetcher, inode)
                inode.users.add(user)
            user.handles += 1
        if warning:
            self._warn(warning)
        return user

    def _shared_inode(
        self, tenant: Tenant, fingerprint: bytes, kind: Hashable, size: int
    ) -> tuple[Inode | None, str | None]:
        if self.strict and not can_prove(fingerprint):
            claim = printable(fingerprint)
            return None, f"{tenant.name}: not sharing a file whose fingerprint cannot be checked: {claim}"
        key = (tenant.domain, kind, fingerprint)
        inode = self._inodes.get(key)
        if inode is None:
            inode = self._inodes[key] = Inode(key, size, fingerprint)
        elif inode.size != size:
            return None, (
                f"{tenant.name}: not sharing a file of {size} bytes: "
                f"its fingerprint is already that of one with {inode.size} bytes"
            )
        return inode, None

    def _private_inode(self, tenant: Tenant, ident: Hashable, size: int) -> Inode:
        key = (tenant, ident)
        inode = self._inodes[key] = Inode(key, size, None)
        return inode

    def close(self, user: User) -> None:
        """Count one handle less; the file's pages stay."""
        with self._lock:
            user.handles -= 1
            if user.tenant.attached and user.inode.idle():
                self._forget(user.inode)

    @staticmethod
    def _check_attached(tenant: Tenant) -> None:
        if not tenant.attached:
            raise UnreadableError(tenant.name, "is no longer mounted")

    def _forget(self, inode: Inode) -> None:
        if self._inodes.get(inode.key) is inode:
            del self._inodes[inode.key]
        for user in inode.users:
            user.tenant.users.pop(user.ident, None)
        inode.users = set()
        for extent in {e for e in inode.table.values() if isinstance(e, Extent)}:
            self._remove(extent)
            self._count(extent.tenant, drops=extent.count)

    # Memory

    def _remove(self, extent: Extent) -> None:
        """Take an extent out of its inode; a pinned one stays accounted until it is let go."""
        inode = extent.inode
        for page in range(extent.first, extent.first + extent.count):
            del inode.table[page]
        inode.resident -= extent.count
        del self._lru[extent]
        if extent.free():
            self._resident -= extent.count
        else:
            self._dead.append(extent)

    def _sweep(self) -> None:
        still = [extent for extent in self._dead if not extent.free()]
        self._resident -= sum(e.count for e in self._dead) - sum(e.count for e in still)
        self._dead = still

    def _make_room(self, pages: int) -> int:
        """Evict until ``pages`` fit, or nothing more can go; return how many fit now."""
        if self.budget is None:
            return pages
        if self._dead:
            self._sweep()
        limit = self.budget // PAGE
        for _ in range(len(self._lru)):
            if self._resident + self._reserved + pages <= limit:
                break
            extent = next(iter(self._lru))
            if not extent.free():
                self._lru.move_to_end(extent)  # somebody looks at it: as good as used just now
                continue
            self._remove(extent)
            self._count(extent.tenant, evictions=extent.count)
            if extent.inode.idle():
                self._forget(extent.inode)
        return max(0, min(pages, limit - self._resident - self._reserved))

    def drop(self, user: User, first: int, stop: int) -> None:
        """Give up the unpinned resident pages from ``first`` to ``stop`` of the inode behind ``user``."""
        with self._lock:
            self._check_attached(user.tenant)
            inode = user.inode
            for extent in {e for p in range(first, stop) if isinstance(e := inode.table.get(p), Extent)}:
                rest = self._outside(extent, first, stop)
                if not extent.free():
                    continue
                before = inode.resident
                self._remove(extent)
                for page, data in rest:
                    self._install(inode, page, data, extent.tenant)
                self._count(extent.tenant, drops=before - inode.resident)

    def _outside(self, extent: Extent, first: int, stop: int) -> list[tuple[int, bytearray]]:
        """Copy the parts of ``extent`` that lie outside the range, or none if there is no room to copy."""
        end = extent.first + extent.count
        parts = [(a, b) for a, b in ((extent.first, first), (stop, end)) if a < b]
        copied = sum(b - a for a, b in parts)
        if self.budget is not None and (self._resident + self._reserved + copied) * PAGE > self.budget:
            return []
        return [(a, bytearray(extent.view(a, b))) for a, b in parts]

    def _install(self, inode: Inode, first: int, data: bytearray, tenant: Tenant) -> Extent:
        extent = Extent(inode, first, data, tenant)
        inode.table.update(dict.fromkeys(range(first, first + extent.count), extent))
        inode.resident += extent.count
        self._resident += extent.count
        self._lru[extent] = None
        return extent

    def _count(self, tenant: Tenant, **pages: int) -> None:
        tenant.tally.add(**pages)
        self._total.add(**pages)

    # Reading

    def piece(self, user: User, page: int, stop: int, ahead: int, *, pin: bool = False) -> memoryview | None:
        """Return a view of the pages from ``page`` on: as many, up to ``stop``, as lie in one extent.

        What is absent is filled, up to the page ``ahead`` if that is beyond ``stop``. Returns ``None``
        if there is no room; with ``pin`` it waits for fills under way before it gives up so.
        The view ends with the file.
        """
        missed = False
        with self._lock:
            while True:
                self._check_attached(user.tenant)
                here = user.inode.table.get(page)
                if isinstance(here, Extent):
                    self._lru.move_to_end(here)
                    end = min(stop, here.first + here.count)
                    if missed:
                        self._count(user.tenant, misses=end - page)
                    else:
                        self._count(user.tenant, hits=end - page)
                    return here.view(page, end)
                missed = True
                if here is not None:
                    self._filled.wait()
                    if here.error is not None and here.user is user:
                        raise here.error
                    continue
                user.handles += 1  # whoever closes the file meanwhile, its inode stays
                try:
                    claimed = self._fill(user, page, max(stop, ahead))
                finally:
                    user.handles -= 1
                if claimed:
                    continue
                if not (pin and self._reserved):
                    return None
                self._filled.wait()

    def _fill(self, user: User, page: int, limit: int) -> bool:
        """Fill absent pages from ``page`` on, up to ``limit``; ``False`` if there is no room.

        Called with the lock, which is given back while the fetcher works. What was absent may still
        be so afterwards: pages come and go, and in strict mode the first pass may only prove.
        """
        inode = user.inode
        unproved = self.strict and inode.fingerprint is not None and inode.proof is None
        if unproved:
            first, end = 0, inode.pages
        else:
            first, end = page, inode.free_run(page, min(limit, page + self._most, inode.pages))
        room = 0
        if end - first <= self._most:
            room = self._make_room(end - first)
            if room < (end - first if unproved else 1):
                return False
            end = first + room
        pending = Pending(user)
        inode.table.update(dict.fromkeys(range(first, end), pending))
        self._reserved += room
        try:
            self._lock.release()
            try:
                data, proof = self._bring(inode, user, first, end, room)
            finally:
                self._lock.acquire()
                self._reserved -= room
                for index in range(first, end):
                    del inode.table[index]
                self._filled.notify_all()
        except _LieError:
            self._demote(user)
            return True
        except Exception as error:
            pending.error = error
            raise
        self._check_attached(user.tenant)
        if proof is not None:
            inode.proof = proof
        if data is not None:
            self._install(inode, first, data, user.tenant)
            self._count(user.tenant, fills=room)
        return True

    def _bring(
        self, inode: Inode, user: User, first: int, stop: int, room: int
    ) -> tuple[bytearray | None, Proof | None]:
        """Fetch pages, without the lock: they are pending, nobody else touches them.

        Returns their bytes, and the inode's proof where it had none. Without ``room`` the file
        is only read through for its proof, and no bytes are returned.
        """
        begin, end = first * PAGE, min(stop * PAGE, inode.size)
        fingerprint, proof = inode.fingerprint, inode.proof
        if not self.strict or fingerprint is None:
            return self._fetch(user, begin, end), None
        if proof is None:
            data = self._fetch(user, begin, end) if room else None
            proof = prove(fingerprint, [memoryview(data)] if data is not None else self._stream(user, end))
            if proof is None:
                raise _LieError
            return data, proof
        low, high = begin // UNIT * UNIT, min(-(-end // UNIT) * UNIT, inode.size)
        data = self._fetch(user, low, high)
        if not holds(proof, low, memoryview(data)):
            raise _LieError
        return (data if (low, high) == (begin, end) else data[begin - low : end - low]), None

    def _stream(self, user: User, size: int) -> Iterator[memoryview]:
        for offset in range(0, size, MAX_EXTENT * PAGE):
            yield memoryview(self._fetch(user, offset, min(offset + MAX_EXTENT * PAGE, size)))

    def _fetch(self, user: User, begin: int, end: int) -> bytearray:
        data = bytearray(end - begin)
        with memoryview(data) as buffer:
            self.fetch_around(user, begin, buffer)
        return data

    def fetch_around(self, user: User, offset: int, buffer: memoryview) -> None:
        """Fill ``buffer`` from the file itself; raises ``OutOfBoundsError`` if it ends early."""
        got = user.fetcher.readinto(offset, buffer)
        if got != len(buffer):
            raise OutOfBoundsError(f"file data ends after {offset + got} of {user.fetcher.size} bytes")

    def bypass(self, user: User, offset: int, buffer: memoryview) -> None:
        """Fill ``buffer`` around the cache, with the file's own content whatever its fingerprint says."""
        self.count_bypass(user.tenant, -(-len(buffer) // PAGE))
        self.fetch_around(user, offset, buffer)

    def count_bypass(self, tenant: Tenant, pages: int) -> None:
        """Count pages that an image's reader gets without the cache; refuse if the image is detached."""
        with self._lock:
            self._check_attached(tenant)
            self._count(tenant, bypasses=pages)

    def _demote(self, user: User) -> None:
        """Give a file that was caught lying an inode of its own."""
        if not user.tenant.attached or user.inode.fingerprint is None:
            return
        inode = user.inode
        inode.users.discard(user)
        user.inode = self._private_inode(user.tenant, user.ident, user.fetcher.size)
        user.inode.users.add(user)
        if not inode.users:
            self._forget(inode)
        self._warn(f"{user.tenant.name}: not sharing a file whose content is not what its fingerprint says")

    def full(self) -> CacheFullError:
        """Return the error for a view that does not fit."""
        return CacheFullError(f"all of the page cache's {self.budget} bytes are pinned by views that are held")

    # Facts

    def counters(self, tenant: Tenant | None = None) -> Counters:
        """Return a snapshot of the counters, of one image or of all together.

        Consistent in itself: taken under the lock. Takes time in proportion to the inodes known.
        """
        with self._lock:
            self._sweep()
            if tenant is not None:
                inodes = {user.inode for user in tenant.users.values()}
                shared = sum(i.resident for i in inodes if len(i.users) > 1)
                return tenant.tally.snapshot(sum(i.resident for i in inodes) * PAGE, shared * PAGE)
            shared = sum(i.resident for i in self._inodes.values() if len(i.users) > 1)
            return self._total.snapshot(self._resident * PAGE, shared * PAGE)

    def resident_pages(self, user: User) -> int:
        """Return which pages of the file behind ``user`` are resident: bit ``n`` set for page ``n``."""
        with self._lock:
            bits = 0
            for extent in {e for e in user.inode.table.values() if isinstance(e, Extent)}:
                bits |= ((1 << extent.count) - 1) << extent.first
            return bits
