"""Contents go in, their stored forms come out in the same order; in between, worker processes read, hash and pack."""

from __future__ import annotations

import functools
from array import array
from collections import deque
from dataclasses import replace
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from ..errors import SourceError
from ..fingerprint import Hasher, new_hasher
from ..tree import Bytes, Facts, OpenContent, Reopen, Stream
from ..workers.team import Slot, Team
from .encoded import PLAIN, Encoded, Key, Spans
from .encoding import Encoding
from .policy import Policy
from .worker import Answer, Files, Segment, Worker, slot_map

__all__ = ["Receiver", "Service"]

#: A job of whole files ends at this many bytes, or files: small enough to keep all workers busy to the
#: end, large enough that handing it over does not show.
_BATCH_BYTES, _BATCH_FILES = 1 << 20, 1024
#: The fewest slots that a worker has: one being packed, one packed and waiting for its turn, one being filled.
_SLOTS = 3
#: Slots that all workers together have at least, so few workers have more each: contents can then be packed while the
#: tree is still read and no answer is taken.
_ALL_SLOTS = 16


class Receiver(Protocol):
    """Who takes the stored forms, in the order in which contents were given."""

    def whole(self, encoded: Encoded) -> None:
        """Take a content whose bytes are all there."""
        ...

    def part(self, data: memoryview | bytes, block_size: int) -> None:
        """Take the next bytes of a large content, which begins a block of this size."""
        ...

    def last(self, encoded: Encoded) -> None:
        """Take what is known of the large content of which all parts have come."""
        ...

    def settle(self) -> None:
        """Be done with all bytes that were handed over: their memory is about to be used again."""
        ...


class _Large:
    """A content of several segments on its way: what is known of it so far."""

    def __init__(self, size: int, encoding: Encoding) -> None:
        self.size = size
        self.encoding = encoding
        self.hasher: Hasher = new_hasher(encoding.digest)
        self._lengths, self._stored, self._kinds = array("I"), array("I"), bytearray()

    def add(self, spans: Spans | None) -> None:
        """Take in a segment's spans."""
        if spans is not None:
            self._lengths += spans.lengths
            self._stored += spans.stored
            self._kinds += spans.kinds

    def done(self) -> Encoded:
        """Return what became of it: stored as it is where no segment shrank at all."""
        kinds = bytes(self._kinds)
        plain = not kinds.strip(bytes((PLAIN,)))
        spans = None if plain else Spans(self._lengths, self._stored, kinds)
        return Encoded(Key(self.hasher.digest(), self.size, self.encoding), spans, None)


class _Hole(NamedTuple):
    """A segment that is known to be zeros. Equal ones are packed once."""

    size: int
    final: bool
    encoding: Encoding


class _Pending(NamedTuple):
    """A job under way, or the turn of a hole that an earlier job packs.

    ``files`` are whole contents; otherwise it is a segment of ``large``, and ``hole`` is set if that is known to be
    zeros, and ``final`` if the content ends with it. ``given`` is whether a worker has it.
    """

    files: Files | None = None
    large: _Large | None = None
    hole: _Hole | None = None
    final: bool = False
    given: bool = True


