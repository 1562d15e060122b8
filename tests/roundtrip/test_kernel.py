"""A kernel mounts our images, and what it shows is the source."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import blake3
import pytest

from mkfs_erofs_py.check.inode import check
from mkfs_erofs_py.read import Image
from mkfs_erofs_py.write import BuildSummary
from tests.compat.seen import seen
from tests.conftest import KernelMount
from tests.support.images import build, fsck, make, mixed, noise, text
from tests.support.sample import make_tree
from tests.support.trees import Snapshot, differences, snapshot

Options = dict[str, Any]

INDEXES: dict[str, Options] = {
    "compact": {},
    "full": {"legacy_index": True},
    "extents": {"encoded_extents": True},
}
CLUSTERS = (4096, 16384, 65536, 1 << 20)


def matrix() -> dict[str, Options]:
    """Return the options of every image of the round trip by name."""
    cases: dict[str, Options] = {
        "none": {"compressor": None},
        "none-48bit": {"compressor": None, "encoded_extents": True},
        "none-noinline": {"compressor": None, "inline_data": False},
    }
    # Every index with every cluster size, by the fastest encoders; the other encoders with some of each.
    for compressor in ("lz4", "zstd", "lz4hc", "deflate", "lzma"):
        for index, form in INDEXES.items():
            for cluster in CLUSTERS if compressor in ("lz4", "zstd") else (4096, 65536):
                if compressor == "lzma" and (index, cluster) not in (("compact", 4096), ("extents", 65536)):
                    continue  # the slow one: once in each form
                cases[f"{compressor}-{index}-{cluster}"] = {"compressor": compressor, "pcluster": cluster, **form}
    for block in (512, 1024, 2048):
        cases[f"none-b{block}"] = {"compressor": None, "block_size": block}
        for compressor, index in (("lz4", "compact"), ("zstd", "full"), ("lz4hc", "extents"), ("deflate", "compact")):
            cases[f"{compressor}-{index}-b{block}"] = {
                "compressor": compressor,
                "block_size": block,
                "pcluster": 16384,
                **INDEXES[index],
            }
        cases[f"zstd-compact-b{block}-single"] = {"compressor": "zstd", "block_size": block, "pcluster": block}
    cases |= {
        "lz4-dot-omitted": {"compressor": "lz4", "dot_omitted": True},
        "lz4-extended": {"compressor": "lz4", "inode_form": "extended"},
        "lz4-no-checksum": {"compressor": "lz4", "checksum": False},
        "lz4-no-filter": {"compressor": "lz4", "xattr_filter": False},
        "lz4-shared-never": {"compressor": "lz4", "xattr_tolerance": 1000},
        "lz4-prefixes": {"compressor": "lz4", "xattr_prefixes": (b"user.number-", b"trusted.overlay.", b"user.note")},
        "lzma-small-dictionary": {"compressor": "lzma,dictsize=4096", "pcluster": 65536},
        "zstd-small-window": {"compressor": "zstd,19,dictsize=4096", "pcluster": 65536},
        "deflate-small-window": {"compressor": "deflate,9,dictsize=512", "pcluster": 65536},
        "kernel-5.4": {"compressor": "lz4", "kernel": "5.4"},
        "kernel-6.1": {"compressor": "lz4hc", "kernel": "6.1", "pcluster": 65536},
        "kernel-6.15": {"compressor": "zstd", "kernel": "6.15"},
        "no-fingerprint": {"compressor": "lz4hc", "fingerprint": "none"},
        "sha256": {"compressor": "lz4hc", "fingerprint": "sha256"},
    }
    return cases


MATRIX = matrix()


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("roundtrip") / "tree"
    make_tree(root, entries=150, depth=5)
    return root


@pytest.fixture(scope="session")
def expected(tree: Path) -> Snapshot:
    return snapshot(tree)


def release(summary: BuildSummary) -> tuple[int, int]:
    """Return the oldest kernel that a summary promises."""
    major, minor = summary.kernel.split(".")
    return int(major), int(minor)


Built = Callable[[str], tuple[Path, BuildSummary]]


@pytest.fixture(scope="session")
def built(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Return a function from a name in the matrix to its image, built once for all judges."""
    folder = tmp_path_factory.mktemp("matrix")

    @cache
    def image(name: str) -> tuple[Path, BuildSummary]:
        return folder / name, build(folder / name, tree, **MATRIX[name])

    return image


@pytest.mark.kernel
@pytest.mark.parametrize("name", MATRIX)
def test_a_mounted_image_shows_its_source(
    name: str, built: Built, expected: Snapshot, kernel_mount: KernelMount
) -> None:
    image, summary = built(name)
    point = kernel_mount(image, since=release(summary))
    assert differences(expected, snapshot(point)) == []


@pytest.mark.reference
@pytest.mark.parametrize("name", MATRIX)
def test_the_reference_checker_accepts_it(name: str, built: Built, reference_tool: Callable[[str], Path]) -> None:
    tool = reference_tool("fsck.erofs")
    fsck(tool, built(name)[0], "--extract")


@pytest.mark.parametrize("name", MATRIX)
def test_our_own_checker_finds_nothing(name: str, built: Built) -> None:
    with Image.open(built(name)[0]) as image:
        for path, inode in image.inodes():
            found = [finding for finding in check(image, path, inode).findings if finding.kind != "unproven"]
            assert found == []


LARGE_BLOCKS = {
    f"{compressor}-{index}-b{block}": {
        "compressor": compressor,
        "block_size": block,
        "pcluster": max(65536, block),
        **INDEXES[index],
    }
    for block in (8192, 16384, 32768, 65536)
    for compressor, index in (("lz4", "compact"), ("zstd", "full"), ("lz4hc", "extents"))
} | {f"none-b{block}": {"compressor": None, "block_size": block} for block in (8192, 65536)}


