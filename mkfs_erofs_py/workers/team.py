"""One team of worker processes, for whoever has more work than one core can do: Python's lock lets a process use one.

A `Team` is told tasks and gives back their answers in the same order. Each of its processes starts with its first task
(see `process`), so little work starts few processes. Tasks are given into *slots*: each worker has a few, so that it
finds its next task where it has done one, and no more, so that what is under way stays bounded. Where slots have shared
memory, a slot is the main process's again when its answer was dealt with; otherwise as soon as its answer has arrived.

No call waits for a worker to take something in: a worker may itself be waiting for us to take its answer. What its
pipe has no room for waits here, and goes out whenever the team is asked for anything.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pickle
import select
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from typing import Any, Generic, NamedTuple, Self, TypeVar

from ..errors import ErofsError, WorkerDiedError
from .memory import SharedMemory, SlotMap
from .process import FRAME, Ends, Nursery, Work, fork, frame, opened, signals_held

__all__ = ["Slot", "SlotMap", "Team", "available_cores", "run"]

Task = TypeVar("Task")
Answer = TypeVar("Answer")

#: Slots of a worker without shared memory: the task it does, and what it does next while the main process is kept from
#: giving it more. Were there many, tasks would wait behind a long one while other workers have nothing to do.
_AHEAD = 4
#: Room asked for in each pipe, so that workers go on while the main process does something else for a while.
_PIPE = 1 << 18
#: Milliseconds after which a wait begins again: a signal that arrives just before it begins would not end it.
_PATIENCE = 500


def available_cores() -> int:
    """How many processes this one may run at once."""
    return len(os.sched_getaffinity(0))


class Slot(NamedTuple):
    """A free slot of some worker; ``input`` is its shared memory for what the task reads, empty without."""

    worker: int
    number: int
    input: memoryview


class Team(Generic[Task, Answer]):
    """Worker processes whose answers come back in the order in which tasks were given. Not thread-safe.

    ``make`` is called once in each worker, with its shared memory; what it returns does the tasks: (slot, task) ->
    answer. Tasks and answers are pickled, but for bytes, which travel as they are. Where neither a fork (threads) nor
    a fresh start (``make`` does not pickle) is possible, `give` does the task in this process.
    """

    def __init__(
        self,
        make: Callable[[memoryview | None], Callable[[int, Task], Answer]],
        workers: int,
        memory: SlotMap | None = None,
    ) -> None:
        self._make = make
        self._map = memory
        self._workers = [_Worker(memory.slots if memory else _AHEAD) for _ in range(workers)]
        self._under_way: deque[tuple[_Worker, int]] = deque()
        self._finishing = False
        self._answered = 0
        self._poll = select.poll()
        self._by_fd: dict[int, _Worker] = {}
        self._nurseries: list[Nursery] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- tasks -------------------------------------------------------------------------------------

    def slot(self) -> Slot | None:
        """Return a free slot of the least busy worker, ``None`` where an answer must come first.

        Raises `WorkerDiedError`, and `ErofsError` where memory cannot be shared.
        """
        self._exchange(0)
        # Among the equally busy, the one that answered last is the least likely to be held up by a long task.
        number, worker = max(enumerate(self._workers), key=lambda p: (len(p[1].free), p[1].answered, -p[0]))
        if not worker.free:
            return None
        slot = worker.free[-1]
        if self._map is None:
            return Slot(number, slot, memoryview(b""))
        self._share(worker)
        start = self._map.input(slot)
        return Slot(number, slot, worker.view[start : start + self._map.input_size])

    def give(self, slot: Slot, task: Task) -> None:
        """Start a task in a slot got from `slot`, and the slot's worker, if that is its first.

        Raises `ErofsError` where that is impossible, and what ``pickle`` raises for a task it cannot take.
        """
        worker = self._workers[slot.worker]
        if not worker.started:
            self._start(worker)
        message = b"" if worker.here else frame(slot.number, task)
        slot.input.release()
        worker.free.remove(slot.number)
        worker.given.append(slot.number)
        self._under_way.append((worker, slot.number))
        if worker.here:
            self._do(worker, slot.number, task)
            return
        worker.outgoing.append(message)
        self._send(worker)

    @contextlib.contextmanager
    def take(self) -> Iterator[tuple[Answer, memoryview]]:
        """Wait for the oldest task -> its answer and its worker's shared memory, whose slot is ours in this context.

        Raises what the task raised, if that is an `ErofsError`, and `WorkerDiedError`.
        """
        worker, slot = self._under_way.popleft()
        while not worker.arrived:
            self._exchange(_PATIENCE)
        try:
            yield worker.arrived.popleft()(), worker.view
        finally:
            if self._map is not None:
                worker.free.append(slot)

    def wait(self) -> None:
        """Wait until some worker answers, or for a while. Raises `WorkerDiedError`."""
        self._exchange(_PATIENCE)

    @property
    def left(self) -> int:
        """How many answers are still to be taken."""
        return len(self._under_way)

    @property
    def ready(self) -> bool:
        """Whether `take` need not wait."""
        return bool(self._under_way and self._under_way[0][0].arrived)

    def finish(self) -> None:
        """Let the workers end when they have done what they were given: there will be no more."""
        self._finishing = True
        for worker in self._workers:
            if not worker.outgoing:
                worker.close_tasks()

    def close(self) -> None:
        """End all workers at once, whatever they are doing; harmless when repeated."""
        for worker in self._workers:
            worker.kill()
        for nursery in self._nurseries:
            nursery.close()
        for worker in self._workers:
            worker.close()
        self._workers.clear()
        self._under_way.clear()

    # -- pipes -------------------------------------------------------------------------------------

    def _exchange(self, milliseconds: int) -> None:
        """Send and receive what is possible now, or within that time."""
        if not self._by_fd:
            return
        for fd, _ in self._poll.poll(milliseconds):
            worker = self._by_fd[fd]
            if fd == worker.tasks:
                self._send(worker)
            else:
                self._receive(worker)

    def _send(self, worker: _Worker) -> None:
        if worker.send():
            if worker.tasks in self._by_fd:
                self._poll.unregister(worker.tasks)
                del self._by_fd[worker.tasks]
            if self._finishing:
                worker.close_tasks()
        elif worker.tasks not in self._by_fd:
            self._by_fd[worker.tasks] = worker
            self._poll.register(worker.tasks, select.POLLOUT)

    def _receive(self, worker: _Worker) -> None:
        data = worker.read()
        if data is None:
            self._poll.unregister(worker.answers)
            del self._by_fd[worker.answers]
            if worker.given or not self._finishing:
                raise WorkerDiedError(f"a worker process failed: {worker.fate()}")
        for answer in worker.unpacked(data or b""):
            self._answer(worker, answer)

    def _answer(self, worker: _Worker, answer: Callable[[], Any]) -> None:
        worker.arrived.append(answer)
        self._answered += 1
        worker.answered = self._answered
        slot = worker.given.popleft()
        if self._map is None:
            worker.free.append(slot)

    # -- processes ---------------------------------------------------------------------------------

    def _share(self, worker: _Worker) -> None:
        if self._map is not None and worker.memory is None:
            worker.memory = SharedMemory(self._map.size)
            worker.view = worker.memory.view

    def _start(self, worker: _Worker) -> None:
        try:
            if is_threaded():
                self._start_afresh([one for one in self._workers if not one.started])
            else:
                self._fork(worker)
        except OSError as error:
            raise ErofsError(f"cannot start a worker process: {error.strerror}") from None

    def _fork(self, worker: _Worker) -> None:
        with signals_held():
            ends = worker.connect()
            foreign = [fd for other in self._workers for fd in other.ours]
            try:
                worker.pid = fork(self._make, ends, worker.view if self._map else None, foreign)
            finally:
                ends.close()
        self._listen(worker)

    def _start_afresh(self, workers: list[_Worker]) -> None:
        """Start all these at once: an interpreter takes longer to start than a fork."""
        try:
            make = pickle.dumps(self._make, pickle.HIGHEST_PROTOCOL)
        except (pickle.PicklingError, TypeError, AttributeError):
            for worker in workers:
                worker.started = worker.here = True
            return
        for worker in workers:
            self._share(worker)
        memories = [worker.memory.fd for worker in workers if worker.memory is not None]
        ends: list[Ends] = []
        with signals_held():
            try:
                for worker in workers:
                    ends.append(worker.connect())
                self._nurseries.append(Nursery(make, ends, memories, self._map.size if self._map else 0))
            finally:
                for one in ends:
                    one.close()
        for worker in workers:
            self._listen(worker)

    def _listen(self, worker: _Worker) -> None:
        worker.started = True
        if worker.memory is not None:
            worker.memory.close_descriptor()
        self._by_fd[worker.answers] = worker
        self._poll.register(worker.answers, select.POLLIN)

    def _do(self, worker: _Worker, slot: int, task: Task) -> None:
        """Do a task here."""
        try:
            if worker.work is None:
                worker.work = self._make(worker.view if self._map else None)
            self._answer(worker, partial(_same, worker.work(slot, task)))
        except Exception as error:
            self._answer(worker, partial(_raised, error))


class _Worker:
    """A worker as the main process sees it.

    ``started`` tells whether there is a process, or, with ``here``, that its tasks are done in this one by ``work``.
    ``free`` are its free slots, ``given`` those of tasks under way, ``arrived`` holds calls that return, or raise,
    what came of a task. ``answered`` grows with each answer that any worker gives.
    """

    def __init__(self, slots: int) -> None:
        self.free = list(range(slots))
        self.given: deque[int] = deque()
        self.arrived: deque[Callable[[], Any]] = deque()
        self.answered = 0
        self.outgoing: deque[bytes | memoryview] = deque()
        self._incoming = bytearray()
        self.memory: SharedMemory | None = None
        self.view = memoryview(b"")
        self.started = self.here = False
        self.work: Work | None = None
        self.pid = 0
        self.tasks = self.answers = self._life = -1

    @property
    def ours(self) -> list[int]:
        """The main process's descriptors, which no worker is to keep."""
        return [fd for fd in (self.tasks, self.answers, self._life) if fd >= 0]

    def connect(self) -> Ends:
        """Make the pipes -> the worker's ends of them. Raises `OSError`."""
        tasks, self.tasks = os.pipe()
        self.answers, answers = os.pipe()
        life, self._life = os.pipe()
        for fd in (self.tasks, self.answers):
            os.set_blocking(fd, False)
            with contextlib.suppress(OSError):  # who has many pipes may not have large ones
                fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE)
        return Ends(tasks, answers, life)

    def send(self) -> bool:
        """Write as much as there is room for -> whether that is all there was."""
        try:
            while self.outgoing:
                part = self.outgoing[0]
                done = os.write(self.tasks, part)
                if done < len(part):
                    self.outgoing[0] = memoryview(part)[done:]
                else:
                    self.outgoing.popleft()
        except BlockingIOError:
            return False
        except BrokenPipeError:
            self.outgoing.clear()  # the pipe of answers tells how it ended
        return True

    def read(self) -> bytes | None:
        """Return what has come, ``None`` when the worker has ended."""
        try:
            return os.read(self.answers, _PIPE) or None
        except BlockingIOError:
            return b""

    def unpacked(self, data: bytes) -> Iterator[Callable[[], Any]]:
        """Take in ``data``; yield the answers that are complete."""
        held = self._incoming
        held += data
        while len(held) >= FRAME.size:
            kind, _, length = FRAME.unpack_from(held)
            end = FRAME.size + length
            if len(held) < end:
                break
            yield partial(opened, kind, bytes(memoryview(held)[FRAME.size : end]))
            del held[:end]

    def fate(self) -> str:
        """Say how the worker ended."""
        if self.pid:
            pid, self.pid = self.pid, 0
            with contextlib.suppress(ChildProcessError):
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                if code == -signal.SIGKILL:
                    return "it was killed, as Linux does where memory runs out"
                if code < 0:
                    return f"it was ended by signal {-code}"
        return "it ended before its work was done"

    def close_tasks(self) -> None:
        """Tell the worker that there is no more to do."""
        if self.tasks >= 0:
            os.close(self.tasks)
            self.tasks = -1

    def kill(self) -> None:
        """End a process that we forked, whatever it is doing."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Wait for the process that was killed, and let go of everything."""
        if self.pid:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)
            self.pid = 0
        for fd in self.ours:
            os.close(fd)
        self.tasks = self.answers = self._life = -1
        if self.memory is not None:
            self.view = memoryview(b"")
            self.memory.close()


