"""What is to be extracted, and the directories that lead there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..read import Image, Inode
from ..units import absolute, several

__all__ = ["selected"]


def selected(image: Image, paths: Sequence[str | bytes] | None = None) -> Iterator[tuple[bytes, Inode]]:
    """Yield (path, inode) of all at or below ``paths`` and of the directories that lead there, parents first.

    ``None`` means everything, an empty sequence nothing. Paths come out absolute; symbolic links are not followed.
    Raises ``NotFoundError`` for a path that the image does not have, ``ImageError``, ``TypeError`` for a single path
    in place of several.
    """
    tops = {b"/"} if paths is None else {absolute(path) for path in several("paths", paths)}
    given: set[bytes] = set()
    for top in sorted(tops):
        if any(top.startswith(one.rstrip(b"/") + b"/") for one in tops if one != top):
            continue  # inside another
        for folder in _above(top):
            if folder not in given:
                given.add(folder)
                yield folder, image.lookup(folder, follow=False)
        image.lookup(top, follow=False)
        yield from image.walk(top)


def _above(path: bytes) -> Iterator[bytes]:
    """Yield the directories that lead to a path, the root first."""
    parts = path.split(b"/")[1:-1] if path != b"/" else None
    if parts is None:
        return
    yield b"/"
    here = b""
    for part in parts:
        here += b"/" + part
        yield here
