"""The spans of uncompressed files: flat, flat with an inline tail, chunked."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import CorruptError, OutOfBoundsError
from ..ondisk.chunk import HOLE, ChunkFormat, unpack_chunks
from ..ondisk.constants import Layout
from .inode import Inode
from .span import METABOX, Kind, Span
from .volume import Volume

__all__ = ["chunk_map_place", "chunked_spans", "flat_spans"]

_BATCH_BYTES = 32768
_FLAT_INLINE = int(Layout.FLAT_INLINE)
_RAW = int(Kind.RAW)


def flat_spans(volume: Volume, inode: Inode, pos: int = 0) -> Iterator[Span]:
    """Yield the one or two spans of a flat inode, from the one that holds byte ``pos``.

    Whole blocks lie at the start block; an inline tail of ``size mod block`` bytes lies behind the xattrs,
    inside one block.
    """
    size, bs = inode.size, volume.block_size
    if pos >= size:
        return
    block = inode.start_block
    if block is None:
        yield Span(0, size, Kind.HOLE, 0, 0, 0)
        return
    tail = 0
    if inode.layout == _FLAT_INLINE:
        # A multiple of the block size counts as one whole inline block, which never fits behind an inode.
        tail = (size - 1) % bs + 1
    whole = size - tail
    if pos < whole:
        yield Span(0, whole, _RAW, 0, block << volume.block_bits, whole)
    if tail:
        if inode.body % bs + tail > bs:
            raise CorruptError(f"inline data of inode {inode.nid} crosses a block", inode.body)
        yield Span(whole, tail, _RAW, METABOX if inode.in_metabox else 0, inode.body, tail)


def chunk_map_place(volume: Volume, inode: Inode) -> tuple[int, int]:
    """Return where a chunked inode's map lies in its metadata: behind the xattrs, aligned to its entries' size."""
    form = ChunkFormat.unpack(inode.chunk_format)
    start = -(-inode.body // form.entry_size) * form.entry_size
    return start, start + -(-inode.size >> form.chunk_bits + volume.block_bits) * form.entry_size


def chunked_spans(volume: Volume, inode: Inode, pos: int = 0) -> Iterator[Span]:
    """Yield the spans of a chunked inode from the one that holds byte ``pos``, neighbours joined."""
    size = inode.size
    if pos >= size:
        return
    form = ChunkFormat.unpack(inode.chunk_format)
    unit, bits = form.entry_size, form.chunk_bits + volume.block_bits
    start, end = chunk_map_place(volume, inode)
    count = (end - start) // unit
    if end > volume.meta_size(inode.in_metabox):
        raise OutOfBoundsError(f"map of {count} chunks of inode {inode.nid} reaches past the end", start)
    held: Span | None = None
    first = pos >> bits
    while first < count:
        batch = min(_BATCH_BYTES // unit, count - first)
        data, at = volume.meta(inode.in_metabox, start + first * unit, batch * unit)
        for number, (raw, block) in enumerate(unpack_chunks(data[at : at + batch * unit], form), first):
            here = number << bits
            length = min(1 << bits, size - here)
            if block == HOLE:
                kind, device, address, stored = Kind.HOLE, 0, 0, 0
            else:
                device = volume.device_id(raw)
                kind, address, stored = Kind.RAW, block << volume.block_bits, length
            if held is not None:
                follows = address == held.address + held.stored and device == held.device
                if kind == held.kind and (follows or kind == Kind.HOLE):
                    held = Span(held.start, held.length + length, kind, device, held.address, held.stored + stored)
                    continue
                yield held
            held = Span(here, length, kind, device, address, stored)
        first += batch
    if held is not None:
        yield held
