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
    >>> from mkfs_erofs_py import PageCache
    >>> cache = PageCache(budget=256 << 20)                                                # doctest: +SKIP

Every error raised on purpose is an `ErofsError`; `mkfs_erofs_py.errors` draws the tree.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .build import BuildOptions, BuildSummary, TimePolicy, build_image
    from .errors import (
        CorruptError,
        ErofsError,
        ImageError,
        OutOfBoundsError,
        OutputError,
        SourceError,
        UnreadableError,
        UnsupportedError,
        UsageError,
    )
    from .pagecache import PageCache
    from .read import Image, Inode

__all__ = [
    "BuildOptions",
    "BuildSummary",
    "CorruptError",
    "ErofsError",
    "Image",
    "ImageError",
    "Inode",
    "OutOfBoundsError",
    "OutputError",
    "PageCache",
    "SourceError",
    "TimePolicy",
    "UnreadableError",
    "UnsupportedError",
    "UsageError",
    "build_image",
]

__version__ = "0.1.0"

#: Where each name comes from. Loaded on use: a listing should not pay for the builder.
_HOMES = {
    "BuildOptions": "build",
    "BuildSummary": "build",
    "TimePolicy": "build",
    "build_image": "build",
    "Image": "read",
    "Inode": "read",
    "PageCache": "pagecache",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES.get(name, 'errors')}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
