"""A progress bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

from ..progress import Progress as Callback

__all__ = ["Progress"]

_INTERVAL = 0.1


class Progress:
    """Shows (stage, done, total) reports as a tqdm bar on standard error, if that is a terminal.

    A stage with a total counts ``unit``, bytes by default; one without counts entries.
    """

    def __init__(self, *, quiet: bool = False, unit: str = "B") -> None:
        self._shown = not quiet and sys.stderr.isatty()
        self._unit = unit
        self._bar: Any = None
        self._stage = ""
        self._due = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._close()

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """Take a report; cheap enough for every file."""
        if not self._shown:
            return
        now = time.monotonic()
        if stage == self._stage and now < self._due and done != total:
            return
        self._due = now + _INTERVAL
        if stage != self._stage:
            self._close()
            self._open(stage, total)
        self._bar.update(done - self._bar.n)

    def under(self, name: str) -> Callback:
        """Return a function that takes reports and shows them all as one stage called ``name``."""
        return lambda _, done, total: self(name, done, total)

    def _open(self, stage: str, total: int | None) -> None:
        # Only a terminal should pay for loading it.
        from tqdm import tqdm

        tqdm.monitor_interval = 0  # a thread of its own would keep us from forking workers
        scaled = total is not None and self._unit == "B"
        unit = self._unit if total is not None else " entries"
        self._bar = tqdm(total=total, desc=stage, unit=unit, unit_scale=scaled, unit_divisor=1024, leave=False)
        self._stage = stage

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
