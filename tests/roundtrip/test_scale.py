"""Large things: directories, files, links. What is measured is that they fit, never how long they take."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mkfs_erofs_py.read import Image
from tests.conftest import KernelMount
from tests.support.images import build, make
from tests.support.requirements import ROOT

MANY = 20_000


@pytest.mark.kernel
def test_a_directory_of_many_entries_is_found_name_by_name(tmp_path: Path, kernel_mount: KernelMount) -> None:
    tree = make(tmp_path / "tree", {"first": b"content", "folder": None})
    for number in range(MANY):
        os.link(tree / "first", tree / "folder" / f"entry {number:x}")
    build(tmp_path / "image", tree)
    point = kernel_mount(tmp_path / "image", since=(6, 4))
    expected = sorted(os.listdir(tree / "folder"))
    assert sorted(os.listdir(point / "folder")) == expected
    for name in expected[::7]:
        assert os.stat(point / "folder" / name).st_nlink == MANY + 1
    for name in ("entry", "entry -1", "entry zz", "a", "~"):
        assert not (point / "folder" / name).exists()


@pytest.mark.kernel
def test_more_links_than_16_bits_count(tmp_path: Path, kernel_mount: KernelMount) -> None:
    folder = tmp_path / "tmpfs"
    folder.mkdir()
    # Most file systems on disks stop before.
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("cannot mount a tmpfs here")
    try:
        tree = make(folder / "tree", {"file": b"content"})
        for number in range(65_600):
            os.link(tree / "file", tree / f"{number}")
        build(tmp_path / "image", tree)
    finally:
        subprocess.run(["umount", folder], check=True)
    point = kernel_mount(tmp_path / "image", since=(6, 4))
    assert os.stat(point / "file").st_nlink == 65_601


def resident(argv: list[str]) -> int:
    """Run a build in a process of its own -> the most bytes it, or a worker of it, had resident."""
    program = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    argv = [sys.executable, "-c", program, sys.executable, "-m", "mkfs_erofs_py", "build", "--quiet", *argv]
    return int(subprocess.run(argv, cwd=ROOT, check=True, capture_output=True).stdout) * 1024


SPARSE = {
    # options, the most that the image may take: LZ4 shrinks nothing to less than a 255th, extents have holes
    "lz4": ("-zlz4 -C65536", 1 << 25),
    "zstd": ("-zzstd -C65536 -E48bit", 1 << 20),
}


@pytest.mark.kernel
@pytest.mark.long
@pytest.mark.parametrize("name", SPARSE)
def test_memory_does_not_grow_with_the_size_of_a_sparse_file(
    name: str, tmp_path: Path, kernel_mount: KernelMount
) -> None:
    tree = make(tmp_path / "tree", {"sparse": b""})
    island, size = (1 << 31) + 12_345, (1 << 32) + 4097
    with open(tree / "sparse", "r+b") as file:
        file.truncate(size)
        file.seek(island)
        file.write(b"an island")
    options, largest = SPARSE[name]
    most = resident([*options.split(), "--workers=2", str(tmp_path / "image"), str(tree)])
    assert most < 300 << 20
    assert (tmp_path / "image").stat().st_size <= largest
    with Image.open(tmp_path / "image") as image:
        assert image.lookup("sparse").size == size
        assert image.pread("sparse", 20, island - 5) == b"\0" * 5 + b"an island" + b"\0" * 6
    point = kernel_mount(tmp_path / "image", since=(6, 15))
    with open(point / "sparse", "rb", buffering=0) as found:
        for at, expected in ((0, bytes(16)), (island, b"an island"), (size - 16, bytes(16))):
            assert os.pread(found.fileno(), len(expected), at) == expected


@pytest.mark.long
def test_memory_does_not_grow_with_the_size_of_a_real_file(tmp_path: Path) -> None:
    tree = make(tmp_path / "tree", {"file": b""})
    with open(tree / "file", "wb") as file:
        block = os.urandom(1 << 20)
        file.writelines(number.to_bytes(4) + block[4:] for number in range(400))
    assert resident(["-zlz4", "-C65536", "--workers=2", str(tmp_path / "image"), str(tree)]) < 300 << 20
