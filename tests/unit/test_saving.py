"""What sharing saves: the rules, their agreement with a measurement, and the index."""

from __future__ import annotations

import importlib
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkfs_erofs_py.errors import CorruptError, NotFoundError, OutputError, UnreadableError, UsageError
from mkfs_erofs_py.ondisk.constants import Compat
from mkfs_erofs_py.pagecache import sharing_key
from mkfs_erofs_py.read import Image
from mkfs_erofs_py.sharing import ImageProfile, Range, Saving, Savings, measure, parse_ranges, predict, profile_image
from mkfs_erofs_py.sharing.index import Index
from mkfs_erofs_py.sharing.predict import Held, TopFile

KB = 1 << 10


class FakeInode:
    is_dir = False
    is_file = True

    def __init__(self, nid: int, data: bytes, compressed: bool) -> None:
        self.nid = nid
        self.size = len(data)
        self.data = data
        self.is_compressed = compressed


class FakeSuperblock:
    def __init__(self, announced: bool) -> None:
        self.compat = Compat.ISHARE_XATTRS if announced else Compat(0)


# To the functions under test it is an open image; to mypy it is none, so that it need not have all its methods.
if TYPE_CHECKING:
    _Base = object
else:
    _Base = Image


class FakeImage(_Base):
    """An image of regular files, ``/0``, ``/1`` …: as much of one as a measurement needs."""

    def __init__(self, files: list[tuple[bytes, bytes | None, bool]], announced: bool = True) -> None:
        self.superblock = FakeSuperblock(announced)
        self.root = None
        self.files = [(b"/%d" % n, FakeInode(n, data, packed), mark) for n, (data, mark, packed) in enumerate(files)]

    def check(self) -> None:
        pass

    def fingerprints(self) -> Iterator[tuple[bytes, FakeInode, bytes | None]]:
        return (file for file in self.files if file[1].size)

    def fingerprint(self, inode: FakeInode) -> bytes | None:
        return self.files[inode.nid][2]

    def lookup(self, path: bytes) -> FakeInode:
        for name, inode, _ in self.files:
            if name == path:
                return inode
        raise NotFoundError(path, "no such file in the image")

    def preadinto(self, inode: FakeInode, buffer: memoryview, offset: int) -> int:
        data = inode.data[offset : offset + len(buffer)]
        buffer[: len(data)] = data
        return len(data)


def fleet(*images: FakeImage) -> list[Image]:
    return [cast(Image, image) for image in images]


def measured_of(images: list[Image], ranges: list[Range] | None = None) -> Savings:
    return measure(images, ranges, names=[f"image{n}" for n in range(len(images))])


def predicted_of(images: list[Image]) -> Savings:
    return predict([profile_image(image, f"image{n}") for n, image in enumerate(images)])


def marked(size: int, mark: bytes | None = None, packed: bool = True) -> tuple[bytes, bytes | None, bool]:
    return bytes(size), mark, packed


A, B = b"blake3:" + b"a" * 32, b"blake3:" + b"b" * 32


@pytest.mark.parametrize(
    ("one", "other", "without", "shared"),
    [
        pytest.param([marked(1, A)], [marked(1, A)], 8, 4, id="the same file"),
        pytest.param([marked(4097, A)], [marked(4097, A)], 16, 8, id="whole pages"),
        pytest.param([marked(1, A)], [marked(1, B)], 8, 8, id="different files"),
        pytest.param([marked(1)], [marked(1)], 8, 8, id="no fingerprints"),
        pytest.param([marked(0, A)], [marked(0, A)], 0, 0, id="empty files"),
        pytest.param([marked(1, A), marked(1, A)], [], 8, 4, id="within one image"),
        pytest.param([marked(1, A)], [marked(1, A, packed=False)], 8, 8, id="compressed and plain stay apart"),
        pytest.param([marked(1, A)], [marked(9000, A)], 16, 16, id="different sizes"),
        pytest.param([marked(1, A)], [marked(9000, A)] * 2, 28, 28, id="the second size is refused, each time"),
        pytest.param([marked(1, A), marked(5000, A)], [marked(1, A)], 16, 12, id="the first mapped wins"),
    ],
)
def test_the_rules_of_sharing(
    one: list[tuple[bytes, bytes | None, bool]],
    other: list[tuple[bytes, bytes | None, bool]],
    without: int,
    shared: int,
) -> None:
    images = fleet(FakeImage(one), FakeImage(other))
    measured = measured_of(images)
    predicted = predicted_of(images)
    expected = Saving(("image0", "image1"), without * KB, shared * KB)
    assert (measured.total, list(measured.pairs)) == (expected, [expected])
    assert (predicted.total, list(predicted.pairs)) == (expected, [expected])


