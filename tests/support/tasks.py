"""Work for a team of processes: functions that any interpreter can load."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from mkfs_erofs_py.errors import CorruptError, SourceError
from mkfs_erofs_py.workers.team import SlotMap
from tests.support.waiting import until

__all__ = ["MAP", "busy", "doubler", "failing", "fails_to_begin", "plain", "reader", "sign"]

MAP = SlotMap(input_size=1000, output_size=2000, slots=2)


def double(slot: int, task: Any) -> Any:
    """Answer twice what was asked."""
    return task + task


def plain(memory: memoryview | None) -> Callable[[int, Any], Any]:
    assert memory is None
    return double


def doubler(memory: memoryview | None) -> Callable[[int, int], tuple[int, int]]:
    """Return work on shared memory: write each byte of the input twice -> where the output stands."""
    assert memory is not None

    def work(slot: int, size: int) -> tuple[int, int]:
        at, out = MAP.input(slot), MAP.output(slot)
        data = bytes(memory[at : at + size])
        memory[out : out + 2 * size] = data + data
        return out, out + 2 * size

    return work


def reader(_: memoryview | None) -> Callable[[int, str], list[str]]:
    """Return work that tells of the process it is done in."""

    def work(slot: int, what: str) -> list[str]:
        if what == "pid":
            return [str(os.getpid())]
        return sorted(link for fd in os.listdir("/proc/self/fd") if "pipe:" in (link := link_of(fd)))

    return work


def link_of(fd: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:  # the descriptor that listed them all
        return ""


def fails_to_begin(_: memoryview | None) -> NoReturn:
    raise SourceError(b"dictionary", "cannot be read")


def busy(_: memoryview | None) -> Callable[[int, str], None]:
    """Return work that never ends; it makes the file it is given when it has begun."""

    def work(slot: int, path: str) -> None:
        Path(path).touch()
        while True:
            time.monotonic()

    return work


def sign(task: tuple[str, str]) -> str:
    """Make a file, or wait until somebody has made it."""
    what, path = task
    if what == "make":
        Path(path).touch()
    else:
        until(lambda: os.path.exists(path))
    return path


def fail(slot: int, how: str) -> str:
    match how:
        case "source":
            raise SourceError(b"a\nb", "changed")
        case "corrupt":
            raise CorruptError("nonsense", 4096, b"/file")
        case "unforeseen":
            raise ValueError("one\nof those")
        case "memory":
            raise MemoryError
        case "answer":
            return lambda: how  # type: ignore[return-value]  # does not pickle
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(0)
        case "interrupted":
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                os.kill(os.getpid(), number)
        case "stopped":
            os.kill(os.getpid(), signal.SIGSTOP)
    return how


def failing(_: memoryview | None) -> Callable[[int, str], str]:
    """Return work that goes wrong as it is told."""
    return fail
