"""The smallest trees, and tails that do not fit memory."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from mkfs_erofs_py.errors import OutputError
from mkfs_erofs_py.files import spool
from mkfs_erofs_py.read import Image
from tests.compat.seen import seen
from tests.conftest import KernelMount
from tests.support.images import Spec, build, make, noise
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


def test_tails_that_wait_on_disk_are_those_that_wait_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = make(tmp_path / "tree", {f"file-{n}": noise(n * 37 + 1, n) for n in range(100)})
    images = []
    for most in (8 << 20, 5000, 0):
        monkeypatch.setattr(spool, "_IN_MEMORY", most)
        build(tmp_path / "image", tree)
        images.append((tmp_path / "image").read_bytes())
    assert images[0] == images[1]
    assert images[0] == images[2]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_full_folder_for_temporary_files_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, out = tmp_path / "tmpfs", tmp_path / "out"
    folder.mkdir()
    out.mkdir()
    tree = make(tmp_path / "tree", {f"file-{n}": noise(3000, n) for n in range(100)})
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=True)
    try:
        monkeypatch.setattr(spool, "_IN_MEMORY", 5000)
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        with pytest.raises(OutputError, match=f"^{folder}: .*No space left on device"):
            build(out / "image", tree)
        assert os.listdir(out) == []
    finally:
        subprocess.run(["umount", folder], check=True)
