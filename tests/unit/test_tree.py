"""The tree builder: what sources put in, one over the other, and the tree that comes out."""

from __future__ import annotations

import stat
from collections.abc import Callable

import pytest

from mkfs_erofs_py.errors import SourceError
from mkfs_erofs_py.tree import Facts, Tree, TreeBuilder

FOLDER = Facts(stat.S_IFDIR | 0o755, 0, 0, 0, 0)


def file(mark: int = 0) -> Facts:
    """Return a file that is told from others by its owner."""
    return Facts(stat.S_IFREG | 0o644, mark, 0, 0, 0)


def put(builder: TreeBuilder, path: bytes, facts: Facts) -> None:
    folder, _, name = path.rpartition(b"/")
    builder.put(builder.folder(folder), name, facts)


def owners(tree: Tree) -> dict[bytes, int]:
    """Return the owners of all files but folders, by path; of hard links by their first."""
    return {tree.path(node): node.uid for node in tree.nodes if not node.is_dir}


def listed(tree: Tree) -> list[bytes]:
    return [tree.path(node) for node in tree.nodes]


def test_a_folder_then_what_it_holds_then_its_folders() -> None:
    builder = TreeBuilder()
    for path in (b"b/z", b"b/a/deep", b"a", b"c", b"b/b"):
        put(builder, path, file())
    assert listed(builder.finish()) == [b".", b"a", b"c", b"b", b"b/b", b"b/z", b"b/a", b"b/a/deep"]


def test_nodes_know_their_numbers_names_and_folders() -> None:
    builder = TreeBuilder()
    put(builder, b"d/f", file())
    root, folder, inner = builder.finish().nodes
    assert (root.number, root.name, root.parent, root.children) == (0, b"", 0, ((b"d", 1),))
    assert (folder.number, folder.name, folder.parent, folder.children) == (1, b"d", 0, ((b"f", 2),))
    assert (inner.number, inner.name, inner.parent, inner.children) == (2, b"f", 1, ())


def test_nodes_do_not_change() -> None:
    (root,) = TreeBuilder().finish().nodes
    with pytest.raises(AttributeError):
        root.mode = 0  # type: ignore[misc]


def test_names_sort_as_raw_bytes() -> None:
    builder = TreeBuilder()
    names = [b"\xff", b"a", b"B", b"..b", b" "]
    for name in names:
        put(builder, name, file())
    assert listed(builder.finish())[1:] == sorted(names)


def test_links_are_counted_as_linux_does() -> None:
    builder = TreeBuilder()
    put(builder, b"d/sub/f", file())
    first = builder.find(b"d/sub/f")
    assert first is not None
    builder.link(builder.folder(b""), b"again", first)
    tree = builder.finish()
    counts = {tree.path(node): node.nlink for node in tree.nodes}
    assert counts == {b".": 3, b"again": 2, b"d": 3, b"d/sub": 2}
    node = tree.find(b"d/sub/f")
    assert node is tree.find(b"again"), "one node, with the name that comes first"


def test_implied_folders_belong_to_root() -> None:
    builder = TreeBuilder()
    put(builder, b"d/f", file())
    node = builder.finish().find(b"d")
    assert node is not None
    assert (stat.filemode(node.mode), node.uid, node.mtime) == ("drwxr-xr-x", 0, 0)


def test_a_folder_may_be_told_of_after_what_it_holds() -> None:
    builder = TreeBuilder()
    put(builder, b"d/f", file())
    put(builder, b"d", FOLDER._replace(uid=7))
    tree = builder.finish()
    node = tree.find(b"d")
    assert node is not None
    assert node.uid == 7
    assert tree.find(b"d/f") is not None


def lower(builder: TreeBuilder) -> None:
    put(builder, b"kept", file(1))
    put(builder, b"d/a", file(1))
    put(builder, b"d/b", file(1))
    builder.begin_layer()


def replace(builder: TreeBuilder) -> None:
    put(builder, b"d/a", file(2))


def replace_a_folder(builder: TreeBuilder) -> None:
    put(builder, b"d", file(2))


def replace_by_a_folder(builder: TreeBuilder) -> None:
    put(builder, b"kept", FOLDER)
    put(builder, b"kept/c", file(2))


def merge(builder: TreeBuilder) -> None:
    put(builder, b"d", FOLDER._replace(uid=2))
    put(builder, b"d/c", file(2))


def whiteout(builder: TreeBuilder) -> None:
    builder.whiteout(builder.folder(b"d"), b"a")


def whiteout_of_nothing(builder: TreeBuilder) -> None:
    builder.whiteout(builder.folder(b"d"), b"zzz")


def whiteout_beside_the_new(builder: TreeBuilder) -> None:
    put(builder, b"d/a", file(2))
    builder.whiteout(builder.folder(b"d"), b"a")


