"""All bytes of a file in order, holes as zeros: what a hash or a stream wants."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import CorruptError
from ..files.read_at import Buffer
from .image import Image
from .inode import Inode

__all__ = ["filled"]

#: Zeros handed out at once for a hole, and most of them for one file: a hole costs its maker nothing.
_ZEROS = bytes(1 << 20)
_MAX_HOLES = 1 << 37


def filled(image: Image, inode: Inode) -> Iterator[Buffer]:
    """Yield all bytes of a file in order, holes as zeros. Raises ``CorruptError`` for over 128 GiB of holes."""
    end = holes = 0
    for offset, data in image.pieces(inode):
        if offset > end:
            holes += offset - end
            yield from _zeros(inode, offset - end, holes)
        yield data
        end = offset + len(data)
    if end < inode.size:
        yield from _zeros(inode, inode.size - end, holes + inode.size - end)


def _zeros(inode: Inode, length: int, holes: int) -> Iterator[Buffer]:
    if holes > _MAX_HOLES:
        raise CorruptError(f"inode {inode.nid} has over 128 GiB of holes, too many to read", inode.offset)
    while length > 0:
        yield _ZEROS[:length] if length < len(_ZEROS) else _ZEROS
        length -= len(_ZEROS)
