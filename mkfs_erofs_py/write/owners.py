"""Who owns each file: what ``--all-root`` and its companions ask for, combined as ``mkfs.erofs`` combines them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

__all__ = ["owners"]


def owners(words: Iterable[tuple[Literal["all-root", "force-uid", "force-gid"], int]]) -> tuple[int | None, int | None]:
    """Decide who owns all files -> user, group; ``None`` where each file keeps its own.

    ``words`` are the options in the order in which they were given, each with its number (``all-root`` needs none and
    takes any); of several about the same, the last counts.
    """
    uid: int | None = None
    gid: int | None = None
    for word, number in words:
        if word == "all-root":
            uid = gid = 0
        elif word == "force-uid":
            uid = number
        else:
            gid = number
    return uid, gid
