"""Build, read, verify, extract, compare and share EROFS images whose files carry content fingerprints.

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

Verify
    >>> from mkfs_erofs_py import verify_image
    >>> report = verify_image("root.erofs", tree="rootfs/")                                # doctest: +SKIP
    >>> report.sound, report.proven, report.findings                                       # doctest: +SKIP

Extract
    >>> from mkfs_erofs_py import extract_image, write_tar
    >>> extract_image("root.erofs", "out/", paths=["/etc"]).left_out                       # doctest: +SKIP
    >>> with open("root.tar", "wb") as file:                                               # doctest: +SKIP
    ...     write_tar("root.erofs", file)

Compare
    >>> from mkfs_erofs_py import diff_images
    >>> for difference in diff_images("old.erofs", "new.erofs", ignore=["time"]):          # doctest: +SKIP
    ...     print(difference.mark, difference.path, difference.changes)

Share
    >>> from mkfs_erofs_py import PageCache, Vfs, measure, predict
    >>> predict(["a.erofs", "b.erofs"]).total.saved_bytes                                  # doctest: +SKIP
    >>> measure(["a.erofs", "b.erofs"]).total.saved_bytes                                  # doctest: +SKIP
    >>> with Vfs(PageCache(budget=256 << 20)) as vfs:                                      # doctest: +SKIP
    ...     images = [vfs.mount(Image.open(path), path) for path in ("a.erofs", "b.erofs")]
    ...     for image in images:  # the second reads the pages that the first has filled
    ...         print(len(image.open(image.lookup(b"/usr/bin/env")).read(0, 1 << 20)))
    ...     print(vfs.cache.counters())

Functions that read images take a path, a binary file or an open `Image`. What may take long calls
``progress(stage, done, total)``. Results are frozen values; ``as_dict()`` makes one ready for JSON.
Every error raised on purpose is an `ErofsError`; `mkfs_erofs_py.errors` draws the tree.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # the name that type checkers know, without the time that loading typing takes
if TYPE_CHECKING:
    from .check import Change, Difference, Finding, VerifyReport, diff_images, verify_image
    from .errors import (
        CacheFullError,
        CorruptError,
        CutShortError,
        ErofsError,
        ImageError,
        IsDirectoryError,
        LinkLoopError,
        MountError,
        NotDirectoryError,
        NotFoundError,
        NotListableError,
        OutOfBoundsError,
        OutputError,
        SourceError,
        SourceNotFoundError,
        UnreadableError,
        UnsupportedError,
        UsageError,
        WorkerDiedError,
    )
    from .extract import Extracted, extract_image, write_tar
    from .pagecache import Advice, CachedFile, Counters, PageCache
    from .progress import Progress
    from .read import Image, Inode
    from .sharing import ImageProfile, Range, Saving, Savings, TopFile, measure, predict, profile_image
    from .vfs import Vfs
    from .write import BuildOptions, BuildSummary, build_image

__all__ = [
    "Advice",
    "BuildOptions",
    "BuildSummary",
    "CacheFullError",
    "CachedFile",
    "Change",
    "CorruptError",
    "Counters",
    "CutShortError",
    "Difference",
    "ErofsError",
    "Extracted",
    "Finding",
    "Image",
    "ImageError",
    "ImageProfile",
    "Inode",
    "IsDirectoryError",
    "LinkLoopError",
    "MountError",
    "NotDirectoryError",
    "NotFoundError",
    "NotListableError",
    "OutOfBoundsError",
    "OutputError",
    "PageCache",
    "Progress",
    "Range",
    "Saving",
    "Savings",
    "SourceError",
    "SourceNotFoundError",
    "TopFile",
    "UnreadableError",
    "UnsupportedError",
    "UsageError",
    "VerifyReport",
    "Vfs",
    "WorkerDiedError",
    "build_image",
    "diff_images",
    "extract_image",
    "measure",
    "predict",
    "profile_image",
    "verify_image",
    "write_tar",
]

__version__ = "0.1.0"

#: Where each name comes from. Loaded on use: a listing should not pay for the builder.
_HOMES = {
    "Change": "check",
    "Difference": "check",
    "Finding": "check",
    "VerifyReport": "check",
    "diff_images": "check",
    "verify_image": "check",
    "Extracted": "extract",
    "extract_image": "extract",
    "write_tar": "extract",
    "Advice": "pagecache",
    "CachedFile": "pagecache",
    "Counters": "pagecache",
    "PageCache": "pagecache",
    "Progress": "progress",
    "Image": "read",
    "Inode": "read",
    "Savings": "sharing",
    "ImageProfile": "sharing",
    "Range": "sharing",
    "Saving": "sharing",
    "TopFile": "sharing",
    "measure": "sharing",
    "predict": "sharing",
    "profile_image": "sharing",
    "Vfs": "vfs",
    "BuildOptions": "write",
    "BuildSummary": "write",
    "build_image": "write",
}


if not TYPE_CHECKING:  # a type checker would believe that the package has every name

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f".{_HOMES.get(name, 'errors')}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
