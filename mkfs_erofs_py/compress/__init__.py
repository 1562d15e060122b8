"""The four algorithms of EROFS: encoders that fill pclusters, and bounded decoders.

`registry` has a row for each compressor; ``syntax`` parses ``-z`` by it, ``record`` computes what the superblock
must say by it. The modules of the algorithms bind C libraries and are loaded when an encoder is made or the first
stream is decoded.

>>> from mkfs_erofs_py.compress import make_encoder, parse_compressor
>>> encoder = make_encoder(parse_compressor("lz4hc,12"), max_pcluster=65536)
>>> encoder.record.max_distance
65535
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from ..errors import CorruptError, UnsupportedError
from ..ondisk.constants import MAX_DECODED, MAX_ENCODED
from .protocol import Decoder, Encoder, strip_padding, window_of
from .record import make_record, merge_records
from .registry import COMPRESSORS, Compressor, by_algorithm
from .spec import CompressorSpec
from .syntax import parse_compressor

__all__ = [
    "COMPRESSORS",
    "Compressor",
    "CompressorSpec",
    "Decoder",
    "Encoder",
    "decode_bytes",
    "decoder",
    "decompress",
    "make_encoder",
    "make_record",
    "merge_records",
    "parse_compressor",
    "require_encoder",
    "strip_padding",
    "window_of",
]


def make_encoder(spec: CompressorSpec | str, *, max_pcluster: int, block_size: int = 4096) -> Encoder:
    """Return a new encoder for pclusters of up to ``max_pcluster`` bytes; each worker needs its own.

    ``block_size`` matters for its record only, which is that of `make_record`. Raises UsageError for a bad ``spec``
    and UnsupportedError where this machine lacks the C library.
    """
    if isinstance(spec, str):
        spec = parse_compressor(spec)
    record = make_record(spec, max_pcluster=max_pcluster, block_size=block_size)
    return COMPRESSORS[spec.name].codec().encoder(spec, record, max_pcluster)


def require_encoder(spec: CompressorSpec) -> None:
    """Raise UnsupportedError where this machine lacks the C library that encoding by ``spec`` needs."""
    COMPRESSORS[spec.name].codec().library()


def decoder(algorithm: int, window: int | None = None) -> Decoder:
    """Return the decoder of an algorithm, for streams of images whose record declares ``window`` (see ``window_of``).

    A stream that needs more is refused where the decoder can tell, as kernels do. Loads the algorithm's code. Raises
    UnsupportedError for an unknown algorithm; the decoder also does where this machine lacks the C library.
    """
    row = by_algorithm(algorithm)
    if row is None:
        raise UnsupportedError(f"unknown compression algorithm {algorithm}")
    return functools.partial(row.codec().decompress_to, window or row.max_window)


def decompress(
    algorithm: int,
    data: bytes | bytearray | memoryview,
    size: int,
    *,
    partial: bool = False,
    window: int | None = None,
) -> bytes:
    """Decode one stream to exactly ``size`` bytes, which must be bounded by the caller: they are allocated.

    As a ``Decoder`` does; it also refuses what is larger than a span may be.
    """
    if len(data) > MAX_ENCODED or size > MAX_DECODED:
        raise CorruptError(f"{len(data)} compressed bytes for {size} exceed what a span may hold")
    return decode_bytes(decoder(algorithm, window), bytes(data), size, partial)


def decode_bytes(decode: Decoder, stream: bytes, size: int, partial: bool) -> bytes:
    """Return what ``decode`` makes of a stream. ``size`` is allocated, so the caller must have bounded it."""
    new_bytes, address_of = _bytes_calls()
    out = new_bytes(None, size)
    decode(stream, address_of(out), size, partial)
    return out


@functools.cache
def _bytes_calls() -> tuple[Callable[[None, int], bytes], Callable[[bytes], int]]:
    """Return two functions of the interpreter: make a bytes object of a size; return the address of its bytes.

    A bytes object may be written to as long as nobody else has seen it; this saves clearing a buffer
    and copying it. Both functions hold the interpreter's lock, as they must.
    """
    import ctypes

    new_bytes = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_ssize_t)
    address_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object)
    return (
        new_bytes(("PyBytes_FromStringAndSize", ctypes.pythonapi)),
        address_of(("PyBytes_AsString", ctypes.pythonapi)),
    )
