"""Worker processes and the order of their results."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import pickle
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from ..errors import ErofsError, SourceError
from .packing import Packing
from .worker import Ends, FilesJob, Packed, SegmentJob, SlotMap, Start

__all__ = ["Pool", "Slot"]

#: Slots of a worker, at least: one being packed, one packed and waiting for its turn, one being filled.
#: Few workers get more, as many as all of these together: they let packing start while the tree is read.
_SLOTS, _ALL_SLOTS = 3, 16
_PIPE = 1 << 20
_START = "import sys; sys.path[:] = sys.argv[1:]; from mkfs_erofs_py.encode.worker import worker_main; worker_main()"


class _Worker:
    """The builder's side of a worker: shared memory, pipes, and a thread that takes results off at once.

    Without the thread, a worker that waits for room in one pipe and a builder that waits for room in
    the other would wait forever.
    """

    def __init__(self, slots: SlotMap) -> None:
        fd = os.memfd_create("mkfs-erofs-py")
        try:
            os.ftruncate(fd, slots.size)
        except OSError as error:  # a limit of file sizes (ulimit -f) counts for memory, too
            os.close(fd)
            raise ErofsError(f"cannot share {slots.size} bytes with a worker: {error.strerror}") from None
        jobs, self._jobs = os.pipe()
        with contextlib.suppress(OSError):
            # Room for the jobs of all slots: the walk of the tree should not wait for a worker to read them.
            fcntl.fcntl(jobs, fcntl.F_SETPIPE_SZ, _PIPE)
        self._results, results = os.pipe()
        self.ends = Ends(fd, jobs, results)
        self.memory = mmap.mmap(fd, slots.size)
        self.view = memoryview(self.memory)
        self.free = list(range(slots.slots))
        self.results: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._receive, daemon=True)

    def start(self) -> None:
        """Begin to listen; the worker holds the other ends now."""
        self.ends.close()
        self._reader.start()

    def send(self, job: FilesJob | SegmentJob) -> None:
        message = pickle.dumps(job, pickle.HIGHEST_PROTOCOL)
        try:
            while message:
                message = message[os.write(self._jobs, message) :]
        except BrokenPipeError:
            pass  # the reader thread reports how the worker ended

    def _receive(self) -> None:
        with open(self._results, "rb") as results:
            try:
                while True:
                    self.results.put(pickle.load(results))
            except (EOFError, OSError, pickle.UnpicklingError):
                self.results.put((RuntimeError, "it ended before its work was done"))

    def finish(self) -> None:
        if self._jobs >= 0:
            os.close(self._jobs)
            self._jobs = -1

    def close(self) -> None:
        self.finish()
        self._reader.join()
        self.view.release()
        # After an error or interrupt, frames on their way out still hold parts; the memory goes with them.
        with contextlib.suppress(BufferError):
            self.memory.close()


@dataclass(frozen=True, slots=True)
class Slot:
    """A free slot of some worker; ``input`` is where a segment is to be read to."""

    worker: int
    number: int
    input: memoryview


class Pool:
    """Workers whose results come back in the order in which jobs were given.

    The first unfinished job's worker can always go on, since slots are given in that same order;
    so waiting for it never waits forever. Not thread-safe.
    """

    def __init__(self, packing: Packing, workers: int) -> None:
        self._map = SlotMap(packing.segment, max(_SLOTS, _ALL_SLOTS // workers))
        self._workers = [_Worker(self._map) for _ in range(workers)]
        self._jobs: deque[tuple[int, int]] = deque()
        ends = tuple(worker.ends for worker in self._workers)
        # A process group of their own: an interrupt from the terminal is the builder's to handle.
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", _START, *sys.path],
            stdin=subprocess.PIPE,
            pass_fds=[fd for e in ends for fd in (e.memory, e.jobs, e.results)],
            process_group=0,
        )
        for worker in self._workers:
            worker.start()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as pipe:
            pickle.dump(Start(packing, self._map, ends), pipe, pickle.HIGHEST_PROTOCOL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def finish(self) -> None:
        """Let the workers end: there will be no more jobs. They clean up while the builder goes on."""
        for worker in self._workers:
            worker.finish()

    def close(self) -> None:
        """End all workers at once, whatever they are doing."""
        self._process.terminate()
        self._process.wait()
        for worker in self._workers:
            worker.close()
        self._workers.clear()

    def slot(self) -> Slot | None:
        """Return a free slot of the least busy worker, ``None`` where `take` must come first."""
        number, worker = max(enumerate(self._workers), key=lambda p: (len(p[1].free), -p[0]))
        if not worker.free:
            return None
        slot = worker.free[-1]
        start = self._map.input(slot)
        return Slot(number, slot, worker.view[start : start + self._map.segment])

    def give(self, slot: Slot, job: FilesJob | SegmentJob) -> None:
        """Start a job in a slot got from `slot`."""
        worker = self._workers[slot.worker]
        worker.free.remove(slot.number)
        slot.input.release()
        self._jobs.append((slot.worker, slot.number))
        worker.send(job)

    @contextlib.contextmanager
    def take(self) -> Iterator[list[tuple[Packed, memoryview]]]:
        """Wait for the oldest job -> its results, each with its bytes, which live until the context ends.

        Raises `SourceError` where a content could not be read, `ErofsError` where a worker failed.
        """
        number, slot = self._jobs.popleft()
        worker = self._workers[number]
        results = worker.results.get()
        if isinstance(results, tuple):
            if results[0] is SourceError:
                raise SourceError(results[1], results[2])
            raise ErofsError(f"a worker process failed: {results[1]}")
        views = [worker.view[r.offset : r.offset + r.length] for r in results]
        try:
            yield list(zip(results, views, strict=True))
        finally:
            for view in views:
                view.release()
            worker.free.append(slot)
