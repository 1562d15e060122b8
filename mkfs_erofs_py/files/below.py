"""Opening files below a root however long their path is: the kernel takes 4095 bytes at a time."""

from __future__ import annotations

import os

__all__ = ["PATH_LIMIT", "open_below"]

#: Longest path handed to one system call, with room for ``/proc/self/fd/N/`` in front of it.
PATH_LIMIT = 3800
_STEP = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_below(root: bytes, path: bytes, flags: int) -> int:
    """Open ``path``, which is relative to ``root`` (empty for the root itself) -> descriptor.

    Paths within the kernel's limit take one call; longer ones are walked in steps. Raises `OSError`.
    """
    if len(root) + len(path) < PATH_LIMIT:
        return os.open(os.path.join(root, path) if path else root, flags | os.O_CLOEXEC)
    at = os.open(root, _STEP & ~os.O_NOFOLLOW)
    try:
        while len(path) >= PATH_LIMIT:
            cut = path.rindex(b"/", 0, PATH_LIMIT)
            step = os.open(path[:cut], _STEP, dir_fd=at)
            os.close(at)
            at, path = step, path[cut + 1 :]
        return os.open(path, flags | os.O_CLOEXEC, dir_fd=at)
    finally:
        os.close(at)
