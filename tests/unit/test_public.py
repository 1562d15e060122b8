"""The names that the package offers at its top."""

from __future__ import annotations

import subprocess
import sys

import pytest

import mkfs_erofs_py
from mkfs_erofs_py import errors


@pytest.mark.parametrize("name", mkfs_erofs_py.__all__)
def test_every_name_offered_is_there(name: str) -> None:
    assert getattr(mkfs_erofs_py, name).__name__ == name


def test_every_error_is_offered() -> None:
    raised = {
        name
        for name, thing in vars(errors).items()
        if isinstance(thing, type) and issubclass(thing, errors.ErofsError) and not name.startswith("_")
    }
    assert raised <= set(mkfs_erofs_py.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = mkfs_erofs_py.nonsense


def test_importing_the_package_loads_neither_builder_nor_reader() -> None:
    code = "import sys, mkfs_erofs_py; print(*[m for m in sys.modules if m.startswith('mkfs_erofs_py.')])"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert out.split() == []
