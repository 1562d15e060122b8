"""Decoders: streams of other encoders, and each way in which a stream can break the rules."""

from __future__ import annotations

import random
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import lz4.block
import pytest
import zstandard

from mkfs_erofs_py.compress import decompress, make_encoder, strip_padding
from mkfs_erofs_py.errors import CorruptError, UnsupportedError
from mkfs_erofs_py.ondisk.constants import Algorithm
from tests.support.codecs import decode_into, encode

TEXT = b"".join(b"line %d of many, each a little different\n" % i for i in range(400))
# Nothing repeats for 20,000 bytes: a decoder needs that much history.
FAR = random.Random(1).randbytes(20_000) * 2


def raw_deflate(data: bytes, level: int = 6, window_bits: int = 15) -> bytes:
    stream = zlib.compressobj(level, zlib.DEFLATED, -window_bits)
    return stream.compress(data) + stream.flush()


def micro_lzma(data: bytes, dict_size: int = 1 << 16) -> bytes:
    return encode(make_encoder(f"lzma,dictsize={dict_size}", max_pcluster=1 << 20), data)


def zstd(data: bytes, *, checksum: bool = False, content_size: bool = True) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=checksum, write_content_size=content_size).compress(data)


STREAMS = {
    "LZ4": (Algorithm.LZ4, lz4.block.compress(TEXT, store_size=False)),
    "LZ4 HC": (Algorithm.LZ4, lz4.block.compress(TEXT, "high_compression", store_size=False)),
    "MicroLZMA": (Algorithm.LZMA, micro_lzma(TEXT)),
    "DEFLATE": (Algorithm.DEFLATE, raw_deflate(TEXT)),
    "DEFLATE, stored": (Algorithm.DEFLATE, raw_deflate(TEXT, 0)),
    "Zstandard": (Algorithm.ZSTD, zstd(TEXT)),
    "Zstandard with a checksum": (Algorithm.ZSTD, zstd(TEXT, checksum=True)),
    "Zstandard without its size": (Algorithm.ZSTD, zstd(TEXT, content_size=False)),
}
streams = pytest.mark.parametrize("name", STREAMS)


@streams
def test_a_stream_decodes_to_exactly_its_size(name: str) -> None:
    algorithm, stream = STREAMS[name]
    assert decompress(algorithm, stream, len(TEXT)) == TEXT
    assert decompress(algorithm, memoryview(bytearray(stream)), len(TEXT)) == TEXT


@streams
@pytest.mark.parametrize("size", [0, 1, 1000, len(TEXT) - 1, len(TEXT)])
def test_a_prefix_decodes_when_asked_for(name: str, size: int) -> None:
    algorithm, stream = STREAMS[name]
    assert decompress(algorithm, stream, size, partial=True) == TEXT[:size]


@streams
@pytest.mark.parametrize("partial", [False, True])
def test_a_stream_too_short_is_corrupt(name: str, partial: bool) -> None:
    algorithm, stream = STREAMS[name]
    for cut in (stream[:-20], stream[:10], stream[:1], b""):
        with pytest.raises(CorruptError):
            decompress(algorithm, cut, len(TEXT), partial=partial)
    with pytest.raises(CorruptError):
        decompress(algorithm, stream, len(TEXT) + 100, partial=partial)


@streams
def test_a_stream_that_goes_on_is_corrupt(name: str) -> None:
    algorithm, stream = STREAMS[name]
    with pytest.raises(CorruptError):
        decompress(algorithm, stream, len(TEXT) - 100)
    with pytest.raises(CorruptError):
        decompress(algorithm, stream + b"\0" * 7, len(TEXT))


@streams
def test_a_buffer_is_filled_and_nothing_around_it(name: str) -> None:
    algorithm, stream = STREAMS[name]
    buffer = bytearray(b"\xa5" * (len(TEXT) + 20))
    decode_into(algorithm, stream, memoryview(buffer)[10:-10])
    assert bytes(buffer) == b"\xa5" * 10 + TEXT + b"\xa5" * 10


