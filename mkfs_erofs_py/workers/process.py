"""A worker process: how it begins, what it does, how it ends.

It begins as a fork of the main process: what was imported is there, and so is an open image. A program that has
threads must not be forked, since a lock that one of them holds would stay locked for ever; from there a fresh
interpreter is started, which loads what the work needs once and forks the workers (`Nursery`).

It does one task after the other. Tasks and answers travel through a pair of pipes as frames: kind, slot and length,
then a pickle, or bytes as they are.

It ends when the pipe of tasks does. Signals that a terminal or a service manager sends to all of a group's processes
are the main process's to handle; a worker ignores them. Should the main process be killed, the kernel kills the
workers, whatever they are doing.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import mmap
import os
import pickle
import select
import signal
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, NoReturn

from ..errors import ErofsError, WorkerDiedError

__all__ = ["FRAME", "Ends", "Make", "Nursery", "Work", "fork", "frame", "opened", "signals_held"]

Work = Callable[[int, Any], Any]
"""Does a task: (slot, task) -> answer."""
Make = Callable[[memoryview | None], Work]
"""Called once in each worker with the memory it shares, if it does; what it returns does the tasks."""

#: Kind, slot, and how many bytes follow.
FRAME = struct.Struct("<BIQ")
_BYTES, _PICKLE, _ERROR = range(3)

_HANDLED = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_START = "import sys; sys.path[:] = sys.argv[1:]; from mkfs_erofs_py.workers.process import nursery; nursery()"


class Ends(NamedTuple):
    """A worker's descriptors.

    The pipe of tasks to read from, that of answers to write to, and ``life``, which ends when the main process does.
    """

    tasks: int
    answers: int
    life: int

    def close(self) -> None:
        """Close all three."""
        for fd in (self.tasks, self.answers, self.life):
            os.close(fd)


def frame(slot: int, thing: object) -> bytes:
    """Return the frame that carries a task or an answer. Raises what ``pickle`` raises."""
    if type(thing) is bytes:
        return FRAME.pack(_BYTES, slot, len(thing)) + thing
    return _pickled(_PICKLE, slot, thing)


def _pickled(kind: int, slot: int, thing: object) -> bytes:
    body = pickle.dumps(thing, pickle.HIGHEST_PROTOCOL)
    return FRAME.pack(kind, slot, len(body)) + body


def opened(kind: int, body: bytes) -> Any:
    """Return what a frame carries; an error is raised."""
    if kind == _BYTES:
        return body
    thing = pickle.loads(body)
    if kind == _ERROR:
        raise thing
    return thing


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Let no signal in that might unwind this process: it waits until the context ends.

    A process that is just beginning would act on it with what it inherited, and one that has just been started might
    be forgotten.
    """
    # The mask is asked for in a call of its own: the call that blocks signals runs the handlers of those that have
    # arrived already. If one raises, the old mask has to be known.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def fork(make: Make, ends: Ends, memory: memoryview | None, foreign: Sequence[int]) -> int:
    """Start a worker -> its process id. To be called while `signals_held`.

    ``foreign`` are the descriptors that the worker must not keep: a pipe ends for its reader when nobody holds it.
    """
    pid = os.fork()
    if not pid:
        _live(make, ends, memory, foreign)
    _end_with(ends.life, pid)
    return pid


def _live(make: Make, ends: Ends, memory: memoryview | None, foreign: Sequence[int]) -> NoReturn:
    # Whatever happens, what was inherited is not this process's to clean up.
    status = 1
    try:
        # Before anything else: while this process holds the other end of the pipe that ends it, nothing does.
        for fd in foreign:
            os.close(fd)
        if _has_ended(ends.life):
            os._exit(1)
        _ignore_signals()
        # The garbage collector is to leave inherited objects alone: it writes to each that it looks at, and so would
        # copy their memory. Of objects made here hardly any refer to themselves, and to look for such after every 700
        # of them would take 3 % of the time.
        gc.freeze()
        gc.set_threshold(100_000)
        _serve(_made(make, memory), ends)
        status = 0
    finally:
        os._exit(status)


def _ignore_signals() -> None:
    for number in _HANDLED:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)


