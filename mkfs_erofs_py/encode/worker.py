"""A worker process: reads, hashes and packs contents in memory it shares with the builder.

A process rather than a thread, since what Python does between two calls into the compressors would
otherwise happen for all workers one after the other. Their parent is started afresh, since a
program with threads may build images too; from it they are forked.

Jobs and results are pickles over a pair of pipes. A *slot* of shared memory holds what a job reads
(``input``) and what it packs (``output``); it is the builder's again once the job's result is there.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import mmap
import os
import pickle
import signal
import sys
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

from ..compress import Encoder, make_encoder
from ..errors import SourceError
from ..fingerprint import digest
from ..ondisk.constants import MAX_ENCODED
from ..tree import Content, OpenContent
from .packer import ExtentPacker, LclusterPacker, Packer
from .packing import IndexForm, Packing

__all__ = ["FLAT", "PIECES", "Ends", "FilesJob", "Packed", "SegmentJob", "SlotMap", "Start", "worker_main"]

#: What a content is stored as: its bytes as they are, or the packer's pieces.
FLAT, PIECES = 0, 1
#: Encoded extents: incompressible contents from this many blocks on are laid out flat, which kernels
#: read without a copy; smaller ones stay packed, since a flat one has to start a block.
_FLAT_BLOCKS = 16


@dataclass(frozen=True, slots=True)
class SlotMap:
    """Where the slots of one worker's shared memory lie. Sizes and offsets in bytes."""

    segment: int
    slots: int

    @property
    def input_size(self) -> int:
        """Room for a segment, and for the byte more that shows a file has grown."""
        return self.segment + mmap.PAGESIZE

    @property
    def stride(self) -> int:
        """Bytes from one slot to the next: input, then output with room for a pcluster to spare."""
        return self.input_size + self.segment + MAX_ENCODED + mmap.PAGESIZE

    @property
    def size(self) -> int:
        """Bytes of all slots."""
        return self.stride * self.slots

    def input(self, slot: int) -> int:
        """Offset of a slot's input."""
        return self.stride * slot

    def output(self, slot: int) -> int:
        """Offset of a slot's output."""
        return self.stride * slot + self.input_size


@dataclass(frozen=True, slots=True)
class FilesJob:
    """Whole contents to read, hash and pack: (content, size) of each, a segment in all at most."""

    slot: int
    files: tuple[tuple[Content, int], ...]


@dataclass(frozen=True, slots=True)
class SegmentJob:
    """Part of a large content, which the builder has read into the slot's input and hashed itself."""

    slot: int
    size: int
    final: bool


class Packed(NamedTuple):
    """What became of a content or segment.

    ``form`` is `FLAT` or `PIECES`, ``pieces`` the packer's words (native order), ``offset`` and ``length`` where its
    bytes stand in the shared memory.
    """

    digest: bytes
    form: int
    pieces: bytes
    offset: int
    length: int


def make_packer(packing: Packing) -> Packer | None:
    """Return the packer for a profile, ``None`` for an image without compression."""
    if packing.compressor is None:
        return None
    encoder: Encoder = make_encoder(packing.compressor, max_pcluster=packing.pcluster, block_size=packing.block_size)
    if packing.index is IndexForm.EXTENTS:
        return ExtentPacker(encoder, packing.block_bits, packing.pcluster.bit_length() - 1)
    return LclusterPacker(encoder, packing.block_bits, packing.pcluster)


