"""The smallest trees: no content, no attributes, nothing at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from mkfs_erofs_py.read import Image
from tests.compat.seen import seen
from tests.conftest import KernelMount
from tests.support.images import Spec, build, make
from tests.support.trees import differences, snapshot

TREES: dict[str, Spec] = {
    "nothing": {},
    "an empty folder": {"folder": None},
    "an empty file": {"file": b""},
    "a symlink": {"link": "target"},
    "a byte": {"file": b"x"},
    "a block": {"file": bytes(range(256)) * 16},
    "a block of zeros": {"file": bytes(4096)},
    "many empty files": {f"file-{n}": b"" for n in range(1000)},
}
FORMS: dict[str, dict[str, Any]] = {
    "default": {},
    "none": {"compressor": None},
    "zstd": {"compressor": "zstd", "pcluster": 65536},
    "small blocks": {"block_size": 512},
    "48-bit": {"encoded_extents": True, "dot_omitted": True},
    "no fingerprints": {"fingerprint": "none"},
}


@pytest.mark.kernel
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", TREES)
def test_a_small_tree_reads_and_mounts(name: str, form: str, tmp_path: Path, kernel_mount: KernelMount) -> None:
    tree = make(tmp_path / "tree", TREES[name])
    summary = build(tmp_path / "image", tree, **FORMS[form])
    expected = snapshot(tree)
    with Image.open(tmp_path / "image") as image:
        assert differences(expected, seen(image)) == []
    major, minor = map(int, summary.kernel.split("."))
    point = kernel_mount(tmp_path / "image", since=(major, minor))
    assert differences(expected, snapshot(point)) == []
    assert summary.bytes_out == os.stat(tmp_path / "image").st_size
    assert summary.ratio == (summary.bytes_out / summary.bytes_in if summary.bytes_in else 0)
