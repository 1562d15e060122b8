"""Work shared out to forked processes: Python's lock lets one process decode on one core only.

The children inherit everything by the fork, an open image above all, and start at once. Tasks go to whichever child
is free, through one socket that keeps messages whole; each child answers through a socket of its own.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from ..errors import ErofsError

__all__ = ["WorkerDiedError", "available_cores", "run"]

Task = TypeVar("Task")
Result = TypeVar("Result")

_LENGTH = struct.Struct("<I")
#: Room for a task: more than a socket takes as one message (212992 bytes by default).
_MESSAGE_ROOM = 1 << 18
_HANDLED = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


class WorkerDiedError(ErofsError):
    """A worker process was killed or failed in a way that nobody foresaw."""


def available_cores() -> int:
    """How many processes this one may run at once."""
    return len(os.sched_getaffinity(0))


def run(tasks: Iterable[Task], work: Callable[[Task], Result], workers: int) -> Iterator[Result]:
    """Yield ``work(task)`` for each task, in any order; tasks and results are pickled.

    ``tasks`` is consumed while children work, and only in this process. With fewer than two workers all happens here.
    What ``work`` or ``tasks`` raises is raised here, after the children were stopped.
    """
    if workers < 2:
        yield from map(work, tasks)
        return
    team = _Team(work, workers)
    try:
        yield from team.answers(tasks)
        team.finish()
    finally:
        team.stop()


class _Child(Generic[Result]):
    """One forked process, seen from its parent."""

    def __init__(self, pid: int, answers: socket.socket) -> None:
        self.pid = pid
        self.socket = answers
        self._held = bytearray()

    def take(self) -> Iterator[Result | ErofsError]:
        """Receive what there is; yield the answers that are complete. Raises EOFError at the end."""
        data = self.socket.recv(1 << 20)
        if not data:
            raise EOFError
        self._held += data
        while len(self._held) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._held)
            if len(self._held) < _LENGTH.size + length:
                break
            body = bytes(self._held[_LENGTH.size : _LENGTH.size + length])
            del self._held[: _LENGTH.size + length]
            yield pickle.loads(body)


class _Team(Generic[Task, Result]):
    def __init__(self, work: Callable[[Task], Result], workers: int) -> None:
        self._tasks, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._children: list[_Child[Result]] = []
        self._pids: set[int] = set()
        # A child must not act on a signal with what it inherited: it would unwind its copy of the parent.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        try:
            for _ in range(workers):
                ours, answers = socket.socketpair()
                pid = os.fork()
                if not pid:
                    _live(work, theirs, answers, [self._tasks, ours, *(child.socket for child in self._children)])
                answers.close()
                self._children.append(_Child(pid, ours))
                self._pids.add(pid)
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def answers(self, tasks: Iterable[Task]) -> Iterator[Result]:
        waiting = {child.socket: child for child in self._children}
        for task in tasks:
            message = pickle.dumps(task)
            while True:
                ready, free, _ = select.select(list(waiting), [self._tasks] if waiting else [], [])
                for one in ready:
                    yield from self._take(waiting, one)
                if free:
                    self._tasks.send(message)
                    break
                if not waiting:
                    return
        self._tasks.shutdown(socket.SHUT_WR)
        while waiting:
            ready, _, _ = select.select(list(waiting), [], [])
            for one in ready:
                yield from self._take(waiting, one)

    def _take(self, waiting: dict[socket.socket, _Child[Result]], one: socket.socket) -> Iterator[Result]:
        try:
            for answer in waiting[one].take():
                if isinstance(answer, ErofsError):
                    raise answer
                yield answer
        except (EOFError, ConnectionResetError):
            del waiting[one]

    def finish(self) -> None:
        """Wait for all; raise ``WorkerDiedError`` if one did not end well."""
        for pid in sorted(self._pids):
            _, status = os.waitpid(pid, 0)
            self._pids.discard(pid)
            if status:
                raise WorkerDiedError(f"a worker process ended early (status {os.waitstatus_to_exitcode(status)})")

    def stop(self) -> None:
        """End the children that are left, close everything."""
        for pid in self._pids:
            os.kill(pid, signal.SIGKILL)
        for pid in self._pids:
            os.waitpid(pid, 0)
        self._pids.clear()
        self._tasks.close()
        for child in self._children:
            child.socket.close()


def _live(
    work: Callable[[Task], Result], tasks: socket.socket, answers: socket.socket, foreign: list[socket.socket]
) -> None:
    """Be a child: take tasks until there are no more; never return."""
    status = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears ^C too, and ends its children
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        for one in foreign:
            one.close()
        while message := tasks.recv(_MESSAGE_ROOM):
            answer: object
            try:
                answer = work(pickle.loads(message))
            except ErofsError as error:
                answer = error
            except Exception as error:
                answer = WorkerDiedError(f"a worker process failed: {type(error).__name__}: {error}")
            body = pickle.dumps(answer)
            answers.sendall(_LENGTH.pack(len(body)) + body)
        status = 0
    except OSError:
        pass  # the parent is gone
    finally:
        os._exit(status)
