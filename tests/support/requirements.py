"""What a test may lack on this machine, and when lacking it is a failure.

A test that needs an outside judge (erofs-utils, a kernel) skips where there is none, naming the reason.
Where the judge is promised, a silent skip would hide that nothing was judged: set ``MKFS_EROFS_PY_REQUIRE``
to a comma-separated list of ``reference`` and ``kernel``, and the same lack fails the test.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest

__all__ = ["CACHE", "ROOT", "UnavailableError", "lacking", "required"]

ROOT = Path(__file__).resolve().parents[2]

CACHE = Path(os.environ.get("MKFS_EROFS_PY_CACHE") or ROOT / ".cache")
"""Where fetched tools and kernels live; never part of the repository."""


class UnavailableError(Exception):
    """Something from outside (a tool, a kernel, a privilege) cannot be had here; says why."""


def required(kind: str) -> bool:
    """Tell whether ``kind`` (``reference`` or ``kernel``) is promised on this machine."""
    return kind in os.environ.get("MKFS_EROFS_PY_REQUIRE", "").replace(" ", "").split(",")


def lacking(kind: str, why: object) -> NoReturn:
    """Skip the running test because ``kind`` is missing, or fail it where ``kind`` is required."""
    if required(kind):
        pytest.fail(f"{kind} is required by MKFS_EROFS_PY_REQUIRE, but: {why}", pytrace=False)
    pytest.skip(str(why))
