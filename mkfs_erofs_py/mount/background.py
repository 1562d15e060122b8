"""The FUSE daemon as a process of its own: started by a caller who learns whether everything is mounted."""

from __future__ import annotations

import contextlib
import os
import signal

from ..errors import MountError, printable
from .fuse import Daemon

__all__ = ["descriptors", "run_in_background"]

_READY = "ready"


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

    ``inherited`` are descriptors of whoever called us, who may wait for their end.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        try:
            with open(reader, encoding="utf-8", errors="replace") as answer:
                text = answer.read()
        except BaseException:  # ^C and the like: the daemon, in a session of its own, knows nothing of it
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGTERM)
                os.waitpid(pid, 0)
            raise
        if text != _READY:
            point, _, what = text.partition("\n")
            raise MountError(point or "mount", what or "the daemon ended without a word")
        return
    status = 1
    try:
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
