"""The commands that read images, on images of our own builder: what they print, write and answer."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mkfs_erofs_py.cli.main import run
from mkfs_erofs_py.read import Image
from mkfs_erofs_py.write import BuildOptions, build_image
from tests.compat.seen import seen
from tests.support.trees import compare_trees, differences, snapshot

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def image(sample_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("read") / "image.erofs"
    build_image(path, sample_tree)
    return path


@pytest.fixture
def cli(capfdbinary: pytest.CaptureFixture[bytes]) -> Cli:
    """Return a function that runs a command line in this process -> status, standard output, standard error."""

    def call(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            run([os.fspath(word) if isinstance(word, Path) else str(word) for word in words])
        out, err = capfdbinary.readouterr()
        return int(ended.value.code or 0), out.decode("utf-8", "surrogateescape"), err.decode()

    return call


@pytest.mark.parametrize(
    "options",
    [
        BuildOptions(compressor=None),
        BuildOptions(compressor="lz4", legacy_index=True),
        BuildOptions(compressor="lz4hc", pcluster=65536),
        BuildOptions(compressor="zstd", pcluster=65536, legacy_index=True, inode_form="extended"),
        BuildOptions(compressor="lz4", block_size=512),
        BuildOptions(compressor="zstd", pcluster=65536, kernel="7.0", dot_omitted=True),
        BuildOptions(compressor="lz4", encoded_extents=True, kernel="7.0"),
    ],
    ids=lambda options: f"{options.compressor}-{options.pcluster}-{options.block_size}-{options.kernel}",
)
def test_our_own_images_read_as_their_source(options: BuildOptions, sample_tree: Path, tmp_path: Path) -> None:
    build_image(tmp_path / "image", sample_tree, options)
    with Image.open(tmp_path / "image") as opened:
        assert differences(snapshot(sample_tree), seen(opened)) == []


@pytest.mark.parametrize("names", [(), ("empty",), ("folder/empty",)])
def test_an_image_without_any_data_reads_as_its_source(names: tuple[str, ...], tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in names:
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).touch()
    build_image(tmp_path / "image", source)
    with Image.open(tmp_path / "image") as opened:
        assert differences(snapshot(source), seen(opened)) == []


def test_ls_lists_names_and_below(image: Path, sample_tree: Path, cli: Cli) -> None:
    status, out, _ = cli("ls", image)
    assert status == 0
    assert out.split() == sorted(os.listdir(sample_tree))
    _, out, _ = cli("ls", "-R", image, "links")
    assert "/links/elsewhere:\nthird" in out
    _, out, _ = cli("ls", "-l", image, "/symlinks")
    assert "relative -> ../files/text" in out


def test_ls_json_names_everything_once(image: Path, sample_tree: Path, cli: Cli) -> None:
    _, out, _ = cli("ls", "-R", "--json", image)
    rows = json.loads(out)
    paths = {os.fsencode(row["path"]).lstrip(b"/") for row in rows}
    assert paths == set(snapshot(sample_tree)) - {b"."}
    assert len(paths) == len(rows)


def test_cat_writes_bytes_and_follows_links_inside(image: Path, sample_tree: Path, cli: Cli) -> None:
    assert cli("cat", image, "symlinks/relative")[1].encode() == (sample_tree / "files/text").read_bytes()
    status, _, err = cli("cat", image, "nowhere")
    assert (status, err.count("\n")) == (2, 1)


def test_stat_tells_the_fingerprint(image: Path, cli: Cli) -> None:
    (facts,) = json.loads(cli("stat", "--json", image, "files/text")[1])
    assert facts["fingerprint"].startswith("blake3:")
    assert facts["size"] == 1_500_007
    assert "Print: blake3:" in cli("stat", image, "files/text")[1]


@pytest.mark.parametrize("workers", [1, 2])
def test_extract_writes_the_source_again(
    workers: int, image: Path, sample_tree: Path, tmp_path: Path, cli: Cli
) -> None:
    status, _, err = cli("extract", image, tmp_path / "out", "--workers", workers)
    assert (status, err) == (0, "")
    assert compare_trees(sample_tree, tmp_path / "out") == []


def test_extract_of_a_path_keeps_where_it_was(image: Path, tmp_path: Path, cli: Cli) -> None:
    assert cli("extract", image, tmp_path / "out", "links/elsewhere/third", "/special/fifo")[0] == 0
    found = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*")}
    assert found == {"links", "links/elsewhere", "links/elsewhere/third", "special", "special/fifo"}


def test_extract_refuses_a_folder_that_holds_something(image: Path, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "mine").write_text("precious")
    status, _, err = cli("extract", image, tmp_path)
    assert status == 1
    assert "is not empty" in err


def test_extract_as_somebody_else_says_what_it_left_out(image: Path, sample_tree: Path, tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("needs root to become somebody else")
    tmp_path.chmod(0o777)
    for folder in (tmp_path, *tmp_path.parents, image.parent, *image.parent.parents):
        if not os.stat(folder).st_mode & 0o001:
            folder.chmod(0o755)
    script = f"""
