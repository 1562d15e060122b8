"""Trees and options at random, sizes close to where something changes: what is built reads as its source.

``MKFS_EROFS_PY_SEEDS=FIRST:LAST`` tries other seeds than the few of every run.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mkfs_erofs_py.read import Image
from tests.compat.seen import seen
from tests.conftest import KernelMount
from tests.support.images import build, fsck, noise, text
from tests.support.trees import differences, snapshot

FIRST, LAST = map(int, os.environ.get("MKFS_EROFS_PY_SEEDS", "0:25").split(":"))


def options(rng: random.Random) -> dict[str, Any]:
    """Draw options that a kernel with 4 KiB pages reads."""
    block = rng.choice((512, 1024, 2048, 4096, 4096, 4096))
    chosen: dict[str, Any] = {
        "block_size": block,
        "compressor": rng.choice((None, "lz4", "lz4hc,3", "zstd,1", "zstd,9", "deflate,1", "lzma,0")),
        "pcluster": min(block << rng.randint(0, 10), 1 << 20, block * 2047),
        "xattr_tolerance": rng.choice((0, 1, 2, 5)),
        "inline_data": rng.random() < 0.8,
        "inode_form": rng.choice(("auto", "auto", "auto", "extended")),
        "fingerprint": rng.choice(("blake3", "blake3", "sha256", "none")),
        "workers": rng.randint(1, 3),
    }
    if (chosen["compressor"] or "").startswith("lz4"):
        chosen["pcluster"] = min(chosen["pcluster"], 256 * block)
    index = rng.choice(("compact", "full", "extents", "extents"))
    if index == "full":
        chosen["legacy_index"] = True
    elif index == "extents":
        chosen |= {"encoded_extents": True, "dot_omitted": rng.random() < 0.3}
    if rng.random() < 0.3:
        chosen["xattr_prefixes"] = (b"user.a", b"user.aa", b"trusted.b")
    return chosen


def content(rng: random.Random, block: int) -> bytes:
    """Draw bytes of a size close to a multiple of blocks, or of clusters, or small."""
    around = rng.choice((0, 0, block, 2 * block, rng.randint(0, 40) * block, 65536, rng.randint(0, 4 << 20)))
    size = max(0, around + rng.choice((-1, 0, 1, rng.randint(-200, 200), rng.randint(0, block))))
    if size > 1 << 20 and rng.random() < 0.7:
        size >>= 4
    parts: list[bytes] = []
    while size > 0:
        length = min(size, rng.choice((size, rng.randint(1, size), rng.randint(1, block), block)))
        kind = rng.randrange(4)
        parts.append(bytes(length) if not kind else (noise if kind == 1 else text)(length, rng.randrange(9)))
        size -= length
    return b"".join(parts)


def name(rng: random.Random) -> bytes:
    while True:
        found = rng.randbytes(rng.choice((1, 2, 3, 8, 30, rng.randint(1, 255))))
        if rng.random() < 0.7:
            found = b"".join(b"%c" % (0x2D + b % 80) for b in found)
        if not set(found) & {0, 0x2F} and found not in (b".", b".."):
            return found


def make_tree(rng: random.Random, root: bytes, block: int) -> None:
    os.mkdir(root)
    folders, files = [root], []
    for _ in range(rng.choice((0, 3, 30, 30, 120))):
        path = os.path.join(rng.choice(folders), name(rng))
        if os.path.lexists(path):
            continue
        kind = rng.randrange(10)
        if kind < 5:
            with open(path, "wb") as file:
                file.write(content(rng, block))
            files.append(path)
        elif kind < 7:
            os.mkdir(path)
            folders.append(path)
        elif kind == 7:
            os.symlink(b"t" * rng.choice((1, 50, block - 64, block - 32, block - 1, rng.randint(1, 4095))), path)
        elif kind == 8 and files:
            os.link(rng.choice(files), path)
        else:
            os.mkfifo(path)
        decorate(rng, path)
    decorate(rng, root)
    for path in folders:
        # What was put into it changed its time.
        os.utime(path, ns=(1, rng.choice((5, 10**18, 1_700_000_000_000_000_000))))


def decorate(rng: random.Random, path: bytes) -> None:
    """Give a path attributes, a mode, an owner and a time; a few of each, so that many are alike."""
    for _ in range(rng.choice((0, 0, 0, 1, 2, 12))):
        space = "trusted." if os.path.islink(path) or not os.path.isfile(path) else rng.choice(("user.", "trusted."))
        key = space + rng.choice(("a", "aa", "ab", "b", "x" * rng.randint(1, 200)))
        try:
            os.setxattr(path, key, bytes(rng.choice((0, 1, 7, 100, 900))), follow_symlinks=False)
        except OSError:
            continue  # this file system has no room
    if not os.path.islink(path) and rng.random() < 0.3:
        os.chmod(path, rng.choice((0o600, 0o4755, 0o1777)))
    if os.geteuid() == 0 and rng.random() < 0.2:
        os.chown(path, rng.choice((1, 65535, 65536)), rng.choice((0, 70000)), follow_symlinks=False)
    if rng.random() < 0.8:
        when = rng.choice((1_700_000_000, 1_700_000_000, 1, 3_000_000_000, 9_000_000_000)) * 10**9
        os.utime(path, ns=(when, when + rng.choice((0, 0, 1))), follow_symlinks=False)


@pytest.mark.kernel
@pytest.mark.reference
@pytest.mark.parametrize("seed", range(FIRST, LAST))
def test_a_random_tree_reads_as_it_is(
    seed: int, tmp_path: Path, kernel_mount: KernelMount, reference_tool: Callable[[str], Path]
) -> None:
    rng = random.Random(seed)
    chosen = options(rng)
    make_tree(rng, os.fsencode(tmp_path / "tree"), chosen["block_size"])
    expected = snapshot(tmp_path / "tree")
    summary = build(tmp_path / "image", tmp_path / "tree", **chosen)
    with Image.open(tmp_path / "image") as image:
        assert differences(expected, seen(image)) == []
    major, minor = summary.kernel.split(".")
    point = kernel_mount(tmp_path / "image", since=(int(major), int(minor)))
    assert differences(expected, snapshot(point)) == []
    fsck(reference_tool("fsck.erofs"), tmp_path / "image", "--extract")
