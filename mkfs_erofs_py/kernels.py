"""Which Linux release an option asks for, and the refusal of those that a given release lacks."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import UsageError

__all__ = ["DEFAULT_KERNEL", "OLDEST_KERNEL", "Kernel", "Requirements"]


@dataclass(frozen=True, slots=True, order=True)
class Kernel:
    """A Linux release, as far as features go: major and minor."""

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str) -> Kernel:
        """Read ``6.6`` (or ``6.6.12-generic``). Raises `UsageError`."""
        found = re.match(r"(\d{1,3})\.(\d{1,4})(?:[.\-+].*)?$", text)
        if not found:
            raise UsageError(f"--kernel={text}: not a release; write it as in 6.6")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


#: What an image without ``--kernel`` mounts on, unless an option asks for more.
DEFAULT_KERNEL = Kernel(6, 6)
#: EROFS entered the mainline in a form that these images need.
OLDEST_KERNEL = Kernel(5, 4)


class Requirements:
    """Collects what options ask of the kernel and holds it against the one that was named."""

    def __init__(self, limit: Kernel | None) -> None:
        if limit is not None and limit < OLDEST_KERNEL:
            raise UsageError(f"--kernel={limit}: the oldest supported release is {OLDEST_KERNEL}")
        self._limit = limit
        self._least = OLDEST_KERNEL

    @property
    def least(self) -> Kernel:
        """The oldest release that mounts an image with all that was required so far."""
        return self._least

    def allow(self, release: tuple[int, int]) -> bool:
        """Tell whether a layout that is free to choose may be chosen: the target has it."""
        return Kernel(*release) <= (self._limit or DEFAULT_KERNEL)

    def require(self, option: str, release: tuple[int, int]) -> None:
        """Note that ``option`` needs ``release``. Raises `UsageError` where the named kernel is older."""
        kernel = Kernel(*release)
        if self._limit is not None and kernel > self._limit:
            raise UsageError(f"{option} needs Linux {kernel}; the image is to mount on {self._limit} (--kernel)")
        self._least = max(self._least, kernel)