class _Present(Bytes):
    """A content that stands in the slot's input already."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(b"", b"")

    def __reduce__(self) -> tuple[type[Bytes], tuple[bytes, ...]]:
        return _Present, ()

    def read_into(self, view: memoryview) -> int:
        """Leave the slot as it is. One byte more than the content is asked for, which shows growth: it has none."""
        return len(view) - 1


_File = tuple[Reopen, int, Encoding]


class Service:
    """Encodes contents by a policy.

    `offer` takes contents that can be opened, never waits, and may be called while the tree is still being read;
    `stream` takes one that comes once, and reads it; `drain` waits for all of them. The ``receiver`` gets the stored
    forms from `stream` and `drain`. What they are depends on contents and policy alone. Not thread-safe.
    """

    def __init__(self, policy: Policy, workers: int, receiver: Receiver) -> None:
        self._policy = policy
        #: Who takes the stored forms; may change after `drain`.
        self.receiver = receiver
        self._admitted = set(policy.encodings)
        self._last: Encoding | None = None
        segment = max(encoding.segment for encoding in policy.encodings)
        slots = slot_map(segment, max(_SLOTS, _ALL_SLOTS // workers))
        self._team: Team[Files | Segment, Answer] = Team(functools.partial(Worker, slots), workers, slots)
        self._batch: list[_File] = []
        self._batch_bytes = 0
        #: Batches not yet given to a worker; a content larger than a segment is a batch of its own.
        self._waiting: deque[tuple[_File, ...]] = deque()
        #: Contents read from streams, which stand in this slot's input.
        self._held: Slot | None = None
        self._pending: deque[_Pending] = deque()
        self._holes: dict[_Hole, tuple[Spans | None, bytes] | None] = {}
        self._zeros = memoryview(bytes(segment))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._team.close()

    def offer(self, path: bytes, facts: Facts, content: Reopen) -> None:
        """Add the content of a regular file that is not empty; never waits."""
        self._end_held()
        size = facts.size
        encoding = self._encoding(path, facts)
        if self._batch_bytes + size > encoding.segment:
            self._end_batch()
        self._batch.append((content, size, encoding))
        self._batch_bytes += size
        if self._batch_bytes >= _BATCH_BYTES or len(self._batch) >= _BATCH_FILES:
            self._end_batch()
            while self._waiting and not _is_large(self._waiting[0]) and (slot := self._team.slot()):
                self._give(slot, self._waiting.popleft())

    def stream(self, path: bytes, facts: Facts, content: Stream) -> None:
        """Read the content of a regular file that is not empty, and add it.

        Raises `SourceError`, and what the receiver raises.
        """
        encoding = self._encoding(path, facts)
        reader, label = content.reader, content.label
        if facts.size > encoding.segment:
            self._start_all()
            self._read_large(reader, label, facts.size, encoding)
            return
        if self._held is not None and self._batch_bytes + facts.size > encoding.segment:
            self._end_held()
        if self._held is None:
            self._start_all()
            self._held = self._slot()
        start = self._batch_bytes
        _read_exactly(reader, self._held.input[start : start + facts.size], label)
        _expect_end(reader, label)
        self._batch.append((_Present(), facts.size, encoding))
        self._batch_bytes += facts.size
        if self._batch_bytes >= _BATCH_BYTES or len(self._batch) >= _BATCH_FILES:
            self._end_held()

    def drain(self) -> None:
        """Hand over all that was added so far to the receiver.

        Raises `SourceError` for what cannot be read, and what the receiver raises.
        """
        self._start_all()
        while self._pending:
            self._finish_oldest()

    def finish(self) -> None:
        """Let the workers end: nothing more will be added. They clean up while the builder goes on."""
        self._team.finish()

    def _encoding(self, path: bytes, facts: Facts) -> Encoding:
        encoding = self._policy(path, facts)
        # Contents side by side mostly have the very same one.
        if encoding is not self._last:
            if (replace(encoding, cuts=()) if encoding.cuts else encoding) not in self._admitted:
                raise AssertionError("a policy gave an encoding that is not among those it said it may give")
            self._last = encoding
        return encoding

    # -- jobs in the making ------------------------------------------------------------------------

    def _end_batch(self) -> None:
        if self._batch:
            self._waiting.append(tuple(self._batch))
            self._batch.clear()
            self._batch_bytes = 0

    def _end_held(self) -> None:
        if self._held is not None:
            self._give(self._held, tuple(self._batch))
            self._held = None
            self._batch.clear()
            self._batch_bytes = 0

    def _start_all(self) -> None:
        """Give workers everything that they were not given yet."""
        self._end_held()
        self._end_batch()
        while self._waiting:
            files = self._waiting.popleft()
            if _is_large(files):
                self._add_large(*files[0])
            else:
                self._give(self._slot(), files)

    def _slot(self) -> Slot:
        while (slot := self._team.slot()) is None:
            self._finish_oldest()
        return slot

    def _give(self, slot: Slot, files: tuple[_File, ...]) -> None:
        job = Files(files)
        self._team.give(slot, job)
        self._pending.append(_Pending(files=job))

    # -- contents of several segments --------------------------------------------------------------

    def _add_large(self, content: Reopen, size: int, encoding: Encoding) -> None:
        with content.open() as file:
            self._read_large(file, content.label, size, encoding)

    def _read_large(self, file: OpenContent, label: bytes, size: int, encoding: Encoding) -> None:
        """Read and hash a content here, a segment at a time, and have workers pack the segments."""
        large = _Large(size, encoding)
        for start, length in encoding.segments(size):
            final = start + length == size
            hole = _Hole(length, final, encoding) if file.skip_hole(length) else None
            if hole in self._holes:
                large.hasher.update(self._zeros[:length])
                self._pending.append(_Pending(large=large, hole=hole, final=final, given=False))
                continue
            slot = self._slot()
            view = slot.input[:length]
            if hole is not None:
                view[:] = self._zeros[:length]
                self._holes[hole] = None
            else:
                _read_exactly(file, view, label)
            large.hasher.update(view)
            view.release()
            self._team.give(slot, Segment(length, final, encoding))
            self._pending.append(_Pending(large=large, hole=hole, final=final))
        _expect_end(file, label)

    # -- answers -----------------------------------------------------------------------------------

    def _finish_oldest(self) -> None:
        pending = self._pending.popleft()
        receiver = self.receiver
        if not pending.given:
            assert pending.hole is not None
            packed = self._holes[pending.hole]
            assert packed is not None
            self._take_segment(pending, *packed)
            return
        with self._team.take() as (answer, memory):
            if pending.files is not None:
                for encoded in answer.encoded(pending.files, memory):
                    receiver.whole(encoded)
            else:
                data: memoryview | bytes = memory[answer.offsets[0] : answer.offsets[0] + answer.sizes[0]]
                if pending.hole is not None:
                    data = bytes(data)
                    self._holes[pending.hole] = answer.spans(), data
                self._take_segment(pending, answer.spans(), data)
            # The bytes are the worker's again from here on.
            receiver.settle()

    def _take_segment(self, pending: _Pending, spans: Spans | None, data: memoryview | bytes) -> None:
        large = pending.large
        assert large is not None
        large.add(spans)
        self.receiver.part(data, large.encoding.block_size)
        if pending.final:
            self.receiver.last(large.done())


def _is_large(files: tuple[_File, ...]) -> bool:
    """Whether a batch is a content that takes several segments."""
    _, size, encoding = files[0]
    return size > encoding.segment


def _read(file: OpenContent, view: memoryview, label: bytes) -> int:
    try:
        return file.readinto(view)
    except OSError as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(label, f"cannot be read: {error.strerror or error}", error.errno) from error


def _read_exactly(file: OpenContent, view: memoryview, label: bytes) -> None:
    while view:
        count = _read(file, view, label)
        if not count:
            raise SourceError(label, "shrank while it was read; build again when it is at rest")
        view = view[count:]


def _expect_end(file: OpenContent, label: bytes) -> None:
    if _read(file, memoryview(bytearray(1)), label):
        raise SourceError(label, "grew while it was read; build again when it is at rest")
