"""Bytes at offsets: files, devices, file objects and memory answer alike, and say what went wrong and where."""

from __future__ import annotations

import errno
import io
import os
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mkfs_erofs_py.errors import CutShortError, ImageError, OutOfBoundsError, UnreadableError, UsageError
from mkfs_erofs_py.files.read_at import ReadAt, open_read_at
from mkfs_erofs_py.files.windows import MOST_WINDOWS, WINDOW, Windows
from tests.support.images import noise

CONTENT = noise(3 * WINDOW + 1000)

SOURCES: dict[str, Callable[[Path], Any]] = {
    "path": lambda path: path,
    "bytes path": lambda path: os.fsencode(path),
    "file": lambda path: io.BufferedReader(io.FileIO(path)),
    "unbuffered file": io.FileIO,
    "file object": lambda path: io.BytesIO(path.read_bytes()),
    "memory": lambda path: memoryview(path.read_bytes()),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "bytes").write_bytes(CONTENT)
    return tmp_path / "bytes"


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest, path: Path) -> Iterator[ReadAt]:
    with ExitStack() as stack:
        yield opened(stack, request.param, path)


def opened(stack: ExitStack, kind: str, path: Path) -> ReadAt:
    made = SOURCES[kind](path)
    if hasattr(made, "close"):
        stack.callback(made.close)
    return open_read_at(made)


RANGES = [(0, 0), (0, 1), (0, WINDOW), (WINDOW - 1, 2), (5, 3 * WINDOW), (len(CONTENT) - 1, 1), (len(CONTENT), 0)]


@pytest.mark.parametrize(("offset", "length"), RANGES)
def test_the_bytes_that_are_there(source: ReadAt, offset: int, length: int) -> None:
    wanted = CONTENT[offset : offset + length]
    buffer = bytearray(length)
    source.read_into(offset, memoryview(buffer))
    view, at = Windows(source).view(offset, length)
    assert bytes(source.read_at(offset, length)) == bytes(buffer) == bytes(view[at : at + length]) == wanted
    assert source.size == len(CONTENT)


@pytest.mark.parametrize(
    ("offset", "length"), [(0, len(CONTENT) + 1), (len(CONTENT), 1), (len(CONTENT) + 9, 0), (-1, 1)]
)
def test_bytes_beyond_the_end_are_out_of_bounds(source: ReadAt, offset: int, length: int) -> None:
    reads: list[Callable[[], object]] = [
        lambda: source.read_at(offset, length),
        lambda: source.read_into(offset, memoryview(bytearray(length))),
        lambda: Windows(source).view(offset, length),
    ]
    for read in reads:
        with pytest.raises(OutOfBoundsError) as caught:
            read()
        assert caught.value.offset == offset


@pytest.mark.parametrize("kind", ["path", "file", "unbuffered file"])
@pytest.mark.parametrize("left", [0, 100, WINDOW, WINDOW + 100])
def test_a_file_that_is_cut_short_says_where(path: Path, kind: str, left: int) -> None:
    with ExitStack() as stack:
        source = opened(stack, kind, path)
        os.truncate(path, left)
        for read in (lambda: source.read_at(left, 1), lambda: source.read_into(left, memoryview(bytearray(9)))):
            with pytest.raises(CutShortError) as caught:
                read()
            assert (caught.value.offset, caught.value.path) == (left, str(path))
            assert str(caught.value).startswith(f"{path}: was cut short: it had {len(CONTENT)} bytes")
        assert bytes(source.read_at(0, left)) == CONTENT[:left], "what is left is read as before"


def test_a_window_that_is_cut_short_answers_what_is_left(path: Path) -> None:
    source = open_read_at(path)
    windows = Windows(source)
    os.truncate(path, WINDOW + 100)
    view, at = windows.view(WINDOW + 50, 50)
    assert bytes(view[at : at + 50]) == CONTENT[WINDOW + 50 : WINDOW + 100]
    with pytest.raises(CutShortError):
        windows.view(WINDOW + 50, 51)