def opaque(builder: TreeBuilder) -> None:
    put(builder, b"d/c", file(2))
    builder.opaque(builder.folder(b"d"))


LAYERS: dict[Callable[[TreeBuilder], None], dict[bytes, int]] = {
    replace: {b"kept": 1, b"d/a": 2, b"d/b": 1},
    replace_a_folder: {b"kept": 1, b"d": 2},
    replace_by_a_folder: {b"kept/c": 2, b"d/a": 1, b"d/b": 1},
    merge: {b"kept": 1, b"d/a": 1, b"d/b": 1, b"d/c": 2},
    whiteout: {b"kept": 1, b"d/b": 1},
    whiteout_of_nothing: {b"kept": 1, b"d/a": 1, b"d/b": 1},
    whiteout_beside_the_new: {b"kept": 1, b"d/a": 2, b"d/b": 1},
    opaque: {b"kept": 1, b"d/c": 2},
}


@pytest.mark.parametrize("upper", LAYERS, ids=lambda upper: upper.__name__)
def test_a_source_over_another(upper: Callable[[TreeBuilder], None]) -> None:
    builder = TreeBuilder()
    lower(builder)
    upper(builder)
    assert owners(builder.finish()) == LAYERS[upper]


def test_an_entry_below_a_file_is_refused() -> None:
    builder = TreeBuilder()
    put(builder, b"a", file())
    with pytest.raises(SourceError, match="a is no folder"):
        builder.folder(b"a/b")


NAMES = [b"", b".", b"..", b"a/b", b"a\0b", b"n" * 256]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_name_is_refused(name: bytes) -> None:
    builder = TreeBuilder()
    first = builder.put(builder.root, b"first", file())
    with pytest.raises(SourceError, match="is no name"):
        builder.put(builder.root, name, file())
    with pytest.raises(SourceError, match="is no name"):
        builder.link(builder.root, name, first)


@pytest.mark.parametrize("path", [b"/a", b"a//b", b"a/../b", b"a/"])
def test_a_path_of_a_folder_is_made_of_names(path: bytes) -> None:
    with pytest.raises(SourceError, match="is no name"):
        TreeBuilder().folder(path)


LINK = Facts(stat.S_IFLNK | 0o777, 0, 0, 0, 0)
FACTS: dict[str, tuple[Facts, str]] = {
    "no type": (file()._replace(mode=0o644), "of no type"),
    "a second of nanoseconds": (file()._replace(nsec=10**9), "nanoseconds"),
    "negative nanoseconds": (file()._replace(nsec=-1), "nanoseconds"),
    "a symlink to nothing": (LINK, "symlink of 0 bytes"),
    "a symlink too long": (LINK._replace(target=b"t" * 4096), "symlink of 4096 bytes"),
    "a symlink with NUL": (LINK._replace(target=b"a\0b"), "symlink"),
    "a size without content": (file()._replace(size=5), "5 bytes, but no content"),
    "a negative size": (file()._replace(size=-1), "-1 bytes"),
    "a size of 64 bits": (file()._replace(size=2**63), "9223372036854775808 bytes"),
    "a time of 65 bits": (file()._replace(mtime=2**63), "does not fit 64 bits"),
    "a negative owner": (file()._replace(uid=-1), "belongs to -1:0"),
    "a group of 33 bits": (file()._replace(gid=2**32), "does not fit 32 bits"),
    "a device of 13 bits": (Facts(stat.S_IFCHR, 0, 0, 0, 0, rdev=(4096, 0)), "device 4096:0"),
    "an attribute twice": (file()._replace(xattrs=((b"user.a", b""), (b"user.a", b""))), "each once"),
}


@pytest.mark.parametrize("name", FACTS)
def test_what_is_no_file_is_refused(name: str) -> None:
    builder = TreeBuilder()
    facts, message = FACTS[name]
    with pytest.raises(SourceError, match=message):
        builder.put(builder.root, b"it", facts)


def test_a_root_that_is_no_folder_is_refused() -> None:
    with pytest.raises(SourceError, match="must be one"):
        TreeBuilder().describe_root(file())


def test_a_folder_has_one_name() -> None:
    builder = TreeBuilder()
    folder = builder.put(builder.root, b"d", FOLDER)
    with pytest.raises(SourceError, match="link to a folder"):
        builder.link(builder.root, b"e", folder)


def test_only_folders_have_entries() -> None:
    builder = TreeBuilder()
    first = builder.put(builder.root, b"f", file())
    with pytest.raises(SourceError, match="no folder"):
        builder.put(first, b"g", file())


def test_any_depth_will_do() -> None:
    builder = TreeBuilder()
    folder = builder.root
    for _ in range(20_000):
        folder = builder.put(folder, b"d", FOLDER)
    builder.put(folder, b"f", file())
    tree = builder.finish()
    assert len(tree.nodes) == 20_002
    assert len(tree.path(tree.nodes[-1])) == 40_001
