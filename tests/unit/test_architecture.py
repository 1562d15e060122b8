"""The arrows of docs/architecture.md: a module imports only what stands below it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import mkfs_erofs_py

PACKAGE = Path(mkfs_erofs_py.__file__).parent
NAME = "mkfs_erofs_py"

LEVELS = (
    {"errors"},
    {"ondisk"},
    {"io", "tree", "compress", "fingerprint"},
    {"sources"},
    {"build", "read", "pagecache"},
    {"mount", "fixtures"},
    {"cli"},
    {"__main__"},
)
"""What may import what: every part only those of lower levels, and itself."""

# ``__init__`` re-exports the library, which everything but the command line is.
LEVEL: dict[str, float] = {part: number for number, parts in enumerate(LEVELS) for part in parts} | {
    "__init__": max(number for number, parts in enumerate(LEVELS) if "mount" in parts) + 0.5
}

MODULES = sorted(PACKAGE.rglob("*.py"))


def part_of(module: Path) -> str:
    """Return the part of the package a source file belongs to: its first folder, or its own name."""
    first = module.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported_parts(module: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, part) for each import of this package's own modules in a source file."""
    here = (NAME, *module.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(module.read_bytes())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = [*here[: len(here) - node.level + 1]] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{stem}.{alias.name}" for alias in node.names] if stem == NAME else [stem]
        for name in names:
            first, *rest = name.split(".")
            if first == NAME and rest[:1] != ["__version__"]:
                yield getattr(node, "lineno", 0), rest[0] if rest else "__init__"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(module: Path) -> None:
    part = part_of(module)
    parts = {part_of(other) for other in MODULES}
    assert part in LEVEL, f"{part} has no level: place it in this test and in docs/architecture.md"
    upward = [
        f"line {line}: {part} imports {other}"
        for line, other in imported_parts(module)
        if other != part and LEVEL[other if other in parts else "__init__"] >= LEVEL[part]
    ]
    assert upward == []


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_reads_arguments_and_environment(module: Path) -> None:
    if part_of(module) in {"cli", "__main__"}:
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
