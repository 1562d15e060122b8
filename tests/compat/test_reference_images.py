"""Images of erofs-utils over its options read back as the tree they were made from."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mkfs_erofs_py.errors import ImageError
from mkfs_erofs_py.read import Image
from tests.compat.corpus import CASES, Case, make_image
from tests.compat.seen import seen
from tests.support.trees import Snapshot, differences, snapshot

pytestmark = pytest.mark.reference

# mkfs.erofs itself takes 15 to 20 seconds to find what small clusters of sparse files have in common.
LONG = {"zlz4_-Ededupe", "zlzma_-C262144_-Eall-fragments,dedupe"}


@pytest.fixture(scope="session")
def sample(sample_tree: Path) -> Snapshot:
    return snapshot(sample_tree)


def comparable(tree: Snapshot, case: Case) -> Snapshot:
    """Return what must be equal in a tree and its image, given what the tool changes under these options."""
    words = " ".join(case.options)
    # tar has no sockets and keeps a fifo's names apart; compact times of the 48-bit layout hold 32 bits of seconds.
    lost = {b"special/socket", b"links/fifo", b"links/fifo-again"} if case.tar else set()
    unstorable = {b"files/before-1970", b"files/after-2106"} if "48bit" in words else set()
    kept: Snapshot = {}
    for path, entry in tree.items():
        if path in lost:
            continue
        if "-x-1" in words:
            entry = replace(entry, xattrs=())
        if "--all-root" in words:
            entry = replace(entry, uid=0, gid=0)
        if "-T0" in words or "compact" in words or path in unstorable:
            entry = replace(entry, mtime_ns=0)
        elif "48bit" in words or path == b".":
            # Compact inodes of the 48-bit layout and the root lose their nanoseconds, others none.
            entry = replace(entry, mtime_ns=entry.mtime_ns // 10**9 * 10**9)
        kept[path] = entry
    return kept


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] if name in LONG else []) for name in CASES]
)
def test_an_image_reads_as_the_tree_it_was_made_from(
    name: str, sample: Snapshot, sample_tree: Path, tmp_path: Path, reference_tool: Callable[[str], Path]
) -> None:
    case = CASES[name]
    reference_tool("mkfs.erofs")
    image_path = tmp_path / "image"
    devices = make_image(case, sample_tree, image_path)
    try:
        with Image.open(image_path, devices=devices) as image:
            found = seen(image)
    except ImageError:
        # The tool itself writes broken metadata zones now and then; its own checker must say so too.
        done = subprocess.run([reference_tool("fsck.erofs"), "--extract", image_path], capture_output=True)
        assert done.returncode, "fsck.erofs accepts the image"
        pytest.skip("fsck.erofs refuses the image as well")
    assert differences(comparable(sample, case), comparable(found, case)) == []


@pytest.mark.parametrize(
    "name", ["zlz4", "zzstd,level=9_-C65536_-E48bit", "zlz4hc_-C65536_-Ededupe,fragments", "chunksize=4096"]
)
def test_any_part_of_a_file_reads_as_in_the_source(
    name: str, sample_tree: Path, tmp_path: Path, reference_tool: Callable[[str], Path]
) -> None:
    reference_tool("mkfs.erofs")
    make_image(CASES[name], sample_tree, tmp_path / "image")
    draw = random.Random(name)
    with Image.open(tmp_path / "image") as image:
        for path in ("files/text", "files/mixed", "files/sparse", "files/same-2", "files/text-4097"):
            data = (sample_tree / path).read_bytes()
            with image.open_file(path) as file:
                for _ in range(60):
                    offset, length = draw.randrange(len(data) + 100), draw.choice((1, 100, 5000, 300_000))
                    file.seek(offset)
                    assert file.read(length) == data[offset : offset + length]
