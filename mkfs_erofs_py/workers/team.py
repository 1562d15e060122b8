"""Interim."""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle
import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

from ..errors import ErofsError

Task = TypeVar("Task")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class SlotMap:
    input: int
    output: int
    slots: int

    @property
    def size(self) -> int:
        return (self.input + self.output) * self.slots

    def start(self, slot: int) -> int:
        return (self.input + self.output) * slot


@dataclass(frozen=True, slots=True)
class Slot:
    worker: int
    number: int
    input: memoryview


class _Worker:
    def __init__(self, slots: SlotMap) -> None:
        self.memory = mmap.mmap(-1, slots.size)
        self.view = memoryview(self.memory)
        self.free = list(range(slots.slots))
        self.results: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.pid = 0
        self.jobs = -1
        self.answers = -1

    def receive(self) -> None:
        with open(self.answers, "rb") as results:
            try:
                while True:
                    self.results.put(pickle.load(results))
            except (EOFError, OSError, pickle.UnpicklingError):
                self.results.put((False, ErofsError("a worker process failed: it ended before its work was done")))


class Team(Generic[Task, Answer]):
    def __init__(
        self, make: Callable[[memoryview], Callable[[int, Task], Answer]], workers: int, memory: SlotMap
    ) -> None:
        self._make = make
        self._map = memory
        self._workers = [_Worker(memory) for _ in range(workers)]
        self._order: deque[tuple[int, int]] = deque()
        self._started = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        self._started = True
        ends: list[int] = []
        for worker in self._workers:
            jobs, worker.jobs = os.pipe()
            worker.answers, answers = os.pipe()
            worker.pid = os.fork()
            if not worker.pid:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                for fd in ends:
                    os.close(fd)
                os.close(worker.jobs)
                try:
                    work = self._make(worker.view)
                    with open(jobs, "rb") as source, open(answers, "wb") as sink:
                        while True:
                            slot, task = pickle.load(source)
                            try:
                                out: Any = (True, work(slot, task))
                            except Exception as error:
                                out = (False, error)
                            pickle.dump(out, sink)
                            sink.flush()
                finally:
                    os._exit(0)
            ends += [worker.jobs, worker.answers]
            os.close(jobs)
            os.close(answers)
        for worker in self._workers:
            threading.Thread(target=worker.receive, daemon=True).start()

    def slot(self) -> Slot | None:
        number, worker = max(enumerate(self._workers), key=lambda p: (len(p[1].free), -p[0]))
        if not worker.free:
            return None
        slot = worker.free[-1]
        start = self._map.start(slot)
        return Slot(number, slot, worker.view[start : start + self._map.input])

    def give(self, slot: Slot, task: Task) -> None:
        if not self._started:
            self._start()
        worker = self._workers[slot.worker]
        worker.free.remove(slot.number)
        slot.input.release()
        self._order.append((slot.worker, slot.number))
        message = pickle.dumps((slot.number, task), pickle.HIGHEST_PROTOCOL)
        while message:
            message = message[os.write(worker.jobs, message) :]

    @contextlib.contextmanager
    def take(self) -> Iterator[tuple[Answer, memoryview]]:
        number, slot = self._order.popleft()
        worker = self._workers[number]
        good, value = worker.results.get()
        if not good:
            raise value
        yield value, worker.view
        worker.free.append(slot)

    def finish(self) -> None:
        for worker in self._workers:
            if worker.jobs >= 0:
                os.close(worker.jobs)
                worker.jobs = -1

    def close(self) -> None:
        for worker in self._workers:
            if worker.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGKILL)
                os.waitpid(worker.pid, 0)
