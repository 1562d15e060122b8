"""Looking at other processes from outside, as ``/proc`` shows them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["members", "written"]


def members(session: int) -> list[int]:
    """Return the living processes of a session."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != b"Z":
                found.append(int(name))
    return found


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
