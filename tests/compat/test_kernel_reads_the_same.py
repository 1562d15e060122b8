"""What the library reads is what the kernel's own driver shows of the same image."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mkfs_erofs_py.read import Image
from tests.compat.corpus import CASES, make_image
from tests.compat.seen import seen
from tests.conftest import KernelMount
from tests.support.trees import Snapshot, differences, snapshot

pytestmark = [pytest.mark.kernel, pytest.mark.reference]

#: One case of each way to store data, and the release that first mounts it.
CHOSEN = {
    "plain": (5, 4),
    "b512": (6, 4),
    "chunksize=4096_-Eforce-chunk-indexes": (5, 15),
    "x1": (5, 4),
    "zlz4": (5, 4),
    "zlz4hc_-C65536_-Ededupe,fragments": (6, 1),
    "zlz4_-C16384_-Eztailpacking,fragments": (6, 1),
    "zlzma_-C65536": (5, 16),
    "zdeflate_-Elegacy-compress": (6, 6),
    "zzstd,level=9_-C65536_-E48bit": (6, 15),
    "zlz4_-E48bit,dot-omitted_max-extent-bytes=8192": (6, 15),
    "zzstd_-m4096_MZ=i_-E48bit": (6, 17),
}


def without_overlay_marks(tree: Snapshot) -> Snapshot:
    """Leave out what `seen` leaves out."""
    mark = "trusted.overlay.origin"
    return {
        path: replace(entry, xattrs=tuple(pair for pair in entry.xattrs if pair[0] != mark))
        for path, entry in tree.items()
    }


@pytest.mark.parametrize("name", CHOSEN)
def test_a_mount_shows_what_the_library_reads(
    name: str, sample_tree: Path, tmp_path: Path, reference_tool: Callable[[str], Path], kernel_mount: KernelMount
) -> None:
    reference_tool("mkfs.erofs")
    image_path = tmp_path / "image"
    assert make_image(CASES[name], sample_tree, image_path) == []
    mounted = kernel_mount(image_path, since=CHOSEN[name])
    draw = random.Random(name)
    with Image.open(image_path) as image:
        assert differences(without_overlay_marks(snapshot(mounted)), seen(image)) == []
        for path in ("files/text", "files/mixed", "many", "symlinks/relative"):
            ours, theirs = image.stat(path), (mounted / path).stat()
            assert (ours.st_ino, ours.st_size, ours.st_nlink) == (theirs.st_ino, theirs.st_size, theirs.st_nlink)
            assert ours.st_blocks == theirs.st_blocks
        with (mounted / "files/mixed").open("rb") as theirs_file, image.open_file("files/mixed") as ours_file:
            for _ in range(50):
                offset = draw.randrange(ours_file.size)
                theirs_file.seek(offset)
                assert ours_file.pread(5000, offset) == theirs_file.read(5000)
