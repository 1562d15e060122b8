"""Build, read and share EROFS images whose files carry content fingerprints.

Build
    >>> from mkfs_erofs_py import build_image
    >>> summary = build_image("root.erofs", "rootfs/", compressor="zstd", pcluster=65536)  # doctest: +SKIP
    >>> summary.bytes_out, summary.duplicates                                              # doctest: +SKIP

Read
    >>> from mkfs_erofs_py import Image
    >>> with Image.open("root.erofs") as image:                                            # doctest: +SKIP
    ...     for path, inode in image.walk():
    ...         print(path, inode.size, image.fingerprint(inode) if inode.size else None)
    ...     text = image.read("/etc/os-release")

Share
    >>> from mkfs_erofs_py import PageCache, Vfs
    >>> with Vfs(PageCache(budget=256 << 20)) as vfs:                                      # doctest: +SKIP
    ...     images = [vfs.mount(Image.open(path), path) for path in ("a.erofs", "b.erofs")]
    ...     for image in images:  # the second reads the pages that the first has filled
    ...         print(len(image.open(image.lookup(b"/usr/bin/env")).read(0, 1 << 20)))
    ...     print(vfs.cache.counters())

Every error raised on purpose is an `ErofsError`; `mkfs_erofs_py.errors` draws the tree.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # the name that type checkers know, without the time that loading typing takes
if TYPE_CHECKING:
    from typing import Any

    from .errors import (
        CacheFullError,
        CorruptError,
        ErofsError,
        ImageError,
        MountError,
        OutOfBoundsError,
        OutputError,
        SourceError,
        UnreadableError,
        UnsupportedError,
        UsageError,
    )
    from .pagecache import Advice, CachedFile, Counters, PageCache
    from .read import Image, Inode
    from .sharing import measure, predict, profile_image
    from .vfs import Vfs
    from .write import BuildOptions, BuildSummary, TimePolicy, build_image

__all__ = [
    "Advice",
    "BuildOptions",
    "BuildSummary",
    "CacheFullError",
    "CachedFile",
    "CorruptError",
    "Counters",
    "ErofsError",
    "Image",
    "ImageError",
    "Inode",
    "MountError",
    "OutOfBoundsError",
    "OutputError",
    "PageCache",
    "SourceError",
    "TimePolicy",
    "UnreadableError",
    "UnsupportedError",
    "UsageError",
    "Vfs",
    "build_image",
    "measure",
    "predict",
    "profile_image",
]

__version__ = "0.1.0"

#: Where each name comes from. Loaded on use: a listing should not pay for the builder.
_HOMES = {
    "BuildOptions": "write",
    "BuildSummary": "write",
    "TimePolicy": "write",
    "build_image": "write",
    "Image": "read",
    "Inode": "read",
    "Vfs": "vfs",
    "measure": "sharing",
    "predict": "sharing",
    "profile_image": "sharing",
    "Advice": "pagecache",
    "CachedFile": "pagecache",
    "Counters": "pagecache",
    "PageCache": "pagecache",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES.get(name, 'errors')}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
