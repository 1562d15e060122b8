"""Every codec, over arbitrary data: what is encoded decodes, what is malformed is refused."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkfs_erofs_py.compress import Encoder, decompress, make_encoder, window_of
from mkfs_erofs_py.errors import CorruptError
from tests.support.codecs import decode_into

SPECS = [
    "lz4",
    "lz4hc,0",
    "lz4hc,1",
    "lz4hc,9",
    "lz4hc,12",
    "zstd,0",
    "zstd",
    "zstd,9",
    "zstd,19",
    "zstd,3,dictsize=1k",
    "deflate,0",
    "deflate",
    "deflate,9",
    "deflate,6,dictsize=512",
    "lzma,0",
    "lzma",
    "lzma,2,dictsize=4k",
]
MAX_PCLUSTER = 65536

_encoders: dict[str, Encoder] = {}


def encoder(spec: str) -> Encoder:
    """One encoder for all examples: that earlier work does not show is a part of what is tested."""
    if spec not in _encoders:
        _encoders[spec] = make_encoder(spec, max_pcluster=MAX_PCLUSTER)
    _encoders[spec].begin_file()
    return _encoders[spec]


def chunk(kind: str, seed: int, size: int) -> bytes:
    rng = random.Random(seed)
    if kind == "noise":
        return rng.randbytes(size)
    if kind == "zeros":
        return bytes(size)
    if kind == "words":
        words = [rng.randbytes(rng.randrange(2, 9)) for _ in range(60)]
        return b" ".join(rng.choices(words, k=size))[:size]
    return bytes(rng.choices(range(256), [1 + 1000 // (i + 1) for i in range(256)], k=size))


# Files as they are: stretches that compress well beside stretches that do not.
Parts = list[tuple[str, int, int]]
kinds = st.sampled_from(["noise", "zeros", "words", "skewed"])
sizes = st.sampled_from([1, 50, 3000, 40000])
parts = st.lists(st.tuples(kinds, st.integers(0, 99), sizes), min_size=1, max_size=6)


def assemble(parts: Parts) -> bytes:
    return b"".join(chunk(*part) for part in parts)


outputs = st.sampled_from([1, 5, 16, 100, 512, 4096, 5000, 65536])
T = TypeVar("T")
specs = pytest.mark.parametrize("spec", SPECS)


def call(method: Callable[[int, int, int, int], T], source: bytes, room: int) -> tuple[T, bytes]:
    """Call fill or piece over ``source``; check that nothing is written behind ``room`` bytes."""
    target = ctypes.create_string_buffer(b"\xa5" * (room + 64), room + 64)
    address = ctypes.cast(ctypes.c_char_p(source), ctypes.c_void_p).value
    assert address is not None
    result = method(address, len(source), ctypes.addressof(target), room)
    assert target.raw[room:] == b"\xa5" * 64
    return result, target.raw[:room]


def fill(spec: str, source: bytes, room: int) -> tuple[int, bytes]:
    (consumed, produced), output = call(encoder(spec).fill, source, room)
    assert produced <= room
    return consumed, output[:produced]


def piece(spec: str, source: bytes, room: int) -> bytes:
    produced, output = call(encoder(spec).piece, source, room)
    assert produced <= room
    return output[:produced]


def decode(spec: str, stream: bytes, size: int, *, partial: bool = False) -> bytes:
    record = encoder(spec).record
    return decompress(record.algorithm, stream, size, partial=partial, window=window_of(record))


@specs
@given(parts=parts, room=outputs)
@settings(max_examples=25, deadline=None)
def test_fill_encodes_a_prefix_within_the_room(spec: str, parts: Parts, room: int) -> None:
    source = assemble(parts)
    consumed, stream = fill(spec, source, room)
    assert 0 <= consumed <= len(source)
    if stream:
        assert consumed > 0
        assert stream[0] != 0, "a zero in front would be taken for padding"
        assert decode(spec, stream, consumed) == source[:consumed]


@specs
@pytest.mark.parametrize("room", [4096, 65536])
def test_fill_leaves_little_room_unused(spec: str, room: int) -> None:
    source = chunk("words", 1, 600_000)
    consumed, stream = fill(spec, source, room)
    if spec == "deflate,0":  # it only stores
        assert not stream or len(stream) > consumed
    else:
        assert len(stream) > 0.93 * room
        assert consumed > 1.1 * room


@specs
@given(parts=parts)
@settings(max_examples=15, deadline=None)
def test_fill_takes_all_that_fits(spec: str, parts: Parts) -> None:
    source = assemble(parts)
    consumed, stream = fill(spec, source[:50000], 65536)
    assert consumed == len(source[:50000])
    assert stream


@specs
def test_fill_takes_twelve_megabytes_of_zeros_at_once(spec: str) -> None:
    source = bytes(12 << 20)
    consumed, stream = fill(spec, source, 65536)
    assert consumed > 1 << 20 or not stream
    assert not stream or decode(spec, stream, consumed) == source[:consumed]


@specs
@given(parts=parts, room=outputs)
@settings(max_examples=15, deadline=None)
def test_piece_encodes_everything_or_nothing(spec: str, parts: Parts, room: int) -> None:
    source = assemble(parts)
    stream = piece(spec, source, room)
    assert not stream or decode(spec, stream, len(source)) == source
    roomy = piece(spec, source, len(source) + len(source) // 20 + 300)
    assert decode(spec, roomy, len(source)) == source
    assert roomy[0] != 0


@specs
@given(parts=parts, other=parts, room=outputs)
@settings(max_examples=15, deadline=None)
def test_output_depends_on_one_file_alone(spec: str, parts: Parts, other: Parts, room: int) -> None:
    source = assemble(parts)
    fresh = make_encoder(spec, max_pcluster=MAX_PCLUSTER)
    want = [call(fresh.fill, source, room)[0], call(fresh.fill, source, room)[0], call(fresh.piece, source, room)[0]]
    used = encoder(spec)
    call(used.fill, assemble(other), 4096)
    call(used.piece, assemble(other), 10)
    used.begin_file()
    assert want == [
        call(used.fill, source, room)[0],
        call(used.fill, source, room)[0],
        call(used.piece, source, room)[0],
    ]


@specs
@given(parts=parts, keep=st.floats(0, 1))
@settings(max_examples=15, deadline=None)
def test_a_prefix_is_decoded_on_request_only(spec: str, parts: Parts, keep: float) -> None:
    source = assemble(parts)
    consumed, stream = fill(spec, source, 4096)
    if not stream:
        return
    size = int(consumed * keep)
    assert decode(spec, stream, size, partial=True) == source[:size]
    out = bytearray(consumed)
    decode_into(encoder(spec).record.algorithm, stream, memoryview(out)[:size], partial=True)
    assert out[:size] == source[:size]
    assert not any(out[size:])
    for wrong in {consumed + 300, consumed // 2} - {consumed}:
        with pytest.raises(CorruptError):
            decode(spec, stream, wrong)


@specs
@given(
    parts=parts,
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255))),
    cut=st.integers(0, 9),
)
@settings(max_examples=40, deadline=None)
def test_a_malformed_stream_is_corrupt_or_decodes_within_its_bound(
    spec: str, parts: Parts, changes: list[tuple[float, int]], cut: int
) -> None:
    consumed, stream = fill(spec, assemble(parts), 4096)
    mutated = bytearray(stream[: len(stream) - cut])
    for place, change in changes:
        if mutated:
            mutated[int(place * len(mutated))] ^= change
    for partial in (False, True):
        target = bytearray(b"\xa5" * (consumed + 64))
        try:
            record = encoder(spec).record
            out = memoryview(target)[:consumed]
            decode_into(record.algorithm, bytes(mutated), out, partial=partial, window=window_of(record))
        except CorruptError:
            pass
        assert target[consumed:] == b"\xa5" * 64


@specs
@given(parts=parts)
@settings(max_examples=10, deadline=None)
def test_bytes_behind_a_stream_are_refused(spec: str, parts: Parts) -> None:
    source = assemble(parts)
    consumed, stream = fill(spec, source, 4096)
    if stream:
        with pytest.raises(CorruptError):
            decode(spec, stream + b"\0" * 8, consumed)


@pytest.mark.parametrize("algorithm", range(4))
@given(stream=st.binary(max_size=100), size=st.integers(0, 200), partial=st.booleans())
@settings(max_examples=200, deadline=None)
def test_noise_is_corrupt_or_decodes_to_the_size_asked_for(
    algorithm: int, stream: bytes, size: int, partial: bool
) -> None:
    try:
        assert len(decompress(algorithm, stream, size, partial=partial)) == size
    except CorruptError:
        pass
