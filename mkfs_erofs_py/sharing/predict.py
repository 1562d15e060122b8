"""What page cache sharing saves, from fingerprints and sizes alone.

Which files share is decided by `mkfs_erofs_py.pagecache.sharing_key`, with the kernel's rules. Where sizes differ under
one key, the first file mapped wins and later ones keep pages of their own. Everything is counted in whole pages, each
hard link group once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..errors import UsageError, printable
from ..files.read_at import PathOrFile
from ..ondisk.constants import Compat
from ..pagecache import Unshared, page_round, sharing_key
from ..progress import Progress, silent
from ..read import Image, ImageSource, opened
from ..read.opened import names_of
from ..units import several

__all__ = ["Held", "ImageProfile", "Saving", "Savings", "TopFile", "common_matrix", "predict", "profile_image"]

_LANE = 16


class Held(NamedTuple):
    """The files of one image that have one sharing key (and the size of the first of them)."""

    size: int
    copies: int
    path: bytes


@dataclass(frozen=True, slots=True)
class ImageProfile:
    """What sharing depends on, of one image.

    ``private_bytes`` are the page-rounded bytes of files without a fingerprint that counts; ``held`` are
    the others, by sharing key. ``odd`` are those whose key the image has met before with another size: by
    key and size.
    """

    name: str
    files: int
    private_bytes: int
    held: dict[bytes, Held]
    odd: dict[tuple[bytes, int], Held] = field(default_factory=dict)

    def contents(self) -> Iterator[tuple[bytes, Held]]:
        """Yield all sharing keys with their files, a key of several sizes once for each."""
        yield from self.held.items()
        for (key, _), held in self.odd.items():
            yield key, held

    @property
    def without_bytes(self) -> int:
        """Page cache for reading every file once, each inode with pages of its own."""
        return self.private_bytes + sum(page_round(held.size) * held.copies for _, held in self.contents())

    @property
    def with_bytes(self) -> int:
        """The same when the image shares with itself only."""
        refused = sum(page_round(held.size) * held.copies for held in self.odd.values())
        return self.private_bytes + sum(page_round(held.size) for held in self.held.values()) + refused


@dataclass(frozen=True, slots=True)
class Saving:
    """Page cache of some images together, in bytes, without sharing and with it."""

    images: tuple[str, ...]
    without_bytes: int
    with_bytes: int

    @property
    def saved_bytes(self) -> int:
        """What sharing saves."""
        return self.without_bytes - self.with_bytes

    @property
    def reduction(self) -> float:
        """What sharing saves, as a fraction of what is needed without it."""
        return self.saved_bytes / self.without_bytes if self.without_bytes else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the fields and the reduction, ready for JSON."""
        return {
            "images": list(self.images),
            "without_bytes": self.without_bytes,
            "with_bytes": self.with_bytes,
            "reduction": self.reduction,
        }