@pytest.mark.parametrize("read", ["read_at", "read_into", "view"])
def test_a_device_that_fails_says_where(path: Path, monkeypatch: pytest.MonkeyPatch, read: str) -> None:
    source = open_read_at(path)

    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pread", fail)
    monkeypatch.setattr(os, "preadv", fail)
    reads: dict[str, Callable[[], object]] = {
        "read_at": lambda: source.read_at(4096, 9),
        "read_into": lambda: source.read_into(4096, memoryview(bytearray(9))),
        "view": lambda: Windows(source).view(4096, 9),
    }
    with pytest.raises(UnreadableError) as caught:
        reads[read]()
    assert str(caught.value) == f"{path}: cannot be read at offset 4096: Input/output error"
    assert caught.value.errno == errno.EIO


def test_a_short_count_is_read_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pread, preadv = os.pread, os.preadv
    monkeypatch.setattr(os, "pread", lambda fd, length, offset: pread(fd, min(length, 1000), offset))
    monkeypatch.setattr(os, "preadv", lambda fd, buffers, offset: preadv(fd, [buffers[0][:1000]], offset))
    source = open_read_at(path)
    buffer = bytearray(len(CONTENT))
    source.read_into(0, memoryview(buffer))
    assert bytes(source.read_at(0, len(CONTENT))) == bytes(buffer) == CONTENT


def test_a_long_lived_reader_can_ask_whether_all_is_there(path: Path) -> None:
    source = open_read_at(path)
    source.check()
    os.truncate(path, 10)
    with pytest.raises(CutShortError, match=r"at offset 10\)"):
        source.check()


def test_closing_while_others_read_leaves_them_their_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number that was closed is given to the next file that is opened: here, in the middle of a read."""
    other = path.with_name("other")
    other.write_bytes(bytes(len(CONTENT)))
    source = open_read_at(path)
    pread = os.pread
    opened: list[int] = []

    def late(fd: int, length: int, offset: int) -> bytes:
        source.close()
        opened.append(os.open(other, os.O_RDONLY))
        return pread(fd, length, offset)

    monkeypatch.setattr(os, "pread", late)
    assert source.read_at(10, 100) == CONTENT[10:110]
    with pytest.raises(UsageError, match="was closed"):
        source.read_at(10, 100)
    os.close(opened.pop())
    assert not opened


def test_windows_take_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "large"
    size = 4 * MOST_WINDOWS * WINDOW
    with open(path, "wb") as file:
        file.truncate(size)
    windows = Windows(open_read_at(path))
    tracemalloc.start()
    for offset in range(0, size, WINDOW // 2):
        windows.view(offset, 64)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(windows.whole) == MOST_WINDOWS
    assert most < 1.1 * MOST_WINDOWS * WINDOW


def test_threads_share_windows(path: Path) -> None:
    windows = Windows(open_read_at(path))
    wrong: list[int] = []
    barrier = threading.Barrier(4)

    def work(step: int) -> None:
        barrier.wait()
        for offset in range(0, len(CONTENT) - 100, step):
            view, at = windows.view(offset, 100)
            if view[at : at + 100] != CONTENT[offset : offset + 100]:
                wrong.append(offset)
            if offset % 11 == 0:
                windows.clear()

    threads = [threading.Thread(target=work, args=(step,)) for step in (61, 67, 71, 73)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_file_object_that_was_closed_cannot_be_read(path: Path) -> None:
    with open(path, "rb") as file:
        source = open_read_at(file)
    with pytest.raises(UnreadableError, match="cannot be read at offset 7"):
        source.read_at(7, 1)


def test_errors_of_memory_have_no_path() -> None:
    with pytest.raises(ImageError) as caught:
        open_read_at(memoryview(b"abc")).read_at(1, 3)
    assert caught.value.path is None
