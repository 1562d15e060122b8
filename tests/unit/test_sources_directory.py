"""A directory read as a tree: kinds, links, mounts, deep paths, exclusions."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mkfs_erofs_py.errors import SourceError, UsageError
from mkfs_erofs_py.read import Image
from mkfs_erofs_py.sources.directory import Exclude, read_directory
from mkfs_erofs_py.tree import Node, Tree, TreeBuilder
from tests.support.images import build, make
from tests.support.requirements import lacking

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may make devices")


def read(root: Path, **options: object) -> Tree:
    builder = TreeBuilder()
    read_directory(builder, os.fsencode(root), **options)  # type: ignore[arg-type]
    return builder.finish()


def paths(tree: Tree) -> dict[bytes, Node]:
    """Return every path below the root."""
    found = {}
    waiting = [(b"", tree.nodes[0])]
    while waiting:
        prefix, node = waiting.pop()
        for name, number in node.children:
            child = found[prefix + name] = tree.nodes[number]
            if child.is_dir:
                waiting.append((prefix + name + b"/", child))
    return found


def test_names_are_bytes_in_ascending_order(tmp_path: Path) -> None:
    names = [b"\xff\xfe", b"a", b"B", b"\x01", b"..b", b"\xc3\xa9", b" ", b"n" * 255]
    for name in names:
        os.close(os.open(os.path.join(os.fsencode(tmp_path), name), os.O_CREAT | os.O_WRONLY))
    assert [name for name, _ in read(tmp_path).nodes[0].children] == sorted(names)


@needs_root
def test_every_kind_of_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(os.fsdecode(b"to\xff"))
    os.mkfifo(tmp_path / "fifo")
    os.mknod(tmp_path / "character", stat.S_IFCHR | 0o600, os.makedev(4095, 1_048_575))
    os.mknod(tmp_path / "block", stat.S_IFBLK | 0o600, os.makedev(7, 256))
    here = os.getcwd()
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(tmp_path)
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
    os.chown(tmp_path / "file", 3_000_000_000, 65536)
    os.chmod(tmp_path / "file", 0o6755)
    os.utime(tmp_path / "file", ns=(0, -1_500_000_000))
    found = paths(read(tmp_path))
    kinds = {name: stat.S_IFMT(node.mode) for name, node in found.items()}
    assert kinds == {
        b"file": stat.S_IFREG,
        b"folder": stat.S_IFDIR,
        b"link": stat.S_IFLNK,
        b"fifo": stat.S_IFIFO,
        b"character": stat.S_IFCHR,
        b"block": stat.S_IFBLK,
        b"socket": stat.S_IFSOCK,
    }
    assert found[b"link"].target == b"to\xff"
    assert found[b"character"].rdev == (4095, 1_048_575)
    assert found[b"block"].rdev == (7, 256)
    file = found[b"file"]
    assert (file.size, file.uid, file.gid, stat.S_IMODE(file.mode)) == (5, 3_000_000_000, 65536, 0o6755)
    assert (file.mtime, file.nsec) == (-2, 500_000_000)


def test_hard_links_are_one_node_unless_dereferenced(tmp_path: Path) -> None:
    make(tmp_path / "tree", {"a/first": b"content", "symlink": "target"})
    os.link(tmp_path / "tree" / "a" / "first", tmp_path / "tree" / "second")
    os.link(tmp_path / "tree" / "symlink", tmp_path / "tree" / "symlink-again", follow_symlinks=False)
    found = paths(read(tmp_path / "tree"))
    assert found[b"a/first"] is found[b"second"]
    assert found[b"symlink"] is found[b"symlink-again"]
    found = paths(read(tmp_path / "tree", hard_dereference=True))
    assert found[b"a/first"] is not found[b"second"]


def test_the_source_may_be_named_by_a_symlink(tmp_path: Path) -> None:
    make(tmp_path / "tree", {"file": b""})
    (tmp_path / "named").symlink_to("tree")
    assert list(paths(read(tmp_path / "named"))) == [b"file"]


EXCLUDED: dict[str, tuple[Exclude, set[bytes]]] = {
    "nothing": (Exclude.make(), {b"a", b"a/b", b"a/b/c", b"ab", b"b"}),
    "a path": (Exclude.make(["a/b"]), {b"a", b"ab", b"b"}),
    "a path with slashes around": (Exclude.make(["/a/b/"]), {b"a", b"ab", b"b"}),
    "a part of a path is no path": (Exclude.make(["a/b/", "c", "a/"]), {b"ab", b"b"}),
    "a pattern anywhere": (Exclude.make([], ["b"]), {b"a"}),
    "a pattern from the start": (Exclude.make([], ["^b"]), {b"a", b"a/b", b"a/b/c", b"ab"}),
    "a pattern of whole paths": (Exclude.make([], ["^a/.*/c$"]), {b"a", b"a/b", b"ab", b"b"}),
    "both": (Exclude.make(["ab"], ["c$"]), {b"a", b"a/b", b"b"}),
}


@pytest.mark.parametrize("name", EXCLUDED)
def test_exclusions(name: str, tmp_path: Path) -> None:
    exclude, left = EXCLUDED[name]
    make(tmp_path / "tree", {"a/b/c": b"", "ab": b"", "b": b""})
    assert set(paths(read(tmp_path / "tree", exclude=exclude))) == left


def test_an_expression_that_does_not_compile_is_the_callers_fault() -> None:
    with pytest.raises(UsageError, match=r"--exclude-regex=\*a"):
        Exclude.make([], ["*a"])


def test_excluded_names_of_a_hard_link_do_not_count(tmp_path: Path) -> None:
    tree = make(tmp_path / "tree", {"a": b"content"})
    os.link(tree / "a", tree / "b")
    os.link(tree / "a", tree / "c")
    build(tmp_path / "image", tree, exclude_paths=("a",))
    with Image.open(tmp_path / "image") as image:
        assert image.lookup("b").nlink == 2


@contextmanager
def mount(*words: object) -> Iterator[None]:
    """Mount for a while, where this process may."""
    done = subprocess.run(["mount", *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        lacking("kernel", f"cannot mount here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(words[-1])], check=True)


def test_file_systems_with_the_same_inode_numbers_are_kept_apart(tmp_path: Path) -> None:
    tree = make(tmp_path / "tree", {"one": None, "two": None})
    with mount("-t", "tmpfs", "tmpfs", tree / "one"), mount("-t", "tmpfs", "tmpfs", tree / "two"):
        for folder in ("one", "two"):
            (tree / folder / "file").write_text(f"file of {folder}")
            os.link(tree / folder / "file", tree / folder / "again")
        first, second = (os.stat(tree / folder / "file") for folder in ("one", "two"))
        assert first.st_ino == second.st_ino, "nothing is tested"
        assert first.st_dev != second.st_dev
        found = paths(read(tree))
        assert found[b"one/file"] is found[b"one/again"]
        assert found[b"one/file"] is not found[b"two/file"]
        build(tmp_path / "image", tree)
        with Image.open(tmp_path / "image") as image:
            assert image.read("one/again") == b"file of one"
            assert image.read("two/again") == b"file of two"
            assert image.lookup("one/file").nlink == 2


def test_a_bind_mount_is_a_folder_of_its_own(tmp_path: Path) -> None:
    tree = make(tmp_path / "tree", {"folder/file": b"content", "bound": None})
    os.link(tree / "folder" / "file", tree / "folder" / "again")
    with mount("--bind", tree / "folder", tree / "bound"):
        build(tmp_path / "image", tree)
        with Image.open(tmp_path / "image") as image:
            assert image.lookup("bound") != image.lookup("folder")
            assert image.lookup("bound/file") == image.lookup("folder/again"), "it is the same file"
            assert image.lookup("bound/file").nlink == 4


def test_a_folder_bound_into_itself_ends(tmp_path: Path) -> None:
    tree = make(tmp_path / "tree", {"within": None, "file": b"content"})
    with mount("--bind", tree, tree / "within"):
        found = paths(read(tree))
    assert set(found) == {b"file", b"within", b"within/file", b"within/within"}


def test_an_image_inside_its_source_is_refused_but_not_its_neighbour(tmp_path: Path) -> None:
    tree = make(tmp_path / "tree", {"image": b"old", "image2": b"other"})
    with pytest.raises(SourceError, match=r"tree/image: lies inside its source"):
        build(tree / "image", tree)
    assert (tree / "image").read_bytes() == b"old"
    os.symlink("tree/image", tmp_path / "named")
    with pytest.raises(SourceError, match=r"named: lies inside its source"):
        build(tmp_path / "named", tree)
    build(tree / "image", tree, exclude_paths=("image",))
    with Image.open(tree / "image") as image:
        assert [entry.name for entry in image.readdir("/")] == [b".", b"..", b"image2"]


def test_a_new_image_inside_its_source_is_refused_too(tmp_path: Path) -> None:
    tree = make(tmp_path / "tree", {"file": b"content"})
    with pytest.raises(SourceError, match=r"tree/image: lies inside its source"):
        build(tree / "image", tree)
    assert os.listdir(tree) == ["file"]


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """Return a tree whose deepest path takes more bytes than a system call does."""
    tree = tmp_path / "deep"
    tree.mkdir()
    here = os.getcwd()
    os.chdir(tree)
    try:
        for level in range(60):
            name = f"{level:03}-" + "d" * 200
            os.mkdir(name)
            os.chdir(name)
        Path("file").write_bytes(b"at the bottom" * 1000)
        os.link("file", "again")
        os.symlink("file", "link")
        os.setxattr("file", "user.deep", b"yes")
    finally:
        os.chdir(here)
    yield tree
    shutil.rmtree(tree)


def test_paths_longer_than_the_kernel_takes(deep: Path, tmp_path: Path) -> None:
    for workers in (1, 2):
        build(tmp_path / "image", deep, workers=workers)
        with Image.open(tmp_path / "image") as image:
            found = {path: inode for path, inode in image.walk() if not inode.is_dir}
            assert len(found) == 3
            for path, inode in found.items():
                assert len(path) > 12_000
                if inode.is_file:
                    assert image.read(inode) == b"at the bottom" * 1000
                    assert image.xattrs(inode)[b"user.deep"] == b"yes"
                else:
                    assert image.readlink(inode) == b"file"
