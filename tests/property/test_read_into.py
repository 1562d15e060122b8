"""Reading into memory: whatever is read in whatever order, the bytes are those that were packed."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkfs_erofs_py.errors import CorruptError
from mkfs_erofs_py.read import Image, Inode
from mkfs_erofs_py.read.data import DataReader
from mkfs_erofs_py.write import build_image

SIZE = 700_001

LAYOUTS: dict[str, dict[str, object]] = {
    "plain": {"compressor": None},
    "lz4hc": {"compressor": "lz4hc"},
    "zstd in big clusters": {"compressor": "zstd", "pcluster": 65536},
    "deflate": {"compressor": "deflate"},
    "lz4 packed to the byte": {"compressor": "lz4", "pcluster": 65536, "encoded_extents": True},
}


def content(seed: int) -> bytes:
    """Return text with noise and a hole in it: extents of all kinds."""
    rng = random.Random(seed)
    words = [rng.randbytes(4).hex().encode() for _ in range(500)]
    text = b" ".join(rng.choices(words, k=SIZE // 8))
    return (text[: SIZE // 3] + rng.randbytes(50_000) + bytes(200_000) + text)[:SIZE]


CONTENTS = {b"/a": content(1), b"/b": content(2)}


@pytest.fixture(scope="module", params=list(LAYOUTS))
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    folder = tmp_path_factory.mktemp("into")
    tree = folder / "tree"
    tree.mkdir()
    for name, data in CONTENTS.items():
        Path(str(tree) + name.decode()).write_bytes(data)
    build_image(folder / "image", tree, **LAYOUTS[request.param])  # type: ignore[arg-type]
    with Image.open(folder / "image", cache_bytes=50_000) as opened:
        yield opened


reads = st.lists(
    st.tuples(st.sampled_from(sorted(CONTENTS)), st.none() | st.integers(0, SIZE + 10), st.integers(0, 150_000)),
    min_size=1,
    max_size=30,
)
"""Reads of one file or the other: from where the last read of it ended (``None``) or elsewhere, and how much."""


@settings(deadline=None, max_examples=60)
@given(reads=reads)
def test_reads_that_go_on_and_reads_that_jump(image: Image, reads: list[tuple[bytes, int | None, int]]) -> None:
    ends = dict.fromkeys(CONTENTS, 0)
    for path, start, length in reads:
        offset = ends[path] if start is None else start
        want = CONTENTS[path][offset : offset + length]
        buffer = bytearray(b"\xa5" * (length + 2))
        got = image.preadinto(path, memoryview(buffer)[1:-1], offset)
        assert got == len(want)
        assert bytes(buffer) == b"\xa5" + want + b"\xa5" * (length - got + 1), "no byte around it is touched"
        ends[path] = offset + got


def test_an_index_is_read_once_front_to_back(image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []
    spans = DataReader.spans

    def counted(self: DataReader, inode: Inode, pos: int = 0) -> object:
        begun.append(pos)
        return spans(self, inode, pos)

    inodes = [image.lookup(path) for path in CONTENTS]  # which may read the directory, whose walk is not meant
    monkeypatch.setattr(DataReader, "spans", counted)
    buffer = bytearray(10_000)
    for offset in range(0, SIZE, len(buffer)):
        for inode in inodes:  # two at a time, as two programs would
            image.preadinto(inode, memoryview(buffer), offset)
    assert begun == [0, 0]


def test_threads_that_read_on_from_the_same_byte(image: Image) -> None:
    barrier = threading.Barrier(4)
    wrong: list[int] = []

    def work() -> None:
        buffer = bytearray(20_000)
        barrier.wait()
        for offset in range(0, SIZE, len(buffer)):
            got = image.preadinto(b"/a", memoryview(buffer), offset)
            if bytes(buffer[:got]) != CONTENTS[b"/a"][offset : offset + got]:
                wrong.append(offset)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_behind_a_damaged_extent_reading_goes_on(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a").write_bytes(CONTENTS[b"/a"])
    build_image(tmp_path / "image", tree)
    data = bytearray((tmp_path / "image").read_bytes())
    with Image.open(memoryview(data)) as image:
        bad = list(image.spans("/a"))[3]
        data[bad.address : bad.address + bad.stored] = b"\xff" * bad.stored
        buffer = memoryview(bytearray(SIZE))
        assert image.preadinto("/a", buffer[: bad.start], 0) == bad.start
        for _ in range(2):
            with pytest.raises(CorruptError) as caught:
                image.preadinto("/a", buffer[bad.start :], bad.start)
            assert caught.value.offset == bad.address
        assert image.preadinto("/a", buffer[bad.end :], bad.end) == SIZE - bad.end
    for low, high in ((0, bad.start), (bad.end, SIZE)):
        assert bytes(buffer[low:high]) == CONTENTS[b"/a"][low:high]
