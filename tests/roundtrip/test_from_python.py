"""The functions that the package offers, on images of its own builder: what they take, return, report and raise."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import tarfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest

from mkfs_erofs_py import (
    Change,
    Difference,
    Extracted,
    Finding,
    Image,
    IsDirectoryError,
    LinkLoopError,
    NotDirectoryError,
    NotFoundError,
    NotListableError,
    PageCache,
    SourceError,
    UnreadableError,
    UsageError,
    Vfs,
    build_image,
    diff_images,
    extract_image,
    measure,
    predict,
    profile_image,
    verify_image,
    write_tar,
)
from tests.support.trees import compare_trees


@pytest.fixture(scope="module")
def image(sample_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("python") / "image.erofs"
    build_image(path, sample_tree)
    return path


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return two images of small trees that differ."""
    folder = tmp_path_factory.mktemp("changed")
    for version in ("old", "new"):
        (folder / version / "etc").mkdir(parents=True)
        (folder / version / "etc" / "version").write_text(version)
        (folder / version / "etc" / "same").write_text("same" * 2000)
        (folder / version / version).touch()
        (folder / version / "link").symlink_to(version)
        for path in (folder / version, *(folder / version).rglob("*")):
            os.utime(path, (1, 1), follow_symlinks=False)
        build_image(folder / f"{version}.erofs", folder / version)
    return folder / "old.erofs", folder / "new.erofs"


class Heard:
    """Takes progress reports and checks their shape."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.last: tuple[int, int | None] = 0, None

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        assert isinstance(stage, str)
        assert done > 0
        assert total is None or done <= total
        self.stages.append(stage)
        self.last = done, total


SOURCES: dict[str, Callable[[Path], Any]] = {
    "text": str,
    "bytes": os.fsencode,
    "a path": Path,
    "memory": lambda path: memoryview(path.read_bytes()),
    "a file": lambda path: io.BytesIO(path.read_bytes()),
    "an open image": Image.open,
}


@pytest.mark.parametrize("form", SOURCES)
def test_every_function_takes_every_form_of_an_image(form: str, image: Path, tmp_path: Path) -> None:
    source = SOURCES[form](image)
    assert verify_image(source).sound
    assert diff_images(source, image) == []
    files = extract_image(source, tmp_path / "out", paths=["files"]).files
    assert write_tar(source, io.BytesIO(), paths=["files"]).files == files > 0
    profile = profile_image(source, "name")
    assert predict([profile, source]).total.images[0] == "name"
    assert measure([source]).total == predict([source]).total
    if isinstance(source, Image):
        assert source.read("/files/text")  # whoever opened it closes it
        with pytest.raises(UsageError, match="open already"):
            verify_image(source, devices=["other"])
        source.close()


def test_a_sound_image_is_a_sound_report(image: Path, sample_tree: Path) -> None:
    heard = Heard()
    report = verify_image(image, tree=sample_tree, digest="sha256", progress=heard)
    assert report.sound
    assert report.findings == report.faults == ()
    assert report.files == report.proven + sum(1 for _, inode in _inodes(image) if inode.is_file and not inode.size)
    assert {path for path, name, _ in report.digests if name == "sha256"} == {
        path for path, inode in _walk(image) if inode.is_file
    }
    assert set(heard.stages) == {"verifying"}
    facts = json.loads(json.dumps(report.as_dict()))
    assert (facts["status"], facts["files"], facts["findings"]) == ("sound", report.files, [])
    assert pickle.loads(pickle.dumps(report)) == report


def _walk(path: Path) -> list[tuple[bytes, Any]]:
    with Image.open(path) as opened:
        return list(opened.walk())


def _inodes(path: Path) -> list[tuple[bytes, Any]]:
    with Image.open(path) as opened:
        return list(opened.inodes())


def test_an_unsound_image_is_a_report_and_no_exception(image: Path, sample_tree: Path) -> None:
    data = bytearray(image.read_bytes())
    with Image.open(image) as opened:
        claim = opened.fingerprint("files/noise")
        place = opened.lookup("files/noise").offset
    assert claim is not None
    data[data.index(claim, place) + 20] ^= 1
    report = verify_image(memoryview(data), tree=sample_tree)
    assert not report.sound
    (lie,) = (one for one in report.faults if one.path == b"/files/noise" and "content" in one.what)
    assert (lie.kind, lie.expected == lie.found) == ("differs", False)
    assert lie.as_dict()["path"] == "/files/noise"
    garbage = verify_image(memoryview(b"garbage " * 999))
    assert [(one.kind, one.path) for one in garbage.findings] == [("corrupt", b"")]
    assert isinstance(garbage.findings[0], Finding)


def test_a_manifest_may_be_given_as_a_value(image: Path) -> None:
    digests = {path: (name, digest) for path, name, digest in verify_image(image, digest="blake3").digests}
    assert verify_image(image, manifest=digests).sound
    digests[b"/files/text"] = "blake3", "0" * 64
    digests[b"/nowhere"] = "sha256", "0" * 64
    report = verify_image(image, manifest=digests)
    assert {one.path for one in report.faults} == {b"/files/text", b"/nowhere"}


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_extraction_says_what_it_wrote(workers: int, image: Path, sample_tree: Path, tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root makes devices and owners")
    heard = Heard()
    done = extract_image(image, tmp_path / "out", workers=workers, progress=heard)
    assert compare_trees(sample_tree, tmp_path / "out") == []
    assert done.inodes == len(_walk(image))
    assert done.files == sum(inode.is_file for _, inode in _inodes(image))
    assert set(heard.stages) == {"extracting"}
    with Image.open(image) as opened:
        assert heard.last == (opened.superblock.inodes, opened.superblock.inodes)
    assert done.left_out == {}
    assert json.loads(json.dumps(done.as_dict()))["size"] == done.size
    assert pickle.loads(pickle.dumps(done)) == done


def test_nobody_knows_beforehand_how_many_inodes_are_at_some_paths(image: Path, tmp_path: Path) -> None:
    heard = Heard()
    done = extract_image(image, tmp_path / "out", paths=["files"], progress=heard)
    assert heard.last == (done.inodes, None)
    done = write_tar(image, io.BytesIO(), paths=["files"], progress=heard)
    assert heard.last == (done.inodes, None)


def _umask() -> int:
    """Return this process's umask without setting it for a moment, as ``os.umask`` would."""
    (line,) = (one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("Umask:"))
    return int(line.split()[1], 8)


