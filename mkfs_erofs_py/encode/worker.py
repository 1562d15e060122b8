"""The workers' side of encoding: contents are read, hashed and packed in memory shared with the builder.

Jobs and answers carry few objects, since a tree has many small files: an answer joins what became of all contents of
its job into one column each.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Iterator
from typing import NamedTuple

from ..compress import make_encoder
from ..errors import SourceError
from ..fingerprint import digest
from ..ondisk.constants import MAX_ENCODED
from ..tree import Reopen
from ..workers.team import SlotMap
from .clusters import LclusterPacker
from .encoded import Encoded, Key, Spans
from .encoding import Encoding, IndexForm
from .packed import ExtentPacker
from .packer import Packer

__all__ = ["Answer", "Files", "Segment", "Worker", "slot_map"]

#: Encoded extents: incompressible contents from this many blocks on are laid out flat, which kernels
#: read without a copy; smaller ones stay packed, since a flat one has to start a block.
_FLAT_BLOCKS = 16


class Files(NamedTuple):
    """Whole contents to read, hash and pack; together no more than a segment."""

    contents: tuple[tuple[Reopen, int, Encoding], ...]


class Segment(NamedTuple):
    """Part of a large content, which the builder has read into the slot's input and hashed itself.

    ``final`` tells whether the content ends with it.
    """

    size: int
    final: bool
    encoding: Encoding


class Answer(NamedTuple):
    """What became of a job's contents, or of a segment, in columns.

    ``digests`` joins the digests of whole contents. ``offsets`` and ``sizes`` tell where each one's stored bytes stand
    in the slot, ``counts`` how many spans it has, -1 for one that is stored as it is; ``lengths``, ``stored`` and
    ``kinds`` join the columns of all spans.
    """

    digests: bytes
    offsets: array[int]
    sizes: array[int]
    counts: array[int]
    lengths: array[int]
    stored: array[int]
    kinds: bytes

    def encoded(self, job: Files, memory: memoryview) -> Iterator[Encoded]:
        """Yield the job's contents as encoded; ``memory`` is its worker's."""
        size_of_digest = len(self.digests) // len(job.contents)
        at = 0
        for number, (_, size, encoding) in enumerate(job.contents):
            key = Key(self.digests[number * size_of_digest : (number + 1) * size_of_digest], size, encoding)
            count = self.counts[number]
            start = self.offsets[number]
            data = memory[start : start + self.sizes[number]]
            spans = None
            if count >= 0:
                spans = self._spans(at, at + count)
                at += count
            yield Encoded(key, spans, data)

    def spans(self) -> Spans | None:
        """Return all spans: those of a segment. ``None`` for one that is stored as it is."""
        return None if self.counts[0] < 0 else self._spans(0, self.counts[0])

    def _spans(self, start: int, end: int) -> Spans:
        return Spans(self.lengths[start:end], self.stored[start:end], self.kinds[start:end])


class _Answering:
    """An answer in the making."""

    def __init__(self) -> None:
        self.digests = bytearray()
        self.offsets, self.sizes = array("Q"), array("Q")
        self.counts = array("q")
        self.lengths, self.stored = array("I"), array("I")
        self.kinds = bytearray()

    def add(self, digest: bytes, offset: int, size: int, spans: Spans | None) -> None:
        self.digests += digest
        self.offsets.append(offset)
        self.sizes.append(size)
        if spans is None:
            self.counts.append(-1)
            return
        self.counts.append(len(spans.kinds))
        self.lengths += spans.lengths
        self.stored += spans.stored
        self.kinds += spans.kinds

    def done(self) -> Answer:
        return Answer(
            bytes(self.digests), self.offsets, self.sizes, self.counts, self.lengths, self.stored, bytes(self.kinds)
        )


def slot_map(segment: int, slots: int) -> SlotMap:
    """Return where slots lie in a worker's memory; ``segment`` is the largest of any encoding, in bytes.

    The input takes a segment and the byte more that shows when a file has grown, the output a segment that does not
    shrink, with room for a pcluster to spare.
    """
    return SlotMap(segment + 1, segment + MAX_ENCODED, slots)


class _Packing:
    """How contents of one encoding are packed by this worker."""

    def __init__(self, encoding: Encoding) -> None:
        self.encoding = encoding
        self.packer = _make_packer(encoding)
        extents = encoding.index is IndexForm.EXTENTS
        # Contents of these sizes are packed even where that saves nothing.
        self._anyway = range(encoding.block_size, _FLAT_BLOCKS << encoding.block_bits if extents else 0)
        # A cluster takes a whole block at least, so contents that fit one have nothing to gain.
        self._hopeless = 0 if extents else encoding.block_size
        # An index takes a record an lcluster, or a piece, and its header.
        self._record = {IndexForm.COMPACT: 2, IndexForm.FULL: 8}.get(encoding.index, 4)

    def pack(self, source: int, size: int, out: int) -> tuple[Spans, int] | None:
        """Pack a whole content between two addresses -> spans and bytes written, ``None`` if it is better left."""
        encoding = self.encoding
        if self.packer is None or size <= self._hopeless:
            return None
        if not encoding.cuts:
            spans, length = self.packer.pack(source, size, out, True)
        else:
            spans, length = self._pack_segments(self.packer, source, size, out)
        index = 16 + self._record * (size // encoding.unit + 1)
        return (spans, length) if length + index < size or size in self._anyway else None

    def _pack_segments(self, packer: Packer, source: int, size: int, out: int) -> tuple[Spans, int]:
        lengths, stored, kinds = array("I"), array("I"), bytearray()
        made = 0
        for start, length in self.encoding.segments(size):
            spans, written = packer.pack(source + start, length, out + made, start + length == size)
            lengths += spans.lengths
            stored += spans.stored
            kinds += spans.kinds
            made += written
        return Spans(lengths, stored, bytes(kinds)), made


def _make_packer(encoding: Encoding) -> Packer | None:
    if encoding.compressor is None:
        return None
    encoder = make_encoder(encoding.compressor, max_pcluster=encoding.pcluster, block_size=encoding.block_size)
    if encoding.index is IndexForm.EXTENTS:
        return ExtentPacker(encoder, encoding.block_bits, encoding.pcluster.bit_length() - 1)
    return LclusterPacker(encoder, encoding.block_bits, encoding.pcluster)


class Worker:
    """Does jobs in slots of shared memory, to which ``slots`` is the map."""

    def __init__(self, slots: SlotMap, memory: memoryview | None) -> None:
        assert memory is not None
        self._slots = slots
        self._memory = memory
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        self._packings: dict[Encoding, _Packing] = {}

    def __call__(self, slot: int, job: Files | Segment) -> Answer:
        """Do one job. Raises `SourceError`."""
        at, out = self._slots.input(slot), self._slots.output(slot)
        return self._files(job, at, out) if isinstance(job, Files) else self._segment(job, at, out)

    def _packing(self, encoding: Encoding) -> _Packing:
        found = self._packings.get(encoding)
        if found is None:
            found = self._packings[encoding] = _Packing(encoding)
        return found

    def _files(self, job: Files, at: int, out: int) -> Answer:
        answer = _Answering()
        last = packing = None
        for content, size, encoding in job.contents:
            # Contents side by side mostly have the very same encoding, and to hash one takes longer than to compare.
            if encoding is not last or packing is None:
                last, packing = encoding, self._packing(encoding)
            # One byte more is asked for: to get it would mean that the file has grown.
            if content.read_into(self._memory[at : at + size + 1]) != size:
                raise SourceError(content.label, "changed its size while it was read; build again when it is at rest")
            key = digest(encoding.digest, self._memory[at : at + size])
            packed = packing.pack(self._address + at, size, self._address + out)
            if packed is None:
                answer.add(key, at, size, None)
            else:
                spans, length = packed
                answer.add(key, out, length, spans)
                out += length
            at += size
        return answer.done()

    def _segment(self, job: Segment, at: int, out: int) -> Answer:
        answer = _Answering()
        packer = self._packing(job.encoding).packer
        if packer is None:
            answer.add(b"", at, job.size, None)
        else:
            spans, length = packer.pack(self._address + at, job.size, self._address + out, job.final)
            answer.add(b"", out, length, spans)
        return answer.done()
