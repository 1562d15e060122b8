"""How long work tells how far it is: one shape of callback, whatever the work."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Progress", "silent"]

#: Called with (what is being done, units done, units in all or ``None`` where nobody knows). It is called for every
#: file or so, and in the caller's thread; what it raises ends the work.
Progress = Callable[[str, int, int | None], None]


def silent(stage: str, done: int, total: int | None) -> None:
    """Tell nobody."""
