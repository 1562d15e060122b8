"""The plan as text: what it was, and the truth about the image. The texts are in ``tests/golden``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.dumps import CASES, FILES, FOLDER, render
from fixtures.golden import RECORD, versions
from mkfs_erofs_py.ondisk.constants import Layout
from mkfs_erofs_py.read import Image, Inode, Kind

RECORDED = json.loads(RECORD.read_text())["versions"]


def skip_other_versions(name: str) -> None:
    compressor = CASES[name].compressor
    if compressor != "none" and versions()[compressor] != RECORDED[compressor]:
        pytest.skip(f"recorded with {compressor} {RECORDED[compressor]}, this is {versions()[compressor]}")


def test_every_text_is_of_a_case() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_a_plan_is_made_again(name: str, tmp_path: Path) -> None:
    skip_other_versions(name)
    recorded = (FOLDER / f"{name}.txt").read_text()
    assert render(name, tmp_path) == recorded, "if the plan was meant to change: python -m fixtures.golden"


HEAD = re.compile(r"nid (\d+) at (0x\w+), inode (\d+): (.*)")
RANGE = re.compile(r"  (span|data|tail) \[(\d+), (\d+)\)(?: (lz4|zstd|plain|hole))?(?: at (0x\w+))?(?:, (\d+) bytes)?")

Ranges = list[tuple[int, int, str, int, int]]


def said_ranges(lines: list[str]) -> Ranges:
    """Return (start, length, kind, address, bytes stored) of the spans and runs of an inode's lines."""
    found = []
    for line in lines:
        match = RANGE.fullmatch(line)
        if match:
            _, start, end, kind, address, stored = match.groups()
            length = int(end) - int(start)
            found.append((int(start), length, kind or "plain", int(address or "0", 16), int(stored or 0)))
    return found


def read_ranges(image: Image, inode: Inode, said: Ranges) -> Ranges:
    """Return the same as a reader finds it; of plain bytes it knows no more than their length."""
    found = []
    for extent, (*_, stored) in zip(image.spans(inode), said, strict=True):
        kind = {Kind.RAW: "plain", Kind.HOLE: "hole"}.get(Kind(extent.kind), Kind(extent.kind).name.lower())
        found.append((extent.start, extent.length, kind, extent.address, stored if kind == "plain" else extent.stored))
    return found


def inodes(text: str) -> Iterator[list[str]]:
    """Yield each inode's lines."""
    for part in text.split("\n\n")[1:]:
        yield part.rstrip("\n").split("\n")


@pytest.mark.parametrize("name", CASES)
def test_a_plan_says_the_truth(name: str, tmp_path: Path) -> None:
    text = render(name, tmp_path)
    seen = set()
    with Image.open(tmp_path / f"{name}.erofs") as image:
        assert f"  root_nid {image.root.nid}\n" in text
        assert f"  blocks {image.superblock.blocks}\n" in text
        assert f"  {image.size:#x} end\n" in text
        for lines in inodes(text):
            head = HEAD.fullmatch(lines[0])
            assert head is not None
            nid, offset, number, paths = head.groups()
            inode = image.inode(int(nid))
            assert (inode.offset, inode.ino) == (int(offset, 16), int(number) + 1)
            for path in paths.split(" "):
                assert image.lookup(path.encode(), follow=False) == inode
                seen.add(path)
            assert f", {Layout(inode.layout).name.lower().replace('_', ' ')}, " in lines[1]
            assert f"{inode.mode & 0o7777:04o}, {'extended' if inode.extended else 'compact'}" in lines[1]
            assert lines[1].endswith(f"head {inode.body - inode.offset} bytes")
            assert f"size {inode.size}" in lines[2] or not inode.size
            entries = [line.split(" ")[3:6] for line in lines if line.startswith("  entry ")]
            assert entries == [
                [entry.name.decode(), "nid", str(entry.nid)] for entry in (image.readdir(inode) if inode.is_dir else ())
            ]
            said = said_ranges(lines)
            assert read_ranges(image, inode, said) == said
            for line in lines:
                if line.startswith("  index "):
                    start, end = image.index_place(inode) or (0, 0)
                    assert f" at {start:#x}, {end - start} bytes" in line
            shown = [line.split()[0] for line in lines if line.startswith("    ")]
            assert all(name.encode() in image.xattrs(inode) for name in shown)
        assert seen == {path.decode() for path, _ in image.walk()}
    assert len(seen) > len(FILES)
