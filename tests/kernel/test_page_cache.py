"""What the kernel itself caches of a mounted image, counted by cachestat, against what is predicted."""

from __future__ import annotations

import ctypes
import os
import platform
import stat
from pathlib import Path

import pytest

from mkfs_erofs_py.build import build_image
from mkfs_erofs_py.mount import measure, predict, profile_image
from mkfs_erofs_py.read import Image
from tests.conftest import KernelMount

pytestmark = pytest.mark.kernel

CACHESTAT = 451
"""The system call's number, the same on every architecture but alpha; Linux 6.5."""


def cached_pages(path: Path) -> int:
    """Read a whole file and return how many of its pages the kernel then caches."""
    with open(path, "rb", buffering=0) as file:
        while file.read(1 << 20):
            pass
        whole, counts = (ctypes.c_uint64 * 2)(0, 0), (ctypes.c_uint64 * 5)()
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syscall(CACHESTAT, file.fileno(), ctypes.byref(whole), ctypes.byref(counts), 0):
            raise OSError(ctypes.get_errno(), "cachestat")
        return counts[0]


def cached_bytes(root: Path) -> int:
    seen: set[int] = set()
    pages = 0
    for folder, _, names in os.walk(root):
        for path in (Path(folder, name) for name in names):
            facts = path.lstat()
            if stat.S_ISREG(facts.st_mode) and facts.st_ino not in seen:
                seen.add(facts.st_ino)
                pages += cached_pages(path)
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("compressor", ["lz4", "zstd", None])
def test_the_kernel_caches_what_is_predicted(
    sample_tree: Path, tmp_path: Path, kernel_mount: KernelMount, compressor: str | None
) -> None:
    if platform.machine() == "alpha" or os.sysconf("SC_PAGE_SIZE") != 4096:
        pytest.skip("counts pages of 4 KiB by system call 451")
    image = tmp_path / "image.erofs"
    build_image(image, sample_tree, compressor=compressor)
    root = kernel_mount(image, since=(6, 10) if compressor == "zstd" else (6, 5))
    with Image.open(image) as opened:
        predicted = predict([profile_image(opened, "image")])
        measured = measure([("image", opened)])
    assert cached_bytes(root) == predicted.total.without_bytes == measured.total.without_bytes