@pytest.mark.parametrize("name", LARGE_BLOCKS)
def test_blocks_larger_than_pages_read_as_the_source(name: str, tree: Path, expected: Snapshot, tmp_path: Path) -> None:
    # Neither a kernel with 4 KiB pages nor erofs-utils on such a machine takes these.
    build(tmp_path / "image", tree, **LARGE_BLOCKS[name])
    with Image.open(tmp_path / "image") as image:
        assert differences(expected, seen(image)) == []


@pytest.fixture(scope="session")
def segments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tree of contents that are packed in several segments of 4 MiB, with every kind of seam."""
    segment = 4 << 20
    return make(
        tmp_path_factory.mktemp("segments") / "tree",
        {
            "mixed": mixed(9_500_001, 1),
            "exact": mixed(2 * segment, 2),
            "byte-more": text(segment, 3) + b"!",
            "noise-behind-text": text(segment - 1000, 4) + noise(70_000, 5) + text(100_000, 6),
            "text-behind-noise": noise(segment - 1, 7) + text(300_000, 8),
            "noise": noise(segment + 12345, 9),
            "zeros": bytes(2 * segment + 100),
            "again": mixed(9_500_001, 1),
        },
    )


SEGMENTED: dict[str, Options] = {
    "none": {"compressor": None},
    "lz4-compact-4096": {"compressor": "lz4", "pcluster": 4096},
    "lz4-full-16384": {"compressor": "lz4", "pcluster": 16384, "legacy_index": True},
    "lz4-extents": {"compressor": "lz4", "encoded_extents": True},
    "lz4-compact-b512": {"compressor": "lz4", "block_size": 512, "pcluster": 65536},
    "zstd-compact-65536": {"compressor": "zstd,1", "pcluster": 65536},
    "zstd-extents-16384": {"compressor": "zstd,1", "pcluster": 16384, "encoded_extents": True},
}


@pytest.mark.kernel
@pytest.mark.parametrize("name", SEGMENTED)
def test_contents_of_several_segments_are_whole(
    name: str, segments: Path, tmp_path: Path, kernel_mount: KernelMount
) -> None:
    summary = build(tmp_path / "image", segments, workers=2, **SEGMENTED[name])
    point = kernel_mount(tmp_path / "image", since=release(summary))
    assert differences(snapshot(segments), snapshot(point)) == []
    assert summary.duplicates == 1
    assert summary.duplicate_bytes == 9_500_001


@pytest.mark.kernel
@pytest.mark.parametrize("algorithm", ["blake3", "sha256"])
def test_the_fingerprint_is_an_attribute_of_the_mounted_file(
    algorithm: str, tree: Path, tmp_path: Path, kernel_mount: KernelMount
) -> None:
    build(tmp_path / "image", tree, fingerprint=algorithm)
    point = os.fsencode(kernel_mount(tmp_path / "image", since=(6, 4)))
    digest = {"blake3": lambda data: blake3.blake3(data).digest(), "sha256": lambda data: hashlib.sha256(data).digest()}
    seen_files = 0
    for folder, folders, files in os.walk(point):
        for name in folders + files:
            path = os.path.join(folder, name)
            names = os.listxattr(path, follow_symlinks=False)
            if os.path.islink(path) or not os.path.isfile(path) or not os.path.getsize(path):
                assert "trusted.erofs.fingerprint" not in names, path
                continue
            with open(path, "rb") as file:
                content = file.read()
            value = os.getxattr(path, "trusted.erofs.fingerprint")
            assert value == algorithm.encode() + b":" + digest[algorithm](content), path
            seen_files += 1
    assert seen_files > 100


@pytest.mark.kernel
def test_the_fingerprint_takes_another_name(tmp_path: Path, kernel_mount: KernelMount) -> None:
    tree = make(tmp_path / "tree", {"file": b"content"})
    build(tmp_path / "visible", tree, fingerprint_name=b"user.digest")
    build(tmp_path / "hidden", tree, fingerprint_name=b"erofs.fingerprint.v1")
    value = b"blake3:" + blake3.blake3(b"content").digest()
    point = kernel_mount(tmp_path / "visible", since=(6, 4))
    assert {name: os.getxattr(point / "file", name) for name in os.listxattr(point / "file")} == {"user.digest": value}
    assert os.listxattr(kernel_mount(tmp_path / "hidden", since=(6, 4)) / "file") == []
    with Image.open(tmp_path / "hidden") as image:
        assert image.fingerprint("file") == value


@pytest.mark.reference
@pytest.mark.parametrize("name", [b"trusted.erofs.fingerprint", b"erofs.fingerprint.v1", b"user.digest"])
def test_the_reference_checker_verifies_sha256_fingerprints(
    name: bytes, tree: Path, tmp_path: Path, reference_tool: Callable[[str], Path]
) -> None:
    tool = reference_tool("fsck.erofs")
    build(tmp_path / "image", tree, fingerprint="sha256", fingerprint_name=name)
    said = fsck(tool, tmp_path / "image", "--xattr-inode-digest", "--extract", "-d3")
    assert f'verifying digests using xattr "{name.decode()}"' in said
    assert "<W>" not in said
    # The check can fail: it knows no other hash.
    build(tmp_path / "blake3", tree, fingerprint_name=name)
    done = subprocess.run([tool, "--xattr-inode-digest", tmp_path / "blake3"], capture_output=True)
    assert done.returncode != 0
