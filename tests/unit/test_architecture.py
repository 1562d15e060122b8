"""The arrows of docs/architecture.md: a module imports only what stands below it, and no circle exists in a room."""

from __future__ import annotations

import ast
import graphlib
from collections import defaultdict
from collections.abc import Iterator
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
    for node in ast.walk(ast.parse(module.read_bytes())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = [*here[: len(here) - node.level + 1]] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            # ``from . import a`` names a module where there is one, else something of the package's own.
            names = [
                whole if (whole := f"{stem}.{alias.name}").removeprefix(f"{NAME}.") in NAMES else stem
                for alias in node.names
            ]
        for name in names:
            first, _, rest = name.partition(".")
            if first == NAME:
                yield getattr(node, "lineno", 0), rest


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(module: Path) -> None:
    room = room_of(module)
    assert room in LEVEL, f"{room} has no level: place it in this test and in docs/architecture.md"
    upward = [
        f"line {line}: {room} imports {name}"
        for line, name in imports(module)
        if (other := name.partition(".")[0] or "__init__") != room
        and LEVEL[other] >= LEVEL[room]
        # The version is a plain string that stands above all imports.
        and not (other == "__init__" and room == "cli")
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


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_reads_arguments_and_environment(module: Path) -> None:
    if room_of(module) in {"cli", "compat", "__main__"}:
        return
    outside = {("os", "environ"), ("os", "environb"), ("os", "getenv"), ("sys", "argv")}
    read = [
        f"line {node.lineno}: {node.value.id}.{node.attr}"
        for node in ast.walk(ast.parse(module.read_bytes()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in outside
    ]
    assert read == []