def test_the_umask_is_neither_changed_nor_of_effect(image: Path, sample_tree: Path, tmp_path: Path) -> None:
    """It belongs to all threads: whoever set it back while another one extracts would do so too early, or too late."""
    both = threading.Barrier(2, timeout=60)
    met: set[str] = set()
    seen: set[int] = set()

    def extract(name: str) -> Extracted:
        def progress(*_: object) -> None:
            if name not in met:
                met.add(name)
                both.wait()
            seen.add(_umask())

        return extract_image(image, tmp_path / name, workers=1, progress=progress)

    before = os.umask(0o77)
    try:
        with ThreadPoolExecutor(2) as threads:
            one, other = threads.map(extract, ("one", "other"))
        seen.add(_umask())
    finally:
        os.umask(before)
    assert seen == {0o77}
    assert one == other
    if os.geteuid() == 0:
        for name in ("one", "other"):
            assert compare_trees(sample_tree, tmp_path / name) == []


def test_no_paths_are_nothing(image: Path, tmp_path: Path) -> None:
    assert extract_image(image, tmp_path / "out", paths=[]) == write_tar(image, io.BytesIO(), paths=[]) == Extracted()
    assert os.listdir(tmp_path / "out") == []


def test_a_tar_stream_goes_to_any_file(image: Path) -> None:
    class Pipe(io.RawIOBase):
        """Takes bytes and can do nothing else."""

        taken = b""

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.taken += bytes(data)
            return len(data)

    heard, pipe = Heard(), Pipe()
    done = write_tar(image, cast(Any, pipe), progress=heard)
    assert not pipe.closed
    assert done.left_out == {"sockets": 1}
    assert json.loads(json.dumps(done.as_dict()))["left_out"] == {"sockets": 1}
    with tarfile.open(fileobj=io.BytesIO(pipe.taken)) as archive:
        assert len(archive.getmembers()) == done.inodes == len(_walk(image)) - 1
    assert set(heard.stages) == {"extracting"}


