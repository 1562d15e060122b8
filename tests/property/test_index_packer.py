"""The packers over any data: extents that cover it, obey the kernels' rules and decode to it."""

from __future__ import annotations

import ctypes
import random
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from mkfs_erofs_py.compress import Encoder, decompress, make_encoder
from mkfs_erofs_py.encode.clusters import LclusterPacker
from mkfs_erofs_py.encode.encoded import HOLE, PLAIN, Spans
from mkfs_erofs_py.encode.packed import ExtentPacker
from mkfs_erofs_py.ondisk.constants import MAX_DECODED
from tests.support.images import noise, text

COMPRESSORS = ("lz4", "lz4hc,3", "zstd,1", "zstd,9", "deflate,1", "lzma,0")
PCLUSTERS = (1, 2, 4, 16, 64)


@cache
def encoder(name: str, pcluster: int) -> Encoder:
    return make_encoder(name, max_pcluster=pcluster)


@st.composite
def contents(draw: st.DrawFn, unit: int) -> bytes:
    """Draw stretches of noise, text and zeros, long and short, as many bytes as make whole units."""
    parts = []
    for _ in range(draw(st.integers(1, 8))):
        length = draw(st.one_of(st.integers(1, 300), st.integers(1, 3 * unit), st.integers(1, 40 * unit)))
        seed = draw(st.integers(0, 9))
        parts.append(draw(st.sampled_from([noise(length, seed), text(length, seed), bytes(length)])))
    data = b"".join(parts)
    return data + noise(-len(data) % unit, 11)


def pack(packer: LclusterPacker | ExtentPacker, data: bytes, room: int, final: bool) -> tuple[Spans, bytes]:
    source = ctypes.create_string_buffer(data, len(data))
    # What lies in the output before must not show.
    sink = ctypes.create_string_buffer(b"\xaa" * (len(data) + room), len(data) + room)
    spans, length = packer.pack(ctypes.addressof(source), len(data), ctypes.addressof(sink), final)
    assert length <= len(data) + room
    return spans, sink.raw[:length]


def decoded(algorithm: int, stream: bytes, length: int) -> bytes:
    assert stream[:1] not in (b"", b"\0")
    return decompress(algorithm, stream, length)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_lclusters(data: st.DataObject) -> None:
    bits = data.draw(st.sampled_from([9, 12]))
    block = 1 << bits
    pcluster = data.draw(st.sampled_from(PCLUSTERS)) * block
    encode = encoder(data.draw(st.sampled_from(COMPRESSORS)), pcluster)
    final = data.draw(st.booleans())
    content = data.draw(contents(block))
    if final:
        content = content[: max(1, len(content) - data.draw(st.integers(0, block)))]
    spans, packed = pack(LclusterPacker(encode, bits, pcluster), content, pcluster, final)
    at = out = 0
    for length, taken, kind in zip(*spans, strict=True):
        assert taken % block == 0
        blocks = taken >> bits
        stored = packed[out : out + taken]
        last = at + length == len(content)
        assert 0 < length <= MAX_DECODED
        if not (last and final):
            assert length >= len(stored), "an extent that others follow decodes to at least what it takes"
        if kind == PLAIN:
            assert blocks == 1
            assert stored == content[at : at + length].ljust(block, b"\0")
        else:
            assert kind == encode.record.algorithm
            assert len(stored) <= pcluster
            assert blocks < -(-length // block) or length > len(stored), "compression pays"
            stream = stored.lstrip(b"\0")
            assert len(stored) - len(stream) < block
            assert decoded(encode.record.algorithm, stream, length) == content[at : at + length]
        at, out = at + length, out + len(stored)
    assert (at, out) == (len(content), len(packed))


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_extents(data: st.DataObject) -> None:
    bits = data.draw(st.sampled_from([14, 16]))
    piece = 1 << bits
    encode = encoder(data.draw(st.sampled_from(COMPRESSORS)), piece)
    content = data.draw(contents(4096))
    content = content[: max(1, len(content) - data.draw(st.integers(0, 5000)))]
    spans, packed = pack(ExtentPacker(encode, 12, bits), content, piece, True)
    assert len(spans.kinds) == -(-len(content) // piece)
    out = 0
    for number, (length, taken, kind) in enumerate(zip(*spans, strict=True)):
        expected = content[number * piece : (number + 1) * piece]
        assert length == len(expected)
        stored = packed[out : out + taken]
        if not taken:
            assert kind == HOLE
            assert expected == bytes(len(expected))
        elif kind == PLAIN:
            assert stored == expected
        else:
            assert taken < len(expected)
            assert kind == encode.record.algorithm
            assert decoded(kind, stored, len(expected)) == expected
        out += taken
    assert out == len(packed)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 1 << 30), st.sampled_from(COMPRESSORS))
def test_the_same_bytes_are_packed_alike_whatever_came_before(seed: int, name: str) -> None:
    rng = random.Random(seed)
    content = text(rng.randint(1, 60_000), seed) + noise(rng.randint(0, 9000), seed)
    packer = LclusterPacker(encoder(name, 16384), 12, 16384)
    first = pack(packer, content, 16384, True)
    pack(packer, text(30_000, seed + 1), 16384, True)
    assert pack(packer, content, 16384, True) == first
