"""Files being written: there when complete, and nothing else at any time."""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from mkfs_erofs_py.errors import OutputError
from mkfs_erofs_py.files import output

OLD, NEW = b"older", b"newer, and longer"


@pytest.fixture(params=["without a name", "with a name", "without /proc"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have files written in each way that a file system may force upon us."""
    real = os.open

    def refuse(path: Any, flags: int, *args: Any, **more: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return real(path, flags, *args, **more)

    if request.param == "with a name":
        monkeypatch.setattr(os, "open", refuse)
    if request.param == "without /proc":
        monkeypatch.setattr(output, "_link_to", lambda fd: b"/nowhere/%d" % fd)
    return str(request.param)


def write(path: Path, data: bytes = NEW) -> None:
    with output.create(os.fsencode(path)) as file:
        file.append(data)


def test_a_new_file_is_there_when_it_is_complete(way: str, tmp_path: Path) -> None:
    with output.create(os.fsencode(tmp_path / "file")) as file:
        file.append(NEW)
        file.flush()
        assert not (tmp_path / "file").exists()
        assert len(os.listdir(tmp_path)) == (0 if way == "without a name" else 1)
    assert (tmp_path / "file").read_bytes() == NEW
    assert os.listdir(tmp_path) == ["file"]


def test_an_older_file_is_replaced_and_its_mode_kept(way: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(OLD)
    (tmp_path / "file").chmod(0o640)
    write(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == NEW
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["file"]


def test_the_mode_of_a_new_file_follows_the_umask(way: str, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "file")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_file_that_appears_meanwhile_is_replaced(way: str, tmp_path: Path) -> None:
    with output.create(os.fsencode(tmp_path / "file")) as file:
        file.append(NEW)
        (tmp_path / "file").write_bytes(OLD)
    assert (tmp_path / "file").read_bytes() == NEW
    assert os.listdir(tmp_path) == ["file"]


def test_a_symlink_is_followed(way: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "link").symlink_to("folder/file")
    for _ in range(2):
        write(tmp_path / "link")
        assert (tmp_path / "link").is_symlink()
        assert (folder / "file").read_bytes() == NEW
    assert os.listdir(folder) == ["file"]


@pytest.mark.parametrize("error", [OutputError(b"other", "cannot be written"), KeyboardInterrupt()], ids=repr)
def test_an_error_leaves_what_was_there(error: BaseException, way: str, tmp_path: Path) -> None:
    def fail() -> None:
        with output.create(os.fsencode(tmp_path / "file")) as file:
            file.append(NEW)
            file.flush()
            raise error

    (tmp_path / "file").write_bytes(OLD)
    with pytest.raises(type(error)):
        fail()
    assert (tmp_path / "file").read_bytes() == OLD
    assert os.listdir(tmp_path) == ["file"]


def test_an_error_at_the_very_end_leaves_what_was_there(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    (tmp_path / "file").write_bytes(OLD)
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OutputError, match=r"file: cannot be written: Input/output error$"):
        write(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == OLD
    assert os.listdir(tmp_path) == ["file"]


def test_a_missing_folder_is_named(way: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"no/file: cannot be written: No such file or directory$"):
        write(tmp_path / "no" / "file")


def test_small_files_are_written_whole(way: str, tmp_path: Path) -> None:
    output.write_file(os.fspath(tmp_path / "file"), OLD)
    output.write_file(os.fsencode(tmp_path / "file"), NEW)
    assert (tmp_path / "file").read_bytes() == NEW
    assert os.listdir(tmp_path) == ["file"]


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    output.write_file(os.fspath(tmp_path / "pipe"), NEW)
    reader.join()
    assert found == [NEW]
