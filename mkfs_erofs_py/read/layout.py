"""From an inode to its spans: each data layout has a module that knows how it says where bytes lie."""

from __future__ import annotations

from collections.abc import Iterator

from ..ondisk.constants import Layout
from ..ondisk.lcluster import Advise, MapHeader
from .flat import chunk_map_place, chunked_spans, flat_spans
from .inode import Inode
from .span import PACKED, Kind, Span
from .volume import Volume
from .xmap import ExtentIndex
from .zmap import ClusterIndex, map_header, whole_fragment

__all__ = ["index_place", "spans_of"]

_FLAT = (int(Layout.FLAT_PLAIN), int(Layout.FLAT_INLINE))
_CHUNK_BASED, _COMPRESSED_FULL = int(Layout.CHUNK_BASED), int(Layout.COMPRESSED_FULL)


def spans_of(volume: Volume, inode: Inode, pos: int = 0) -> Iterator[Span]:
    """Yield an inode's spans in order, from the one that holds byte ``pos``; together they tile the rest of it.

    Memory does not grow with the file. Raises what a malformed index deserves when it is reached.
    """
    layout = inode.layout
    if layout in _FLAT:
        return flat_spans(volume, inode, pos)
    if layout == _CHUNK_BASED:
        return chunked_spans(volume, inode, pos)
    if not inode.size:
        return iter(())
    header, start = map_header(volume, inode)
    offset = whole_fragment(header)
    if offset is not None:
        return iter((Span(0, inode.size, Kind.FRAGMENT, PACKED, offset, inode.size),))
    return _index(volume, inode, header, start).spans(pos)


def index_place(volume: Volume, inode: Inode) -> tuple[int, int] | None:
    """Return (start, end) of an inode's chunk map or cluster index in its metadata; ``None`` without one."""
    if inode.layout == _CHUNK_BASED and inode.size:
        return chunk_map_place(volume, inode)
    if not inode.is_compressed or not inode.size:
        return None
    header, start = map_header(volume, inode)
    if whole_fragment(header) is not None:
        return start - 8, start
    return _index(volume, inode, header, start).place


def _index(volume: Volume, inode: Inode, header: MapHeader, start: int) -> ClusterIndex | ExtentIndex:
    if inode.layout == _COMPRESSED_FULL and header.advise & Advise.EXTENTS:
        return ExtentIndex(volume, inode, header, start)
    return ClusterIndex(volume, inode, header, start)
