"""Images of a fixed tree are what they were, byte for byte; see ``fixtures/golden.py``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fixtures.golden import CASES, RECORD, digest, make_tree, versions

GOLDEN = json.loads(RECORD.read_text())


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("golden") / "tree"
    make_tree(root)
    return root


def test_every_golden_image_is_recorded() -> None:
    assert list(GOLDEN["digests"]) == list(CASES)


@pytest.mark.parametrize("name", CASES)
def test_a_golden_image_is_made_again(name: str, tree: Path, tmp_path: Path) -> None:
    compressor = name.split("-")[0].replace("lz4hc", "lz4")
    recorded = GOLDEN["versions"].get(compressor)
    if compressor != "none" and versions()[compressor] != recorded:
        pytest.skip(f"recorded with {compressor} {recorded}, this is {versions()[compressor]}")
    made = digest(name, tree, tmp_path / "image")
    assert made == GOLDEN["digests"][name], "if the bytes were meant to change: python -m fixtures.golden"
