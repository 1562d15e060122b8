"""``share`` and ``dedup`` on images that this project built: their answers, files and errors."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from mkfs_erofs_py.cli.main import run
from mkfs_erofs_py.pagecache import page_round
from mkfs_erofs_py.read import Image
from mkfs_erofs_py.write import build_image
from tests.support.handmade import with_checksum

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Return a function that runs the command line -> status, output, errors."""

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            run([str(argument) for argument in arguments])
        code = ended.value.code
        assert isinstance(code, int)
        return code, *capsys.readouterr()

    return call


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return three images: most of their files are common, some changed, some are only in one."""
    folder = tmp_path_factory.mktemp("fleet")
    built = []
    for number in range(3):
        tree = folder / f"tree{number}"
        (tree / "lib").mkdir(parents=True)
        for size in (1, 4096, 5000, 70000, 300000):
            (tree / "lib" / str(size)).write_bytes(b"common text\n" * (size // 12) + bytes([size % 251]))
        (tree / "lib" / "again").write_bytes((tree / "lib" / "5000").read_bytes())
        (tree / "lib" / "link").hardlink_to(tree / "lib" / "5000")
        (tree / "changed").write_bytes(b"%d" % number * 20000)
        (tree / f"only{number}").write_bytes(b"x" * (number * 9000))
        built.append(folder / f"{number}.erofs")
        build_image(built[-1], tree)
    return built


def test_share_and_dedup_agree_and_count_whole_pages(cli: Cli, images: list[Path]) -> None:
    _, shared, _ = cli("share", "--json", *images)
    _, predicted, _ = cli("dedup", "--json", *images)
    measured: dict[str, Any] = json.loads(shared)
    answer: dict[str, Any] = json.loads(predicted)
    for key in ("total", "pairs", "images"):
        assert measured[key] == answer[key]
    sizes = [len(b"common text\n") * (size // 12) + 1 for size in (1, 4096, 5000, 70000, 300000)]
    common = sum(page_round(size) for size in sizes)
    own = [page_round(20000) + page_round(number * 9000) for number in range(3)]
    again = page_round(sizes[2])
    assert answer["total"]["without_bytes"] == 3 * (common + again) + sum(own)
    assert answer["total"]["with_bytes"] == common + sum(own)
    assert len(answer["pairs"]) == 3
    saved = 1 - answer["total"]["with_bytes"] / answer["total"]["without_bytes"]
    assert answer["total"]["reduction"] == pytest.approx(saved)


def test_strict_finds_truthful_images_truthful(cli: Cli, images: list[Path]) -> None:
    assert cli("share", "--strict", *images) == cli("share", *images)


def test_strict_keeps_a_liar_apart_and_says_so(cli: Cli, images: list[Path], tmp_path: Path) -> None:
    liar = tmp_path / "liar.erofs"
    data = bytearray(images[0].read_bytes())
    with Image.open(images[0]) as image:
        claim = image.fingerprint("/changed")
        with Image.open(images[1]) as other:
            stolen = other.fingerprint("/changed")
    assert claim
    assert stolen
    at = data.index(claim)
    data[at : at + len(claim)] = stolen
    liar.write_bytes(with_checksum(data))
    for order in ([liar, images[1]], [images[1], liar]):
        status, out, err = cli("share", "--strict", "--json", *order)
        answer = json.loads(out)
        assert (status, err) == (0, "")
        (warning,) = answer["warnings"]
        assert warning.startswith(f"{liar}: not sharing inode ")
        assert (
            answer["total"]["with_bytes"] - json.loads(cli("share", "--json", *order)[1])["total"]["with_bytes"]
            == 20480
        )
        assert "warning: " in cli("share", "--strict", *order)[2]


def test_the_table_has_two_rows_a_pair(cli: Cli, images: list[Path]) -> None:
    status, out, err = cli("share", *images[:2])
    assert (status, err) == (0, "")
    assert "Image" in out
    assert out.count(" No ") == out.count(" Yes ") == 1
    assert "0.erofs & 1.erofs" in out
    assert "all 3 images" in cli("dedup", *images)[1]


def test_share_reads_only_what_is_listed(cli: Cli, images: list[Path], tmp_path: Path) -> None:
    wanted = tmp_path / "list"
    wanted.write_text("/lib/300000\t4096\t8192\n/lib/70000\t0\t1\n/only2\n")
    answer = json.loads(cli("share", "--json", "--files", wanted, *images[:2], images[2])[1])
    assert answer["pairs"][0]["without_bytes"] == 2 * 3 * 4096
    assert answer["pairs"][0]["with_bytes"] == 3 * 4096
    assert answer["total"]["with_bytes"] == 3 * 4096 + page_round(18000)


def test_charts_are_drawn(cli: Cli, images: list[Path], tmp_path: Path) -> None:
    chart = tmp_path / "chart.svg"
    assert cli("share", "--plot", chart, *images)[0] == 0
    root = ElementTree.fromstring(chart.read_text())
    assert root.tag.endswith("svg")
    assert "all 3 images" in "".join(root.itertext())
    pytest.importorskip("matplotlib")
    picture = tmp_path / "chart.png"
    assert cli("share", "--plot", picture, *images)[0] == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_dedup_exports(cli: Cli, images: list[Path], tmp_path: Path) -> None:
    exports = [tmp_path / f"out.{suffix}" for suffix in ("csv", "json", "html")]
    status, out, _ = cli("dedup", *(f"--export={path}" for path in exports), *images)
    assert status == 0
    assert "Saved by each pair (MB):" in out
    assert "/lib/300000" in out
    assert exports[0].read_text().splitlines()[0] == "image,other,without_bytes,with_bytes,saved_bytes,reduction"
    assert len(exports[0].read_text().splitlines()) == 4
    assert set(json.loads(exports[1].read_text())) >= {"total", "pairs"}
    assert "<td class=p>/lib/300000</td>" in exports[2].read_text()


def test_images_may_have_any_name(cli: Cli, images: list[Path], tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/\xff\n<i>.erofs"
    os.symlink(os.fsencode(images[0]), odd)
    for name in ("a.csv", "a.json", "a.html"):
        assert cli("dedup", os.fsdecode(odd), images[1], "--export", tmp_path / name)[0] == 0
        assert "\\xff\\x0a" in (tmp_path / name).read_text().replace("\\\\", "\\")
    for name in ("a.svg", "a.png"):
        assert cli("share", os.fsdecode(odd), images[1], "--plot", tmp_path / name)[0] == 0


def test_what_cannot_be_written_whole_leaves_what_was_there(images: list[Path], tmp_path: Path) -> None:
    old = tmp_path / "old.json"
    old.write_text("an older answer")
    script = f"ulimit -f 0; exec {sys.executable} -m mkfs_erofs_py dedup --export {old} {images[0]}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert old.read_text() == "an older answer"
    assert [path.name for path in tmp_path.iterdir()] == ["old.json"]


@pytest.mark.parametrize("what", ["UPDATE image SET path = NULL", "UPDATE image SET stamp = 1, without = x'ff'"])
def test_a_damaged_index_is_one_line(cli: Cli, images: list[Path], tmp_path: Path, what: str) -> None:
    index = tmp_path / "index.db"
    assert cli("dedup", "--index", index, *images)[0] == 0
    with contextlib.closing(sqlite3.connect(index)) as db:
        db.executescript(
            "CREATE TABLE odd AS SELECT * FROM image; DROP TABLE image; ALTER TABLE odd RENAME TO image;" + what
        )
    status, _, err = cli("dedup", "--index", index)
    assert (status, err.count("\n")) == (1, 1)
    assert f"{index}: cannot be used as an index" in err


def test_an_index_compares_with_images_that_are_gone(cli: Cli, images: list[Path], tmp_path: Path) -> None:
    index, copy = tmp_path / "index.db", tmp_path / "copy.erofs"
    copy.write_bytes(images[0].read_bytes())
    assert cli("dedup", "--index", index, copy, images[1])[0] == 0
    copy.unlink()
    answer = json.loads(cli("dedup", "--json", "--index", index, images[2])[1])
    assert len(answer["images"]) == 3
    assert [pair["images"][0] for pair in answer["pairs"]] == [str(images[2])] * 2
    expected = json.loads(cli("dedup", "--json", *images)[1])
    for key in ("without_bytes", "with_bytes", "reduction"):
        assert answer["total"][key] == expected["total"][key]
    matrix = json.loads(cli("dedup", "--json", "--index", index)[1])["pairs"]
    bare = [{key: pair[key] for key in pair if key != "images"} for pair in matrix]
    assert bare == [{key: pair[key] for key in pair if key != "images"} for pair in expected["pairs"]]


def test_a_pair_in_an_index_is_one_pair(cli: Cli, images: list[Path], tmp_path: Path) -> None:
    index = tmp_path / "index.db"
    assert cli("dedup", "--index", index, images[0])[0] == 0
    assert cli("dedup", "--index", index, images[1])[1].count(" Yes ") == 1


def test_an_image_may_be_named_twice(cli: Cli, images: list[Path]) -> None:
    total = json.loads(cli("share", "--json", images[0], images[0])[1])["total"]
    assert total == json.loads(cli("dedup", "--json", images[0], images[0])[1])["total"]
    assert total["reduction"] > 0.5


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["share"], 2, "name at least one"),
        (["dedup"], 2, "name at least one"),
        (["share", "/nonexistent"], 2, "/nonexistent: No such file"),
        (["dedup", "/nonexistent"], 2, "/nonexistent: No such file"),
        (["dedup", "--index", "IMAGE", "IMAGE"], 1, "cannot be used as an index"),
        (["dedup", "--index", "/nonexistent"], 2, "/nonexistent: no such index"),
        (["dedup", "--top", "-1", "IMAGE"], 2, "--top -1"),
        (["dedup", "--export", "x.doc", "IMAGE"], 2, "x.doc: export to a file ending in"),
        (["share", "--plot", "x.doc", "IMAGE"], 2, "x.doc: plot to a file ending in"),
        (["share", "--files", "/nonexistent", "IMAGE"], 1, "/nonexistent: No such file"),
        (["share", "GARBAGE"], 1, "not an EROFS image"),
    ],
)
def test_bad_input_is_one_line_and_a_status(
    cli: Cli, images: list[Path], tmp_path: Path, arguments: list[str], status: int, message: str
) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"garbage " * 999)
    places = {"IMAGE": str(images[0]), "GARBAGE": str(garbage)}
    code, out, err = cli(*(places.get(argument, argument) for argument in arguments))
    assert (code, out) == (status, "")
    assert message in err
    assert err.count("\n") == 1