def _end_with(life: int, pid: int) -> None:
    """Have the kernel kill a process when ``life`` ends, even while it is busy or stopped.

    The kernel can send a signal when a pipe has news (O_ASYNC), and lets us choose which, and to whom. Nothing is ever
    written to this pipe, so the only news is that its other end was closed. All this belongs to the open pipe, not to
    a process, so whoever starts a worker asks for it: the worker may be stopped before it runs at all.
    """
    # A kernel that only resembles Linux may not know this; there, an orphan ends when its task is done.
    with contextlib.suppress(OSError):
        fcntl.fcntl(life, fcntl.F_SETOWN, pid)
        fcntl.fcntl(life, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)


def _has_ended(life: int) -> bool:
    """Tell whether the other end was closed, perhaps before the kernel was asked to tell."""
    ended = select.poll()
    ended.register(life, 0)
    return bool(ended.poll(0))


def _made(make: Make, memory: memoryview | None) -> Work:
    try:
        return make(memory)
    except Exception as error:
        return partial(_raise, error)


def _raise(error: Exception, *_: object) -> NoReturn:
    raise error


def _serve(work: Work, ends: Ends) -> None:
    with open(ends.tasks, "rb", 1 << 16) as tasks:
        while header := tasks.read(FRAME.size):
            kind, slot, length = FRAME.unpack(header)
            rest = memoryview(_answer(work, slot, kind, tasks.read(length)))
            while rest:
                rest = rest[os.write(ends.answers, rest) :]


def _answer(work: Work, slot: int, kind: int, body: bytes) -> bytes:
    """Do one task -> the frame that says what came of it."""
    try:
        return frame(slot, work(slot, opened(kind, body)))
    except ErofsError as error:
        failure: ErofsError = error
    except MemoryError:
        failure = WorkerDiedError("a worker process failed: out of memory")
    except Exception as error:
        # Whatever it is, the main process is to hear of it, and the user in one line.
        failure = WorkerDiedError(f"a worker process failed: {type(error).__name__}: {error}")
    return _pickled(_ERROR, slot, failure)


class Nursery:
    """A fresh interpreter that forks the workers, seen from the main process.

    ``make`` comes pickled; ``memories`` are descriptors of shared memory of ``size`` bytes, one a worker or none.
    Raises `OSError`. To be made while `signals_held`: the interpreter inherits that, and begins undisturbed.
    """

    def __init__(self, make: bytes, ends: Sequence[Ends], memories: Sequence[int], size: int) -> None:
        import subprocess  # programs without threads should not pay for loading it

        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", _START, *sys.path],
            stdin=subprocess.PIPE,
            pass_fds=[fd for end in ends for fd in (end.tasks, end.answers, end.life)] + [*memories],
        )
        assert self._process.stdin is not None
        self._pipe = self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # the workers' pipes tell that they never began
            pickle.dump((make, [*ends], [*memories], size), self._pipe, pickle.HIGHEST_PROTOCOL)
            self._pipe.flush()

    def close(self) -> None:
        """End it and all workers, and wait until they are gone."""
        with contextlib.suppress(OSError):
            self._pipe.close()
        # It may have been stopped, and has to run to end its workers.
        self._process.send_signal(signal.SIGCONT)
        self._process.wait()


def nursery() -> None:
    """Be the fresh interpreter: fork the workers, and wait until the main process is done with them or gone.

    Then kill and await all of them: nothing is left to whoever adopts orphans.
    """
    _ignore_signals()
    pids = []
    with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
        make_pickle, ends, memories, size = pickle.load(sys.stdin.buffer)
        make = _unpickled(make_pickle)
        for number, mine in enumerate(ends):
            foreign = [fd for other in ends[number + 1 :] for fd in (other.tasks, other.answers, other.life)]
            memory = memoryview(mmap.mmap(memories[number], size)) if memories else None
            pids.append(fork(make, mine, memory, foreign))
            mine.close()
        sys.stdin.buffer.read()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        os.waitpid(pid, 0)


def _unpickled(make: bytes) -> Make:
    try:
        thing: Make = pickle.loads(make)
    except Exception as error:
        return partial(_raise, error)
    return thing
