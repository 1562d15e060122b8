"""The arrows and rules of docs/architecture.md.

A module imports only what stands below it, no circle exists in a room, and only some rooms touch the system.
"""

from __future__ import annotations

import ast
import graphlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import mkfs_erofs_py

PACKAGE = Path(mkfs_erofs_py.__file__).parent
NAME = "mkfs_erofs_py"

LEVELS = (
    {"errors", "progress"},
    {"units", "fingerprint", "kernels", "ondisk", "workers", "tree"},
    {"files", "compress"},
    {"read", "encode", "pagecache"},
    {"sources", "vfs", "describe"},
    {"write", "check", "extract", "sharing", "mount"},
    {"__init__"},
    {"cli"},
    {"__main__"},
)
"""What may import what: every room only those of lower levels, and itself."""

SYSTEM_ROOMS = {
    *("files", "sources", "mount", "workers", "check", "extract", "sharing", "cli", "__main__"),
    "compress",  # looks for libraries
}
"""The rooms that open, look at or change what the operating system has: files, processes, mounts."""

MAPPING_ROOMS = {"workers"}
"""The rooms that map memory: what only this program's own processes can change."""

ARGUMENT_ROOMS = {"cli"}
"""The rooms that read arguments and the environment."""

SYSTEM_MODULES = {
    *("fcntl", "glob", "pathlib", "posix", "resource", "shutil", "socket", "sqlite3", "subprocess", "tempfile"),
}
"""Modules of the standard library that are for asking or changing the system."""

PURE = tuple(
    f"os.{name}."
    for name in (
        *("PathLike", "fsdecode", "fsencode", "fspath", "sep", "stat_result", "makedev", "major", "minor"),
        *("path.basename", "path.dirname", "path.join", "path.normpath", "SEEK_CUR", "SEEK_END", "SEEK_SET"),
    )
)
"""What `os` has that only computes; all else in it asks or tells the system something."""

LEVEL = {room: number for number, rooms in enumerate(LEVELS) for room in rooms}

MODULES = sorted(PACKAGE.rglob("*.py"))
ROOMS = sorted({module.parent for module in MODULES if module.parent != PACKAGE})


def room_of(module: Path) -> str:
    """Return the room a source file belongs to: the package's first folder, or its own name."""
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def name_of(module: Path) -> str:
    """Return a module's dotted name below the package."""
    parts = module.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(module): module for module in MODULES}


