"""The table of compressors, the records computed by it, and that its code is loaded late."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mkfs_erofs_py import build_image
from mkfs_erofs_py.compress import (
    COMPRESSORS,
    CompressorSpec,
    make_encoder,
    make_record,
    merge_records,
    parse_compressor,
    require_encoder,
)
from mkfs_erofs_py.compress.registry import by_algorithm
from mkfs_erofs_py.errors import UnsupportedError
from mkfs_erofs_py.ondisk.constants import Algorithm
from mkfs_erofs_py.ondisk.superblock import AlgorithmRecord

names = pytest.mark.parametrize("name", COMPRESSORS)


def lz4(distance: int, blocks: int) -> AlgorithmRecord:
    return AlgorithmRecord(algorithm=Algorithm.LZ4, max_distance=distance, max_pcluster=blocks)


def lzma(dict_size: int) -> AlgorithmRecord:
    return AlgorithmRecord(algorithm=Algorithm.LZMA, dict_size=dict_size)


def zstd(bits: int) -> AlgorithmRecord:
    return AlgorithmRecord(algorithm=Algorithm.ZSTD, window_bits=bits)


def test_every_algorithm_of_the_format_has_a_compressor() -> None:
    assert {row.algorithm for row in COMPRESSORS.values()} == set(Algorithm)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_compressors_of_one_algorithm_agree_in_what_readers_must_know(algorithm: Algorithm) -> None:
    first = by_algorithm(algorithm)
    assert first is not None
    for row in COMPRESSORS.values():
        if row.algorithm is algorithm:
            assert row.max_window == first.max_window
            assert row.codec().decompress_to is first.codec().decompress_to


@names
def test_a_row_holds_its_own_defaults(name: str) -> None:
    row = COMPRESSORS[name]
    assert row.name == name
    assert parse_compressor(name) == CompressorSpec(name, row.algorithm, row.default_level)
    assert row.default_level is None or any(row.default_level in levels for levels in row.levels)
    sizes = row.dict_sizes or range(row.max_window, row.max_window + 1)
    assert sizes[-1] == row.max_window
    for pcluster in (512, 4096, 12288, 65536, 1 << 20):
        assert row.default_window(pcluster) in sizes


@names
@pytest.mark.parametrize("block_size", [512, 4096])
@pytest.mark.parametrize("max_pcluster", [4096, 65536, 1 << 20])
def test_the_record_needs_no_encoder(name: str, max_pcluster: int, block_size: int) -> None:
    record = make_record(parse_compressor(name), max_pcluster=max_pcluster, block_size=block_size)
    assert record == make_encoder(name, max_pcluster=max_pcluster, block_size=block_size).record


@pytest.mark.parametrize(
    ("records", "merged"),
    [
        ([], []),
        ([zstd(15)], [zstd(15)]),
        ([zstd(15), lz4(65535, 1)], [lz4(65535, 1), zstd(15)]),
        ([lz4(40000, 16), lz4(65535, 1)], [lz4(65535, 16)]),
        ([zstd(15), lzma(1 << 16), zstd(20), lzma(5000), zstd(10)], [lzma(1 << 16), zstd(20)]),
    ],
)
def test_records_of_one_algorithm_merge_to_the_largest_of_each_field(
    records: list[AlgorithmRecord], merged: list[AlgorithmRecord]
) -> None:
    assert merge_records(records) == merged
    assert merge_records(reversed(records)) == merged


def test_only_encoding_and_decoding_load_the_bindings(tmp_path: Path) -> None:
    """Options are parsed, records computed and images listed without them."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(bytes(100_000))
    build_image(tmp_path / "image", tmp_path / "tree")
    code = """
import sys
from mkfs_erofs_py import Image
from mkfs_erofs_py.compress import COMPRESSORS, make_record, parse_compressor
for name in COMPRESSORS:
    spec = parse_compressor(name)
    make_record(spec, max_pcluster=65536, block_size=4096)
with Image.open(sys.argv[1]) as image:
    for path, inode in image.walk():
        image.xattrs(inode), list(image.spans(inode)) if inode.is_file else ()
print(*(m for m in ("lzma", "zlib", "mkfs_erofs_py.compress.clib") if m in sys.modules))
"""
    argv = [sys.executable, "-c", code, str(tmp_path / "image")]
    out = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    assert out.split() == []


@names
def test_a_missing_library_is_told_before_anything_is_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> object:
        raise UnsupportedError("LIBRARY is not available on this machine")

    row = COMPRESSORS[name]
    require_encoder(parse_compressor(name))
    monkeypatch.setitem(
        COMPRESSORS,
        name,
        replace(row, codec=lambda: row.codec()._replace(library=missing)),
    )
    with pytest.raises(UnsupportedError, match="LIBRARY"):
        build_image(tmp_path / "image", tmp_path, compressor=name)
    assert list(tmp_path.iterdir()) == []
