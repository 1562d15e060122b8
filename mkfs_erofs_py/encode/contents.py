"""Contents become stored data: read and packed by workers, each distinct one written once, in order."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import SourceError
from ..files.output import Output
from ..files.spool import Spool
from ..fingerprint import Hasher, new_hasher
from ..ondisk.lcluster import LCLUSTER_PLAIN
from ..tree import Node, OpenContent
from .packer import TYPE_SHIFT
from .packing import IndexForm, Packing
from .pool import Pool, Slot
from .worker import FLAT, FilesJob, Packed, SegmentJob

__all__ = ["ContentStore", "Stored"]

#: A job of whole files ends at this many bytes, or files: small enough to keep all workers busy to the
#: end, large enough that handing it over does not show.
_BATCH_BYTES, _BATCH_FILES = 1 << 20, 128


class Stored(NamedTuple):
    """A content's stored form and its place.

    ``start`` is its first byte's offset in the image, ``length`` the bytes taken there. ``pieces``
    are the packer's words, ``None`` for flat data, whose inline tail, if any, waits at ``tail`` in
    the spool (-1: none).
    """

    digest: bytes
    start: int
    length: int
    pieces: bytes | None
    tail: int = -1


class _Large:
    """A content of several segments on its way: what is known of it so far."""

    def __init__(self, hasher: Hasher, segments: int) -> None:
        self.hasher = hasher
        self.left = segments
        self.start = -1
        self.pieces = bytearray()


@dataclass(frozen=True, slots=True)
class _Pending:
    """A job under way, or a place among them, and the nodes whose contents it packs.

    ``zeros`` is the (size, final) of a segment that is a hole; only the first such is ``packed``.
    """

    nodes: tuple[Node, ...]
    large: _Large | None = None
    zeros: tuple[int, bool] | None = None
    packed: bool = True


class ContentStore:
    """Takes contents in their order and writes each distinct one to the output.

    `offer` may be called while the tree is still being read, and keeps the workers busy meanwhile;
    `store` does the rest. The bytes written depend on contents and profile alone.
    """

    def __init__(self, packing: Packing, pool: Pool) -> None:
        self._packing = packing
        self._pool = pool
        self._batch: list[Node] = []
        self._batch_bytes = 0
        #: Batches not yet given to a worker; a content larger than a segment is alone in its.
        self._waiting: deque[tuple[Node, ...]] = deque()
        self._pending: deque[_Pending] = deque()
        self._known: dict[tuple[bytes, bool], Stored] = {}
        # A sparse file's segments are alike; each kind, by (size, final), is packed once.
        self._holes: dict[tuple[int, bool] | None, tuple[Packed, bytes] | None] = {}
        self._zeros = memoryview(bytes(packing.segment))
        self.duplicates = 0
        self.duplicate_bytes = 0

    def offer(self, node: Node) -> None:
        """Add a regular file that is not empty; never waits."""
        if self._batch_bytes + node.size > self._packing.segment:
            self._end_batch()
        self._batch.append(node)
        self._batch_bytes += node.size
        if self._batch_bytes >= _BATCH_BYTES or len(self._batch) >= _BATCH_FILES:
            self._end_batch()
            while self._waiting and not self._is_large(self._waiting[0]) and (slot := self._pool.slot()):
                self._give(slot, self._waiting.popleft())

    def store(
        self,
        output: Output,
        spool: Spool,
        inline_room: Callable[[Node], int],
        done: Callable[[Node, Stored], None],
    ) -> None:
        """Store all that was offered; ``done`` hears of it in that same order.

        ``inline_room`` tells how many bytes of tail a node can take into its inode's block. Raises
        `SourceError` for a content that cannot be read or changes meanwhile, `OutputError`.
        """
        self._output, self._spool = output, spool
        self._inline_room, self._done = inline_room, done
        self._end_batch()
        while self._waiting:
            nodes = self._waiting.popleft()
            if self._is_large(nodes):
                self._add_large(nodes[0])
            else:
                self._give(self._slot(), nodes)
        while self._pending:
            self._finish_oldest()

    def _is_large(self, nodes: tuple[Node, ...]) -> bool:
        return nodes[0].size > self._packing.segment

    def _end_batch(self) -> None:
        if self._batch:
            self._waiting.append(tuple(self._batch))
            self._batch.clear()
            self._batch_bytes = 0

    def _slot(self) -> Slot:
        while (slot := self._pool.slot()) is None:
            self._finish_oldest()
        return slot

    def _give(self, slot: Slot, nodes: tuple[Node, ...]) -> None:
        files = tuple((node.content, node.size) for node in nodes if node.content is not None)
        self._pool.give(slot, FilesJob(slot.number, files))
        self._pending.append(_Pending(nodes))

    def _add_large(self, node: Node) -> None:
        """Read and hash a content here, a segment at a time, and have workers pack the segments."""
        assert node.content is not None
        segment = self._packing.segment
        large = _Large(new_hasher(self._packing.digest), -(-node.size // segment))
        with node.content.open() as file:
            for start in range(0, node.size, segment):
                size = min(segment, node.size - start)
                final = start + size == node.size
                zeros = (size, final) if file.skip_hole(size) else None
                if zeros in self._holes:
                    large.hasher.update(self._zeros[:size])
                    self._pending.append(_Pending((node,), large, zeros, packed=False))
                    continue
                slot = self._slot()
                if zeros:
                    slot.input[:size] = self._zeros[:size]
                    self._holes[zeros] = None
                else:
                    _read_exactly(file, slot.input[:size], node.content.label)
                large.hasher.update(slot.input[:size])
                self._pool.give(slot, SegmentJob(slot.number, size, final))
                self._pending.append(_Pending((node,), large, zeros))
            if file.readinto(memoryview(bytearray(1))):
                raise SourceError(node.content.label, "grew while it was read; build again when it is at rest")

    def _finish_oldest(self) -> None:
        pending = self._pending.popleft()
        if pending.large is not None and pending.zeros is not None and not pending.packed:
            hole = self._holes[pending.zeros]
            assert hole is not None
            self._place_segment(pending.nodes[0], pending.large, *hole)
            return
        with self._pool.take() as results:
            if pending.large is None:
                for node, (packed, data) in zip(pending.nodes, results, strict=True):
                    self._done(node, self._place(node, packed, data))
            else:
                packed, data = results[0]
                if pending.zeros is not None:
                    self._holes[pending.zeros] = packed, bytes(data)
                self._place_segment(pending.nodes[0], pending.large, packed, data)
            # The bytes are the worker's again from here on.
            self._output.flush()

    def _place(self, node: Node, packed: Packed, data: memoryview) -> Stored:
        """Write a whole content unless it is known -> its stored form."""
        tail_size = node.size % self._packing.block_size if packed.form == FLAT else 0
        inline = 0 < tail_size <= self._inline_room(node)
        key = packed.digest, inline
        known = self._known.get(key)
        if known is not None:
            self.duplicates += 1
            self.duplicate_bytes += node.size
            return known
        if packed.form == FLAT:
            stored = self._write_flat(packed.digest, data, tail_size if inline else 0)
        else:
            stored = Stored(packed.digest, self._output.position, packed.length, packed.pieces)
            self._output.append(data)
        self._known[key] = stored
        return stored

    def _write_flat(self, digest: bytes, data: memoryview, tail_size: int) -> Stored:
        full = len(data) - tail_size
        tail = self._spool.append(data[full:]) if tail_size else -1
        if not full:
            return Stored(digest, 0, 0, None, tail)
        self._output.pad(self._packing.block_size)
        start = self._output.position
        self._output.append(data[:full], bytes(-full % self._packing.block_size))
        return Stored(digest, start, self._output.position - start, None, tail)

    def _place_segment(self, node: Node, large: _Large, packed: Packed, data: memoryview | bytes) -> None:
        if large.start < 0:
            # Block-aligned, so that a content which turns out plain throughout can be laid out flat.
            self._output.pad(self._packing.block_size)
            large.start = self._output.position
        self._output.append(data)
        large.pieces += packed.pieces
        large.left -= 1
        if large.left:
            return
        digest = large.hasher.digest()
        known = self._known.get((digest, False))
        if known is not None:
            self.duplicates += 1
            self.duplicate_bytes += node.size
            self._output.rewind(large.start)
            self._done(node, known)
            return
        if self._is_plain(large.pieces, node.size):
            self._output.pad(self._packing.block_size)
            stored = Stored(digest, large.start, self._output.position - large.start, None)
        else:
            stored = Stored(digest, large.start, self._output.position - large.start, bytes(large.pieces))
        self._known[digest, False] = stored
        self._done(node, stored)

    def _is_plain(self, pieces: bytearray, size: int) -> bool:
        if self._packing.index is IndexForm.NONE:
            return True
        words = array("I", bytes(pieces))
        if self._packing.index is IndexForm.EXTENTS:
            return sum(words) == size
        return all(word >> TYPE_SHIFT == LCLUSTER_PLAIN for word in words[::2])


def _read_exactly(file: OpenContent, view: memoryview, label: bytes) -> None:
    while view:
        count = file.readinto(view)
        if not count:
            raise SourceError(label, "shrank while it was read; build again when it is at rest")
        view = view[count:]
