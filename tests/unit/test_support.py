"""The tests' own instruments: a comparison that sees nothing would let everything pass."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import KernelMount
from tests.support import requirements
from tests.support.debian import mirror
from tests.support.requirements import UnavailableError
from tests.support.sample import make_tree
from tests.support.trees import FINGERPRINT, compare_trees

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may do this")


def small_tree(root: Path) -> Path:
    (root / "folder").mkdir(parents=True)
    (root / "file").write_bytes(b"content")
    os.link(root / "file", root / "folder" / "link")
    os.symlink("file", root / "symlink")
    for path in ("file", "symlink", "folder", "."):
        os.utime(root / path, ns=(7, 7), follow_symlinks=False)
    return root


def rewrite(root: Path, data: bytes) -> None:
    (root / "file").write_bytes(data)
    os.utime(root / "file", ns=(7, 7))


def unlink_and_copy(root: Path) -> None:
    (root / "folder" / "link").unlink()
    shutil.copy2(root / "file", root / "folder" / "link")
    os.utime(root / "folder", ns=(7, 7))


def repoint(root: Path) -> None:
    (root / "symlink").unlink()
    os.symlink("other", root / "symlink")
    for path in ("symlink", "."):
        os.utime(root / path, ns=(7, 7), follow_symlinks=False)


CHANGES: dict[str, tuple[Callable[[Path], object], set[str]]] = {
    "nothing": (lambda _: None, set()),
    "content": (lambda root: rewrite(root, b"CONTENT"), {"file: content", "folder/link: content"}),
    "mode": (lambda root: os.chmod(root / "folder", 0o700), {"folder: mode"}),
    "time": (lambda root: os.utime(root / "folder", ns=(7, 8)), {"folder: mtime_ns"}),
    "hard link": (unlink_and_copy, {"file: links", "folder/link: links"}),
    "target": (repoint, {"symlink: content", "symlink: size"}),
    "xattr": (lambda root: os.setxattr(root / "folder", "user.x", b"1"), {"folder: xattrs"}),
    "missing": (lambda root: (root / "symlink").unlink(), {"symlink: missing", ".: mtime_ns"}),
    "extra": (lambda root: os.mkfifo(root / "fifo"), {"fifo: not in the source", ".: mtime_ns"}),
}


@pytest.mark.parametrize(("change", "seen"), CHANGES.values(), ids=CHANGES.keys())
def test_compare_trees_names_what_differs(tmp_path: Path, change: Callable[[Path], object], seen: set[str]) -> None:
    expected, found = small_tree(tmp_path / "a"), small_tree(tmp_path / "b")
    change(found)
    assert {line.split(" is ")[0] for line in compare_trees(expected, found)} == seen


@needs_root
def test_compare_trees_sees_owners_and_devices(tmp_path: Path) -> None:
    expected, found = small_tree(tmp_path / "a"), small_tree(tmp_path / "b")
    for root, uid, minor in ((expected, 1, 3), (found, 2, 5)):
        os.chown(root / "symlink", uid, uid, follow_symlinks=False)
        os.mknod(root / "device", 0o20600, os.makedev(1, minor))
        for path in ("device", "."):
            os.utime(root / path, ns=(7, 7))
    assert {line.split(" is ")[0] for line in compare_trees(expected, found)} == {
        "symlink: uid", "symlink: gid", "device: rdev"}  # fmt: skip


def test_the_sample_tree_is_deterministic(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_tree(tmp_path / name, entries=20, depth=5)
    assert compare_trees(tmp_path / "a", tmp_path / "b") == []


def test_a_mounted_image_equals_its_source(
    tmp_path: Path, sample_tree: Path, reference_tool: Callable[[str], Path], kernel_mount: KernelMount
) -> None:
    """Source tree, reference tool, kernel mount and comparison agree with each other."""
    image = tmp_path / "image.erofs"
    subprocess.run(
        [reference_tool("mkfs.erofs"), "--quiet", "-zlz4hc", image, sample_tree],
        check=True,
        capture_output=True,
    )
    # mkfs.erofs marks folders that hold overlay whiteouts with an attribute of its own.
    added = (FINGERPRINT, "trusted.overlay.origin")
    assert compare_trees(sample_tree, kernel_mount(image), ignore_xattrs=added) == []


def test_lacking_a_requirement_skips_unless_it_is_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MKFS_EROFS_PY_REQUIRE", "kernel")
    with pytest.raises(pytest.skip.Exception, match="not here"):
        requirements.lacking("reference", UnavailableError("not here"))
    monkeypatch.setenv("MKFS_EROFS_PY_REQUIRE", "reference,kernel")
    with pytest.raises(pytest.fail.Exception, match="not here"):
        requirements.lacking("reference", UnavailableError("not here"))


SOURCES = {
    "deb822": ("sources.list.d/debian.sources", "Types: deb\nURIs: http://mirror.example/debian\n"),
    "one-line": (
        "sources.list",
        "# deb http://no.example/debian x\ndeb [arch=amd64] http://mirror.example/debian/ x main\n",
    ),
    "security first": (
        "sources.list.d/all.sources",
        "URIs: http://mirror.example/debian-security\n\nURIs: http://mirror.example/debian\n",
    ),
}


@pytest.mark.parametrize(("name", "text"), SOURCES.values(), ids=SOURCES.keys())
def test_the_mirror_is_that_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    monkeypatch.delenv("DEBIAN_MIRROR", raising=False)
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / name).write_text(text)
    assert mirror(tmp_path) == "http://mirror.example/debian"


def test_a_machine_without_a_debian_source_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEBIAN_MIRROR", raising=False)
    with pytest.raises(UnavailableError, match="DEBIAN_MIRROR"):
        mirror(tmp_path)
