"""The command line over malformed images: a line and a status, never a traceback, never a file out of its place."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from pathlib import Path
from stat import S_IFLNK, S_IFREG

import pytest
from hypothesis import HealthCheck, given, settings

from mkfs_erofs_py.cli.main import run
from mkfs_erofs_py.ondisk.constants import Layout
from tests.fuzz.seeds import SEEDS
from tests.property.test_hostile import mutations
from tests.support.handmade import Handmade

COMMANDS = (
    ("ls", "-lR"),
    ("ls", "-R", "--json"),
    ("stat", "--json"),
    ("dump",),
    ("dump", "--map"),
    ("verify", "--workers", "1"),
)


def status(*words: str) -> tuple[int, str]:
    """Run one command in this process -> status, standard error."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8", "surrogateescape"), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
        run(list(words))
    return int(ended.value.code or 0), err.getvalue()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(mutations())
def test_every_command_ends_with_a_status_and_a_line(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        image = os.path.join(folder, "image")
        Path(image).write_bytes(data)
        for name, *options in COMMANDS:
            more = ["/"] if name == "stat" else []
            code, err = status(name, *options, image, *more)
            assert code in (0, 1, 2), (name, err)
            assert err.count("\n") <= 1
        code, err = status("extract", image, os.path.join(folder, "out"), "--workers", "1")
        assert code in (0, 1, 2)
        assert sorted(os.listdir(folder)) in (["image"], ["image", "out"])


def test_nothing_is_written_through_a_link_of_the_image(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("precious")
    outside.chmod(0o640)
    os.utime(outside, ns=(1, 1))
    made = Handmade()
    target = os.fsencode(outside)
    names = {
        b"link": made.inode(S_IFLNK | 0o777, Layout.FLAT_INLINE, size=len(target), body=target, uid=1, gid=1),
        b"up": made.inode(S_IFLNK | 0o777, Layout.FLAT_INLINE, size=2, body=b"..", mtime=5),
        b"zfile": made.inode(S_IFREG | 0o4755, Layout.FLAT_INLINE, size=1, body=b"x"),
    }
    (tmp_path / "image").write_bytes(made.finish(names))
    assert status("extract", str(tmp_path / "image"), str(tmp_path / "out"))[0] == 0
    assert outside.read_text() == "precious"
    assert (outside.stat().st_mode & 0o777, outside.stat().st_mtime_ns) == (0o640, 1)
    assert os.readlink(tmp_path / "out/link") == str(outside)
    assert sorted(os.listdir(tmp_path)) == ["image", "out", "outside"]


@pytest.mark.parametrize("name", [b"a/b", b"../up", b"/abs"])
def test_a_name_that_leads_out_is_refused(name: bytes, tmp_path: Path) -> None:
    made = Handmade()
    file = made.file(b"x")
    data = bytearray(made.finish({b"x" * len(name): file}))
    at = bytes(data).index(b"x" * len(name), made.meta_start + 64)
    data[at : at + len(name)] = name
    (tmp_path / "image").write_bytes(data)
    code, err = status("extract", str(tmp_path / "image"), str(tmp_path / "out"))
    assert code == 1
    assert "slash or NUL" in err
    assert os.listdir(tmp_path / "out") == []
    assert sorted(os.listdir(tmp_path)) == ["image", "out"]


def test_a_planted_link_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(SEEDS["plain"])
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out/folder").symlink_to(tmp_path / "elsewhere")
    code, err = status("extract", str(tmp_path / "image"), str(tmp_path / "out"))
    assert (code, "is not empty" in err) == (1, True)
    assert os.listdir(tmp_path / "elsewhere") == []


def test_a_size_that_no_disk_holds_is_one_line(tmp_path: Path) -> None:
    made = Handmade()
    file = made.inode(S_IFREG, Layout.FLAT_PLAIN, size=(1 << 63) - 1, extended=True, nb=0xFFFF, u=0xFFFFFFFF)
    (tmp_path / "image").write_bytes(made.finish({b"file": file}))
    code, err = status("extract", str(tmp_path / "image"), str(tmp_path / "out"))
    assert code in (0, 1)
    assert err.count("\n") <= 1
    assert status("verify", str(tmp_path / "image"))[0] in (0, 1)