import os, sys
sys.argv = ["mkfs-erofs-py"]
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from mkfs_erofs_py.cli import extract, main
from mkfs_erofs_py.compress import lz4
os.setgroups([]); os.setgid(1234); os.setuid(1234)
main.run(["extract", {str(image)!r}, {str(tmp_path / "out")!r}])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for what in ("owners", "devices", "trusted.* attributes", "security.* attributes"):
        assert f"left out: {what} (" in done.stderr
    want, got = snapshot(sample_tree), snapshot(tmp_path / "out")
    for path, entry in got.items():
        if entry.kind == "file":
            assert entry.content == want[path].content
    assert {path for path, entry in want.items() if entry.kind.endswith("device")} == want.keys() - got.keys()


def test_a_tar_stream_holds_the_source(image: Path, sample_tree: Path, tmp_path: Path, cli: Cli) -> None:
    if os.geteuid():
        pytest.skip("only root unpacks owners and devices")
    done = subprocess.run(
        [sys.executable, "-m", "mkfs_erofs_py", "extract", str(image), "-"], capture_output=True, check=True
    )
    assert done.stderr == b"left out: sockets (1)\n"
    assert len(done.stdout) % 10240 == 0
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        assert len(archive.getmembers()) == len(snapshot(sample_tree)) - 1
    (tmp_path / "out").mkdir()
    untar: list[str | Path] = [
        "tar",
        "--xattrs",
        "--xattrs-include=*",
        "--numeric-owner",
        "-xpf",
        "-",
        "-C",
        tmp_path / "out",
    ]
    subprocess.run(untar, input=done.stdout, check=True, capture_output=True)
    want = snapshot(sample_tree)
    del want[b"special/socket"]
    # GNU tar gives the link's own attributes to nobody, and makes folders' times its own where it writes below them.
    got = snapshot(tmp_path / "out")
    for tree in (want, got):
        for path, entry in tree.items():
            if entry.kind == "symlink":
                tree[path] = replace(entry, xattrs=())
    assert differences(want, got) == []


