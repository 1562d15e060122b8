"""What page cache sharing saves, measured: the images are mounted over one cache and read.

Each image is read once through a cache in which nobody shares, and once more through one cache that
all share. What these caches then hold is the answer. Nothing is computed from fingerprints, with one
exception: where there are more than two images, each pair's need follows from which pages were
read of which shared inode, which is what a cache for these two alone would hold.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from ..errors import (
    AnyPath,
    CutShortError,
    ImageError,
    LinkLoopError,
    NotDirectoryError,
    NotFoundError,
    SourceError,
    UsageError,
    printable,
)
from ..pagecache import PAGE, Advice, CachedFile, PageCache
from ..progress import Progress, silent
from ..read import Image, ImageSource, Inode, opened
from ..read.opened import names_of
from ..vfs import Vfs
from .predict import Saving, Savings

__all__ = ["Range", "measure", "parse_ranges", "read_ranges"]

WINDOW = 64 << 20
"""Bytes of a file looked at, and so pinned, at a time."""


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes of a file to be read: ``length`` ones from ``offset``, or all from there on (``None``)."""

    path: bytes
    offset: int = 0
    length: int | None = None


def parse_ranges(lines: Iterable[bytes]) -> list[Range]:
    """Read a list of files: a path a line, or path, offset and length in bytes with tabs between.

    Empty lines are skipped. Raises :class:`~mkfs_erofs_py.errors.UsageError` naming the line at fault.
    """
    ranges = []
    for number, line in enumerate(lines, 1):
        path, *rest = line.rstrip(b"\r\n").split(b"\t")
        if not path and not rest:
            continue
        try:
            offset, length = [int(part) for part in rest] or (0, None)
        except ValueError:
            offset = -1
        if not path or offset < 0 or (length is not None and length < 0):
            raise UsageError(f"line {number} of the list is neither a path nor path, offset and length")
        ranges.append(Range(path, offset, length))
    return ranges


def read_ranges(path: AnyPath) -> list[Range]:
    """Read a list of files from the file at ``path``, see `parse_ranges`. Raises `SourceError` and `UsageError`."""
    try:
        with open(path, "rb") as lines:
            return parse_ranges(lines)
    except OSError as error:
        raise SourceError.of(path, error) from error


@dataclass(slots=True)
class _File:
    """A file to be read, and what is known of it afterwards."""

    path: bytes
    inode: Inode
    fingerprint: bytes | None
    ranges: list[tuple[int, int]] = field(default_factory=list)
    pages: int = 0  # a bit map of the pages that were read