def untyped(value: object) -> Any:
    """Hide from the type checker what it would refuse."""
    return value


def test_a_wrong_argument_is_a_type_error_in_one_line(image: Path, tmp_path: Path) -> None:
    out: Any = tmp_path / "out"
    single: Any = "/files"
    opened = Image.open(image)
    text: Any = (tmp_path / "text").open("w+")
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: extract_image(image, out, paths=single), "paths: a sequence is wanted, not the single '/files'"),
        (lambda: write_tar(image, io.BytesIO(), paths=single), "paths: a sequence is wanted, not the single '/files'"),
        (lambda: verify_image(image, devices=single), "devices: a sequence is wanted, not the single '/files'"),
        (lambda: diff_images(image, image, ignore=single), "ignore: a sequence is wanted, not the single '/files'"),
        (lambda: predict(single), "images: a sequence is wanted, not the single '/files'"),
        (lambda: measure(single), "images: a sequence is wanted, not the single '/files'"),
        (lambda: write_tar(image, single), "a tar stream goes to a binary file, not str"),
        (lambda: verify_image(image, manifest=untyped(5)), "a manifest is a path or a mapping of paths, not int"),
        (
            lambda: verify_image(image, manifest=untyped({"/a": ("sha256", "0")})),
            "a manifest's path: bytes is wanted, not str",
        ),
        (
            lambda: verify_image(image, manifest=untyped({b"/a": "0"})),
            "a manifest's value: (algorithm, digest in hex) is wanted, not str",
        ),
        (
            lambda: verify_image(image, manifest=untyped({b"/a": ("sha256", b"0")})),
            "a manifest's value: two texts are wanted, algorithm and digest in hex",
        ),
        (lambda: verify_image(image, tree=untyped(5)), "tree: a path is wanted, not int"),
        (lambda: verify_image(image, workers=untyped("2")), "workers: a whole number is wanted, not str"),
        (lambda: extract_image(image, out, workers=untyped(True)), "workers: a whole number is wanted, not bool"),
        (lambda: Image.open(image, devices=single), "devices: a sequence is wanted, not the single '/files'"),
        (lambda: Image(single), "a path, file or memoryview becomes an Image by Image.open (got str)"),
        (lambda: Vfs(single), "cache: a PageCache is wanted, not str"),
        (lambda: Vfs(PageCache()).mount(single, "x"), "image: an Image (see Image.open) is wanted, not str"),
        (lambda: Vfs(PageCache()).mount(opened, untyped(b"x")), "name: a text is wanted, not bytes"),
        (lambda: Vfs(PageCache()).mount(opened, "x", untyped("mine")), "domain: bytes is wanted, not str"),
        (lambda: PageCache().attach("x", untyped("mine")), "domain: bytes is wanted, not str"),
        (lambda: PageCache(untyped("1")), "budget: a whole number of bytes is wanted, not str"),
        (lambda: Image.open(text), "an image is read from a binary file, not from one that was opened for text"),
        (
            lambda: write_tar(image, text),
            "a tar stream goes to a binary file, not to one that was opened for text",
        ),
    ]
    with opened, text:
        for call, message in cases:
            with pytest.raises(TypeError) as raised:
                call()
            assert str(raised.value) == message


def test_a_wrong_value_is_a_usage_error_in_one_line(image: Path, tmp_path: Path) -> None:
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: verify_image(image, workers=-1), "workers -1: a number, 0 or more, is wanted"),
        (lambda: extract_image(image, tmp_path / "out", workers=-1), "workers -1: a number, 0 or more, is wanted"),
        (lambda: PageCache(5), "a page cache of 5 bytes cannot hold a page of 4096"),
        (
            lambda: verify_image(image, manifest={b"/a": ("md5", "0")}),
            "a manifest's algorithm 'md5': not one of blake3, sha256",
        ),
    ]
    for call, message in cases:
        with pytest.raises(UsageError) as raised:
            call()
        assert str(raised.value) == message
    assert not (tmp_path / "out").exists()


