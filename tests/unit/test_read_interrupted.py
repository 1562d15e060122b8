"""Images that are cut short, or whose device fails, before and while a command reads them: one line, and a status.

Every command is run once to count its reads; then an image is cut short, or its device made to fail, after some of
them. Nothing is mapped, so there is no moment at which that could end the process.
"""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mkfs_erofs_py.cli.main import main
from mkfs_erofs_py.errors import CutShortError, ErofsError, ImageError
from mkfs_erofs_py.read import Image
from tests.support.images import build, make, mixed, noise, text
from tests.support.requirements import lacking
from tests.unit.test_read_layouts import two_device_image

TREE: dict[str, bytes | str | None] = {
    "etc/passwd": text(900),
    "etc/link": "passwd",
    "usr/program": mixed(300_000),
    "usr/noise": noise(200_000),
    "usr/text": text(400_000),
    **{f"many/{n:03}": text(300 + 30 * n, n) for n in range(150)},
}

COMMANDS: dict[str, list[str]] = {
    "ls": ["ls", "-lR", "IMAGE"],
    "cat": ["cat", "IMAGE", "/etc/passwd", "/usr/program"],
    "stat": ["stat", "IMAGE", "/usr/text", "/etc/link"],
    "dump": ["dump", "IMAGE", "/usr/text"],
    "dump --map": ["dump", "--map", "IMAGE"],
    "extract": ["extract", "--workers=1", "IMAGE", "FOLDER"],
    "extract to tar": ["extract", "IMAGE", "-"],
    "diff": ["diff", "IMAGE", "OTHER"],
    "diff, the second": ["diff", "OTHER", "IMAGE"],
    "dedup": ["dedup", "IMAGE", "OTHER"],
    "share": ["share", "OTHER", "IMAGE"],
    "verify": ["verify", "--workers=1", "IMAGE"],
}

#: What of a command's reads are done before the harm is done.
MOMENTS = (0.0, 0.1, 0.5, 0.9)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Path]:
    """Return one image's bytes, and another image that is left alone."""
    folder = tmp_path_factory.mktemp("images")
    build(folder / "image", make(folder / "tree", TREE))
    build(folder / "other", make(folder / "other tree", {**TREE, "usr/text": text(400_000, 1)}))
    return (folder / "image").read_bytes(), folder / "other"


@pytest.fixture
def image(images: tuple[bytes, Path], tmp_path: Path) -> Path:
    """Return an image of the test's own."""
    (tmp_path / "image").write_bytes(images[0])
    return tmp_path / "image"


class Run:
    """Runs a command in this process, and says how it ended as the command line would."""

    def __init__(self, words: list[str], image: Path, other: Path, folder: Path) -> None:
        places = {"IMAGE": image, "OTHER": other, "FOLDER": folder}
        self.argv = [str(places.get(word, word)) for word in words]

    def __call__(self) -> tuple[int, str]:
        try:
            with main.make_context("test", list(self.argv)) as context:
                result: Any = main.invoke(context)
        except ErofsError as error:
            result = error
        return (result.exit_code, str(result)) if isinstance(result, ErofsError) else (result or 0, "")