@streams
def test_threads_decode_side_by_side(name: str) -> None:
    algorithm, stream = STREAMS[name]
    barrier = threading.Barrier(4)

    def work(_: int) -> bool:
        barrier.wait()
        return all(decompress(algorithm, stream, n, partial=n < len(TEXT)) == TEXT[:n] for n in (len(TEXT), 99) * 20)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


# Traps 5 and 6: a stream that needs more history than the superblock declares fails in the kernel.
@pytest.mark.parametrize(
    ("algorithm", "stream", "window"),
    [
        (Algorithm.LZMA, micro_lzma(FAR), 1 << 14),
        (Algorithm.ZSTD, zstd(FAR), 1 << 15),
        (Algorithm.ZSTD, zstd(FAR, content_size=False), 1 << 15),
    ],
)
def test_a_window_beyond_the_declared_one_is_refused(algorithm: Algorithm, stream: bytes, window: int) -> None:
    assert decompress(algorithm, stream, len(FAR), window=1 << 21) == FAR
    with pytest.raises(CorruptError):
        decompress(algorithm, stream, len(FAR), window=window)
    with pytest.raises(CorruptError):
        decompress(algorithm, stream, len(FAR), window=window, partial=True)


@pytest.mark.parametrize(
    "stream",
    {
        "two frames": zstd(TEXT[:5000]) + zstd(TEXT[5000:]),
        "a skippable frame in front": b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + zstd(TEXT),
        "a content size of 2**60": b"\x28\xb5\x2f\xfd\xe0" + (1 << 60).to_bytes(8, "little") + zstd(TEXT)[7:],
        "a window of 2**41": b"\x28\xb5\x2f\xfd\x00\xf8" + zstd(TEXT)[7:],
        "no frame": b"\x29" + zstd(TEXT)[1:],
        "a header only": zstd(TEXT)[:5],
    }.values(),
)
@pytest.mark.parametrize("partial", [False, True])
def test_zstandard_takes_one_ordinary_frame_only(stream: bytes, partial: bool) -> None:
    with pytest.raises(CorruptError):
        decompress(Algorithm.ZSTD, stream, len(TEXT), partial=partial)


@pytest.mark.parametrize("properties", [225, 255, 8 + 9 * 4])
def test_lzma_properties_that_do_not_exist_are_refused(properties: int) -> None:
    with pytest.raises(CorruptError):
        decompress(Algorithm.LZMA, bytes([properties ^ 0xFF]) + micro_lzma(TEXT)[1:], len(TEXT))


@pytest.mark.parametrize("algorithm", Algorithm)
def test_sizes_beyond_the_limits_of_an_extent_are_refused(algorithm: Algorithm) -> None:
    with pytest.raises(CorruptError, match="exceed"):
        decompress(algorithm, bytes((1 << 20) + 1), 10)
    with pytest.raises(CorruptError, match="exceed"):
        decompress(algorithm, b"x", (12 << 20) + 1)


@pytest.mark.parametrize("algorithm", [-1, 4, 255])
def test_an_unknown_algorithm_is_unsupported(algorithm: int) -> None:
    with pytest.raises(UnsupportedError, match=f"unknown compression algorithm {algorithm}"):
        decompress(algorithm, b"x", 1)


def test_padding_is_in_front() -> None:
    assert strip_padding(b"\0\0\0ab\0\0") == b"ab\0\0"
    assert strip_padding(bytes(4096)) == b""


# Trap 8: a stored block that is not the last begins with a zero byte, which would pass for padding.
def test_deflate_never_begins_with_a_zero() -> None:
    noise = random.Random(2).randbytes(200_000)
    assert raw_deflate(noise, 0)[0] == 0, "without care it does"
    stream = encode(make_encoder("deflate,0", max_pcluster=1 << 20), noise)
    assert stream[0] != 0
    assert decompress(Algorithm.DEFLATE, strip_padding(bytes(100) + stream), len(noise)) == noise
    assert zlib.decompress(stream, -15) == noise
