"""The fsspec file system: what its users call, on an image of our own."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import fsspec
import pytest

from mkfs_erofs_py.errors import UsageError
from mkfs_erofs_py.read.fs import ErofsFileSystem
from mkfs_erofs_py.write import build_image
from tests.support.trees import snapshot


@pytest.fixture(scope="module")
def image(sample_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fsspec") / "image.erofs"
    build_image(path, sample_tree)
    return path


@pytest.fixture
def system(image: Path) -> ErofsFileSystem:
    fsspec.register_implementation("erofs", ErofsFileSystem, clobber=True)
    return ErofsFileSystem(image)


def test_find_names_every_file(system: ErofsFileSystem, sample_tree: Path) -> None:
    found = snapshot(sample_tree).items()
    want = {path.decode("utf-8", "surrogateescape") for path, one in found if one.kind != "directory"}
    assert set(system.find("/")) == want


def test_files_open_seek_and_read_as_text_and_bytes(system: ErofsFileSystem, sample_tree: Path) -> None:
    data = (sample_tree / "files/text").read_bytes()
    with system.open("files/text") as file:
        assert file.size == len(data)
        file.seek(-1000, 2)
        assert file.read() == data[-1000:]
    with system.open("/files/text", "r", encoding="ascii") as text:
        assert text.read(50).encode() == data[:50]
    assert system.cat_file("files/text", 100, -100) == data[100:-100]
    assert system.cat(["files/text-1", "files/nothing"]) == {
        "files/text-1": (sample_tree / "files/text-1").read_bytes(),
        "files/nothing": b"",
    }


def test_a_url_names_a_file_in_an_image(system: ErofsFileSystem, image: Path, sample_tree: Path) -> None:
    with fsspec.open(f"erofs://files/noise-513::file://{image}") as file:
        assert file.read() == (sample_tree / "files/noise-513").read_bytes()


def test_a_chained_url_reads_an_image_inside_an_archive(
    system: ErofsFileSystem, image: Path, sample_tree: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.write(image, "inner.erofs")
    with fsspec.open(f"erofs://files/text-4097::zip://inner.erofs::file://{tmp_path / 'archive.zip'}") as file:
        assert file.read() == (sample_tree / "files/text-4097").read_bytes()


def test_symlinks_are_followed_but_not_in_circles(system: ErofsFileSystem) -> None:
    assert system.info("symlinks/relative")["size"] == 1_500_007
    assert system.isfile("symlinks/relative")
    kinds = {one["name"]: one["type"] for one in system.ls("symlinks")}
    assert kinds["symlinks/relative"] == "file"
    assert kinds["symlinks/length-60"] == "link"


def test_what_is_not_there_is_the_error_fsspec_expects(system: ErofsFileSystem) -> None:
    assert not system.exists("nothing/here")
    with pytest.raises(FileNotFoundError):
        system.open("nothing")
    with pytest.raises(IsADirectoryError):
        system.cat_file("files")
    with pytest.raises(UsageError):
        system.open("files/text", "wb")
    with pytest.raises(UsageError):
        ErofsFileSystem()


def test_a_file_system_survives_pickling(system: ErofsFileSystem) -> None:
    again = pickle.loads(pickle.dumps(system))
    assert again.cat_file("files/text-1") == system.cat_file("files/text-1")
