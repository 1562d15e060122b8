"""The syntax of -z."""

from __future__ import annotations

import pytest

from mkfs_erofs_py.compress import CompressorSpec, make_encoder, parse_compressor, window_of
from mkfs_erofs_py.errors import UsageError
from mkfs_erofs_py.ondisk.constants import Algorithm

GOOD = {
    "lz4": CompressorSpec("lz4", Algorithm.LZ4, None),
    "lz4hc": CompressorSpec("lz4hc", Algorithm.LZ4, 9),
    "lz4hc,12": CompressorSpec("lz4hc", Algorithm.LZ4, 12),
    "lz4hc,level=0": CompressorSpec("lz4hc", Algorithm.LZ4, 0),
    "zstd": CompressorSpec("zstd", Algorithm.ZSTD, 3),
    "zstd,22": CompressorSpec("zstd", Algorithm.ZSTD, 22),
    "zstd,level=9,dictsize=65536": CompressorSpec("zstd", Algorithm.ZSTD, 9, 65536),
    "zstd,dictsize=1m": CompressorSpec("zstd", Algorithm.ZSTD, 3, 1 << 20),
    "zstd,9,dictsize=0x10000": CompressorSpec("zstd", Algorithm.ZSTD, 9, 65536),
    "zstd,dictsize=0": CompressorSpec("zstd", Algorithm.ZSTD, 3),
    "deflate": CompressorSpec("deflate", Algorithm.DEFLATE, 1),
    "deflate,9,dictsize=4K": CompressorSpec("deflate", Algorithm.DEFLATE, 9, 4096),
    "lzma": CompressorSpec("lzma", Algorithm.LZMA, 6),
    "lzma,109": CompressorSpec("lzma", Algorithm.LZMA, 109),
    "lzma,level=0,dictsize=5000,lc=0,lp=2,pb=1": CompressorSpec("lzma", Algorithm.LZMA, 0, 5000, 0, 2, 1),
}

BAD = {
    "": "unknown compressor ''",
    "gzip": "unknown compressor 'gzip'",
    "LZ4": "unknown compressor 'LZ4'",
    "libdeflate": "libdeflate is not supported",
    "libdeflate,3": "libdeflate is not supported",
    "lz4:zstd": "several compressors",
    "lz4,1": "lz4 has no levels",
    "lz4,dictsize=65536": "lz4 has no dictionary size",
    "lz4hc,13": "level 13 is not within 0-12",
    "lz4hc,-1": "level must be a number",
    "lz4hc,9k": "level must be a number",
    "lz4hc,": "level must be a number, not ''",
    "lz4hc,level=": "level must be a number, not ''",
    "zstd,23": "level 23 is not within 0-22",
    "zstd,3,level=3": "level is given twice",
    "zstd,level=3,9": "unknown option '9'",
    "zstd,dictsize=2m": "2097152 is not within 1024-1048576",
    "zstd,dictsize=65535": "not a power of two",
    "zstd,lc=3": "unknown option 'lc=3'",
    "deflate,10": "level 10 is not within 0-9",
    "deflate,dictsize=64k": "65536 is not within 512-32768",
    "lzma,10": "level 10 is not within 0-9, 100-109",
    "lzma,110": "level 110 is not within",
    "lzma,dictsize=2048": "2048 is not within 4096-8388608",
    "lzma,dictsize=9m": "9437184 is not within",
    "lzma,lc=5": "lc 5 is not within 0-4",
    "lzma,level=٣": "level must be a number",
}

# compressor, largest pcluster -> what goes into the superblock: without a given size as mkfs.erofs chooses it
WINDOWS = {
    ("lz4", 4096): 65535,
    ("lz4hc", 1 << 20): 65535,
    ("zstd", 4096): 32768,
    ("zstd", 65536): 1 << 19,
    ("zstd", 1 << 20): 1 << 20,
    ("zstd", 12288): 65536,
    ("zstd,dictsize=1k", 65536): 1024,
    ("deflate", 65536): 32768,
    ("deflate,dictsize=512", 65536): 512,
    ("lzma", 4096): 32768,
    ("lzma", 65536): 1 << 18,
    ("lzma", 1 << 20): 4 << 20,
    ("lzma,dictsize=8m", 4096): 8 << 20,
}


@pytest.mark.parametrize("text", GOOD)
def test_what_mkfs_erofs_accepts_is_parsed(text: str) -> None:
    assert parse_compressor(text) == GOOD[text]


@pytest.mark.parametrize("text", BAD)
def test_what_is_wrong_is_named(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_compressor(text)
    assert BAD[text] in str(caught.value)


@pytest.mark.parametrize(("text", "max_pcluster"), WINDOWS)
def test_the_window_declared(text: str, max_pcluster: int) -> None:
    record = make_encoder(text, max_pcluster=max_pcluster).record
    assert record.algorithm == parse_compressor(text).algorithm
    assert window_of(record) == WINDOWS[text, max_pcluster]


@pytest.mark.parametrize("text", ["lz4", "lz4hc"])
def test_lz4_declares_its_largest_pcluster_in_blocks(text: str) -> None:
    assert make_encoder(text, max_pcluster=65536).record.max_pcluster == 16
    assert make_encoder(text, max_pcluster=65536, block_size=512).record.max_pcluster == 128


def test_lzma_options_that_are_too_much_together_are_refused() -> None:
    with pytest.raises(UsageError, match=r"lc \+ lp"):
        make_encoder("lzma,lc=3,lp=3", max_pcluster=4096)