@dataclass(frozen=True, slots=True)
class TopFile:
    """A file worth sharing: ``copies`` inodes of ``size`` bytes in ``images`` images hold it."""

    path: bytes
    size: int
    copies: int
    images: int

    @property
    def saved_bytes(self) -> int:
        """What sharing this file saves."""
        return (self.copies - 1) * page_round(self.size)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields and what is saved, ready for JSON; undecodable bytes in the path become ``\\xNN``."""
        return {
            "path": printable(self.path),
            "size": self.size,
            "copies": self.copies,
            "images": self.images,
            "saved_bytes": self.saved_bytes,
        }


@dataclass(frozen=True, slots=True)
class Savings:
    """What sharing saves: each image alone, each pair, all together; and which files do it.

    ``pairs`` are in order of their images, ``top`` in order of what each file saves. ``warnings`` say, a line each,
    what does not share though one might expect it.
    """

    total: Saving
    pairs: Sequence[Saving]
    images: Sequence[Saving]
    top: Sequence[TopFile] = ()
    warnings: Sequence[str] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """Return everything, ready for JSON."""
        return {
            "total": self.total.as_dict(),
            "pairs": [pair.as_dict() for pair in self.pairs],
            "images": [image.as_dict() for image in self.images],
            "top": [file.as_dict() for file in self.top],
            "warnings": list(self.warnings),
        }


def profile_image(
    image: ImageSource, name: str | None = None, *, devices: Sequence[PathOrFile] = (), progress: Progress | None = None
) -> ImageProfile:
    """Read an image's inodes and fingerprints, no file data.

    ``image`` is a path, a binary file or an open `Image`; ``devices`` are its extra devices in their order. ``name`` is
    what answers call it, its path where none is given. ``progress`` hears of files. Raises `UnreadableError` and
    `ImageError`.
    """
    with opened(image, devices) as one:
        return _profile(one, name if name is not None else names_of([image])[0], progress or silent)


def _profile(image: Image, name: str, progress: Progress) -> ImageProfile:
    announced = bool(image.superblock.compat & Compat.ISHARE_XATTRS)
    held: dict[bytes, Held] = {}
    odd: dict[tuple[bytes, int], Held] = {}
    files = private = 0
    for path, inode, fingerprint in image.fingerprints():
        files += 1
        progress("reading fingerprints", files, None)
        key = sharing_key(fingerprint, inode.size, announced=announced, compressed=inode.is_compressed)
        if isinstance(key, Unshared):
            private += page_round(inode.size)
            continue
        first = held.get(key)
        if first is None:
            held[key] = Held(inode.size, 1, path)
        elif first.size == inode.size:
            held[key] = first._replace(copies=first.copies + 1)
        else:
            other = odd.get((key, inode.size), Held(inode.size, 0, path))
            odd[key, inode.size] = other._replace(copies=other.copies + 1)
    return ImageProfile(name, files, private, held, odd)


def predict(images: Sequence[ImageProfile | ImageSource], *, top: int = 0, progress: Progress | None = None) -> Savings:
    """Return what sharing saves among images mapped in the order given, and the ``top`` best files.

    Each image is a path, a binary file, an open `Image`, or what `profile_image` made of it earlier, under the name
    given there. ``progress`` hears of images.

    Takes time in proportion to all files plus, for the pairs, to the square of the images. Raises `UnreadableError`,
    `ImageError`, and `UsageError` for a negative ``top``.
    """
    if top < 0:
        raise UsageError(f"--top {top}: a number of files, 0 or more")
    names = names_of([image.name if isinstance(image, ImageProfile) else image for image in several("images", images)])
    profiles = []
    for number, (image, name) in enumerate(zip(images, names, strict=True), 1):
        profiles.append(image if isinstance(image, ImageProfile) else profile_image(image, name))
        (progress or silent)("reading fingerprints", number, len(images))
    return _predict(profiles, top)


def _predict(profiles: Sequence[ImageProfile], top: int) -> Savings:
    masks: dict[bytes, int] = {}
    sizes: dict[bytes, int] = {}
    odd: set[bytes] = set()
    for number, profile in enumerate(profiles):
        for key, held in profile.held.items():
            masks[key] = masks.get(key, 0) | 1 << number
            if sizes.setdefault(key, held.size) != held.size:
                odd.add(key)
        odd.update(key for key, _ in profile.odd)
    even = sum(page_round(size) for key, size in sizes.items() if key not in odd)
    everything = tuple(range(len(profiles)))
    total = Saving(
        tuple(p.name for p in profiles),
        sum(p.without_bytes for p in profiles),
        sum(p.private_bytes for p in profiles) + even + _odd_bytes(profiles, everything, odd),
    )
    return Savings(
        total,
        _pairs(profiles, _common(masks, sizes, odd, len(profiles)), odd),
        [Saving((p.name,), p.without_bytes, p.with_bytes) for p in profiles],
        _top(profiles, masks, sizes, top) if top else (),
        _warnings(profiles, odd),
    )


def _odd_bytes(profiles: Sequence[ImageProfile], members: Iterable[int], odd: Collection[bytes]) -> int:
    """Return what the files under keys of several sizes need, when ``members`` are mapped in order."""
    needed = 0
    for key in odd:
        winner: int | None = None
        for number in members:
            profile = profiles[number]
            first = profile.held.get(key)
            if first is None:
                continue
            if winner is None:
                winner = first.size
                needed += page_round(first.size)
            for held in (first, *(held for (other, _), held in profile.odd.items() if other == key)):
                if held.size != winner:
                    needed += held.copies * page_round(held.size)
    return needed


def _common(masks: dict[bytes, int], sizes: dict[bytes, int], odd: Collection[bytes], count: int) -> list[list[int]]:
    """Return the matrix of bytes that each two images have in common (one copy), keys of several sizes left out."""
    by_set: dict[int, int] = {}
    for key, mask in masks.items():
        if mask & (mask - 1) and key not in odd:
            by_set[mask] = by_set.get(mask, 0) + page_round(sizes[key])
    return common_matrix(by_set, count)


def common_matrix(by_set: Mapping[int, int], count: int) -> list[list[int]]:
    """Return how many bytes each two of ``count`` images have in common, from those that a set of images has.

    ``by_set`` maps sets of images (bit ``n`` for image ``n``) to the bytes that these and no others hold. A row is one
    long integer of 128-bit lanes (no sum of sizes overflows one), so that a set of k images costs k additions, not k².
    """
    one, none = (1).to_bytes(_LANE, "little"), bytes(_LANE)
    rows = [0] * count
    for mask, amount in by_set.items():
        members = [n for n in range(count) if mask >> n & 1]
        lanes = amount * int.from_bytes(b"".join(one if mask >> n & 1 else none for n in range(count)), "little")
        for n in members:
            rows[n] += lanes
    cells = [memoryview(row.to_bytes(_LANE * count, "little")).cast("Q").tolist() for row in rows]
    return [[low | high << 64 for low, high in zip(row[::2], row[1::2], strict=True)] for row in cells]


def _pairs(profiles: Sequence[ImageProfile], common: list[list[int]], odd: Collection[bytes]) -> list[Saving]:
    without = [p.without_bytes for p in profiles]
    alone = [p.with_bytes for p in profiles]
    pairs = []
    for a in range(len(profiles)):
        for b in range(a + 1, len(profiles)):
            together = alone[a] + alone[b] - common[a][b]
            if odd:
                together += _odd_bytes(profiles, (a, b), odd)
                together -= _odd_bytes(profiles, (a,), odd) + _odd_bytes(profiles, (b,), odd)
            pairs.append(Saving((profiles[a].name, profiles[b].name), without[a] + without[b], together))
    return pairs


def _top(profiles: Sequence[ImageProfile], masks: dict[bytes, int], sizes: dict[bytes, int], top: int) -> list[TopFile]:
    copies: dict[bytes, int] = {}
    paths: dict[bytes, bytes] = {}
    for profile in profiles:
        for key, held in profile.held.items():
            if held.size == sizes[key]:
                copies[key] = copies.get(key, 0) + held.copies
                paths.setdefault(key, held.path)
    files = (
        TopFile(paths[key], sizes[key], number, masks[key].bit_count()) for key, number in copies.items() if number > 1
    )
    return sorted(files, key=lambda f: (-f.saved_bytes, f.path))[:top]


def _warnings(profiles: Sequence[ImageProfile], odd: Collection[bytes]) -> list[str]:
    warnings = []
    for profile in profiles:
        if profile.files and not profile.held:
            warnings.append(f"{profile.name}: announces no fingerprints, so it shares with nobody")
    if odd:
        warnings.append(f"{len(odd)} fingerprints belong to files of different sizes: only the first mapped is shared")
    return warnings