def measure(
    images: Sequence[ImageSource],
    ranges: Sequence[Range] | None = None,
    *,
    names: Sequence[str] | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Savings:
    """Read the files of all images, or ``ranges`` of them, without sharing and with it.

    Each image is a path, a binary file or an open `Image`, which stays open; they are mapped in that order. ``names``
    are what the answer calls them, their paths by default. Files are read whole in one go; of ``ranges``, exactly the
    pages they touch. A path that only some images have is read from these. ``strict`` checks content against its
    fingerprint before it is shared. ``progress`` hears of bytes read. The answer's warnings say where sharing was
    refused.

    Raises ``ImageError`` naming the file that cannot be read, ``UnreadableError`` for an image that cannot be read,
    ``NotFoundError`` for a path that no image has.
    """
    called = names_of(images, names)
    with contextlib.ExitStack() as stack:
        ready = [(name, stack.enter_context(opened(image))) for name, image in zip(called, images, strict=True)]
        return _measure(ready, ranges, strict, progress or silent)


def _measure(
    images: Sequence[tuple[str, Image]], ranges: Sequence[Range] | None, strict: bool, progress: Progress
) -> Savings:
    files = [_everything(image) for _, image in images] if ranges is None else _named(images, ranges)
    without = []
    for image, chosen in zip(images, files, strict=True):
        with Vfs(PageCache(_room()), share=False, owns=False) as alone:
            handles = _read(alone, [image], [chosen], ranges is None, partial(progress, f"reading {image[0]}"))
            without.append(_held(alone.cache, [_pages_by_key(chosen, handles[0])]))
    refusals: list[str] = []
    cache = PageCache(_room(), strict=strict, warn=refusals.append)
    with Vfs(cache, kernel_rules=True, owns=False) as together:
        handles = _read(together, images, files, ranges is None, partial(progress, "reading all, shared"))
        maps = [_pages_by_key(*of_one) for of_one in zip(files, handles, strict=True)]
        with_all = _held(cache, maps)
    names = [name for name, _ in images]
    total = Saving(tuple(names), sum(without), with_all)
    if len(images) == 1:
        return Savings(total, [], [total], warnings=refusals)

    def of_some(*members: int) -> Saving:
        if len(members) == len(images):
            return total
        if refusals:  # who is refused depends on who is there: these have to be read for themselves
            return _measure([images[n] for n in members], ranges, strict, silent).total
        need = sum(_bytes(maps[n]) for n in members)
        if len(members) == 2:
            need -= _common_bytes(*(maps[n] for n in members))
        return Saving(tuple(names[n] for n in members), sum(without[n] for n in members), need)

    singles = [of_some(n) for n in range(len(images))]
    pairs = [of_some(*pair) for pair in itertools.combinations(range(len(images)), 2)]
    return Savings(total, pairs, singles, warnings=refusals)


def _pages_by_key(files: Iterable[_File], handles: Iterable[CachedFile]) -> dict[Hashable, int]:
    pages: dict[Hashable, int] = {}
    for file, handle in zip(files, handles, strict=True):
        pages[handle.pages_key] = pages.get(handle.pages_key, 0) | file.pages
    return pages


def _room() -> int:
    """Return the budget: half the machine's memory, so that one huge file does not take it all."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _held(cache: PageCache, maps: Iterable[dict[Hashable, int]]) -> int:
    """Return the bytes that ``cache`` holds now, or, where it had to evict some, those it would hold."""
    counters = cache.counters()
    if not counters.evictions:
        return counters.resident_bytes
    merged: dict[Hashable, int] = {}
    for pages in maps:
        for key, read in pages.items():
            merged[key] = merged.get(key, 0) | read
    return _bytes(merged)


def _bytes(pages: dict[Hashable, int]) -> int:
    return PAGE * sum(map(int.bit_count, pages.values()))


def _common_bytes(one: dict[Hashable, int], other: dict[Hashable, int]) -> int:
    return PAGE * sum((one[key] & other[key]).bit_count() for key in one.keys() & other.keys())


def _everything(image: Image) -> list[_File]:
    return [_File(path, inode, fingerprint) for path, inode, fingerprint in image.fingerprints()]


def _named(images: Sequence[tuple[str, Image]], ranges: Sequence[Range]) -> list[list[_File]]:
    """Find the files of a list in each image; a folder stands for all files below it."""
    chosen: list[dict[int, _File]] = [{} for _ in images]
    for wanted in ranges:
        missing = 0
        for (_, image), files in zip(images, chosen, strict=True):
            try:
                top = image.lookup(wanted.path)
            except (NotFoundError, NotDirectoryError, LinkLoopError):
                missing += 1
                continue
            for path, inode in image.walk(top) if top.is_dir else ((wanted.path, top),):
                if inode.is_file and inode.size:
                    file = files.get(inode.nid)
                    if file is None:
                        file = files[inode.nid] = _File(path, inode, image.fingerprint(inode))
                    length = inode.size if wanted.length is None else wanted.length
                    file.ranges.append((wanted.offset, length))
        if missing == len(images):
            raise NotFoundError(wanted.path, "is in none of the images")
    return [list(files.values()) for files in chosen]


def _read(
    vfs: Vfs,
    images: Sequence[tuple[str, Image]],
    files: Sequence[Sequence[_File]],
    whole: bool,
    tell: Callable[[int, int], None],
) -> list[list[CachedFile]]:
    """Mount ``images`` and open ``files`` in their order, then read them; ``tell`` hears of bytes done and in all.

    One after the other: threads would take turns at Python's lock between any two small clusters. Two took a third
    longer than one for clusters of 4 KiB, and as long for those of 64 KiB.
    """
    handles = []
    for (name, image), chosen in zip(images, files, strict=True):
        mounted = vfs.mount(image, name)
        handles.append([mounted.open_known(file.inode, file.fingerprint) for file in chosen])
    done, total = 0, sum(file.inode.size for chosen in files for file in chosen)
    for (name, _), chosen, of_one in zip(images, files, handles, strict=True):
        for file, handle in zip(chosen, of_one, strict=True):
            handle.advise(Advice.SEQUENTIAL if whole else Advice.RANDOM)
            try:
                file.pages = 0
                for offset, length in file.ranges or ((0, handle.size),):
                    file.pages |= _read_range(handle, offset, min(offset + length, handle.size))
            except CutShortError:
                raise
            except ImageError as error:
                error.path = f"{name}:{printable(file.path)}"
                raise
            done += file.inode.size
            tell(done, total)
    return handles


def _read_range(handle: CachedFile, offset: int, end: int) -> int:
    """Look at the bytes from ``offset`` to ``end``; return a bit map of the pages they lie in."""
    pages = 0
    while offset < end:
        got = sum(map(len, handle.views(offset, min(WINDOW, end - offset))))
        first, stop = offset // PAGE, -(-(offset + got) // PAGE)
        pages |= ((1 << (stop - first)) - 1) << first
        offset += got
    return pages
