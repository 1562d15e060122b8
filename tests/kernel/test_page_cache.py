"""What the kernel itself caches of mounted images, page by page, against what is predicted and measured."""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from mkfs_erofs_py.read import Image
from mkfs_erofs_py.sharing import measure, predict, profile_image
from mkfs_erofs_py.write import build_image
from tests.conftest import KernelMount

pytestmark = pytest.mark.kernel

PAGE = os.sysconf("SC_PAGE_SIZE")


def cached_pages(descriptor: int) -> int:
    """Return how many pages of an open file the kernel caches.

    By mincore, which follows a mapping to the pages it would use. ``cachestat`` asks the file's own inode, and
    counts nothing where the pages belong to the one that it shares.
    """
    size = os.fstat(descriptor).st_size
    if not size:
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    flags = ctypes.create_string_buffer(-(-size // PAGE))
    shared = readable = 1
    address = libc.mmap(None, size, readable, shared, descriptor, 0)
    if address in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "mmap")
    try:
        if libc.mincore(address, size, flags):
            raise OSError(ctypes.get_errno(), "mincore")
    finally:
        libc.munmap(address, size)
    return sum(flag & 1 for flag in flags.raw[: -(-size // PAGE)])


def regular_files(root: Path) -> Iterator[Path]:
    """Yield every regular file once, whatever the number of its links."""
    seen: set[int] = set()
    for folder, _, names in os.walk(root):
        for path in (Path(folder, name) for name in names):
            facts = path.lstat()
            if stat.S_ISREG(facts.st_mode) and facts.st_ino not in seen:
                seen.add(facts.st_ino)
                yield path


def read_everything(root: Path) -> tuple[int, int]:
    """Read all files -> the bytes cached of all of them, the bytes that were not cached before."""
    cached = new = 0
    for path in regular_files(root):
        with open(path, "rb", buffering=0) as file:
            before = cached_pages(file.fileno())
            while file.read(1 << 20):
                pass
            after = cached_pages(file.fileno())
        cached += after
        new += after - before
    return cached * PAGE, new * PAGE


@pytest.fixture(autouse=True)
def pages_of_4_kib() -> None:
    if PAGE != 4096:
        pytest.skip(f"predictions are in pages of 4096 bytes, this kernel's have {PAGE}")


@pytest.mark.parametrize("compressor", ["lz4", "zstd", None])
def test_without_sharing(sample_tree: Path, tmp_path: Path, kernel_mount: KernelMount, compressor: str | None) -> None:
    image = tmp_path / "image.erofs"
    build_image(image, sample_tree, compressor=compressor)
    root = kernel_mount(image, since=(6, 10) if compressor == "zstd" else (5, 4))
    with Image.open(image) as opened:
        predicted = predict([profile_image(opened, "image")])
        measured = measure([opened], names=["image"])
    cached, _ = read_everything(root)
    assert cached == predicted.total.without_bytes == measured.total.without_bytes


@pytest.mark.parametrize("compressor", ["lz4", "zstd", None])
def test_with_sharing(sample_tree: Path, tmp_path: Path, kernel_mount: KernelMount, compressor: str | None) -> None:
    other = tmp_path / "other"
    shutil.copytree(sample_tree / "files", other)
    (other / "changed").write_bytes(b"not in the sample" * 1000)
    images = [tmp_path / "one.erofs", tmp_path / "two.erofs"]
    for image, tree in zip(images, (sample_tree, other), strict=True):
        build_image(image, tree, compressor=compressor)
    roots = [kernel_mount(image, "inode_share,domain_id=test", since=(7, 0)) for image in images]
    with Image.open(images[0]) as one, Image.open(images[1]) as two:
        predicted = predict([profile_image(one, "one"), profile_image(two, "two")]).total
        measured = measure([one, two], names=["one", "two"]).total
    found = [read_everything(root) for root in roots]
    assert sum(cached for cached, _ in found) == predicted.without_bytes == measured.without_bytes
    assert sum(new for _, new in found) == predicted.with_bytes == measured.with_bytes
    assert predicted.saved_bytes > 0
