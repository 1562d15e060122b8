"""Whatever a source's contents come from, and in whatever order, the image is that of the tree."""

from __future__ import annotations

import contextlib
import errno
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mkfs_erofs_py.encode.encoded import Encoded, Key
from mkfs_erofs_py.encode.encoding import Encoding, IndexForm
from mkfs_erofs_py.encode.policy import Policy, Uniform
from mkfs_erofs_py.errors import SourceError, UsageError
from mkfs_erofs_py.files.output import create
from mkfs_erofs_py.files.spool import Spool
from mkfs_erofs_py.fingerprint import digest
from mkfs_erofs_py.ondisk.constants import Algorithm, Layout
from mkfs_erofs_py.read import Image
from mkfs_erofs_py.tree import Bytes, Facts, Node, Stream, TreeBuilder
from mkfs_erofs_py.write import BuildOptions
from mkfs_erofs_py.write.area import Area, Placed
from mkfs_erofs_py.write.build import build_from
from mkfs_erofs_py.write.emit import emit
from mkfs_erofs_py.write.features import front_size
from mkfs_erofs_py.write.inodes import Inodes
from mkfs_erofs_py.write.intake import Intake
from mkfs_erofs_py.write.plan import inline_room, make_plan
from mkfs_erofs_py.write.profile import Profile, resolve
from tests.conftest import KernelMount
from tests.support.feeding import BySuffix, Pipe, piped, variant
from tests.support.images import build, make, mixed, noise, text
from tests.support.trees import differences, snapshot

#: Larger than a segment: read in parts, and packed by several workers.
LARGE = 9_000_000


def shuffled(paths: list[Path]) -> Sequence[Path]:
    return random.Random(4).sample(paths, len(paths))


