"""One page cache for many images: pages held once for all files that have the same fingerprint.

It behaves as the page cache sharing of Linux 7.0 does, in user space and on any kernel. It
knows :class:`Fetcher` objects, which bring bytes, and never what an image is::

    cache = PageCache(budget=64 << 20)
    a, b = cache.attach("a.erofs", b"trusted"), cache.attach("b.erofs", b"trusted")
    libc_a = a.open(nid_a, fetcher_a, fingerprint)
    libc_b = b.open(nid_b, fetcher_b, fingerprint)
    libc_a.read(0, 4096)  # one fill
    libc_b.read(0, 4096)  # a hit: the same page

Fingerprints are claims. By default a cache believes them within a domain, as the kernel does,
so a domain is a promise that its images do not lie. ``PageCache(strict=True)`` checks content
against its fingerprint before it is shared: a lying image then gets pages of its own.

Whether a file may share is decided in `sharing`. `cache` and `handle` are what users see; `store` maps files and
fills pages, `memory` keeps the budget, `bring` fetches and checks bytes, `mapping` and `run` are the state.
"""

from .cache import PageCache, Tenant
from .counters import Counters
from .fetcher import PAGE, Advice, Fetcher, page_round
from .handle import CachedFile
from .sharing import Unshared, sharing_key

__all__ = [
    "PAGE",
    "Advice",
    "CachedFile",
    "Counters",
    "Fetcher",
    "PageCache",
    "Tenant",
    "Unshared",
    "page_round",
    "sharing_key",
]