def test_an_image_that_announces_nothing_shares_nothing() -> None:
    images = fleet(FakeImage([marked(1, A)]), FakeImage([marked(1, A)], announced=False))
    predicted = predicted_of(images)
    assert predicted.total.saved_bytes == measured_of(images).total.saved_bytes == 0
    assert predicted.warnings == ["image1: announces no fingerprints, so it shares with nobody"]


FILES = st.tuples(st.sampled_from([0, 1, 4096, 5000, 20000]), st.sampled_from([None, A, B, b"x", b"y"]), st.booleans())
FLEETS = st.lists(st.lists(FILES, max_size=6), min_size=1, max_size=4)


@settings(max_examples=200, deadline=None)
@given(FLEETS)
def test_prediction_and_measurement_agree_exactly(files: list[list[tuple[int, bytes | None, bool]]]) -> None:
    images = fleet(*(FakeImage([marked(*file) for file in of_one]) for of_one in files))
    measured = measured_of(images)
    predicted = predicted_of(images)
    assert predicted.total == measured.total
    assert list(predicted.pairs) == list(measured.pairs)
    assert list(predicted.images) == list(measured.images)


@settings(max_examples=40, deadline=None)
@given(FLEETS)
def test_the_index_agrees_too(files: list[list[tuple[int, bytes | None, bool]]]) -> None:
    # Sizes follow from fingerprints here: the index counts each size under one as a content of its own.
    size_of = {A: 1, B: 4097, b"x": 20000, b"y": 4096, None: 5000}
    profiles = []
    for n, of_one in enumerate(files):
        image = FakeImage([marked(size_of[mark], mark, packed) for _, mark, packed in of_one])
        profiles.append(profile_image(cast(Image, image), str(n)))
    predicted = predict(profiles, top=5)
    index = Index(":memory:")
    names = [f"/proc/self/{name}" for name in ("maps", "stat", "status", "cmdline")]  # files that exist
    for name, profile in zip(names, profiles, strict=False):
        index.add(name, profile)
    found = index.answer(index.images(), top=5)
    index.close()

    def amounts(savings: list[Saving]) -> list[tuple[int, int]]:
        return [(saving.without_bytes, saving.with_bytes) for saving in savings]

    assert amounts([found.total, *found.pairs, *found.images]) == amounts(
        [predicted.total, *predicted.pairs, *predicted.images]
    )
    assert [f.saved_bytes for f in found.top] == [f.saved_bytes for f in predicted.top]


def test_many_images_make_a_matrix() -> None:
    pick = random.Random(1)
    profiles = [
        ImageProfile(str(n), 9, 0, {b"%d" % k: Held(5000 * k, 1, b"/f") for k in pick.sample(range(1, 30), 12)})
        for n in range(20)
    ]
    answer = predict(profiles)
    assert len(answer.pairs) == 190
    for pair in answer.pairs:
        one, other = (profiles[int(name)] for name in pair.images)
        assert pair == predict([one, other]).total


def test_the_files_that_save_the_most_come_first() -> None:
    small, large = (sharing_key(mark, 1, announced=True, compressed=True) for mark in (A, B))
    assert isinstance(small, bytes)
    assert isinstance(large, bytes)
    profiles = [
        ImageProfile("1", 3, 0, {small: Held(1, 2, b"/small"), large: Held(9000, 1, b"/large")}),
        ImageProfile(
            "2", 3, 0, {small: Held(1, 3, b"/also"), large: Held(9000, 1, b"/big"), b"only": Held(7, 1, b"/x")}
        ),
    ]
    assert predict(profiles, top=9).top == [TopFile(b"/small", 1, 5, 2), TopFile(b"/large", 9000, 2, 2)]
    assert predict(profiles, top=1).top == [TopFile(b"/small", 1, 5, 2)]


