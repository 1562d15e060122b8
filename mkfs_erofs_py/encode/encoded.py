"""What encoding makes of a content: spans and bytes, and no address."""

from __future__ import annotations

from array import array
from typing import NamedTuple

from .encoding import Encoding

__all__ = ["HOLE", "PLAIN", "Encoded", "Key", "Spans"]

#: Kinds of spans that no algorithm made: bytes stored as they are, and zeros of which nothing is stored. The others
#: have their algorithm's number.
PLAIN, HOLE = 254, 255


class Spans(NamedTuple):
    """How a content is cut, in columns that are equally long: span ``i`` is the ``i``-th value of each.

    ``lengths`` are bytes of content, ``stored`` the bytes they take in the image, and ``kinds`` how: an `Algorithm`,
    `PLAIN` or `HOLE`.
    """

    lengths: array[int]
    stored: array[int]
    kinds: bytes


class Key(NamedTuple):
    """What tells one stored form from another: equal keys, equal bytes, in this image and any other."""

    digest: bytes
    size: int
    encoding: Encoding


class Encoded(NamedTuple):
    """A content in its stored form.

    ``spans`` is ``None`` for a content that is stored as it is, block after block; otherwise the bytes of all spans
    stand in ``data`` one behind the other. ``data`` is ``None`` where the bytes came before, in parts.
    """

    key: Key
    spans: Spans | None
    data: bytes | memoryview | None