def test_differences_are_values_in_order(changed: tuple[Path, Path]) -> None:
    heard = Heard()
    found = diff_images(*changed, progress=heard)
    assert found == [
        Difference("M", b"/etc/version", (Change("content", None, None),)),
        Difference("M", b"/link", (Change("target", "old", "new"),)),
        Difference("+", b"/new"),
        Difference("-", b"/old"),
    ]
    assert set(heard.stages) == {"comparing"}
    assert json.loads(json.dumps([one.as_dict() for one in found]))[1] == {
        "mark": "M",
        "path": "/link",
        "changes": [["target", "old", "new"]],
    }
    with pytest.raises(UsageError, match="ignore 'nothing'"):
        diff_images(*changed, ignore=cast(Any, ["nothing"]))


def test_sharing_is_foretold_and_measured_from_paths(changed: tuple[Path, Path]) -> None:
    heard = Heard()
    predicted = predict(changed, top=3, progress=heard)
    measured = measure(changed, progress=heard)
    assert predicted.total == measured.total
    assert predicted.total.images == tuple(map(str, changed))
    assert predicted.total.saved_bytes == 8192
    assert [file.path for file in predicted.top] == [b"/etc/same"]
    assert json.loads(json.dumps(predicted.as_dict()))["total"]["images"] == [str(path) for path in changed]
    assert measure(changed, names=["before", "after"]).total.images == ("before", "after")
    assert len(set(heard.stages)) == 4
    with pytest.raises(UsageError, match="1 names for 2 images"):
        measure(changed, names=["one"])
    with pytest.raises(UsageError, match="--top -1"):
        predict(changed, top=-1)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_image_that_was_closed_is_not_blamed(workers: int, image: Path, tmp_path: Path) -> None:
    with Image.open(image) as opened:
        root = opened.root
    calls: list[Callable[[], object]] = [
        lambda: list(opened.walk()),
        lambda: list(opened.readdir(root)),
        opened.check,
        lambda: pickle.dumps(opened),
        lambda: verify_image(opened, workers=workers),
        lambda: extract_image(opened, tmp_path / "out", workers=workers),
        lambda: write_tar(opened, io.BytesIO()),
        lambda: diff_images(opened, image),
        lambda: profile_image(opened),
        lambda: measure([opened]),
    ]
    for call in calls:
        with pytest.raises(UsageError) as raised:
            call()
        assert str(raised.value) == f"{image}: was closed, nothing can be read any more"


class StopError(Exception):
    """What a caller raises to end the work."""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_caller_may_end_the_work(workers: int, image: Path, tmp_path: Path) -> None:
    def stop(*_: object) -> None:
        raise StopError

    before = os.umask(0o22)
    os.umask(before)
    for call in (
        lambda: verify_image(image, workers=workers, progress=stop),
        lambda: extract_image(image, tmp_path / "out", workers=workers, progress=stop),
        lambda: write_tar(image, io.BytesIO(), progress=stop),
        lambda: diff_images(image, image, progress=stop),
        lambda: measure([image], progress=stop),
    ):
        with pytest.raises(StopError) as raised:  # held, with all that its frames hold
            call()
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        del raised
    assert os.umask(before) == before


