"""The tree of errors: complete, as drawn, at home among Python's own, and fit to travel between processes."""

from __future__ import annotations

import ast
import builtins
import errno
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mkfs_erofs_py import errors
from mkfs_erofs_py.errors import (
    CacheFullError,
    CorruptError,
    CutShortError,
    ErofsError,
    ImageError,
    IsDirectoryError,
    LinkLoopError,
    MountError,
    NotDirectoryError,
    NotFoundError,
    NotListableError,
    OutOfBoundsError,
    OutputError,
    SourceError,
    SourceNotFoundError,
    UnreadableError,
    UnsupportedError,
    UsageError,
    WorkerDiedError,
)

PACKAGE = Path(errors.__file__).parent
CLASSES = {
    name: thing
    for name, thing in vars(errors).items()
    if isinstance(thing, type) and issubclass(thing, ErofsError) and not name.startswith("_")
}

RAISED: dict[type[ErofsError], Callable[[], ErofsError]] = {
    ErofsError: lambda: ErofsError("what"),
    UsageError: lambda: UsageError("what"),
    WorkerDiedError: lambda: WorkerDiedError("what"),
    CacheFullError: lambda: CacheFullError("what"),
    SourceError: lambda: SourceError(b"/path", "what"),
    SourceNotFoundError: lambda: SourceNotFoundError("/path", "what"),
    OutputError: lambda: OutputError("/path", "what", errno.ENOSPC),
    UnreadableError: lambda: UnreadableError(Path("/path"), "what", errno.EIO),
    NotFoundError: lambda: NotFoundError(b"/path", "what"),
    NotDirectoryError: lambda: NotDirectoryError(b"/path", "what"),
    IsDirectoryError: lambda: IsDirectoryError(b"/path", "what"),
    NotListableError: lambda: NotListableError(b"/path", "what"),
    LinkLoopError: lambda: LinkLoopError(b"/path", "what"),
    MountError: lambda: MountError("/path", "what"),
    ImageError: lambda: ImageError("what", 5, "/path"),
    CorruptError: lambda: CorruptError("what"),
    UnsupportedError: lambda: UnsupportedError("what", 5),
    OutOfBoundsError: lambda: OutOfBoundsError("what", None, b"/path"),
    CutShortError: lambda: CutShortError("was cut short", 5, "/path"),
}


def drawn() -> dict[str, tuple[str, list[str], str | None]]:
    """Read the tree in the module's docstring: each class with the one above it, built-ins named, exit status."""
    found: dict[str, tuple[str, list[str], str | None]] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    ([ │├└─]*)(\w+Error)\b(.*)", line)
        if match is None:
            continue
        branches, name, rest = match.groups()
        depth = len(branches) // 4
        status = re.search(r"\(exit (\d)\)", rest)
        del above[depth:]
        found[name] = (above[-1] if above else "", re.findall(r"\b[A-Z]\w+Error\b", rest), status and status[1])
        above.append(name)
    return found


def test_the_drawing_has_every_class_once_below_its_base() -> None:
    tree = drawn()
    assert set(tree) == set(CLASSES)
    for name, (above, python, status) in tree.items():
        if above:
            assert issubclass(CLASSES[name], CLASSES[above])
        for builtin in python:
            assert issubclass(CLASSES[name], getattr(builtins, builtin)), name
        if status is not None:
            assert CLASSES[name].exit_code == int(status)


def test_every_class_is_offered() -> None:
    assert set(CLASSES) == set(errors.__all__) - {"AnyPath", "printable"}


def test_no_error_is_declared_elsewhere() -> None:
    """What escapes from the package is in the tree; an error that stays inside a room may live there."""
    elsewhere = [
        f"{module.name}: {node.name}"
        for module in PACKAGE.rglob("*.py")
        if module.name != "errors.py"
        for node in ast.walk(ast.parse(module.read_bytes()))
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id in CLASSES for base in node.bases)
    ]
    assert elsewhere == []


@pytest.mark.parametrize("kind", CLASSES.values(), ids=lambda kind: kind.__name__)
def test_errors_travel_between_processes(kind: type[ErofsError]) -> None:
    error = RAISED[kind]()
    copy: Any = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == str(error)
    assert "\n" not in str(error)
    assert vars(copy) == vars(error)
    for name in ("errno", "strerror", "filename"):
        assert getattr(copy, name, None) == getattr(error, name, None)


@pytest.mark.parametrize(
    "error",
    [UnreadableError(b"x" * 100_000, "what is wrong"), CorruptError("what is wrong", None, "x" * 100_000)],
    ids=lambda error: type(error).__name__,
)
def test_the_longest_name_leaves_room_for_what_is_wrong(error: ErofsError) -> None:
    assert re.fullmatch(r"\.\.\.x{300}: what is wrong", str(error))


@pytest.mark.parametrize(
    ("number", "kind", "builtin"),
    [
        (errno.ENOENT, NotFoundError, FileNotFoundError),
        (errno.ENOTDIR, NotDirectoryError, NotADirectoryError),
        (errno.ELOOP, LinkLoopError, OSError),
        (errno.EIO, UnreadableError, OSError),
    ],
)
def test_what_the_system_says_becomes_the_error_that_fits(
    number: int, kind: type[UnreadableError], builtin: type[OSError]
) -> None:
    error = UnreadableError.of("/path", OSError(number, "what it says"))
    assert type(error) is kind
    assert isinstance(error, builtin)
    assert (error.errno, error.strerror, error.filename) == (number, "what it says", "/path")
    assert str(error) == "/path: what it says"
    assert error.exit_code == 2


def test_a_source_that_is_missing_is_what_python_says_of_missing_files() -> None:
    error = SourceError.of("/path", OSError(errno.ENOENT, "what it says"))
    assert type(error) is SourceNotFoundError
    assert isinstance(error, FileNotFoundError)
    assert error.exit_code == 1
