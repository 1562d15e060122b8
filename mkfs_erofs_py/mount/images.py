"""Mounting images by whichever backend can: the kernel's driver, or FUSE over one shared cache."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from ..errors import UsageError
from ..pagecache import PageCache
from ..read import Image
from ..units import distinct
from ..vfs import Vfs
from .kernel import mount_all, obstacle
from .points import MountPoint

if TYPE_CHECKING:
    from .fuse import Daemon

__all__ = ["BUDGET", "DOMAIN", "Backend", "mount_images"]

Backend = Literal["auto", "kernel", "fuse"]

DOMAIN = "mkfs-erofs-py"
"""Where images share unless another domain is named."""

BUDGET = 256 << 20
"""Bytes of pages in the shared cache unless told otherwise."""

REFUSALS = 100
"""Warnings that a daemon keeps for whoever asks for its counters: nobody reads its standard error."""

CLUSTERS = 4 << 20
"""Bytes of decoded clusters kept beside the page cache, per image: those that two fills have in common."""


def mount_images(
    places: Sequence[MountPoint],
    *,
    backend: Backend = "auto",
    domain: str | None = None,
    share: bool = True,
    budget: int | None = None,
    strict: bool = False,
    foreground: bool = False,
    say: Callable[[str], None] = lambda _: None,
    warn: Callable[[str], None] = lambda _: None,
    tell: Callable[[dict[str, Any]], None] = lambda _: None,
) -> None:
    """Mount images at their places, all or none.

    ``auto`` is the kernel's driver where it can be used, else FUSE. Within a ``domain`` (`DOMAIN` unless another is
    named) files with equal fingerprints share page cache, unless ``share`` is off. For FUSE alone: ``budget`` is the
    most bytes that pages in the cache may take, ``strict`` checks content before it is shared, ``foreground`` serves
    in this process until all is unmounted, and ``tell`` then gets the counters upon SIGUSR1. ``say`` is told, in a
    line each, which images the kernel mounts without sharing, and ``warn`` which files FUSE does not share.

    Raises `UsageError` for options that do not go together or a backend that is not there, `MountError`,
    `UnreadableError` and `ImageError`, with nothing left mounted.
    """
    if not share and (domain is not None or strict):
        raise UsageError("--domain and --strict are about sharing: leave them out with --no-share")
    domain = DOMAIN if domain is None else domain
    hindrance = obstacle() if backend != "fuse" else "not asked for"
    if backend == "kernel" or hindrance is None:
        if strict or foreground or budget is not None:
            raise UsageError("--strict, --budget and --foreground are for --backend fuse")
        for place in places:
            with Image.open(place.image):
                pass  # a clear word about a file that is no image, before anything is mounted
        mount_all(places, domain if share else None, say)
        return
    daemon_class = _load_fuse(f"; the kernel's driver cannot be used either: {hindrance}" if backend == "auto" else "")
    from .background import descriptors, run_in_background

    inherited = descriptors()
    refusals: deque[str] = deque(maxlen=REFUSALS)

    def refuse(text: str) -> None:
        refusals.append(text)
        warn(text)

    cache = PageCache(BUDGET if budget is None else budget, strict=strict, warn=refuse)
    with Vfs(cache, share=share) as vfs:
        mounted = [
            (place, vfs.mount(Image.open(place.image, cache_bytes=CLUSTERS), name, domain.encode()))
            for place, name in zip(places, distinct([place.image for place in places]), strict=True)
        ]
        daemon = daemon_class(vfs, mounted, refusals)
        if foreground:
            daemon.run(lambda: None, tell)
        else:
            run_in_background(daemon, inherited)


def _load_fuse(besides: str) -> type[Daemon]:
    """Import what needs libfuse. Raises ``UsageError`` saying what is missing, and ``besides``."""
    try:
        import mfusepy

        if mfusepy.fuse_version_major != 3:
            raise OSError
        from .fuse import Daemon
    except ImportError:
        raise UsageError(f"FUSE needs the package mfusepy: install mkfs-erofs-py[fuse]{besides}") from None
    except (OSError, AttributeError) as error:  # how mfusepy says that it finds no library that it can use
        said = f" ({error})" if str(error) else ""
        raise UsageError(f"FUSE needs libfuse 3: install your system's package fuse3{said}{besides}") from None
    if not os.path.exists("/dev/fuse"):
        raise UsageError(f"FUSE is not available: there is no /dev/fuse{besides}")
    return Daemon
