"""Waiting for what happens in other processes."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["until"]


def until(condition: Callable[[], bool]) -> None:
    """Return as soon as ``condition`` holds; fail if it does not within ten seconds."""
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never happened")
