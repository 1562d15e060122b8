"""Looking at other processes from outside, as ``/proc`` shows them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["children", "members", "written"]


def members(session: int) -> list[int]:
    """Return the living processes of a session."""
    return [pid for pid, state, _, of in _processes() if of == session and state != b"Z"]


def children(pid: int) -> list[int]:
    """Return the living processes that ``pid`` has started, oldest first."""
    return sorted(child for child, state, parent, _ in _processes() if parent == pid and state != b"Z")


def _processes() -> Iterator[tuple[int, bytes, int, int]]:
    """Yield (process, state, parent, session) of all processes."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                state, parent, _, session = file.read().rpartition(b")")[2].split()[:4]
                yield int(name), state, int(parent), int(session)


def written(pid: int, folder: Path) -> int:
    """Return the bytes in files that a process has open in ``folder``, those without a name as well; -1: none is."""
    sizes = []
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                link = f"/proc/{pid}/fd/{fd}"
                if os.readlink(link).startswith(f"{folder}/"):
                    sizes.append(os.stat(link).st_size)
    return sum(sizes) if sizes else -1