def test_ranges_are_counted_page_by_page() -> None:
    images = fleet(FakeImage([marked(90000, A), marked(5, B)]), FakeImage([marked(90000, A)]), FakeImage([marked(3)]))
    ranges = [Range(b"/0", 4095, 2), Range(b"/0", 80000), Range(b"/1")]
    answer = measured_of(images, ranges)
    pages = 2 + 3
    assert [saving.without_bytes for saving in answer.images] == [4 * KB * (pages + 1), 4 * KB * pages, 0]
    assert answer.total.with_bytes == 4 * KB * (pages + 1)
    assert answer.pairs[0].with_bytes == 4 * KB * (pages + 1)


def test_images_larger_than_the_machine_are_measured_too(monkeypatch: pytest.MonkeyPatch) -> None:
    images = fleet(FakeImage([marked(300000, A), marked(5, B)]), FakeImage([marked(300000, A), marked(90000)]))
    expected = measured_of(images)
    module = importlib.import_module("mkfs_erofs_py.sharing.measure")  # the package has a function of that name
    monkeypatch.setattr(module, "_room", lambda: 20 * 4096)
    monkeypatch.setattr(module, "WINDOW", 4 * 4096)
    assert measured_of(images) == expected


def test_a_path_that_no_image_has_is_an_error() -> None:
    with pytest.raises(UnreadableError, match="/9: is in none of the images"):
        measured_of(fleet(FakeImage([marked(1)])), [Range(b"/9")])


def test_a_file_that_cannot_be_read_is_named() -> None:
    class Broken(FakeImage):
        def preadinto(self, inode: FakeInode, buffer: memoryview, offset: int) -> int:
            raise CorruptError("bad cluster", 77)

    with pytest.raises(CorruptError, match="image0:/0: bad cluster"):
        measured_of(fleet(Broken([marked(1)])))


def test_a_list_holds_paths_and_ranges() -> None:
    assert parse_ranges([b"/a b\n", b"\n", b"/c\t4\t9\n", b"/d"]) == [
        Range(b"/a b"),
        Range(b"/c", 4, 9),
        Range(b"/d"),
    ]


@pytest.mark.parametrize("line", [b"/a\t1", b"/a\t1\t2\t3", b"/a\tx\t1", b"/a\t-1\t1", b"/a\t1\t-1", b"\t1\t1"])
def test_a_malformed_list_is_refused_by_line(line: bytes) -> None:
    with pytest.raises(UsageError, match="line 2 of the list"):
        parse_ranges([b"/fine", line])


def profile(*keys: bytes) -> ImageProfile:
    return ImageProfile("x", len(keys), 0, {key: Held(4096, 1, b"/" + key) for key in keys})


def test_an_index_outlives_its_process_and_notices_changes(tmp_path: Path) -> None:
    file, image, other = (str(tmp_path / name) for name in ("index", "one", "two"))
    for name in (image, other):
        Path(name).write_bytes(b"1")
    index = Index(file)
    index.add(image, profile(b"a", b"b"))
    index.add(other, profile(b"b", b"c"))
    index.close()
    index = Index(file)
    assert index.images() == [image, other]
    assert index.knows(image)
    [pair] = index.answer([image]).pairs
    assert (pair.without_bytes, pair.with_bytes) == (16 * KB, 12 * KB)
    os.utime(image, (5, 5))
    assert not index.knows(image)
    index.add(image, profile(b"d"))
    answer = index.answer([image], top=3)
    assert answer.total.with_bytes == 12 * KB
    assert answer.top == []
    index.close()
    with pytest.raises(UnreadableError):
        Index(file).knows(str(tmp_path / "missing"))


def test_a_failed_addition_changes_nothing(tmp_path: Path) -> None:
    image = tmp_path / "one"
    image.touch()
    index = Index(str(tmp_path / "index"))
    index.add(str(image), profile(b"a"))
    with pytest.raises(OutputError, match="cannot be used as an index"):
        index.add(str(image), ImageProfile("x", 1, 0, {b"b": Held((1 << 63) - 1, 1, b"/")}))
    assert index.answer([str(image)]).total.with_bytes == 4 * KB
    index.close()


@pytest.mark.parametrize("content", [b"not a database, but long enough to be looked at" * 9, None])
def test_what_is_no_index_is_refused(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "index"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    with pytest.raises(OutputError, match="index"):
        Index(str(file))