def imports(module: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name below the package) for each import of this package's own modules in a source file.

    Imports for annotations alone count as well: who names a type knows where it lives.
    """
    here = (NAME, *module.relative_to(PACKAGE).parts[:-1])
    for line, whole in imported(ast.parse(module.read_bytes()), here):
        first, _, rest = whole.partition(".")
        if first == NAME:
            yield line, rest


def imported(tree: ast.Module, here: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) of every module, ours or another's, that a source in the package ``here`` imports.

    That is by statement, or by `importlib.import_module` or ``__import__`` where the name is written out.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            stem = absolute("." * node.level + (node.module or ""), here)
            # ``from . import a`` names a module where there is one, else something of the package's own.
            for alias in node.names:
                whole = f"{stem}.{alias.name}"
                yield node.lineno, whole if whole.removeprefix(f"{NAME}.") in NAMES else stem
        elif isinstance(node, ast.Call) and node.args and called(node) in ("import_module", "__import__"):
            name = node.args[0]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield node.lineno, absolute(name.value, here)


def absolute(name: str, here: tuple[str, ...]) -> str:
    """Return the whole name of a module that is imported in the package ``here``, perhaps as a relative one."""
    rest = name.lstrip(".")
    dots = len(name) - len(rest)
    return ".".join([*here[: len(here) - dots + 1], *([rest] if rest else [])]) if dots else name


def called(node: ast.Call) -> str:
    """Return the last name of what is called."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def uses(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield (line, name) of what a source takes from `os` and `sys`, as ``os.path.join``, and of each call of `open`.

    The names are those of the modules, whatever the source calls them.
    """
    bound = {
        alias.asname or alias.name.partition(".")[0]: alias.name if alias.asname else alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level:
            found = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            stem, _, rest = ast.unparse(node).partition(".")
            whole = f"{bound.get(stem, '')}.{rest}"
            # Of what is called or indexed, the names in front come by themselves, and so do those behind ``os.path``.
            found = [whole] if whole.replace(".", "").isidentifier() and whole != "os.path" else []
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open":
            found = ["open"]
        else:
            continue
        yield from ((node.lineno, name) for name in found if name == "open" or name.startswith(("os.", "sys.", "io.")))


def parsed(module: Path) -> ast.Module:
    return ast.parse(module.read_bytes())


def touching(tree: ast.Module) -> list[str]:
    """Return what in a source asks or tells the operating system something."""
    calls = [(line, name) for line, name in uses(tree) if name in ("open", "io.open") or name.startswith("os.")]
    modules = [(line, name) for line, name in imported(tree, (NAME,)) if name.partition(".")[0] in SYSTEM_MODULES]
    return [f"line {line}: {name}" for line, name in sorted(calls + modules) if not f"{name}.".startswith(PURE)]


def mapping(tree: ast.Module) -> list[str]:
    """Return where a source maps memory."""
    return [f"line {line}: {name}" for line, name in imported(tree, (NAME,)) if name.partition(".")[0] == "mmap"]


def reading_arguments(tree: ast.Module) -> list[str]:
    """Return where a source reads what the program was started with."""
    outside = {"os.environ", "os.environb", "os.getenv", "os.getenvb", "sys.argv", "sys.orig_argv"}
    return [
        f"line {line}: {name}" for line, name in uses(tree) if any(f"{name}.".startswith(f"{one}.") for one in outside)
    ]


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(module: Path) -> None:
    room = room_of(module)
    assert room in LEVEL, f"{room} has no level: place it in this test and in docs/architecture.md"
    upward = [
        f"line {line}: {room} imports {name}"
        for line, name in imports(module)
        if (other := name.partition(".")[0] or "__init__") != room and LEVEL[other] >= LEVEL[room]
    ]
    assert upward == []


@pytest.mark.parametrize(
    "module", [module for module in MODULES if room_of(module) == "cli"], ids=lambda path: path.name
)
def test_no_feature_lives_in_the_command_line(module: Path) -> None:
    """It parses, calls and prints: it has no business with structures, contents, processes or pages."""
    below = {"ondisk", "compress", "encode", "files", "workers", "tree", "sources", "pagecache"}
    assert [f"line {line}: {name}" for line, name in imports(module) if name.partition(".")[0] in below] == []


@pytest.mark.parametrize("pair", [("read", "write"), ("write", "read"), ("pagecache", "read")], ids="-".join)
def test_rooms_that_never_meet(pair: tuple[str, str]) -> None:
    one, other = pair
    met = [
        f"{module.name}: line {line}"
        for module in MODULES
        if room_of(module) == one
        for line, name in imports(module)
        if name.partition(".")[0] == other
    ]
    assert met == []


@pytest.mark.parametrize("room", ROOMS, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_circle_inside_a_room(room: Path) -> None:
    arrows: dict[str, set[str]] = defaultdict(set)
    for module in sorted(room.rglob("*.py")):
        # A package's front page re-exports what stands below it, and nothing below it may import the front page.
        arrows[name_of(module)] = {
            name for _, name in imports(module) if name in NAMES and room in NAMES[name].parents
        } - {name_of(module)}
    try:
        graphlib.TopologicalSorter(arrows).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"circle: {' -> '.join(error.args[1])}")


RULES: tuple[tuple[str, set[str], Callable[[ast.Module], list[str]]], ...] = (
    ("touches the system", SYSTEM_ROOMS, touching),
    ("maps memory", MAPPING_ROOMS, mapping),
    ("reads arguments or the environment", ARGUMENT_ROOMS, reading_arguments),
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule[0])
def test_only_some_rooms_do_this(rule: tuple[str, set[str], Callable[[ast.Module], list[str]]]) -> None:
    _, rooms, found = rule
    broken = {
        str(module.relative_to(PACKAGE)): wrong
        for module in MODULES
        if room_of(module) not in rooms and (wrong := found(parsed(module)))
    }
    assert broken == {}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule[0])
def test_every_room_that_may_do(rule: tuple[str, set[str], Callable[[ast.Module], list[str]]]) -> None:
    """A room that needs an exception no longer loses it."""
    _, rooms, found = rule
    assert {room_of(module) for module in MODULES if found(parsed(module))} == rooms


@pytest.mark.parametrize(
    ("found", "source"),
    [
        (reading_arguments, "import os\nos.environ['A']"),
        (reading_arguments, "import os as o\no.environ.get('A')"),
        (reading_arguments, "from os import environ"),
        (reading_arguments, "from os import getenv as ask"),
        (reading_arguments, "from sys import argv"),
        (reading_arguments, "import sys as s\ns.argv[1]"),
        (touching, "open('a')"),
        (touching, "import io\nio.open('a')"),
        (touching, "import os.path\nos.path.exists('a')"),
        (touching, "from os import path"),
        (touching, "from os import stat"),
        (touching, "import os as o\no.listdir()"),
        (touching, "from pathlib import Path"),
        (touching, "import sqlite3"),
        (mapping, "from mmap import mmap"),
        (mapping, "import mmap as m"),
    ],
)
def test_a_rule_sees_through_other_names(found: Callable[[ast.Module], list[str]], source: str) -> None:
    assert found(ast.parse(source))


@pytest.mark.parametrize(
    "source",
    [
        "import mkfs_erofs_py.read.map",
        "from mkfs_erofs_py.read import map",
        "from ..read import map",
        "from ..read.map import spans",
        "import importlib\nimportlib.import_module('mkfs_erofs_py.read.map')",
        "import importlib as i\ni.import_module('..read.map', __package__)",
        "from importlib import import_module\nimport_module('mkfs_erofs_py.read.map')",
        "__import__('mkfs_erofs_py.read.map')",
    ],
)
def test_an_import_is_seen_however_it_is_written(source: str) -> None:
    assert [name for _, name in imported(ast.parse(source), (NAME, "write"))][-1] == f"{NAME}.read.map"
