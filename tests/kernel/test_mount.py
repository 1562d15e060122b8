"""``mount``: real mounts, by the kernel's driver and through FUSE, equal the trees they were built from."""

from __future__ import annotations

import errno
import json
import mmap
import os
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mkfs_erofs_py.mount.kernel import obstacle
from mkfs_erofs_py.mount.points import STATISTICS, mounts_at
from mkfs_erofs_py.mount.points import statistics as counted
from mkfs_erofs_py.pagecache import page_round
from mkfs_erofs_py.read import Image
from mkfs_erofs_py.write import build_image
from tests.support.handmade import with_checksum
from tests.support.requirements import lacking
from tests.support.sample import make_crowd
from tests.support.trees import compare_trees
from tests.support.waiting import until

pytestmark = pytest.mark.kernel

CLI = [sys.executable, "-c", "from mkfs_erofs_py.cli.main import run; run()"]
Run = Callable[..., subprocess.CompletedProcess[str]]


def command(*arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    argv = [*CLI, *(str(argument) for argument in arguments)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, env={**os.environ, **(env or {})})


def mounted_below(folder: Path) -> list[str]:
    with open("/proc/self/mountinfo") as lines:
        return [line.split()[4] for line in lines if line.split()[4].startswith(str(folder))]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Return a folder below which everything is unmounted when the test ends."""
    folder = tmp_path / "mnt"
    folder.mkdir()
    yield folder
    for point in reversed(mounted_below(folder)):
        subprocess.run(["umount", "--lazy", point], check=True)


@pytest.fixture
def fuse() -> None:
    try:
        import mfusepy  # noqa: F401
    except (ImportError, OSError) as error:
        lacking("fuse", f"FUSE cannot be used here: {error}")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        lacking("fuse", "there is no /dev/fuse that may be used here")
    if os.geteuid() and shutil.which("fusermount3") is None:
        lacking("fuse", "there is no fusermount3")


@pytest.fixture
def kernel() -> None:
    reason = obstacle()
    if reason is None and not os.path.exists("/dev/loop-control"):
        reason = "there are no loop devices here"
    if reason is not None:
        lacking("kernel", reason)


@pytest.fixture(scope="module")
def image(sample_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    image = tmp_path_factory.mktemp("mount") / "sample.erofs"
    build_image(image, sample_tree)
    return image


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return two images with a common file of 3 MB, ``/common``, and one of their own, ``/own``."""
    folder = tmp_path_factory.mktemp("pair")
    images = []
    for name in ("one", "two"):
        tree = folder / name
        tree.mkdir()
        (tree / "common").write_bytes(b"".join(b"%d\n" % n for n in range(450_000)))
        (tree / "own").write_text(name)
        images.append(folder / f"{name}.erofs")
        build_image(images[-1], tree)
    return images


@pytest.mark.usefixtures("fuse")
def test_a_fuse_mount_equals_its_tree(image: Path, sample_tree: Path, place: Path) -> None:
    done = command("mount", "--backend", "fuse", image, place)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert os.listdir(place) == ["sample.erofs"]
    assert compare_trees(sample_tree, place / "sample.erofs") == []
    facts = os.statvfs(place / "sample.erofs")
    assert (facts.f_blocks * facts.f_bsize, facts.f_bfree, facts.f_namemax) == (image.stat().st_size, 0, 255)
    with pytest.raises(OSError, match="Read-only"):
        (place / "sample.erofs" / "new").touch()
    subprocess.run(["umount", place], check=True)
    assert os.listdir(place) == []


@pytest.mark.usefixtures("kernel")
def test_a_kernel_mount_equals_its_tree(image: Path, sample_tree: Path, place: Path) -> None:
    done = command("mount", "--backend", "kernel", image, place)
    assert (done.returncode, done.stdout) == (0, "")
    assert compare_trees(sample_tree, place / "sample.erofs") == []
    shares = "inode_share" in Path("/proc/mounts").read_text()
    assert shares or "mounted without sharing" in done.stderr
    subprocess.run(["umount", "--recursive", place], check=True)
    assert os.listdir(place) == []


@pytest.mark.usefixtures("fuse")
def test_fuse_mounts_share_and_outlive_each_other(pair: list[Path], place: Path) -> None:
    points = [place / "a", place / "b"]
    for point in points:
        point.mkdir()
    done = command("mount", "--backend=fuse", *(f"{image}={point}" for image, point in zip(pair, points, strict=True)))
    assert (done.returncode, done.stderr) == (0, "")
    whole = (points[0] / "common").read_bytes()
    with open(points[1] / "common", "rb") as file:
        half = file.read(len(whole) // 2)
        subprocess.run(["umount", points[0]], check=True)
        assert half + file.read() == whole
    assert (points[1] / "own").read_text() == "two"
    statistics = counted(str(points[1]))
    assert statistics["total"]["fills"] * 4096 < 1.5 * len(whole)
    pages = -(-len(whole) // 4096)
    assert statistics["images"][str(pair[1])]["hits"] >= pages // 2
    shown = command("mount", "--stats", points[1])
    assert shown.returncode == 0
    assert f"process {statistics['pid']}" in shown.stdout
    (facts,) = json.loads(command("mount", "--stats", "--json", points[1]).stdout)
    assert facts.pop("mount_point") == str(points[1])
    assert facts.keys() == statistics.keys()
    assert STATISTICS not in os.listxattr(points[1])
    subprocess.run(["umount", points[1]], check=True)
    gone(statistics["pid"])


@pytest.mark.usefixtures("fuse")
@pytest.mark.parametrize("options", [[], ["--no-share"]], ids=["shared", "not shared"])
def test_fuse_shares_unless_told_not_to(pair: list[Path], place: Path, options: list[str]) -> None:
    assert command("mount", "--backend=fuse", *options, *pair, place).returncode == 0
    one, two = (len((place / image.name / "common").read_bytes()) for image in pair)
    (facts,) = json.loads(command("mount", "--stats", "--json", place).stdout)
    held = page_round(one)
    assert one == two
    assert facts["total"]["resident_bytes"] == (2 * held if options else held)
    assert facts["total"]["shared_bytes"] == (0 if options else held)


@pytest.mark.usefixtures("kernel")
def test_the_kernel_shares_unless_told_not_to(pair: list[Path], place: Path) -> None:
    done = command("mount", "--backend=kernel", "--no-share", *pair, place)
    assert (done.returncode, done.stderr) == (0, "")  # not a word about sharing, which nobody asked for
    assert "inode_share" not in Path("/proc/mounts").read_text()
    assert (place / "two.erofs" / "own").read_text() == "two"


@pytest.mark.usefixtures("fuse")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_tell_counters_and_unmount(pair: list[Path], place: Path, number: int) -> None:
    argv = [*CLI, "mount", "--backend=fuse", "--foreground", "--strict", *map(str, pair), str(place)]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process:
        try:
            until(lambda: len(os.listdir(place)) == 2)
            text = [(place / name / "common").read_bytes() for name in ("one.erofs", "two.erofs")]
            assert text[0] == text[1]
            process.send_signal(signal.SIGUSR1)
            assert process.stderr is not None
            said = [process.stderr.readline() for _ in range(5)]
            assert said[0].startswith(f"process {process.pid}, budget 268435456 bytes")
            assert said[4].startswith("all ")
            process.send_signal(number)
            assert process.wait(20) == 0
        finally:
            process.kill()
    assert mounted_below(place) == []


@pytest.mark.usefixtures("fuse")
def test_a_damaged_file_is_an_error_and_the_rest_is_served(pair: list[Path], place: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.erofs"
    data = bytearray(pair[0].read_bytes())
    with Image.open(pair[0]) as opened:
        extent = next(opened.spans("/common"))
    data[extent.address : extent.address + extent.stored] = b"\xff" * extent.stored
    damaged.write_bytes(data)
    assert command("mount", "--backend=fuse", "--domain=apart", damaged, place).returncode == 0
    with pytest.raises(OSError, match="cleaning") as caught:
        (place / "damaged.erofs" / "common").read_bytes()
    assert caught.value.errno == errno.EUCLEAN
    assert (place / "damaged.erofs" / "own").read_text() == "one"
    with pytest.raises(FileNotFoundError):
        (place / "damaged.erofs" / "nothing").stat()
    with pytest.raises(FileNotFoundError):
        (place / "nothing").stat()


@pytest.mark.usefixtures("fuse")
def test_a_folder_of_many_names_is_listed_whole(tmp_path: Path, place: Path) -> None:
    tree = tmp_path / "tree"
    make_crowd(tree, 3_000)
    build_image(tmp_path / "crowd.erofs", tree)
    assert command("mount", "--backend=fuse", f"{tmp_path}/crowd.erofs={place}").returncode == 0
    assert compare_trees(tree, place) == []
    names = sorted(os.listdir(os.fsencode(tree / "many")))
    # Two readers take turns: the kernel asks for parts of one listing and of the other.
    with os.scandir(os.fsencode(place / "many")) as one, os.scandir(os.fsencode(place / "many")) as other:
        pairs = list(zip(one, other, strict=True))
    assert sorted(entry.name for entry, _ in pairs) == sorted(entry.name for _, entry in pairs) == names


@pytest.mark.usefixtures("fuse")
def test_a_damaged_inode_is_listed_and_the_rest_is_served(tmp_path: Path, place: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("bad", "good"):
        (tree / name).write_text(name)
    build_image(tmp_path / "image", tree, checksum=False)
    data = bytearray((tmp_path / "image").read_bytes())
    with Image.open(memoryview(bytes(data))) as opened:
        bad = opened.lookup("/bad").offset
    data[bad] = data[bad + 1] = 0xFF  # a layout that does not exist
    (tmp_path / "image").write_bytes(data)
    assert command("mount", "--backend=fuse", f"{tmp_path}/image={place}").returncode == 0
    assert sorted(os.listdir(place)) == ["bad", "good"]
    assert (place / "good").read_text() == "good"
    with pytest.raises(OSError, match=r"\[Errno") as caught:
        (place / "bad").stat()
    assert caught.value.errno in (errno.EUCLEAN, errno.EOPNOTSUPP)


@pytest.mark.usefixtures("fuse")
def test_an_image_that_is_cut_short_harms_no_other(pair: list[Path], place: Path, tmp_path: Path) -> None:
    images = [tmp_path / image.name for image in pair]
    for image, copy in zip(pair, images, strict=True):
        shutil.copy(image, copy)
    assert command("mount", "--backend=fuse", *images, place).returncode == 0
    os.truncate(images[0], 4096)
    for path in ("one.erofs/common", "one.erofs/own", "one.erofs"):
        with pytest.raises(OSError, match="Input/output"):
            (place / path).read_bytes() if path != "one.erofs" else os.listdir(place / path)
    assert (place / "two.erofs" / "own").read_text() == "two"
    assert len((place / "two.erofs" / "common").read_bytes()) > 3_000_000


@pytest.mark.usefixtures("fuse")
def test_an_image_whose_device_fails_harms_no_other(pair: list[Path], place: Path, tmp_path: Path) -> None:
    """A loop device fails where its file ends: it is cut short before anything but the names has been read."""
    if os.geteuid():
        lacking("kernel", "a loop device needs root")
    backing = shutil.copy(pair[0], tmp_path)
    made = subprocess.run(["losetup", "--find", "--show", "--read-only", backing], capture_output=True, text=True)
    if made.returncode:
        lacking("kernel", f"there are no loop devices here: {made.stderr.strip()}")
    device = made.stdout.strip()
    try:
        point = place / os.path.basename(device)
        assert command("mount", "--backend=fuse", device, pair[1], place).returncode == 0
        assert sorted(os.listdir(point)) == ["common", "own"]
        os.truncate(backing, 4096)
        for _ in range(2):
            with pytest.raises(OSError, match="Input/output"):
                (point / "common").read_bytes()
        assert (place / "two.erofs" / "own").read_text() == "two"
        assert (place / "two.erofs" / "common").read_bytes() == b"".join(b"%d\n" % n for n in range(450_000))
        assert counted(str(place))["warnings"] == []
        subprocess.run(["umount", place], check=True)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


@pytest.mark.usefixtures("fuse")
def test_what_nobody_shares_is_left_to_the_kernels_cache(pair: list[Path], place: Path) -> None:
    assert command("mount", "--backend=fuse", f"{pair[0]}={place}").returncode == 0
    data = (place / "common").read_bytes()
    total = counted(str(place))["total"]
    assert (total["fills"], total["resident_bytes"]) == (0, 0)
    assert total["bypasses"] == -(-len(data) // 4096)
    with open(place / "common", "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
        assert view[:] == data
    assert counted(str(place))["total"] == total, "read once, the kernel has it"
    with pytest.raises(OSError, match="Read-only"):
        os.open(place / "common", os.O_RDWR)


@pytest.mark.parametrize("backend", ["kernel", "fuse"])
def test_a_failure_leaves_nothing_mounted(
    pair: list[Path], place: Path, tmp_path: Path, backend: str, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(backend)
    good, bad = place / "good", tmp_path / "bad.erofs"
    data = bytearray(pair[0].read_bytes())
    data[1024 + 0x50 + 3] = 0x80  # a feature that nobody knows
    bad.write_bytes(data)
    good.mkdir()
    for arguments in ([pair[0], bad, good], [f"{pair[0]}={good}", f"{bad}={place}"]):
        done = command("mount", f"--backend={backend}", *arguments)
        assert done.returncode == 1
        assert str(bad) in done.stderr
        assert done.stderr.count("\n") == 1
        assert mounted_below(place) == []


@pytest.mark.usefixtures("kernel")
def test_what_the_kernel_refuses_is_undone(pair: list[Path], place: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.erofs"
    data = bytearray(pair[0].read_bytes())
    data[1024 + 4] ^= 1  # the checksum: the library reads on, kernels do not mount
    bad.write_bytes(data)
    done = command("mount", "--backend=kernel", pair[0], bad, place)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"mkfs-erofs-py: {bad}: ")
    assert mounted_below(place) == []


@pytest.mark.parametrize("backend", ["kernel", "fuse"])
def test_umount_undoes_it(pair: list[Path], place: Path, backend: str, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(backend)
    (place / "a b").mkdir()
    assert command("mount", f"--backend={backend}", *pair, place / "a b").returncode == 0
    with open(place / "a b" / "two.erofs" / "own"):
        busy = command("umount", place)
        assert busy.returncode == 1
        assert "cannot be unmounted" in busy.stderr
        assert busy.stderr.count("\n") == 1
    done = command("umount", place)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert mounted_below(place) == []
    again = command("umount", place)
    assert again.returncode == 1
    assert again.stderr == f"mkfs-erofs-py: {place}: nothing that mount made is mounted there\n"


@pytest.mark.usefixtures("kernel")
def test_umount_leaves_what_others_mounted(pair: list[Path], place: Path) -> None:
    theirs, ours, alone = (place / name for name in ("theirs", "ours", "alone"))
    for point in (theirs, ours, alone):
        point.mkdir()
    subprocess.run(["mount", "-t", "erofs", "-o", "ro,loop", pair[0], theirs], check=True)
    assert command("mount", "--backend=kernel", pair[0], ours).returncode == 0
    assert command("mount", "--backend=kernel", f"{pair[1]}={alone}").returncode == 0
    assert command("umount", place).returncode == 0
    assert mounted_below(place) == [str(theirs), str(alone)]
    assert command("umount", alone).returncode == 0
    assert mounted_below(place) == [str(theirs)]


@pytest.mark.usefixtures("fuse")
def test_a_refusal_is_told_with_the_counters(pair: list[Path], place: Path, tmp_path: Path) -> None:
    liar = tmp_path / "liar.erofs"
    data = bytearray(pair[0].read_bytes())
    with Image.open(pair[0]) as one, Image.open(pair[1]) as two:
        claim, stolen = one.fingerprint("/own"), two.fingerprint("/own")
        assert claim
        assert stolen
    at = data.index(claim)
    data[at : at + len(claim)] = stolen
    liar.write_bytes(with_checksum(data))
    assert command("mount", "--backend=fuse", "--strict", liar, pair[1], place).returncode == 0
    assert (place / "liar.erofs" / "own").read_text() == "one"
    assert (place / "two.erofs" / "own").read_text() == "two"
    (told,) = json.loads(command("mount", "--stats", "--json", place).stdout)
    (warning,) = told["warnings"]
    assert f"{liar}: not sharing inode " in warning
    assert f"warning: {warning}" in command("mount", "--stats", place).stdout


@pytest.mark.usefixtures("fuse")
def test_names_for_root_are_shown_to_root_alone(tmp_path: Path, place: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can give a file an attribute in trusted, and be somebody else")
    (tmp_path / "tree").mkdir()
    file = tmp_path / "tree" / "file"
    file.write_text("content")
    for name in ("trusted.mine", "user.yours"):
        os.setxattr(file, name, b"value")
    build_image(tmp_path / "image", tmp_path / "tree")
    os.chmod(tmp_path, 0o755)
    assert command("mount", "--backend=fuse", f"{tmp_path}/image={place}").returncode == 0
    assert set(os.listxattr(place / "file")) == {"trusted.erofs.fingerprint", "trusted.mine", "user.yours"}
    with open(place / "file") as opened:
        nobody = [sys.executable, "-c", "import os, sys; os.setuid(65534); print(os.listxattr(0))"]
        shown = subprocess.run(nobody, stdin=opened, capture_output=True, text=True, check=True).stdout
    assert shown == "['user.yours']\n"


@pytest.mark.usefixtures("fuse")
def test_access_control_lists_permit_and_deny(tmp_path: Path, place: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can be somebody else")
    (tmp_path / "tree").mkdir()
    entries = {
        "named may read": [(1, 6, -1), (2, 4, 65534), (4, 0, -1), (16, 4, -1), (32, 0, -1)],
        "the mask may, the group may not": [(1, 6, -1), (2, 6, 1234), (4, 0, -1), (16, 6, -1), (32, 0, -1)],
    }
    for name, acl in entries.items():
        file = tmp_path / "tree" / name
        file.write_text("content")
        packed = (2).to_bytes(4, "little") + b"".join(struct.pack("<HHi", *entry) for entry in acl)
        os.setxattr(file, "system.posix_acl_access", packed)
    build_image(tmp_path / "image", tmp_path / "tree")
    assert command("mount", "--backend=fuse", f"{tmp_path}/image={place}").returncode == 0

    def may_read(name: str, user: int, group: int) -> bool:
        if (pid := os.fork()) == 0:
            try:
                os.chdir(place)
                os.setgroups([])
                os.setgid(group)
                os.setuid(user)
                os._exit(not os.access(name, os.R_OK))
            finally:
                os._exit(2)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

    assert may_read("named may read", 65534, 65534)
    assert not may_read("named may read", 4321, 65534)
    assert not may_read("the mask may, the group may not", 4321, 0)
    assert may_read("the mask may, the group may not", 1234, 65534)


@pytest.mark.usefixtures("fuse")
@pytest.mark.parametrize("foreground", [False, True])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_mounting_leaves_nothing(
    pair: list[Path], place: Path, foreground: bool, number: signal.Signals
) -> None:
    points = [place / str(n) for n in range(12)]
    for point in points:
        point.mkdir()
    argv = [*CLI, "mount", "--backend=fuse", *(["-f"] if foreground else []), *(f"{pair[0]}={p}" for p in points)]
    for _ in range(20):
        with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as process:
            try:
                until(lambda: os.path.ismount(points[0]))
                process.send_signal(number)
                process.wait(20)
            finally:
                process.kill()
        if foreground or not all(os.path.ismount(point) for point in points):
            break
        # Everything was mounted before the signal came: too late, on a busy machine. Then nobody was told otherwise.
        assert process.returncode == 0
        assert command("umount", *points).returncode == 0
    else:
        pytest.fail("the signal never came in time")
    assert mounted_below(place) == []


@pytest.mark.usefixtures("fuse")
def test_the_daemon_keeps_nothing_of_who_started_it(pair: list[Path], place: Path) -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    argv = [*CLI, "mount", "--backend=fuse", str(pair[0]), str(place)]
    subprocess.run(argv, check=True, pass_fds=[writer], cwd=pair[0].parent)
    os.close(writer)
    with open(reader, "rb") as end:
        assert end.read() == b"", "nobody else holds it open"
    assert os.readlink(f"/proc/{counted(str(place))['pid']}/cwd") == "/"


@pytest.mark.usefixtures("fuse")
def test_statistics_of_many_images_and_of_none(pair: list[Path], place: Path, tmp_path: Path) -> None:
    images = [tmp_path / f"{number:0200}.erofs" for number in range(400)]
    for image in images:
        image.symlink_to(pair[0])
    assert command("mount", "--backend=fuse", *images, place).returncode == 0
    (told,) = json.loads(command("mount", "--stats", "--json", place).stdout)
    assert list(told["images"]) == [str(image) for image in images]
    os.setxattr(tmp_path, STATISTICS, b"somebody else's")
    done = command("mount", "--stats", tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "no image is mounted through FUSE there" in done.stderr


@pytest.mark.usefixtures("fuse")
def test_auto_uses_what_there_is(pair: list[Path], place: Path) -> None:
    assert command("mount", pair[0], place).returncode == 0
    assert (place / "one.erofs" / "own").read_text() == "one"
    kinds = [kind for kind, _ in mounts_at(str(place))]
    assert kinds == (["fuse.erofs"] if obstacle() is not None else ["tmpfs"])
    again = command("mount", pair[0], place)
    assert (again.returncode, again.stderr) == (1, f"mkfs-erofs-py: {place}: an image is mounted there already\n")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "name at least one image and the folder"),
        (["IMAGE"], 2, "name at least one image and the folder"),
        (["IMAGE", "/nonexistent"], 2, "/nonexistent: no such folder"),
        (["IMAGE", "IMAGE"], 2, "is not a folder"),
        (["/nonexistent", "DIR"], 2, "/nonexistent: No such file"),
        (["IMAGE", "IMAGE", "DIR"], 2, "have the same mount point DIR/one.erofs"),
        (["IMAGE=DIR", "IMAGE=DIR"], 2, "have the same mount point DIR"),
        (["IMAGE=DIR", "IMAGE", "DIR"], 2, "a mount point of its own"),
        (["--budget=lots", "IMAGE", "DIR"], 2, "--budget lots"),
        (["--budget=1", "IMAGE", "DIR"], 2, "cannot hold a page"),
        (["--stats"], 2, "name the folders"),
        (["--json", "IMAGE", "DIR"], 2, "--json is for --stats"),
        (["--no-share", "--domain=x", "IMAGE", "DIR"], 2, "leave them out with --no-share"),
        (["--no-share", "--strict", "IMAGE", "DIR"], 2, "leave them out with --no-share"),
        (["--stats", "DIR"], 1, "no image is mounted through FUSE there"),
        (["/etc/passwd", "DIR"], 1, "not an EROFS image"),
    ],
)
@pytest.mark.usefixtures("fuse")
def test_bad_input_is_one_line_and_a_status(
    pair: list[Path], place: Path, arguments: list[str], status: int, message: str
) -> None:
    def fill(text: str) -> str:
        return text.replace("IMAGE", str(pair[0])).replace("DIR", str(place))

    done = command("mount", "--backend=fuse", *map(fill, arguments))
    assert done.returncode == status
    assert fill(message) in done.stderr
    assert done.stderr.count("\n") == 1
    assert mounted_below(place) == []


def test_a_missing_package_is_named(pair: list[Path], place: Path, tmp_path: Path) -> None:
    env = {"PYTHONPATH": os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))}
    (tmp_path / "mfusepy.py").write_text("raise ImportError")
    done = command("mount", "--backend=fuse", pair[0], place, env=env)
    assert done.returncode == 2
    assert "install mkfs-erofs-py[fuse]" in done.stderr
    (tmp_path / "mfusepy.py").write_text("raise OSError('Unable to find libfuse')")
    done = command("mount", "--backend=fuse", pair[0], place, env=env)
    assert "FUSE needs libfuse 3" in done.stderr


def gone(pid: int) -> None:
    until(lambda: not Path(f"/proc/{pid}").exists() or ") Z" in Path(f"/proc/{pid}/stat").read_text())
