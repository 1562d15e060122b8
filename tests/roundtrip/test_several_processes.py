"""Images read by several processes, however they were opened, from programs with and without threads."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import mkfs_erofs_py.workers.team as team
from mkfs_erofs_py import Image, build_image, extract_image, verify_image
from mkfs_erofs_py.read.opened import ImageSource
from tests.support.trees import compare_trees

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


@pytest.fixture(scope="module")
def image(sample_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("several") / "image.erofs"
    build_image(path, sample_tree)
    return path


@pytest.fixture(params=[False, True], ids=["no threads", "threads"])
def _threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team, "is_threaded", lambda: request.param)


SOURCES: dict[str, Callable[[Path], ImageSource]] = {
    "path": lambda path: path,
    "file": lambda path: path.open("rb"),
    "memory": lambda path: memoryview(path.read_bytes()),
    "open": Image.open,
}


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("how", SOURCES)
def test_an_image_is_read_by_several_processes(how: str, image: Path, sample_tree: Path, tmp_path: Path) -> None:
    source = SOURCES[how](image)
    try:
        alone = verify_image(image, workers=1, digest="sha256")
        report = verify_image(source, workers=3, digest="sha256")
        assert report.sound
        assert report.digests == alone.digests
        assert extract_image(source, tmp_path / "out", workers=3) == extract_image(image, tmp_path / "one", workers=1)
    finally:
        if not isinstance(source, (Path, memoryview)):
            source.close()  # type: ignore[union-attr]
    assert compare_trees(sample_tree, tmp_path / "out") == []


@pytest.mark.usefixtures("_threads")
def test_a_name_that_means_another_file_by_now_does_not_matter(image: Path, tmp_path: Path) -> None:
    name = tmp_path / "name"
    os.link(image, name)
    with Image.open(name) as opened:
        name.unlink()
        name.write_bytes(b"something else")
        assert verify_image(opened, workers=2).sound