ORDERS: dict[str, Callable[[list[Path]], Sequence[Path]]] = {
    "as the tree": list,
    "backwards": lambda paths: paths[::-1],
    "shuffled": shuffled,
}
FORMS: dict[str, dict[str, Any]] = {
    "none": {"compressor": None},
    "lz4hc": {},
    "zstd packed": {"compressor": "zstd", "encoded_extents": True},
    "lz4 full": {"compressor": "lz4", "pcluster": 65536, "legacy_index": True},
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tree of small and large contents, twins, hard links and folders."""
    root = make(
        tmp_path_factory.mktemp("fed") / "tree",
        {
            "a/text": text(50_000),
            "a/noise": noise(70_000, 1),
            "a/empty": b"",
            "b/c/tiny": b"tiny",
            "b/c/twin": text(50_000),
            "b/large": mixed(LARGE, 5),
            "b/large-noise": noise(LARGE, 6),
            "large-twin": mixed(LARGE, 5),
            "link": "a/text",
            "z/hollow": None,
        },
    )
    os.link(root / "a" / "noise", root / "b" / "again")
    return root


@pytest.mark.parametrize("once", [True, False], ids=["that come once", "at hand"])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("form", FORMS)
def test_contents_in_any_order_give_the_same_bytes(
    form: str, order: str, once: bool, tree: Path, tmp_path: Path
) -> None:
    build(tmp_path / "folder", tree, **FORMS[form])
    source = piped(tree, ORDERS[order], lambda _: once)
    build_from(os.fsencode(tmp_path / "fed"), b"fed", source, BuildOptions(workers=2, **FORMS[form]))
    assert (tmp_path / "fed").read_bytes() == (tmp_path / "folder").read_bytes()


def test_some_that_come_once_among_others_that_do_not(tree: Path, tmp_path: Path) -> None:
    build(tmp_path / "folder", tree)
    source = piped(tree, shuffled, lambda path: path.name in ("twin", "large", "tiny"))
    build_from(os.fsencode(tmp_path / "fed"), b"fed", source, BuildOptions(workers=2))
    assert (tmp_path / "fed").read_bytes() == (tmp_path / "folder").read_bytes()


@pytest.mark.parametrize("size", [20_000, LARGE])
def test_a_pipe_that_ends_too_soon_is_named_and_leaves_nothing(size: int, tmp_path: Path) -> None:
    def source(intake: Intake) -> None:
        facts = Facts(0o100644, 0, 0, 0, 0, (), size, Stream(b"layer.tar:usr/bin/x", Pipe(noise(size - 1))))
        intake.tree.put(intake.tree.root, b"x", intake.take(b"x", facts))

    with pytest.raises(SourceError, match=r"^layer\.tar:usr/bin/x: shrank while it was read"):
        build_from(os.fsencode(tmp_path / "image"), b"fed", source, BuildOptions(workers=1))
    Pipe.open_pipes = 0
    assert os.listdir(tmp_path) == []


KINDS: dict[bytes, tuple[str | None, int, str]] = {
    b"plain": (None, 4096, ""),
    b"lz4": ("lz4hc", 4096, "compact"),
    b"lz4big": ("lz4", 65536, "compact"),
    b"lz4full": ("lz4", 16384, "full"),
    b"zst": ("zstd", 65536, "compact"),
    b"zstfull": ("zstd,9", 4096, "full"),
    b"deflate": ("deflate", 16384, "compact"),
    b"lzma": ("lzma,1", 65536, "full"),
}
PACKED: dict[bytes, tuple[str | None, int, str]] = {
    b"zstpacked": ("zstd", 65536, "extents"),
    b"lz4packed": ("lz4hc", 16384, "extents"),
}


def by_suffix(
    kinds: dict[bytes, tuple[str | None, int, str]], cuts: dict[bytes, tuple[int, ...]]
) -> Callable[[Profile], Policy]:
    def policy(profile: Profile) -> Policy:
        encodings: dict[bytes, Encoding] = {
            suffix: variant(profile.encoding, compressor, pcluster, index)
            for suffix, (compressor, pcluster, index) in kinds.items()
        }
        return BySuffix(encodings, cuts)

    return policy


@pytest.mark.parametrize(
    ("kinds", "options", "since"),
    [(KINDS, {}, (6, 10)), (KINDS | PACKED, {"encoded_extents": True}, (6, 15))],
    ids=["clusters", "and packed pieces"],
)
def test_several_encodings_in_one_image(
    kinds: dict[bytes, tuple[str | None, int, str]],
    options: dict[str, Any],
    since: tuple[int, int],
    tmp_path: Path,
    kernel_mount: KernelMount,
) -> None:
    """Every file has the encoding that its suffix asks for, large ones and ones that come once among them."""
    spec = {}
    for number, suffix in enumerate(kinds):
        name = os.fsdecode(suffix)
        spec[f"small.{name}"] = text(9_000, number)
        spec[f"folder/mixed.{name}"] = mixed(300_000, number)
        spec[f"folder/large.{name}"] = mixed(LARGE, number)
        # The same content in several encodings is stored once in each.
        spec[f"twin.{name}"] = text(40_000, 99)
    tree = make(tmp_path / "tree", spec)
    cuts = {b"folder/mixed.lz4": (8192, 57344), b"folder/mixed.lz4full": (4096,), b"folder/large.zst": (4096, 1 << 20)}
    image = tmp_path / "image"
    build_from(
        os.fsencode(image),
        b"fed",
        piped(tree, shuffled, lambda path: len(path.name) % 2 == 0),
        BuildOptions(workers=2, **options),
        policy=by_suffix(kinds, cuts),
    )
    with Image.open(image) as opened:
        for path, inode in opened.walk():
            if not inode.is_file:
                continue
            assert opened.read(inode) == (tree / os.fsdecode(path[1:])).read_bytes()
            index = kinds[path.rpartition(b".")[2]][2]
            layouts = {
                "compact": {Layout.COMPRESSED_COMPACT},
                "full": {Layout.COMPRESSED_FULL},
                "extents": {Layout.COMPRESSED_FULL},
                "": {Layout.FLAT_PLAIN, Layout.FLAT_INLINE},
            }[index]
            assert inode.layout in layouts, path
            for cut in cuts.get(path[1:], ()):
                assert cut in {span.start for span in opened.spans(inode)}, "a span begins at each cut"
        assert {record.algorithm for record in opened.algorithms} == set(Algorithm)
    shown = kernel_mount(image, since=since)
    assert differences(snapshot(tree), snapshot(shown)) == []


def one_file(intake: Intake) -> None:
    intake.tree.put(intake.tree.root, b"x", Facts(0o100644, 0, 0, 0, 0, (), 50_000, Bytes(b"x", text(50_000))))


def test_a_stream_that_was_not_taken_is_named(tmp_path: Path) -> None:
    def source(intake: Intake) -> None:
        facts = Facts(0o100644, 0, 0, 0, 0, (), 5, Stream(b"layer.tar:x", Pipe(b"hello")))
        intake.tree.put(intake.tree.root, b"x", facts)

    with pytest.raises(SourceError, match=r"^layer\.tar:x: comes once, but"):
        build_from(os.fsencode(tmp_path / "image"), b"fed", source, BuildOptions(workers=1))
    Pipe.open_pipes = 0
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("size", [20_000, LARGE])
def test_a_pipe_that_goes_on_is_named(size: int, tmp_path: Path) -> None:
    def source(intake: Intake) -> None:
        facts = Facts(0o100644, 0, 0, 0, 0, (), size, Stream(b"layer.tar:x", Pipe(noise(size + 1))))
        intake.tree.put(intake.tree.root, b"x", intake.take(b"x", facts))

    with pytest.raises(SourceError, match=r"^layer\.tar:x: grew while it was read"):
        build_from(os.fsencode(tmp_path / "image"), b"fed", source, BuildOptions(workers=1))
    Pipe.open_pipes = 0
    assert os.listdir(tmp_path) == []


class Failing(Pipe):
    def readinto(self, view: memoryview) -> int:
        raise OSError(errno.EIO, "Input/output error")


def test_a_pipe_that_fails_is_named(tmp_path: Path) -> None:
    def source(intake: Intake) -> None:
        facts = Facts(0o100644, 0, 0, 0, 0, (), 5, Stream(b"layer.tar:x", Failing(b"hello")))
        intake.take(b"x", facts)

    with pytest.raises(SourceError, match=r"^layer\.tar:x: cannot be read: Input/output error") as failed:
        build_from(os.fsencode(tmp_path / "image"), b"fed", source, BuildOptions(workers=1))
    Pipe.open_pipes = 0
    assert failed.value.errno == errno.EIO


def policy_of(*encodings: Encoding) -> Callable[[Profile], Policy]:
    return lambda _: BySuffix(dict(zip((b"x", b"y"), encodings, strict=False)), {})


def encoding_of(profile: Profile, **changes: Any) -> Encoding:
    return replace(variant(profile.encoding, "zstd", 65536), **changes)


REFUSED: dict[str, tuple[dict[str, Any], Callable[[Profile], Policy], str]] = {
    "none at all": ({}, policy_of(), "one encoding at least"),
    "other blocks": ({}, lambda p: Uniform(encoding_of(p, block_bits=13)), "blocks of 8192 bytes"),
    "another digest": ({}, lambda p: Uniform(encoding_of(p, digest="sha256")), "sha256 digests"),
    "pieces without the 48-bit layout": (
        {},
        lambda p: Uniform(encoding_of(p, index=IndexForm.EXTENTS)),
        "encoded extents are part of the 48-bit layout",
    ),
    "an algorithm that the kernel lacks": (
        {"kernel": "6.1"},
        lambda p: Uniform(encoding_of(p)),
        "-zzstd needs Linux 6.10",
    ),
    "clusters that the kernel lacks": (
        {"kernel": "5.4"},
        lambda p: Uniform(variant(p.encoding, "lz4", 65536)),
        "-zlz4 -C65536 needs Linux 5.13",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_encoding_that_does_not_fit_the_image_is_refused(name: str, tmp_path: Path) -> None:
    options, policy, message = REFUSED[name]
    with pytest.raises(UsageError, match=message):
        build_from(os.fsencode(tmp_path / "image"), b"fed", one_file, BuildOptions(workers=1, **options), policy=policy)
    assert os.listdir(tmp_path) == []


def test_the_summary_tells_the_kernel_that_reads_every_encoding(tmp_path: Path) -> None:
    summary = build_from(
        os.fsencode(tmp_path / "image"),
        b"fed",
        one_file,
        BuildOptions(workers=1),
        policy=lambda p: Uniform(encoding_of(p)),
    )
    assert summary.kernel == "6.10"


@pytest.mark.parametrize(
    "changes",
    [
        {"compressor": None},
        {"index": IndexForm.NONE},
        {"index": IndexForm.EXTENTS, "pcluster": 36864},
        {"pcluster": 5000},
        {"cuts": (4097,)},
        {"cuts": (8192, 4096)},
    ],
    ids=str,
)
def test_an_encoding_that_nobody_can_carry_out_is_no_encoding(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        encoding_of(resolve(BuildOptions()), **changes)


def test_an_inode_without_a_name_is_an_inode_as_all_others(tmp_path: Path, kernel_mount: KernelMount) -> None:
    """A packed inode: a stream that no directory names, but the superblock does."""
    options = BuildOptions()
    profile = resolve(options)
    tree = TreeBuilder()
    tree.put(tree.root, b"empty", Facts(0o100644, 0, 0, 0, 0))
    finished = tree.finish()
    data = text(9000)
    number = len(finished.nodes)
    packed = Node(number, b"", 0, 1, (), 0o100600, 0, 0, 0, 0, (), len(data), None, b"", (0, 0))
    inodes = Inodes(finished, options, profile, nameless=[packed])
    image = tmp_path / "image"
    with create(os.fsencode(image)) as output, contextlib.closing(Spool()) as spool:
        plain = variant(profile.encoding, None)
        front = front_size(profile, [plain])
        output.append(bytes(front))
        area = Area(output, spool)
        encoded = Encoded(Key(digest("blake3", data), len(data), plain), None, data)
        placed: list[Placed | None] = [None] * number
        placed.append(area.add(encoded, inline_room(inodes, number)))
        plan = make_plan(inodes, placed, front, output.position, packed=number)
        emit(plan, spool, output)
    with Image.open(image) as opened:
        inode = opened.packed
        assert inode is not None
        assert inode.nid == plan.nid(number)
        assert opened.read(inode) == data
        assert opened.fingerprint(inode) is None, "it belongs to nobody who could share it"
        assert [path for path, _ in opened.walk()] == [b"/", b"/empty"]
    assert os.listdir(kernel_mount(image, since=(6, 1))) == ["empty"]