def test_access_control_lists_are_those_that_tar_knows(image: Path, sample_tree: Path, tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root unpacks owners and devices")
    lists = {
        (path, name): os.getxattr(path, name, follow_symlinks=False)
        for path in sample_tree.rglob("*")
        for name in os.listxattr(path, follow_symlinks=False)
        if name.startswith("system.posix_acl")
    }
    assert {name for _, name in lists} == {"system.posix_acl_access", "system.posix_acl_default"}
    stream = subprocess.run(
        [sys.executable, "-m", "mkfs_erofs_py", "extract", str(image), "-"], capture_output=True, check=True
    ).stdout
    subprocess.run(["tar", "--acls", "--numeric-owner", "-xpf", "-", "-C", tmp_path], input=stream, check=True)
    for (path, name), value in lists.items():
        assert os.getxattr(tmp_path / path.relative_to(sample_tree), name) == value


def test_verify_proves_a_sound_image(image: Path, sample_tree: Path, cli: Cli) -> None:
    status, out, _ = cli("verify", image, "--against", sample_tree)
    assert (status, out.count("\n")) == (0, 1)
    assert ": sound: " in out


@pytest.mark.parametrize("workers", [1, 2])
def test_a_lying_fingerprint_is_found(workers: int, sample_tree: Path, tmp_path: Path, cli: Cli) -> None:
    build_image(tmp_path / "image", sample_tree)
    with Image.open(tmp_path / "image") as opened:
        claim = opened.fingerprint("files/noise")
        offset = opened.lookup("files/noise").offset
    assert claim is not None
    data = bytearray((tmp_path / "image").read_bytes())
    at = data.index(claim, offset)
    data[at + 20] ^= 1
    (tmp_path / "image").write_bytes(data)
    status, out, _ = cli("verify", tmp_path / "image", "--json", "--workers", workers)
    (report,) = json.loads(out)
    assert status == 1
    lies = [one for one in report["findings"] if one["path"] == "/files/noise"]
    assert [one["kind"] for one in lies] == ["differs"]
    assert lies[0]["expected"].startswith("blake3:")
    assert lies[0]["expected"] != lies[0]["found"]


def test_a_missing_fingerprint_is_reported_but_no_fault(sample_tree: Path, tmp_path: Path, cli: Cli) -> None:
    build_image(tmp_path / "image", sample_tree, fingerprint="none")
    status, out, _ = cli("verify", tmp_path / "image")
    assert status == 0
    assert "has no fingerprint" in out


def test_a_manifest_proves_and_disproves(image: Path, tmp_path: Path, cli: Cli) -> None:
    manifest = tmp_path / "manifest"
    assert cli("verify", image, "--write-manifest", manifest)[0] == 0
    lines = manifest.read_bytes().splitlines(keepends=True)
    assert b"  /files/text\n" in b"".join(lines)
    assert cli("verify", image, "--manifest", manifest)[0] == 0
    broken = [b"blake3:" + b"0" * 64 + b"  /files/text\n" if b" /files/text\n" in line else line for line in lines]
    manifest.write_bytes(b"".join([*broken[:-1], b"blake3:" + b"1" * 64 + b"  /not/here\n"]))
    status, out, _ = cli("verify", image, "--manifest", manifest)
    assert status == 1
    assert "/files/text: content is not what the manifest says" in out
    assert "/not/here: is in the manifest but no file of the image" in out
    assert "is not in the manifest" in out


def test_a_manifest_or_tree_that_is_not_there_cannot_be_read(image: Path, tmp_path: Path, cli: Cli) -> None:
    for option in ("--manifest", "--against"):
        status, _, err = cli("verify", image, option, tmp_path / "nowhere")
        assert status == 2
        assert err == f"mkfs-erofs-py: {tmp_path}/nowhere: No such file or directory\n"


def test_a_manifest_may_come_from_sha256sum(image: Path, sample_tree: Path, tmp_path: Path, cli: Cli) -> None:
    names = sorted(str(path.relative_to(sample_tree)) for path in (sample_tree / "files").iterdir())
    with (tmp_path / "sums").open("wb") as out:
        subprocess.run(["sha256sum", *(f"./{name}" for name in names)], cwd=sample_tree, stdout=out, check=True)
    _, text, _ = cli("verify", image, "--manifest", tmp_path / "sums", "--json")
    (report,) = json.loads(text)
    assert not [one for one in report["findings"] if one["path"].startswith("/files/")]


def test_verify_against_names_each_difference(image: Path, sample_tree: Path, tmp_path: Path, cli: Cli) -> None:
    other = tmp_path / "other"
    subprocess.run(["cp", "-a", sample_tree, other], check=True)
    (other / "files/noise-4097").write_bytes(b"x" * 4097)
    (other / "empty").rmdir()
    (other / "added").touch()
    os.chmod(other / "many", 0o700)
    status, out, _ = cli("verify", image, "--against", other)
    assert status == 1
    for line in (
        "/files/noise-4097: content is not that of the tree, from byte 0",
        "/empty: is not in the tree",
        "/added: is not in the image",
        "/many: mode is not that of the tree: expected drwx------, found drwxr-xr-x",
    ):
        assert line in out


def test_what_cannot_be_read_is_status_2(image: Path, tmp_path: Path, cli: Cli) -> None:
    status, _, err = cli("verify", tmp_path / "nothing", image)
    assert status == 2
    assert "cannot be read" in err


def test_what_is_no_image_is_one_clear_line(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "text").write_bytes(b"no image at all" * 1000)
    extra: dict[str, list[object]] = {"ls": [], "stat": ["/"], "cat": ["/"], "extract": [tmp_path / "out"]}
    for word, more in extra.items():
        status, out, err = cli(word, tmp_path / "text", *more)
        assert (status, out, err.count("\n")) == (1, "", 1), word
        assert "not an EROFS image" in err
    assert cli("verify", tmp_path / "text")[0] == 1


def test_dump_shows_the_superblock_and_an_inode(image: Path, cli: Cli) -> None:
    facts = json.loads(cli("dump", "--json", image)[1])
    assert facts["block_size"] == 4096
    assert facts["image_size"] == image.stat().st_size
    inode = json.loads(cli("dump", "--json", image, "files/text")[1])
    assert sum(row["length"] for row in inode["extents"]) == inode["size"] == 1_500_007
    assert json.loads(cli("dump", "--json", image, "--nid", inode["nid"])[1])["extents"] == inode["extents"]
    assert cli("dump", image, "files/text", "--map")[0] == 2


def test_the_map_accounts_for_every_byte(image: Path, cli: Cli) -> None:
    found = json.loads(cli("dump", "--map", "--json", image)[1])
    end = 0
    for region in found["regions"]:
        assert region["start"] == end
        end = region["end"]
    assert end == found["size"] == sum(found["totals"].values()) == image.stat().st_size
    assert "unused" not in found["totals"]
    assert cli("dump", "--map", image)[1].rstrip().endswith(f"in all, of {found['size']}")


def test_diff_of_an_image_with_itself_is_empty(image: Path, cli: Cli) -> None:
    assert cli("diff", image, image) == (0, "", "")


@pytest.mark.parametrize("fingerprint", ["blake3", "none"])
def test_diff_names_what_changed(fingerprint: str, image: Path, sample_tree: Path, tmp_path: Path, cli: Cli) -> None:
    other = tmp_path / "other"
    subprocess.run(["cp", "-a", sample_tree, other], check=True)
    (other / "files/noise-4097").write_bytes(b"x" * 4097)
    (other / "files/text-1").unlink()
    (other / "added").touch()
    os.chmod(other / "many", 0o700)
    build_image(tmp_path / "image", other, fingerprint=fingerprint)
    status, out, _ = cli("diff", image, tmp_path / "image", "--ignore", "time")
    assert status == 1
    assert out.splitlines() == [
        "+ /added",
        "M /files/noise-4097: content",
        "- /files/text-1",
        "M /many: mode 0755 -> 0700",
    ]
    rows = json.loads(cli("diff", "--json", image, tmp_path / "image", "--ignore", "time")[1])
    assert (rows[0]["mark"], rows[0]["path"]) == ("+", "/added")


def test_a_tree_deeper_than_any_path_is_extracted(tmp_path: Path, cli: Cli) -> None:
    levels, name = 60, b"n" * 200
    source = os.open(tmp_path, os.O_RDONLY)
    for part in (b"source", *[name] * levels):
        os.mkdir(part, dir_fd=source)
        below = os.open(part, os.O_RDONLY, dir_fd=source)
        os.close(source)
        source = below
    os.close(os.open(b"bottom", os.O_CREAT | os.O_WRONLY, dir_fd=source))
    os.close(source)
    build_image(tmp_path / "image", tmp_path / "source")
    assert cli("extract", tmp_path / "image", tmp_path / "out")[::2] == (0, "")
    assert cli("verify", tmp_path / "image")[0] == 0
    found = subprocess.run(["find", tmp_path / "out", "-name", "bottom"], capture_output=True, check=True).stdout
    assert found.count(name) == levels


def test_names_need_not_fit_the_encoding_of_the_output(image: Path) -> None:
    command = [sys.executable, "-m", "mkfs_erofs_py", "ls", "-R", str(image)]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\\u20ac" in done.stdout


def test_an_attribute_that_tar_cannot_name_is_left_out_and_said(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_bytes(b"content")
    os.setxattr(tree / "file", b"user.\xff", b"value")
    build_image(tmp_path / "image", tree)
    extract = [sys.executable, "-m", "mkfs_erofs_py", "extract", str(tmp_path / "image"), "-"]
    done = subprocess.run(extract, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"left out: attributes whose names are not UTF-8 (1)\n")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        assert "./file" in archive.getnames()


@pytest.mark.parametrize("words", [["ls", "-lR"], ["cat"], ["dump", "--map"], ["extract"]], ids=lambda words: words[0])
def test_a_reader_that_leaves_ends_a_command_without_a_word(words: list[str], image: Path, tmp_path: Path) -> None:
    """As programs end that do not handle SIGPIPE: 128 and its number."""
    behind = {"cat": ["files/text"], "extract": ["-"]}.get(words[0], [])
    reader, writer = os.pipe()
    os.close(reader)
    argv = [sys.executable, "-m", "mkfs_erofs_py", *words, str(image), *behind]
    try:
        done = subprocess.run(argv, stdout=writer, stderr=subprocess.PIPE, text=True)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")