class _Worker:
    def __init__(self, packing: Packing, memory: mmap.mmap, slots: SlotMap) -> None:
        self._view = memoryview(memory)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        self._slots = slots
        self._packer = make_packer(packing)
        self._digest = packing.digest
        packed = _FLAT_BLOCKS if packing.index is IndexForm.EXTENTS else 0
        self._packed_anyway = range(packing.block_size, packed << packing.block_bits)
        # What takes no more than a block has nothing to gain from whole blocks.
        self._hopeless = 0 if packing.index is IndexForm.EXTENTS else packing.block_size
        # An index takes a record an lcluster, or a piece, and its header.
        self._unit = packing.pcluster if packing.index is IndexForm.EXTENTS else packing.block_size
        self._record = {IndexForm.COMPACT: 2, IndexForm.FULL: 8}.get(packing.index, 4)

    def files(self, job: FilesJob) -> list[Packed]:
        """Do one job -> one result a content. Raises `SourceError`."""
        at, out = self._slots.input(job.slot), self._slots.output(job.slot)
        results = []
        for content, size in job.files:
            with content.open() as file:
                self._read(file, at, size, content)
            packed = self._pack(digest(self._digest, self._view[at : at + size]), at, size, out)
            if packed.form == PIECES:
                out += packed.length
            results.append(packed)
            at += size
        return results

    def segment(self, job: SegmentJob) -> list[Packed]:
        """Pack what stands in the slot's input -> a single result."""
        at, out = self._slots.input(job.slot), self._slots.output(job.slot)
        if self._packer is None:
            return [Packed(b"", FLAT, b"", at, job.size)]
        pieces, length = self._packer.pack(self._address + at, job.size, self._address + out, job.final)
        return [Packed(b"", PIECES, pieces.tobytes(), out, length)]

    def _read(self, file: OpenContent, at: int, size: int, content: Content) -> None:
        done = 0
        while done < size and (count := file.readinto(self._view[at + done : at + size + 1])):
            done += count
        # One byte more was asked for: to get it would mean that the file has grown.
        if done != size:
            raise SourceError(content.label, "changed its size while it was read; build again when it is at rest")

    def _pack(self, key: bytes, at: int, size: int, out: int) -> Packed:
        if self._packer is not None and size > self._hopeless:
            pieces, length = self._packer.pack(self._address + at, size, self._address + out, True)
            index = 16 + self._record * (size // self._unit + 1)
            if length + index < size or size in self._packed_anyway:
                return Packed(key, PIECES, pieces.tobytes(), out, length)
        return Packed(key, FLAT, b"", at, size)


@dataclass(frozen=True, slots=True)
class Ends:
    """A worker's descriptors: shared memory, pipe of jobs, pipe of results."""

    memory: int
    jobs: int
    results: int

    def close(self) -> None:
        """Close all three."""
        for fd in (self.memory, self.jobs, self.results):
            os.close(fd)


@dataclass(frozen=True, slots=True)
class Start:
    """What the workers' parent reads from standard input: the profile, and each worker's descriptors."""

    packing: Packing
    slots: SlotMap
    ends: tuple[Ends, ...]


def worker_main() -> None:
    """Fork the workers and wait for them: what was imported here need not be again in each.

    No thread runs here, so forking is safe. SIGTERM ends the workers at once; otherwise they end when
    their jobs do. Whichever way, all are waited for: nothing is left to whoever adopts orphans.
    """
    start: Start = pickle.load(sys.stdin.buffer)
    # Nothing made from here on refers to itself; looking for cycles would take 3 % of the time.
    gc.disable()
    awaited = {signal.SIGTERM, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    workers: set[int] = set()
    for number, mine in enumerate(start.ends):
        pid = os.fork()
        if pid == 0:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, awaited)
            # A pipe ends for its reader when nobody else holds it open.
            for ends in start.ends[number + 1 :]:
                ends.close()
            _serve(start.packing, start.slots, mine)
        workers.add(pid)
        mine.close()
    while workers:
        if signal.sigwait(awaited) == signal.SIGTERM:
            for pid in workers:
                os.kill(pid, signal.SIGKILL)
        while workers and (ended := os.waitpid(-1, os.WNOHANG)[0]):
            workers.discard(ended)


def _serve(packing: Packing, slots: SlotMap, ends: Ends) -> NoReturn:
    """Do jobs until their pipe ends, then exit."""
    # What was inherited, the other workers' numbers above all, is not this process's to clean up.
    with contextlib.suppress(BaseException):
        worker = _Worker(packing, mmap.mmap(ends.memory, slots.size), slots)
        with open(ends.jobs, "rb") as jobs, open(ends.results, "wb") as results:
            while True:
                pickle.dump(_answer(worker, pickle.load(jobs)), results, pickle.HIGHEST_PROTOCOL)
                results.flush()
    os._exit(0)


def _answer(worker: _Worker, job: FilesJob | SegmentJob) -> list[Packed] | tuple[type[Exception], *tuple[Any, ...]]:
    """Do one job -> its results, or what went wrong."""
    try:
        return worker.files(job) if isinstance(job, FilesJob) else worker.segment(job)
    except SourceError as error:
        return SourceError, error.path, error.what
    except Exception as error:
        # Whatever it is, the builder is to hear of it, and the user in one line.
        return RuntimeError, f"{type(error).__name__}: {error}"
