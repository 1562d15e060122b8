"""Emission decides nothing: it writes what the plan says, and fails where its bytes come out otherwise."""

from __future__ import annotations

import copy
import os
from array import array
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fixtures.dumps import FILES, LINKS
from mkfs_erofs_py.errors import ErofsError
from mkfs_erofs_py.write import BuildOptions, build
from mkfs_erofs_py.write.plan import Plan, make_plan
from tests.support.feeding import given


def number(plan: Plan, path: bytes) -> int:
    node = plan.inodes.tree.find(path)
    assert node is not None
    return node.number


def with_item(name: str, path: bytes, change: Callable[[Any], Any]) -> Callable[[Plan], Plan]:
    """Change what a column of the plan says of one inode."""

    def tamper(plan: Plan) -> Plan:
        column: Any = copy.copy(getattr(plan, name))
        column[number(plan, path)] = change(column[number(plan, path)])
        changes: dict[str, Any] = {name: column}
        return replace(plan, **changes)

    return tamper


def with_field(name: str, add: int) -> Callable[[Plan], Plan]:
    return lambda plan: replace(plan, **{name: getattr(plan, name) + add})


def with_superblock(**fields: Any) -> Callable[[Plan], Plan]:
    return lambda plan: replace(plan, superblock=replace(plan.superblock, **fields))


def with_heads(plan: Plan) -> Plan:
    plan.inodes.heads[number(plan, b"one.plain")] += 4
    return plan


def with_overlap(plan: Plan) -> Plan:
    positions = array("Q", plan.positions)
    positions[plan.order[5]] = positions[plan.order[4]]
    return replace(plan, positions=positions)


def without_an_inode(plan: Plan) -> Plan:
    return replace(plan, order=plan.order[:-1])


def with_other_prefixes(plan: Plan) -> Plan:
    plan.announced.prefixes += bytes(plan.front)
    return plan


TAMPERED: dict[str, tuple[Callable[[Plan], Plan], str]] = {
    "the contents' end": (with_field("data_end", 4096), "the contents' end is 237568, not 241664"),
    "blocks of a directory": (with_item("blocks", b"many", lambda at: at + 1), "the place of inode 15's blocks is"),
    "size of a directory": (
        with_item("sizes", b"folder", lambda size: size + 1),
        "the size of directory 11 is 95, not 96",
    ),
    "place of shared attributes": (with_field("xattr_start", 4096), "the place of shared attributes is"),
    "size of shared attributes": (with_field("shared_size", 4), "the size of shared attributes is 36, not 40"),
    "size of an inode": (with_heads, "the size of inode 7 and its attributes is 104, not 108"),
    "two inodes in one place": (with_overlap, "the place of inode 5 is"),
    "tail of a directory": (
        with_item("tails", b"folder", lambda tail: tail + 1),
        "the size of inode 11's tail is 95, not 96",
    ),
    "tail of a file": (with_item("tails", b"tail.plain", lambda tail: tail + 60_000), "the size of inode 8's tail is"),
    "an inode left out": (without_an_inode, "the number of inodes in the table is"),
    "the end too early": (with_field("end", -4096), "the image's end is 262144, not 258048"),
    "the end too late": (with_field("end", 4096), "the image's end is 262144, not 266240"),
    "the root's number": (with_superblock(root_nid=3), "the number of the root is 2, not 3"),
    "the count of inodes": (with_superblock(inodes=3), "the number of inodes is 17, not 3"),
    "the count of blocks": (with_superblock(blocks=3), "the number of blocks is 64, not 3"),
    "the inode table": (with_superblock(meta_blkaddr=3), "the inode table's block is 60, not 3"),
    "shared attributes": (with_superblock(xattr_blkaddr=3), "the shared attributes' block is 60, not 3"),
    "prefixes": (with_superblock(prefix_table=3), "the place of prefixes is 1152, not 12"),
    "the front": (with_other_prefixes, "the front's size is"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_plan_that_is_contradicted_gives_no_image(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tamper, words = TAMPERED[name]
    monkeypatch.setattr(build, "make_plan", lambda *args: tamper(make_plan(*args)))
    with pytest.raises(ErofsError) as refused:
        build.build_from(
            os.fsencode(tmp_path / "image"), b"given", given(FILES, LINKS), BuildOptions(compressor=None, workers=1)
        )
    assert str(refused.value).startswith(f"the builder contradicts its plan: {words}")
    assert str(refused.value).endswith("; please report this")
    assert os.listdir(tmp_path) == []