def is_threaded() -> bool:
    """Whether this process has threads, those that Python knows nothing of among them."""
    try:
        return len(os.listdir("/proc/self/task")) > 1
    except OSError:
        return threading.active_count() > 1


def _same(answer: Any) -> Any:
    return answer


def _raised(error: Exception) -> Any:
    raise error


def run(tasks: Iterable[Task], work: Callable[[Task], Answer], workers: int) -> Generator[Answer, None, None]:
    """Yield ``work(task)`` for each task, in order, as soon as it is known; tasks and answers are pickled.

    ``tasks`` is consumed while workers work, and only in this process. With fewer than two workers all happens here.
    What ``work`` raises, if that is an `ErofsError`, and whatever ``tasks`` raises is raised here, after the workers
    were ended. ``close`` ends them as well. Raises `WorkerDiedError`.
    """
    if workers < 2:
        yield from map(work, tasks)
        return
    team: Team[Task, Answer]
    with Team(partial(_without_slots, work), workers) as team:
        for task in tasks:
            while (slot := team.slot()) is None:
                team.wait()
            team.give(slot, task)
            while team.ready:
                with team.take() as (answer, _):
                    yield answer
        team.finish()
        while team.left:
            with team.take() as (answer, _):
                yield answer


def _without_slots(work: Callable[[Task], Answer], _: memoryview | None) -> Callable[[int, Task], Answer]:
    return partial(_call, work)


def _call(work: Callable[[Task], Answer], _: int, task: Task) -> Answer:
    return work(task)
