"""The same tree gives the same bytes, and what differs shows in the UUID."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mkfs_erofs_py.read import Image
from tests.support.images import WHEN, Spec, build, make, mixed, noise, text
from tests.support.requirements import ROOT
from tests.support.sample import make_tree

SPEC: Spec = {
    "large": mixed(9_000_000, 1),
    "zeros": bytes(9_000_000),
    **{f"folder-{n % 7}/file-{n}": mixed(n * 700, n) for n in range(60)},
    "folder-1/copy": mixed(30 * 700, 30),
    "folder-2/copy-of-large": mixed(9_000_000, 1),
    "link": "folder-1/copy",
    "empty": None,
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("same") / "tree", SPEC)


FORMS: dict[str, dict[str, Any]] = {
    "none": {"compressor": None},
    "lz4": {"compressor": "lz4", "pcluster": 65536},
    "extents": {"compressor": "zstd,1", "encoded_extents": True},
}


@pytest.mark.parametrize("form", FORMS)
def test_however_many_workers(form: str, tree: Path, tmp_path: Path) -> None:
    images = []
    for workers in (1, 2, 5):
        build(tmp_path / "image", tree, workers=workers, **FORMS[form])
        images.append((tmp_path / "image").read_bytes())
    assert images[0] == images[1]
    assert images[0] == images[2]


@pytest.mark.parametrize("form", FORMS)
def test_wherever_the_source_and_the_image_lie_and_in_whatever_order_it_was_made(
    form: str, tree: Path, tmp_path: Path
) -> None:
    build(tmp_path / "image", tree, **FORMS[form])
    again = make(tmp_path / "some" / "other" / "place", dict(reversed(list(SPEC.items()))))
    build(tmp_path / "some" / "other.img", again, **FORMS[form])
    assert (tmp_path / "image").read_bytes() == (tmp_path / "some" / "other.img").read_bytes()


def test_whatever_seeds_the_hashes_of_the_process(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    make_tree(tree, entries=50, depth=5)
    images = set()
    for seed in ("0", "1", "4294967295"):
        argv = [sys.executable, "-m", "mkfs_erofs_py", "build", "--quiet", str(tmp_path / "image"), str(tree)]
        subprocess.run(argv, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed}, check=True)
        images.add((tmp_path / "image").read_bytes())
    assert len(images) == 1


def test_whatever_the_clock_says(tmp_path: Path) -> None:
    tree = make(tmp_path / "tree", {"file": b"content"})
    build(tmp_path / "image", tree)
    with Image.open(tmp_path / "image") as image:
        assert image.superblock.epoch == WHEN
        assert image.superblock.mkfs_time == 0


def test_a_fixed_time_makes_trees_alike_that_differ_in_times_alone(tmp_path: Path) -> None:
    tree = make(tmp_path / "tree", {"file": b"content", "folder": None})
    images = []
    for when in (1, 2):
        os.utime(tree / "file", (when, when))
        build(tmp_path / "image", tree, timestamp=5)
        images.append((tmp_path / "image").read_bytes())
    assert images[0] == images[1]


def rewrite(tree: Path) -> None:
    (tree / "noise").write_bytes(noise(8192, 99))


def rewrite_tail(tree: Path) -> None:
    (tree / "small").write_bytes(b"other")


def rewrite_compressed(tree: Path) -> None:
    # The same letters in another order compress to the same size.
    (tree / "text").write_bytes((tree / "text").read_bytes().replace(b"a", b"\1").replace(b"b", b"a"))


def rename(tree: Path) -> None:
    (tree / "small").rename(tree / "smaul")


def change_mode(tree: Path) -> None:
    (tree / "small").chmod(0o600)


def change_time(tree: Path) -> None:
    os.utime(tree / "small", (1, 1))


def retarget(tree: Path) -> None:
    (tree / "link").unlink()
    (tree / "link").symlink_to("other")


CHANGES = (rewrite, rewrite_tail, rewrite_compressed, rename, change_mode, change_time, retarget)


@pytest.mark.parametrize("fingerprint", ["blake3", "none"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_the_uuid_follows_from_the_content(change: Callable[[Path], None], fingerprint: str, tmp_path: Path) -> None:
    spec: Spec = {"noise": noise(8192), "small": b"small", "text": text(50_000), "link": "small"}
    tree = make(tmp_path / "tree", spec)
    first = build(tmp_path / "image", tree, fingerprint=fingerprint).uuid
    assert uuid.UUID(first).version == 8
    change(tree)
    if change is not change_time:
        for path in (tree, *tree.iterdir()):
            os.utime(path, (WHEN, WHEN), follow_symlinks=False)
    assert build(tmp_path / "image", tree, fingerprint=fingerprint).uuid != first
    shutil.rmtree(tree)
    make(tree, spec)
    assert build(tmp_path / "image", tree, fingerprint=fingerprint).uuid == first


def test_a_given_uuid_is_the_only_difference(tmp_path: Path) -> None:
    tree = make(tmp_path / "tree", {"file": text(5000)})
    given = uuid.UUID(int=7)
    build(tmp_path / "image", tree)
    build(tmp_path / "given", tree, uuid=given)
    first, second = (tmp_path / "image").read_bytes(), (tmp_path / "given").read_bytes()
    assert second[1024 + 0x30 : 1024 + 0x40] == given.bytes
    differ = {at for at, (a, b) in enumerate(zip(first, second, strict=True)) if a != b}
    assert differ <= {*range(1024 + 4, 1024 + 8), *range(1024 + 0x30, 1024 + 0x40)}
