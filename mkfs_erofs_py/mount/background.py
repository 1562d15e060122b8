"""The FUSE daemon as a process of its own: started by a caller who learns whether everything is mounted."""

from __future__ import annotations

import contextlib
import os
import select
import signal

from ..errors import MountError, printable
from .fuse import Daemon

__all__ = ["descriptors", "run_in_background"]

_READY = "ready"
#: Signals that end a command.
_ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
#: Milliseconds between two looks at whether such a signal has come.
_PATIENCE = 2


def descriptors() -> set[int]:
    """Return the descriptors that are open, standard streams left out."""
    listed = [int(name) for name in os.listdir("/proc/self/fd")]
    return {number for number in listed if number > 2 and _is_open(number)}


def _is_open(descriptor: int) -> bool:
    """Tell whether a descriptor is open: the one that lists them all is not any more."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def run_in_background(daemon: Daemon, inherited: set[int]) -> None:
    """Serve in a process of its own; return when everything is mounted. Raises ``MountError``.

    ``inherited`` are descriptors of whoever called us, who may wait for their end. A signal that comes before
    everything is mounted ends the daemon, and then does what signals do; one that comes later does nothing in this
    process any more, since nobody is to hear that it was interrupted when all is mounted.
    """
    reader, writer = os.pipe()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    pid = os.fork()
    if pid:
        os.close(writer)
        text = _answer(reader, pid)
        if text == _READY:
            # Everything is mounted, and nothing is left to do that a signal could end.
            for number in _ENDING:
                signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if text != _READY:
            point, _, what = text.partition("\n")
            raise MountError(point or "mount", what or "the daemon ended without a word")
        return
    status = 1
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(reader)
        os.setsid()
        for descriptor in inherited:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        os.chdir("/")

        def ready() -> None:
            with open(os.devnull, "r+b") as nothing:
                for descriptor in (0, 1, 2):
                    os.dup2(nothing.fileno(), descriptor)
            os.write(writer, _READY.encode())
            os.close(writer)

        daemon.run(ready, lambda _: None)
        status = 0
    except MountError as error:
        os.write(writer, f"{printable(error.path)}\n{error.what}".encode())
    finally:
        os._exit(status)  # what the parent still has to do is not ours to do as well


def _answer(reader: int, pid: int) -> str:
    """Return what the daemon says, with signals held; it is ended if one of them comes first."""
    waiting = select.poll()
    waiting.register(reader, select.POLLIN)
    while not waiting.poll(_PATIENCE):
        if signal.sigpending() & _ENDING:
            # The daemon, in a session of its own, knows nothing of it.
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGTERM)
                os.waitpid(pid, 0)
            os.close(reader)
            return ""
    with open(reader, encoding="utf-8", errors="replace") as answer:
        return answer.read()
