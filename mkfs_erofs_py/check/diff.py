"""How two images differ, path by path; content by fingerprint where both have one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

from ..errors import UsageError, printable
from ..files.read_at import PathOrFile
from ..ondisk.constants import FINGERPRINT_NAME
from ..progress import Progress, silent
from ..read import Image, ImageSource, Inode, opened
from ..units import exact_time, several, text

__all__ = ["IGNORABLE", "Change", "Difference", "Ignorable", "diff_images"]

#: What may differ without being of interest.
Ignorable = Literal["mode", "owner", "time", "xattrs", "links"]
IGNORABLE: tuple[Ignorable, ...] = get_args(Ignorable)

#: Bytes of two files compared at a time.
_STEP = 1 << 20


class Change(NamedTuple):
    """What of an inode changed, and from what to what; both are ``None`` where only that it changed is known.

    ``what`` is ``type``, ``mode``, ``owner``, ``time``, ``links``, ``device``, ``target``, ``size``, ``content`` or
    ``xattrs``; sizes and link counts are numbers, the rest is text.
    """

    what: str
    before: str | int | None
    after: str | int | None


@dataclass(frozen=True, slots=True)
class Difference:
    """A path that is not the same in both images.

    ``mark`` is ``+`` for a path that only the second image has, ``-`` for one that only the first has, and ``M`` for
    one in both, whose ``changes`` say what changed. ``path`` is absolute inside the images.
    """

    mark: Literal["+", "-", "M"]
    path: bytes
    changes: tuple[Change, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return all fields, ready for JSON."""
        return {"mark": self.mark, "path": text(self.path), "changes": [list(change) for change in self.changes]}


def diff_images(
    before: ImageSource,
    after: ImageSource,
    *,
    ignore: Collection[Ignorable] = (),
    devices_before: Sequence[PathOrFile] = (),
    devices_after: Sequence[PathOrFile] = (),
    progress: Progress | None = None,
) -> list[Difference]:
    """Return how the image ``after`` differs from ``before``, in order of paths; an empty list if it does not.

    Each image is a path, a binary file or an open `Image`, with its extra devices in their order. ``ignore`` names
    what is of no interest. ``progress`` hears of the second image's inodes.

    Raises `UnreadableError`, `ImageError` and `UsageError`.
    """
    unknown = sorted(set(several("ignore", ignore)) - set(IGNORABLE))
    if unknown:
        raise UsageError(f"ignore {unknown[0]!r}: not one of {', '.join(IGNORABLE)}")
    with opened(before, devices_before) as one, opened(after, devices_after) as two:
        found = _differences(one, two, frozenset(ignore), progress or silent)
        return sorted(found, key=lambda difference: difference.path)


def _differences(a: Image, b: Image, ignore: Collection[str], progress: Progress) -> Iterator[Difference]:
    gone = dict(a.walk())
    expected = b.superblock.inodes
    for number, (path, inode) in enumerate(b.walk(), 1):
        old = gone.pop(path, None)
        if old is None:
            yield Difference("+", path)
        else:
            changes = tuple(change for change in _changes(a, old, b, inode) if change.what not in ignore)
            if changes:
                yield Difference("M", path, changes)
        progress("comparing", min(number, expected), expected)
    for path in gone:
        yield Difference("-", path)


def _changes(a: Image, old: Inode, b: Image, new: Inode) -> Iterator[Change]:
    if old.type != new.type:
        yield Change("type", old.type.name.lower(), new.type.name.lower())
        return
    if old.mode != new.mode:
        yield Change("mode", f"{old.mode & 0o7777:04o}", f"{new.mode & 0o7777:04o}")
    if (old.uid, old.gid) != (new.uid, new.gid):
        yield Change("owner", f"{old.uid}:{old.gid}", f"{new.uid}:{new.gid}")
    if old.mtime_ns != new.mtime_ns:
        yield Change("time", exact_time(old.mtime_ns), exact_time(new.mtime_ns))
    if old.nlink != new.nlink and not new.is_dir:
        yield Change("links", old.nlink, new.nlink)
    if old.rdev != new.rdev:
        yield Change("device", "{}:{}".format(*old.rdev), "{}:{}".format(*new.rdev))
    if new.is_symlink and a.readlink(old) != b.readlink(new):
        yield Change("target", printable(a.readlink(old)), printable(b.readlink(new)))
    was, now = a.attributes(old), b.attributes(new)
    if new.is_file:
        yield from _content(a, old, was.fingerprint, b, new, now.fingerprint)
    yield from _xattrs(was.visible, now.visible)


def _content(a: Image, old: Inode, was: bytes | None, b: Image, new: Inode, now: bytes | None) -> Iterator[Change]:
    if old.size != new.size:
        yield Change("size", old.size, new.size)
        return
    if not new.size:
        return
    if was is not None and now is not None and was[:7] == now[:7]:
        if was != now:
            yield Change("content", None, None)
        return
    for offset in range(0, new.size, _STEP):
        if a.pread(old, _STEP, offset) != b.pread(new, _STEP, offset):
            yield Change("content", None, None)
            return


def _xattrs(one: dict[bytes, bytes], two: dict[bytes, bytes]) -> Iterator[Change]:
    one.pop(FINGERPRINT_NAME, None)
    two.pop(FINGERPRINT_NAME, None)
    if one != two:
        names = sorted(name for name in one.keys() | two.keys() if one.get(name) != two.get(name))
        was, became = (" ".join(printable(name) for name in names if name in tree) or "none" for tree in (one, two))
        yield Change("xattrs", was, became)
