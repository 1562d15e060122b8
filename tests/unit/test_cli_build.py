"""``build`` as its users meet it: options, messages, statuses, and never a bad image, whatever happens."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from mkfs_erofs_py.cli import main as cli
from mkfs_erofs_py.ondisk.constants import Compat, Incompat, Layout
from mkfs_erofs_py.read import Image
from tests.support.images import WHEN, make, noise, text
from tests.support.processes import members, written
from tests.support.requirements import ROOT

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount or give up privileges")

#: Runs the command line in this process -> its status and standard error.
Call: TypeAlias = "Callable[..., tuple[int, str]]"

OLD = b"an older image"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make(tmp_path / "source", {"file": text(20_000), "folder/noise": noise(5000), "link": "file"})


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Return a folder for images, so that what is left behind is seen."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Return a function that runs the command line in this process -> its status and standard error."""
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)

    def run(*argv: object) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            cli.run([os.fspath(a) if isinstance(a, os.PathLike) else str(a) for a in argv])
        status = ended.value.code
        assert isinstance(status, int)
        return status, capfd.readouterr().err

    return run


def command(*argv: object) -> list[str]:
    return [sys.executable, "-m", "mkfs_erofs_py", "build", *map(str, argv)]


def start(*argv: object, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command(*argv), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def finish(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Wait for a build -> its status and standard error."""
    _, err = process.communicate(timeout=60)
    return process.returncode, err.decode()


def assert_refused(result: tuple[int, str], status: int, *parts: str) -> None:
    """One line that begins with the program's name and holds ``parts``, and the status."""
    assert result[0] == status, result[1]
    assert result[1].startswith("mkfs-erofs-py: "), result[1]
    assert result[1].count("\n") == 1, result[1]
    for part in parts:
        assert part in result[1]


BAD_OPTIONS: dict[str, tuple[Sequence[str], str]] = {
    "unknown option": (["--frobnicate"], "--frobnicate"),
    "compressor": (["-zgzip"], "unknown compressor 'gzip'"),
    "compressor level": (["-zlz4hc,13"], "level 13"),
    "several compressors": (["-zlz4:zstd"], "several compressors"),
    "block size too small": (["-b256"], "-b256: the block size is a power of two from 512 to 65536"),
    "block size too large": (["-b131072"], "-b131072"),
    "block size odd": (["-b5000"], "-b5000"),
    "block size no number": (["-bbig"], "'big' is not a size"),
    "cluster below a block": (["-C512"], "-C512: a physical cluster is a multiple of 4096 up to 1048576 bytes"),
    "cluster beyond 1 MiB": (["-C2m"], "-C2097152"),
    "cluster of more blocks than count": (["-b512", "-C1m"], "an index cannot count 2048 blocks of 512"),
    "lz4 cluster of more blocks than kernels mount": (
        ["-b512", "-C256k", "-zlz4"],
        "-C262144: Linux mounts LZ4 clusters of 256 blocks at most, here of 512",
    ),
    "lz4 piece of more blocks than kernels mount": (["-b2048", "-C1m", "-E48bit"], "-C1048576: Linux mounts LZ4"),
    "feature": (["-Efoo"], "-Efoo: no such feature"),
    "feature with a value": (["-E48bit=1"], "-E48bit=1: no such feature"),
    "feature for later": (["-Edot-omitted,fragments"], "-Efragments: not supported yet"),
    "dedupe": (["-Ededupe"], "-Ededupe: not supported yet"),
    "ztailpacking": (["-E", "ztailpacking"], "-Eztailpacking: not supported yet"),
    "indexes that contradict": (["-Elegacy-compress,48bit"], "-Elegacy-compress: contradicts -E48bit"),
    "layouts that contradict": (["-Edot-omitted,^48bit"], "-Edot-omitted"),
    "tar": (["--tar=f"], "--tar: not supported yet"),
    "chunks": (["--chunksize=4096"], "--chunksize: not supported yet"),
    "hints": (["--compress-hints=x"], "--compress-hints: not supported yet"),
    "metabox": (["--MZ"], "--MZ: not supported yet"),
    "aufs": (["--aufs"], "--aufs: not supported yet"),
    "kernel nonsense": (["--kernel=new"], "--kernel=new: not a release"),
    "kernel too old": (["--kernel=5.3"], "--kernel=5.3: the oldest supported release is 5.4"),
    "extents before 6.15": (["--kernel=6.14", "-E48bit"], "-E48bit needs Linux 6.15; the image is to mount on 6.14"),
    "zstd before 6.10": (["--kernel=6.9", "-zzstd"], "-zzstd needs Linux 6.10"),
    "deflate before 6.6": (["--kernel=6.5", "-zdeflate"], "-zdeflate needs Linux 6.6"),
    "lzma before 5.16": (["--kernel=5.15", "-zlzma"], "-zlzma needs Linux 5.16"),
    "big clusters before 5.13": (["--kernel=5.10", "-C64k"], "-C65536 needs Linux 5.13"),
    "small compressed blocks before 6.8": (["--kernel=6.6", "-b512"], "-b512 needs Linux 6.8"),
    "small plain blocks before 6.4": (["--kernel=6.3", "-b1024", "-znone"], "-b1024 needs Linux 6.4"),
    "prefixes before 6.4": (["--kernel=6.1", "--xattr-prefix=user.x"], "--xattr-prefix=user.x needs Linux 6.4"),
    "hidden fingerprints before 6.4": (["--kernel=6.1", "--xattr-inode-digest"], "fingerprint.v1 needs Linux 6.4"),
    "label": (["-L", "sixteen-letters!"], "-L: the label takes 16 bytes; at most 15 fit"),
    "uuid": (["-Unonsense"], "'nonsense' is not a UUID"),
    "time": (["-T-1"], "-T-1: not a time since 1970"),
    "time no number": (["-Tnow"], "'now'"),
    "no time to use": (["--ignore-mtime"], "--ignore-mtime: needs a time"),
    "regular expression": (["--exclude-regex=("], "--exclude-regex=(: "),
    "prefix without namespace": (["--xattr-prefix=foo"], "--xattr-prefix=foo: the name begins with user."),
    "prefix too long": (["--xattr-prefix=user." + "x" * 256], "1 to 255 bytes fit behind the namespace"),
    "fingerprint": (["--fingerprint=md5"], "'md5'"),
    "workers": (["--workers=-1"], "-1"),
    "no block size": (["-b0"], "-b0: the block size"),
    "a name for no fingerprint": (["--fingerprint=none", "--xattr-inode-digest=user.x"], "--xattr-inode-digest"),
    "owner": (["--force-uid=4294967296"], "4294967296"),
    "owner shifted below 0": (["--force-uid=5", "--uid-offset=-6"], "does not fit 32 bits"),
    "group shifted beyond": (["--force-gid=4294967295", "--gid-offset=1"], "does not fit 32 bits"),
    "two sources": (["another"], "several sources: not supported yet"),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_an_impossible_option_is_refused_by_name(name: str, source: Path, out: Path, call: Call) -> None:
    options, part = BAD_OPTIONS[name]
    (out / "image").write_bytes(OLD)
    assert_refused(call("build", out / "image", source, *options), 2, part)
    assert (out / "image").read_bytes() == OLD
    assert os.listdir(out) == ["image"]


@pytest.mark.parametrize("argv", [["build"], ["build", "image"], ["bild", "image", "source"]])
def test_a_call_that_lacks_something_is_a_matter_of_usage(argv: list[str], call: Call) -> None:
    assert_refused(call(*argv), 2)


def test_a_time_in_the_environment_is_judged_like_an_option(
    source: Path, out: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    assert_refused(call("build", out / "image", source), 2, "SOURCE_DATE_EPOCH=yesterday: not a time in seconds")


def a_file(tmp_path: Path) -> tuple[Path, Path, str]:
    return tmp_path / "out" / "image", tmp_path / "source" / "file", "source/file: is not a directory"


def missing(tmp_path: Path) -> tuple[Path, Path, str]:
    return tmp_path / "out" / "image", tmp_path / "nowhere", "nowhere: cannot be read: No such file or directory"


def the_image_inside(tmp_path: Path) -> tuple[Path, Path, str]:
    inside = tmp_path / "source" / "folder" / "image"
    return inside, tmp_path / "source", "source/folder/image: lies inside its source"


def the_image_inside_by_another_name(tmp_path: Path) -> tuple[Path, Path, str]:
    (tmp_path / "out" / "image").write_bytes(OLD)
    os.link(tmp_path / "out" / "image", tmp_path / "source" / "folder" / "link")
    return tmp_path / "out" / "image", tmp_path / "source", "source/folder/link: is the image to be written"


def no_folder_for_the_image(tmp_path: Path) -> tuple[Path, Path, str]:
    return tmp_path / "no" / "image", tmp_path / "source", "no/image: cannot be written: No such file or directory"


def a_folder_as_image(tmp_path: Path) -> tuple[Path, Path, str]:
    return tmp_path / "out", tmp_path / "source", "out: is a directory"


def a_fifo_as_image(tmp_path: Path) -> tuple[Path, Path, str]:
    os.mkfifo(tmp_path / "fifo")
    return tmp_path / "fifo", tmp_path / "source", "fifo: is not a regular file"


def a_symlink_loop(tmp_path: Path) -> tuple[Path, Path, str]:
    os.symlink("loop", tmp_path / "loop")
    return tmp_path / "out" / "image", tmp_path / "loop", "loop: cannot be read: Too many levels of symbolic links"


def a_name_of_many_lines(tmp_path: Path) -> tuple[Path, Path, str]:
    return tmp_path / "out" / "image", tmp_path / "no\nsuch\x1b", "no\\x0asuch\\x1b: cannot be read"


@pytest.mark.parametrize(
    "case",
    [
        a_file,
        missing,
        the_image_inside,
        the_image_inside_by_another_name,
        no_folder_for_the_image,
        a_folder_as_image,
        a_fifo_as_image,
        a_symlink_loop,
        a_name_of_many_lines,
    ],
    ids=lambda case: case.__name__,
)
def test_a_path_that_will_not_do_is_named(
    case: Callable[[Path], tuple[Path, Path, str]],
    tmp_path: Path,
    source: Path,
    out: Path,
    call: Call,
) -> None:
    image, tree, part = case(tmp_path)
    before = os.listdir(out)
    assert_refused(call("build", image, tree), 1, part)
    assert os.listdir(out) == before


@needs_root
@pytest.mark.parametrize("victim", ["file", "folder"])
def test_what_may_not_be_read_is_named(victim: str, source: Path, out: Path) -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is missing: root can read everything")
    (source / victim).chmod(0)
    # Root without the privileges that pass over modes.
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    done = subprocess.run([*drop, *command(out / "image", source)], cwd=ROOT, capture_output=True, text=True)
    assert_refused((done.returncode, done.stderr), 1, f"source/{victim}: cannot be read: Permission denied")
    assert os.listdir(out) == []


@needs_root
def test_a_full_disk_leaves_the_older_image(tmp_path: Path, out: Path) -> None:
    tree = make(tmp_path / "tree", {f"noise-{n}": noise(300_000, n) for n in range(10)})
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", out], check=True)
    try:
        (out / "image").write_bytes(OLD)
        assert_refused(finish(start(out / "image", tree)), 1, "out/image: cannot be written: No space left on device")
        assert os.listdir(out) == ["image"]
        assert (out / "image").read_bytes() == OLD
    finally:
        subprocess.run(["umount", out], check=True)


def limit_file_size(size: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_limit_of_file_sizes_leaves_the_older_image(tmp_path: Path, out: Path) -> None:
    # Not so small that workers could not share memory, which the limit counts as well.
    tree = make(tmp_path / "tree", {"noise": bytes(100) + noise(1000), "zeros": b""})
    os.truncate(tree / "zeros", 110_000_000)
    (out / "image").write_bytes(OLD)
    process = start(out / "image", tree, "-znone", preexec_fn=limit_file_size(100_000_000))
    assert_refused(finish(process), 1, "out/image: cannot be written: File too large")
    assert os.listdir(out) == ["image"]
    assert (out / "image").read_bytes() == OLD


def test_a_limit_too_small_for_the_workers_is_said(source: Path, out: Path) -> None:
    process = start(out / "image", source, preexec_fn=limit_file_size(1_000_000))
    assert_refused(finish(process), 1, "with a worker: File too large")
    assert os.listdir(out) == []


@pytest.fixture(scope="session")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tree that takes seconds to build with ``-zlzma,9``."""
    folder = tmp_path_factory.mktemp("slow") / "tree"
    return make(folder, {"large": text(9_000_000), **{f"file-{n}": text(400_000, n) for n in range(20)}})


def wait_until(condition: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this did not happen"
        time.sleep(0.01)


INTERRUPTS = {
    # signal, whether the whole foreground group gets it (as from a terminal), status, what is said
    "^C": (signal.SIGINT, True, 130, "interrupted"),
    "SIGINT": (signal.SIGINT, False, 130, "interrupted"),
    "SIGTERM": (signal.SIGTERM, False, 143, "terminated"),
    "SIGHUP": (signal.SIGHUP, True, 129, "terminated"),
}


@pytest.mark.parametrize("when", ["when the image is begun", "in the middle"])
@pytest.mark.parametrize("name", INTERRUPTS)
def test_an_interrupt_leaves_nothing_behind(name: str, when: str, slow: Path, out: Path) -> None:
    number, group, status, said = INTERRUPTS[name]
    (out / "image").write_bytes(OLD)
    process = start(out / "image", slow, "-zlzma,9", "--workers=2", start_new_session=True)
    wait_until(lambda: written(process.pid, out) >= 0)
    if when == "in the middle":
        wait_until(lambda: written(process.pid, out) > 500_000)
    (os.killpg if group else os.kill)(process.pid, number)
    ended, err = finish(process)
    assert_refused((ended, err.removeprefix("\n")), status, said)  # the line that shows ^C is ended first
    assert os.listdir(out) == ["image"]
    assert (out / "image").read_bytes() == OLD
    wait_until(lambda: not members(process.pid))


def test_a_signal_that_arrives_in_a_finalizer_is_not_lost() -> None:
    program = """
import os, signal, sys, time
from mkfs_erofs_py.cli import main as cli

class Late:
    def __del__(self):
        os.kill(os.getpid(), int(sys.argv[1]))
        time.sleep(5)

def work(*_, **__):
    Late()
    time.sleep(5)

cli.main.invoke = work
cli.run(["ls"])
"""
    for number, status in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        argv = [sys.executable, "-c", program, str(int(number))]
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=30)
        assert_refused((done.returncode, done.stderr), status)


def test_workers_end_with_a_builder_that_was_killed(slow: Path, out: Path) -> None:
    process = start(out / "image", slow, "-zlzma,9", "--workers=2", start_new_session=True)
    wait_until(lambda: written(process.pid, out) >= 0 and len(members(process.pid)) >= 3)
    process.kill()
    process.communicate()
    wait_until(lambda: not members(process.pid))
    assert os.listdir(out) == []


def test_a_worker_that_is_killed_ends_the_build(slow: Path, out: Path) -> None:
    process = start(out / "image", slow, "-zlzma,9", "--workers=2", start_new_session=True)
    wait_until(lambda: written(process.pid, out) >= 0 and len(members(process.pid)) >= 3)
    for pid in members(process.pid):
        if pid != process.pid:
            os.kill(pid, signal.SIGKILL)
    assert_refused(finish(process), 1, "a worker process failed")
    assert os.listdir(out) == []


def closed(*fds: int) -> Callable[[], None]:
    def close() -> None:
        for fd in fds:
            os.close(fd)

    return close


@pytest.mark.parametrize("fds", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_closed_standard_streams_do_not_matter(fds: tuple[int, ...], source: Path, out: Path) -> None:
    process = start(out / "image", source, preexec_fn=closed(*fds))
    assert finish(process) == (0, "")
    with Image.open(out / "image") as image:
        assert image.read("file") == (source / "file").read_bytes()


def test_a_reader_that_left_does_not_matter_to_the_image(source: Path, out: Path) -> None:
    process = start(out / "image", source)
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    status, err = finish(process)
    assert err == ""
    assert status != 0
    with Image.open(out / "image") as image:
        assert image.read("file") == (source / "file").read_bytes()


def test_nothing_is_said_on_standard_error_however_workers_end(source: Path, out: Path) -> None:
    for workers in (1, 2, 3, 5) * 3:
        assert finish(start(out / "image", source, f"--workers={workers}")) == (0, "")


def test_output_that_cannot_be_written_is_said(source: Path, out: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command(out / "image", source), cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert_refused((done.returncode, done.stderr), 1, "No space left on device")


def test_the_summary_is_for_people_or_machines_or_left_out(
    source: Path, out: Path, capfd: pytest.CaptureFixture[str], call: Call
) -> None:
    os.link(source / "file", source / "folder" / "again")
    (source / "copy").write_bytes((source / "file").read_bytes())
    assert finish(start(out / "image", source, "--quiet")) == (0, "")
    for quiet in (["--quiet"], ["-d0"]):
        done = subprocess.run(command(out / "image", source, *quiet), cwd=ROOT, capture_output=True, check=True)
        assert done.stdout == b""
    shown = subprocess.run(command(out / "image", source), cwd=ROOT, capture_output=True, check=True, text=True).stdout
    assert f"{out / 'image'}: 6 inodes (2 directories, 3 files, 1 symlinks) and 1 more hard links" in shown
    done = subprocess.run(command(out / "image", source, "--json"), cwd=ROOT, capture_output=True, check=True)
    summary = json.loads(done.stdout)
    assert summary.pop("seconds") > 0
    with Image.open(out / "image") as image:
        assert summary == {
            "image": str(out / "image"),
            "source": str(source),
            "uuid": str(uuid.UUID(bytes=image.superblock.uuid)),
            "inodes": 6,
            "counts": {"files": 3, "directories": 2, "symlinks": 1},
            "hard_links": 1,
            "bytes_in": 45_000,
            "bytes_out": (out / "image").stat().st_size,
            "duplicates": 1,
            "duplicate_bytes": 20_000,
            "fingerprint": "blake3",
            "fingerprints": 3,
            "kernel": "6.4",
            "sharing_kernel": "7.0",
            "ratio": round((out / "image").stat().st_size / 45_000, 4),
        }


def features(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.superblock.incompat, image.superblock.compat


PREFIXED = Incompat.XATTR_PREFIXES
KERNELS: dict[str, tuple[Sequence[str], int, Layout, str]] = {
    # options, incompat bits, the layout of compressed files, the oldest kernel promised
    "default": ([], Incompat.LZ4_0PADDING | PREFIXED, Layout.COMPRESSED_COMPACT, "6.4"),
    "5.4": (["--kernel=5.4"], Incompat.LZ4_0PADDING, Layout.COMPRESSED_COMPACT, "5.4"),
    "5.4, large clusters later": (
        ["--kernel=5.13", "-C65536"],
        Incompat.LZ4_0PADDING | Incompat.BIG_PCLUSTER,
        Layout.COMPRESSED_COMPACT,
        "5.13",
    ),
    "6.1": (["--kernel=6.1"], Incompat.LZ4_0PADDING, Layout.COMPRESSED_COMPACT, "5.4"),
    "6.6": (["--kernel=6.6"], Incompat.LZ4_0PADDING | PREFIXED, Layout.COMPRESSED_COMPACT, "6.4"),
    "6.10 zstd": (
        ["--kernel=6.10.3-amd64", "-zzstd"],
        Incompat.LZ4_0PADDING | Incompat.COMPR_CFGS | PREFIXED,
        Layout.COMPRESSED_COMPACT,
        "6.10",
    ),
    "full index": (["-Elegacy-compress"], Incompat.LZ4_0PADDING | PREFIXED, Layout.COMPRESSED_FULL, "6.4"),
}


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_chooses_the_layout_it_reads(name: str, source: Path, out: Path) -> None:
    options, incompat, layout, kernel = KERNELS[name]
    done = subprocess.run(command(out / "image", source, "--json", *options), cwd=ROOT, capture_output=True, check=True)
    assert json.loads(done.stdout)["kernel"] == kernel
    assert features(out / "image")[0] == incompat
    with Image.open(out / "image") as image:
        assert image.lookup("file").layout == layout
        assert image.fingerprint("file") is not None


def test_kernels_from_6_15_on_get_the_48_bit_layout(source: Path, out: Path, call: Call) -> None:
    assert call("build", out / "image", source, "--kernel=6.15")[0] == 0
    assert features(out / "image")[0] & Incompat.BIT48
    assert call("build", out / "image", source, "--kernel=6.15", "-E^48bit")[0] == 0
    assert not features(out / "image")[0] & Incompat.BIT48


def test_the_same_options_by_letters_or_words(source: Path, out: Path, call: Call) -> None:
    spellings = [
        "-zzstd,level=9 -C65536 -b4096 -Elegacy-compress -T1 -L name --all-root --all-time",
        "-z zstd,9 -C 64k -b 0x1000 -E legacy-compress -T 1 -Lname --force-uid=0 --force-gid=0",
    ]
    images = []
    for options in spellings:
        assert call("build", out / "image", source, "--quiet", *options.split())[0] == 0
        images.append((out / "image").read_bytes())
    assert images[0] == images[1]


def test_what_options_say_is_in_the_image(source: Path, out: Path, call: Call) -> None:
    identity = "12345678-9abc-4def-8123-456789abcdef"
    options = ["-U", identity, "-L", "volume", "--force-uid=70000", "--gid-offset=5", "--exclude-path=/folder/noise"]
    assert call("build", out / "image", source, *options, "--exclude-regex=^li", "-Enosbcrc,^xattr-name-filter")[0] == 0
    with Image.open(out / "image") as image:
        assert [path for path, _ in image.walk()] == [b"/", b"/file", b"/folder"]
        assert image.superblock.uuid == uuid.UUID(identity).bytes
        assert image.superblock.label.rstrip(b"\0") == b"volume"
        assert not image.superblock.compat & (Compat.SB_CHKSUM | Compat.XATTR_FILTER)
        assert {inode.uid for _, inode in image.walk()} == {70000}
        assert {inode.gid for _, inode in image.walk()} == {os.stat(source).st_gid + 5}


TIMES: dict[str, tuple[dict[str, str], Sequence[str], dict[str, int]]] = {
    # environment, options, times of "old" (WHEN - 1000) and "new" (WHEN + 1000)
    "kept": ({}, [], {"old": WHEN - 1000, "new": WHEN + 1000}),
    "kept by name": ({}, ["--preserve-mtime"], {"old": WHEN - 1000, "new": WHEN + 1000}),
    "-T": ({}, [f"-T{WHEN}"], {"old": WHEN, "new": WHEN}),
    "-T --all-time": ({}, [f"-T{WHEN}", "--all-time"], {"old": WHEN, "new": WHEN}),
    "-T --mkfs-time": ({}, [f"-T{WHEN}", "--mkfs-time"], {"old": WHEN - 1000, "new": WHEN + 1000}),
    "-T --ignore-mtime": ({}, ["-T7", "--ignore-mtime"], {"old": 7, "new": 7}),
    "SOURCE_DATE_EPOCH": ({"SOURCE_DATE_EPOCH": str(WHEN)}, [], {"old": WHEN - 1000, "new": WHEN}),
    "SOURCE_DATE_EPOCH --all-time": (
        {"SOURCE_DATE_EPOCH": str(WHEN)},
        ["--all-time"],
        {"old": WHEN - 1000, "new": WHEN},
    ),
    "SOURCE_DATE_EPOCH -T": ({"SOURCE_DATE_EPOCH": str(WHEN)}, ["-T7"], {"old": WHEN - 1000, "new": WHEN}),
    "SOURCE_DATE_EPOCH --ignore-mtime": (
        {"SOURCE_DATE_EPOCH": str(WHEN)},
        ["--ignore-mtime"],
        {"old": WHEN, "new": WHEN},
    ),
    "SOURCE_DATE_EPOCH empty": ({"SOURCE_DATE_EPOCH": ""}, [], {"old": WHEN - 1000, "new": WHEN + 1000}),
}


@pytest.mark.parametrize("name", TIMES)
def test_times_follow_options_and_environment(
    name: str, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment, options, expected = TIMES[name]
    tree = make(tmp_path / "tree", {"old": b"old", "new": b"new"})
    for path, when in (("old", WHEN - 1000), ("new", WHEN + 1000)):
        os.utime(tree / path, (when, when))
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    assert call("build", tmp_path / "image", tree, *options)[0] == 0
    with Image.open(tmp_path / "image") as image:
        assert {path: image.lookup(path).mtime for path in expected} == expected


OWNERS = {
    # what stands last counts, as with mkfs.erofs
    "--all-root --force-uid=5": (5, 0),
    "--all-root --force-gid=6": (0, 6),
    "--force-uid=5 --force-gid=6 --all-root": (0, 0),
    "--force-uid=5 --force-gid=6": (5, 6),
}


@pytest.mark.parametrize("options", OWNERS)
def test_the_last_word_on_owners_counts(options: str, source: Path, out: Path, call: Call) -> None:
    assert call("build", out / "image", source, *options.split())[0] == 0
    with Image.open(out / "image") as image:
        assert {(inode.uid, inode.gid) for _, inode in image.walk()} == {OWNERS[options]}


def test_an_optional_value_needs_its_equals_sign(source: Path, out: Path, call: Call) -> None:
    assert call("build", "--xattr-inode-digest", out / "image", source)[0] == 0
    with Image.open(out / "image") as image:
        assert [prefix.infix for prefix in image.prefixes] == [b"erofs.fingerprint.v1"]


@pytest.mark.parametrize(
    ("expression", "left"),
    [("[[:digit:]]", {b"d"}), (r"\<a1\>", {b"a12", b"d"}), ("^a(1|2)$", {b"a12", b"d"}), (r"\d", {b"a1", b"a12"})],
)
def test_expressions_are_posix_ones(expression: str, left: set[bytes], tmp_path: Path, out: Path, call: Call) -> None:
    tree = make(tmp_path / "tree", {"a1": b"", "a12": b"", "d": b""})
    assert call("build", out / "image", tree, f"--exclude-regex={expression}")[0] == 0
    with Image.open(out / "image") as image:
        assert {entry.name for entry in image.readdir("/")} - {b".", b".."} == left


@pytest.mark.parametrize(
    ("options", "kernel"),
    [("", "6.4"), ("--kernel=7.0", "6.15"), ("--kernel=6.3", "5.4"), ("-E48bit", "6.15"), ("-zzstd", "6.10")],
)
def test_the_summary_tells_the_oldest_kernel(options: str, kernel: str, source: Path, out: Path) -> None:
    built = command("--json", out / "image", source, *options.split())
    done = subprocess.run(built, cwd=ROOT, capture_output=True, check=True)
    assert json.loads(done.stdout)["kernel"] == kernel


def test_a_new_image_keeps_the_mode_of_the_older(source: Path, out: Path, call: Call) -> None:
    (out / "image").write_bytes(OLD)
    (out / "image").chmod(0o600)
    assert call("build", out / "image", source)[0] == 0
    assert stat.S_IMODE((out / "image").stat().st_mode) == 0o600
