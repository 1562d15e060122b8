"""The state behind the cache: inodes, extents of pages, and fills under way.

Everything here is changed under the lock of the :class:`~.cache.PageCache` that owns it, except
where a line says otherwise.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from .fetcher import PAGE, Fetcher
from .proof import Proof

if TYPE_CHECKING:
    from .cache import Tenant

__all__ = ["Extent", "Inode", "Pending", "User"]


class Extent:
    """A run of resident pages in one piece of memory.

    Memory is pinned by the buffer protocol itself: a ``bytearray`` refuses to be cleared while any
    memoryview of it, or slice of one, is held anywhere. So handing out a view needs no
    bookkeeping, and reuse of memory that somebody still looks at is impossible, not just avoided.
    """

    __slots__ = ("count", "data", "first", "inode", "tenant")

    def __init__(self, inode: Inode, first: int, data: bytearray, tenant: Tenant) -> None:
        self.inode = inode
        self.first = first
        self.count = -(-len(data) // PAGE)
        self.data = data
        self.tenant = tenant

    def view(self, page: int, stop: int) -> memoryview:
        """Return the pages from ``page`` to ``stop`` or this extent's end, read-only and pinned."""
        base = self.first
        return memoryview(self.data).toreadonly()[(page - base) * PAGE : (stop - base) * PAGE]

    def free(self) -> bool:
        """Give the memory back; ``False`` if somebody still holds a view of it."""
        try:
            self.data.clear()
        except BufferError:
            return False
        return True


class Pending:
    """Stands in the page table for pages that ``user`` is filling."""

    __slots__ = ("error", "user")

    def __init__(self, user: User) -> None:
        self.user = user
        self.error: Exception | None = None


class User:
    """One file of one image, mapped to an inode: what the kernel calls the real inode."""

    __slots__ = ("fetcher", "handles", "ident", "inode", "proved", "tenant")

    def __init__(self, tenant: Tenant, ident: Hashable, fetcher: Fetcher, inode: Inode) -> None:
        self.tenant = tenant
        self.ident = ident
        self.fetcher = fetcher
        self.inode = inode
        self.handles = 0
        self.proved = False  # in strict mode: this file's own bytes are what its fingerprint says


class Inode:
    """A page table, and all the files that read through it: what the kernel calls the shared inode.

    ``fingerprint`` is ``None`` for the private inode of a single file.
    """

    __slots__ = ("fingerprint", "key", "pages", "proof", "resident", "size", "table", "users")

    def __init__(self, key: Hashable, size: int, fingerprint: bytes | None) -> None:
        self.key = key
        self.size = size
        self.pages = -(-size // PAGE)
        self.fingerprint = fingerprint
        self.table: dict[int, Extent | Pending] = {}
        self.resident = 0
        self.users: set[User] = set()
        self.proof: Proof | None = None

    def idle(self) -> bool:
        """Tell whether nothing would be lost by forgetting this inode."""
        return not self.table and not any(user.handles for user in self.users)

    def free_run(self, page: int, limit: int) -> int:
        """Return the end of the run of absent pages that begins at ``page``, at most ``limit``."""
        table = self.table
        if not table:
            return limit
        end = page + 1
        while end < limit and end not in table:
            end += 1
        return end
