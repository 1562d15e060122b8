"""Worker processes and the order of their results."""

from __future__ import annotations

import contextlib
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
from typing import IO, Any, Self

from ..errors import ErofsError, SourceError
from .options import Profile
from .worker import FilesJob, Packed, SegmentJob, SlotMap

__all__ = ["Pool", "Slot"]

#: Slots of a worker, at least: one being packed, one packed and waiting for its turn, one being filled.
#: Few workers get more, as many as all of these together: they let packing start while the tree is read.
_SLOTS, _ALL_SLOTS = 3, 16
_START = (
    "import sys; sys.path[:] = sys.argv[2:]; "
    "from mkfs_erofs_py.build.worker import worker_main; worker_main(int(sys.argv[1]))"
)


class _Process:
    """One worker and the memory shared with it; a thread takes its results off the pipe at once.

    Without the thread, a worker that waits for room in one pipe and a builder that waits for room in
    the other would wait forever.
    """

    def __init__(self, profile: Profile, slots: SlotMap) -> None:
        fd = os.memfd_create("mkfs-erofs-py")
        try:
            os.ftruncate(fd, slots.size)
            self.memory = mmap.mmap(fd, slots.size)
            self.view = memoryview(self.memory)
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-c", _START, str(fd), *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=(fd,),
            )
        finally:
            os.close(fd)
        self.free = list(range(slots.slots))
        self.results: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.send((profile, slots))
        self._reader = threading.Thread(target=self._receive, daemon=True)
        self._reader.start()

    @property
    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout

    def send(self, message: object) -> None:
        try:
            pickle.dump(message, self._pipes[0], pickle.HIGHEST_PROTOCOL)
            self._pipes[0].flush()
        except BrokenPipeError:
            pass  # the reader thread reports how the worker ended

    def _receive(self) -> None:
        try:
            while True:
                self.results.put(pickle.load(self._pipes[1]))
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):
            self.results.put((RuntimeError, "ended unexpectedly"))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._pipes[0].close()
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._pipes[1].close()
        self.view.release()
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

    def __init__(self, profile: Profile, workers: int) -> None:
        self._map = SlotMap(profile.segment, max(_SLOTS, _ALL_SLOTS // workers))
        self._processes: list[_Process] = []
        self._jobs: deque[tuple[int, int]] = deque()
        try:
            for _ in range(workers):
                self._processes.append(_Process(profile, self._map))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all workers at once, whatever they are doing."""
        for process in self._processes:
            process.close()
        self._processes.clear()

    @property
    def busy(self) -> int:
        """Jobs given and not yet taken back."""
        return len(self._jobs)

    def slot(self) -> Slot | None:
        """Return a free slot of the least busy worker, ``None`` where `take` must come first."""
        number, process = max(enumerate(self._processes), key=lambda p: (len(p[1].free), -p[0]))
        if not process.free:
            return None
        slot = process.free[-1]
        start = self._map.input(slot)
        return Slot(number, slot, process.view[start : start + self._map.segment])

    def give(self, slot: Slot, job: FilesJob | SegmentJob) -> None:
        """Start a job in a slot got from `slot`."""
        process = self._processes[slot.worker]
        process.free.remove(slot.number)
        slot.input.release()
        self._jobs.append((slot.worker, slot.number))
        process.send(job)

    @contextlib.contextmanager
    def take(self) -> Iterator[list[tuple[Packed, memoryview]]]:
        """Wait for the oldest job -> its results, each with its bytes, which live until the context ends.

        Raises `SourceError` where a content could not be read, `ErofsError` where a worker failed.
        """
        worker, slot = self._jobs.popleft()
        process = self._processes[worker]
        results = process.results.get()
        if isinstance(results, tuple):
            if results[0] is SourceError:
                raise SourceError(results[1], results[2])
            raise ErofsError(f"a worker process failed: {results[1]}")
        views = [process.view[r.offset : r.offset + r.length] for r in results]
        try:
            yield list(zip(results, views, strict=True))
        finally:
            for view in views:
                view.release()
            process.free.append(slot)
