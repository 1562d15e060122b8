"""A tree that changes while it is read gives no image, but a line that names what changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mkfs_erofs_py.errors import SourceError
from mkfs_erofs_py.sources.content import FileContent
from mkfs_erofs_py.write import BuildOptions, build_image
from tests.support.images import make, mixed, text

#: Larger than a segment: read by the builder itself, a part at a time; smaller files are read by workers.
LARGE = 9_000_000


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def shrink(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 10)


def rewrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"X")


def rewrite_secretly(path: Path) -> None:
    before = path.stat()
    rewrite(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(path: Path) -> None:
    data = path.read_bytes()
    path.rename(path.with_name("elsewhere"))
    path.write_bytes(data)


def vanish(path: Path) -> None:
    path.unlink()


def become_a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def become_a_symlink(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def become_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


CHANGED = "changed while it was read; build again when it is at rest"
CHANGES: dict[Callable[[Path], None], str] = {
    grow: CHANGED,
    shrink: CHANGED,
    rewrite: CHANGED,
    rewrite_secretly: CHANGED,
    replace: CHANGED,
    vanish: "cannot be read: No such file or directory",
    become_a_fifo: CHANGED,
    become_a_symlink: "cannot be read: Too many levels of symbolic links",
    become_a_directory: CHANGED,
}


def build_while(tmp_path: Path, tree: Path, change: Callable[[], None]) -> str:
    """Build while ``change`` happens behind the walk; return the message, and see that nothing is left."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "image").write_bytes(b"an older image")
    left = [change]

    def progress(stage: str, done: int, total: int | None) -> None:
        if left:
            left.pop()()

    with pytest.raises(SourceError) as refused:
        build_image(out / "image", tree, BuildOptions(workers=1), progress=progress)
    assert not left
    assert os.listdir(out) == ["image"]
    assert (out / "image").read_bytes() == b"an older image"
    return str(refused.value)


@pytest.mark.parametrize("size", [20_000, LARGE])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_file_that_changes_is_named(change: Callable[[Path], None], size: int, tmp_path: Path) -> None:
    tree = make(tmp_path / "tree", {"before": text(100), "file": text(size), "later": text(100)})
    message = build_while(tmp_path, tree, lambda: change(tree / "file"))
    assert message == f"{tree / 'file'}: {CHANGES[change]}"


@pytest.mark.parametrize(("change", "what"), [(grow, "grew"), (shrink, "shrank")], ids=["grow", "shrink"])
def test_a_large_file_is_held_to_its_size_even_if_its_status_lies(
    change: Callable[[Path], None], what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FileContent, "_check", lambda *_: None)
    tree = make(tmp_path / "tree", {"file": mixed(LARGE)})
    message = build_while(tmp_path, tree, lambda: change(tree / "file"))
    assert message == f"{tree / 'file'}: {what} while it was read; build again when it is at rest"


def test_a_folder_that_vanishes_is_named(tmp_path: Path) -> None:
    tree = make(tmp_path / "tree", {"a/file": b"", "z": None})
    message = build_while(tmp_path, tree, lambda: (tree / "z").rmdir())
    assert message == f"{tree / 'z'}: cannot be read: No such file or directory"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may read this file's neighbours")
def test_a_file_that_says_it_is_larger_than_it_is_is_named(tmp_path: Path) -> None:
    # Files of sysfs claim a page each and hold a few bytes.
    source = Path("/sys/kernel/mm/transparent_hugepage")
    if not source.is_dir():
        pytest.skip(f"there is no {source} here")
    with pytest.raises(SourceError, match=r"/sys/kernel/mm/.*: changed( its size)? while it was read"):
        build_image(tmp_path / "image", source, BuildOptions(workers=1))
    assert os.listdir(tmp_path) == []