def test_missing_things_are_errors_that_python_knows(image: Path, tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    (loop / "folder").mkdir(parents=True)
    (loop / "a").symlink_to("b")
    (loop / "b").symlink_to("a")
    build_image(tmp_path / "loop.erofs", loop)
    nowhere = str(tmp_path / "nowhere")
    with Image.open(image) as opened, Image.open(tmp_path / "loop.erofs") as circle:
        cases: list[tuple[Callable[[], object], type[UnreadableError], type[OSError], int, object]] = [
            (lambda: opened.lookup("/none"), NotFoundError, FileNotFoundError, errno.ENOENT, b"/none"),
            (lambda: opened.read("none"), NotFoundError, FileNotFoundError, errno.ENOENT, b"none"),
            (
                lambda: opened.open_file("/files/text/x"),
                NotDirectoryError,
                NotADirectoryError,
                errno.ENOTDIR,
                b"/files/text/x",
            ),
            (lambda: circle.lookup("a"), LinkLoopError, OSError, errno.ELOOP, b"a"),
            (
                lambda: write_tar(opened, io.BytesIO(), paths=["no"]),
                NotFoundError,
                FileNotFoundError,
                errno.ENOENT,
                b"/no",
            ),
            (lambda: Image.open(nowhere), NotFoundError, FileNotFoundError, errno.ENOENT, nowhere),
            (lambda: verify_image(nowhere), NotFoundError, FileNotFoundError, errno.ENOENT, nowhere),
            (lambda: verify_image(image, tree=nowhere), NotFoundError, FileNotFoundError, errno.ENOENT, nowhere),
            (lambda: verify_image(image, tree=image), NotDirectoryError, NotADirectoryError, errno.ENOTDIR, image),
        ]
        for call, kind, builtin, number, name in cases:
            with pytest.raises(builtin) as raised:
                call()
            assert type(raised.value) is kind
            assert (raised.value.errno, raised.value.filename) == (number, name)
            assert str(raised.value).count("\n") == 0
    with pytest.raises(SourceError) as refused:
        verify_image(image, manifest=nowhere)
    assert isinstance(refused.value, FileNotFoundError)
    assert refused.value.exit_code == 2
    assert str(refused.value) == f"{nowhere}: No such file or directory"
    with pytest.raises(NotFoundError, match=r"nowhere: No such file or directory$"):
        verify_image(image, tree=nowhere)
    with pytest.raises(UsageError, match="'md5'"):
        verify_image(image, digest="md5")


def test_a_file_is_no_directory_and_a_directory_no_file(image: Path) -> None:
    with Image.open(image) as opened:
        root, text = opened.root, opened.lookup("/files/text")
        cases: list[tuple[Callable[[], object], type[Exception], type[OSError], int, object, str]] = [
            (lambda: opened.read("files/"), IsDirectoryError, IsADirectoryError, errno.EISDIR, "files/", "files/"),
            (lambda: opened.open_file(b"/"), IsDirectoryError, IsADirectoryError, errno.EISDIR, b"/", "/"),
            (
                lambda: opened.read(root),
                IsDirectoryError,
                IsADirectoryError,
                errno.EISDIR,
                f"inode {root.nid}",
                f"inode {root.nid}",
            ),
            (
                lambda: opened.readdir("/files/text"),
                NotListableError,
                NotADirectoryError,
                errno.ENOTDIR,
                "/files/text",
                "/files/text",
            ),
            (
                lambda: opened.readdir(text),
                NotListableError,
                NotDirectoryError,
                errno.ENOTDIR,
                f"inode {text.nid}",
                f"inode {text.nid}",
            ),
        ]
        for call, kind, builtin, number, name, shown in cases:
            with pytest.raises(builtin) as raised:
                call()
            assert type(raised.value) is kind
            assert isinstance(raised.value, UsageError)
            assert (raised.value.errno, raised.value.filename, raised.value.exit_code) == (number, name, 2)
            assert str(raised.value).startswith(f"{shown}: is ")


class Failing(io.BytesIO):
    """An image on a device of which the part that holds the first files' contents cannot be read."""

    def read(self, size: int | None = -1) -> bytes:
        if 4096 <= self.tell() < 65536:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(size)


def test_a_failing_device_is_blamed_on_nothing_else(image: Path, tmp_path: Path) -> None:
    with Image.open(Failing(image.read_bytes())) as opened:
        for call in (
            lambda: verify_image(opened),
            lambda: extract_image(opened, tmp_path / "out", workers=1),
            lambda: write_tar(opened, io.BytesIO()),
            lambda: measure([opened]),
        ):
            with pytest.raises(UnreadableError, match="Input/output error") as raised:
                call()
            assert raised.value.exit_code == 2


@pytest.mark.parametrize("wrong", [5, None, object()], ids=["a number", "None", "an object"])
def test_what_is_no_image_by_its_type_is_a_type_error(wrong: Any, tmp_path: Path) -> None:
    for call in (
        lambda: verify_image(wrong),
        lambda: extract_image(wrong, tmp_path / "out"),
        lambda: write_tar(wrong, io.BytesIO()),
        lambda: diff_images(wrong, wrong),
        lambda: profile_image(wrong),
        lambda: predict([wrong]),
        lambda: measure([wrong]),
    ):
        with pytest.raises(TypeError, match=r"^an image is a path, a file object or a memoryview, not \w+$"):
            call()
    assert Extracted().as_dict() == {"inodes": 0, "files": 0, "size": 0, "left_out": {}}
