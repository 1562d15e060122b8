"""What a file's bytes are made of: runs of logical bytes and where each comes from."""

from __future__ import annotations

import enum
from typing import NamedTuple

__all__ = ["METABOX", "PACKED", "Kind", "Span"]

#: Values of `Span.device` for bytes that lie in another inode's data.
METABOX, PACKED = -1, -2


class Kind(enum.IntEnum):
    """How a span's stored bytes become data; 0 to 3 are the format's algorithm numbers."""

    LZ4 = 0
    LZMA = 1
    DEFLATE = 2
    ZSTD = 3
    #: Zeros that are not stored.
    HOLE = 4
    #: The bytes as they are (flat, chunked and "shifted" plain data).
    RAW = 5
    #: Plain data in one block, at the offset in the block that its offset in the file has, wrapping around.
    INTERLACED = 6
    #: Bytes of the packed inode.
    FRAGMENT = 7


class Span(NamedTuple):
    """``length`` bytes of a file from its byte ``start``.

    ``stored`` bytes at ``address`` of ``device`` hold them: device 0 is the image, k the k-th extra device,
    `METABOX` the metabox's data, `PACKED` the packed inode's. ``partial``: the stored bytes may decode to more
    than ``length``; only the beginning is this span's.
    """

    start: int
    length: int
    kind: int
    device: int
    address: int
    stored: int
    partial: bool = False

    @property
    def end(self) -> int:
        """The file's byte behind the span."""
        return self.start + self.length