class Reads:
    """This process's reads of one file, counted; from the one behind ``at`` on, ``harm`` is done before each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
        self.count = 0
        self.at = -1
        self.harm: Callable[[int], None] = lambda _: None
        self._path = str(path)
        self._pread, self._preadv = os.pread, os.preadv
        monkeypatch.setattr(os, "pread", self.pread)
        monkeypatch.setattr(os, "preadv", self.preadv)

    def pread(self, fd: int, length: int, offset: int) -> bytes:
        self._met(fd, offset)
        return self._pread(fd, length, offset)

    def preadv(self, fd: int, buffers: Any, offset: int) -> int:
        self._met(fd, offset)
        return self._preadv(fd, buffers, offset)

    def _met(self, fd: int, offset: int) -> None:
        if os.readlink(f"/proc/self/fd/{fd}") == self._path:
            self.count += 1
            if self.at >= 0 and self.count > self.at:
                self.harm(offset)


@pytest.fixture
def prepared(
    image: Path, images: tuple[bytes, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> Iterator[Callable[[str, float], tuple[Reads, Run]]]:
    """Return a function that counts the reads of a command, and prepares to do harm after a part of them."""

    def prepare(command: str, moment: float) -> tuple[Reads, Run]:
        reads = Reads(monkeypatch, image)
        run = Run(COMMANDS[command], image, images[1], tmp_path / "counted")
        run()
        reads.at, reads.count = int(moment * reads.count), 0
        run = Run(COMMANDS[command], image, images[1], tmp_path / "again")
        capfd.readouterr()
        return reads, run

    yield prepare
    capfd.readouterr()


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("command", COMMANDS)
def test_an_image_that_is_cut_short_meanwhile(
    command: str, moment: float, image: Path, prepared: Callable[[str, float], tuple[Reads, Run]], capfd: Any
) -> None:
    reads, run = prepared(command, moment)
    reads.harm = lambda _: os.truncate(image, 0)
    status, line = run()
    said = line or capfd.readouterr().out
    assert status == 1
    assert re.search(rf"^{image}: .* \(at offset \d+\)$", said, re.MULTILINE), said
    assert len(re.findall(r"at offset", said)) == 1, said


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_device_that_fails_meanwhile(
    command: str, moment: float, image: Path, prepared: Callable[[str, float], tuple[Reads, Run]], capfd: Any
) -> None:
    reads, run = prepared(command, moment)

    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    reads.harm = fail
    status, line = run()
    said = line or capfd.readouterr().err
    assert status == 2
    assert re.fullmatch(rf"{image}: .*cannot be read at offset \d+: Input/output error\n?", said), said


@pytest.mark.parametrize("left", [0, 0.3, 0.7])
@pytest.mark.parametrize("command", COMMANDS)
def test_an_image_that_was_cut_short_before(
    command: str, left: float, image: Path, images: tuple[bytes, Path], tmp_path: Path, capfd: Any
) -> None:
    os.truncate(image, int(left * image.stat().st_size))
    status, line = Run(COMMANDS[command], image, images[1], tmp_path / "folder")()
    said = line or capfd.readouterr().out
    assert status == 1
    assert re.search(rf"^{image}: .* \(at offset \d+\)$", said, re.MULTILINE), said


def test_every_error_of_an_image_names_it(image: Path) -> None:
    inode = None
    with Image.open(image) as opened:
        inode = opened.lookup("/usr/program")
        os.truncate(image, 0)
        calls: dict[str, Callable[[], Any]] = {
            "read": lambda: opened.read(inode),
            "pread": lambda: opened.pread(inode, 9, 0),
            "preadinto": lambda: opened.preadinto(inode, memoryview(bytearray(100_000)), 0),
            "pieces": lambda: list(opened.pieces(inode)),
            "open_file": lambda: opened.open_file(inode).read(),
            "raw": lambda: opened.raw(0, 4096),
            "check": lambda: opened.check(),
        }
        for name, call in calls.items():
            with pytest.raises(CutShortError) as caught:
                call()
            assert caught.value.path == str(image), name
    with pytest.raises(ImageError) as caught_open:
        Image.open(image)
    assert caught_open.value.path == str(image)


@pytest.mark.parametrize("how", ["path", "file object"])
def test_an_extra_device_that_is_cut_short_is_the_one_that_is_named(how: str, tmp_path: Path) -> None:
    image, device, data = two_device_image()
    path = tmp_path / "device"
    path.write_bytes(device)
    with ExitStack() as stack:
        file = stack.enter_context(open(path, "rb", buffering=0))
        opened = stack.enter_context(Image.open(memoryview(image), devices=[path if how == "path" else file]))
        assert opened.read("/file") == data
        os.truncate(path, 4096)
        with pytest.raises(CutShortError) as caught:
            opened.read("/file")
    assert (caught.value.path, caught.value.offset) == (str(path), 4096)


def test_an_image_given_as_a_descriptor_is_named_by_its_number(image: Path) -> None:
    with open(os.open(image, os.O_RDONLY), "rb", buffering=0) as file, Image.open(file) as opened:
        os.truncate(image, 4096)
        with pytest.raises(CutShortError, match=f"^descriptor {file.fileno()}: was cut short"):
            opened.read("/usr/text")


HARMS = {
    "cut short": ("os.truncate(path, 0)", 1, r"was cut short: .* \(at offset \d+\)"),
    "device fails": ("raise OSError(5, os.strerror(5))", 2, r"cannot be read at offset \d+: Input/output error"),
}


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("command", ["verify", "extract"])
def test_processes_that_read_together_end_together(command: str, harm: str, image: Path, tmp_path: Path) -> None:
    """The harm is done while one of several processes reads, wherever it happens to be."""
    done_to_it, status, words = HARMS[harm]
    code = (
        "import os, sys\n"
        "from mkfs_erofs_py.cli.main import run\n"
        "pread, path, parent = os.pread, sys.argv[2], os.getpid()\n"
        "def harmful(*arguments):\n"
        "    if os.getpid() != parent:\n"
        f"        {done_to_it}\n"
        "    return pread(*arguments)\n"
        "os.pread = harmful\n"
        "run(sys.argv[1:])\n"
    )
    argv = [command, str(image), *([str(tmp_path / "folder")] if command == "extract" else []), "--workers=2"]
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, timeout=60)
    said = done.stdout + done.stderr
    assert done.returncode == status, said
    assert "Traceback" not in said
    assert len(re.findall(rf"{image}: .*{words}", said)) == 1, said


@pytest.fixture
def loop(image: Path) -> Iterator[str]:
    """Return a block device with the image, whose file has lost its second half since."""
    if os.geteuid():
        lacking("kernel", "a loop device needs root")
    made = subprocess.run(["losetup", "--find", "--show", "--read-only", image], capture_output=True, text=True)
    if made.returncode:
        lacking("kernel", f"there are no loop devices here: {made.stderr.strip()}")
    device = made.stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_block_device_that_fails(
    command: str, loop: str, image: Path, images: tuple[bytes, Path], tmp_path: Path, capfd: Any
) -> None:
    os.truncate(image, 8192)
    status, line = Run(COMMANDS[command], Path(loop), images[1], tmp_path / "folder")()
    said = line or capfd.readouterr().err
    assert status == 2
    assert re.fullmatch(rf"{loop}: .*cannot be read at offset \d+: Input/output error\n?", said), said
