"""The four algorithms of EROFS: encoders that fill pclusters, and bounded decoders.

>>> from mkfs_erofs_py.compress import make_encoder, parse_compressor
>>> encoder = make_encoder(parse_compressor("lz4hc,12"), max_pcluster=65536)
>>> encoder.record.max_distance
65535
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from ctypes import c_ssize_t, c_void_p, py_object

from ..errors import CorruptError, UnsupportedError
from ..ondisk.constants import MAX_DECODED, MAX_ENCODED, Algorithm
from . import deflate, lz4, microlzma, zstd
from .protocol import Encoder, strip_padding, window_of
from .spec import CompressorSpec, parse_compressor

__all__ = [
    "CompressorSpec",
    "Decoder",
    "Encoder",
    "decoder",
    "decompress",
    "make_encoder",
    "parse_compressor",
    "strip_padding",
    "window_of",
]

Decoder = Callable[[bytes, int, int, bool], None]
"""Decodes ``(stream, address, size, partial)``: one stream, without padding, to ``size`` bytes of the caller's memory
at ``address``. The stream must end with its data and decode to ``size`` bytes, unless ``partial``: then it may go on
after them. Raises CorruptError for every stream that breaks these rules; the memory then holds anything.
Any number of threads may call it at once; the interpreter's lock is released within.
"""

# algorithm -> its decoder, which takes the window first, and the longest window the format lets an image declare
_DECODERS: dict[int, tuple[Callable[[int, bytes, int, int, bool], None], int]] = {
    Algorithm.LZ4: (lz4.decompress_to, lz4.MAX_DISTANCE),
    Algorithm.LZMA: (microlzma.decompress_to, microlzma.MAX_WINDOW),
    Algorithm.DEFLATE: (deflate.decompress_to, deflate.MAX_WINDOW),
    Algorithm.ZSTD: (zstd.decompress_to, zstd.MAX_WINDOW),
}

# A bytes object may be written to as long as nobody else has seen it; this saves clearing a buffer
# and copying it. Both functions hold the interpreter's lock, as they must.
_new_bytes = ctypes.PYFUNCTYPE(py_object, c_void_p, c_ssize_t)(("PyBytes_FromStringAndSize", ctypes.pythonapi))
_address_of_bytes = ctypes.PYFUNCTYPE(c_void_p, py_object)(("PyBytes_AsString", ctypes.pythonapi))


def make_encoder(spec: CompressorSpec | str, *, max_pcluster: int, block_size: int = 4096) -> Encoder:
    """Return a new encoder for pclusters of up to ``max_pcluster`` bytes; each worker needs its own.

    ``block_size`` matters for its record only.

    Dictionaries whose size is not given grow with the pcluster, as in mkfs.erofs: eight times its
    size for zstd, four times for lzma. Raises UsageError for a bad ``spec`` and UnsupportedError
    where this machine lacks the C library.
    """
    if isinstance(spec, str):
        spec = parse_compressor(spec)
    level = spec.level or 0
    if spec.name == "lz4":
        return lz4.Lz4Encoder(max_pcluster, block_size)
    if spec.name == "lz4hc":
        return lz4.Lz4HcEncoder(level, max_pcluster, block_size)
    if spec.name == "zstd":
        window = spec.dict_size or 1 << (min(max_pcluster << 3, zstd.MAX_WINDOW).bit_length() - 1)
        return zstd.ZstdEncoder(level, window, max_pcluster)
    if spec.name == "deflate":
        return deflate.DeflateEncoder(level, spec.dict_size or deflate.MAX_WINDOW, max_pcluster)
    window = spec.dict_size or max(1 << 15, min(max_pcluster << 2, microlzma.MAX_WINDOW))
    return microlzma.MicroLzmaEncoder(level, window, lc=spec.lc, lp=spec.lp, pb=spec.pb)


def decoder(algorithm: int, window: int | None = None) -> Decoder:
    """Return the decoder of an algorithm, for streams of images whose record declares ``window`` (see ``window_of``).

    A stream that needs more is refused where the decoder can tell, as kernels do. Raises UnsupportedError for an
    unknown algorithm.
    """
    try:
        decode, most = _DECODERS[algorithm]
    except KeyError:
        raise UnsupportedError(f"unknown compression algorithm {algorithm}") from None
    return functools.partial(decode, window or most)


def decompress(
    algorithm: int,
    data: bytes | bytearray | memoryview,
    size: int,
    *,
    partial: bool = False,
    window: int | None = None,
) -> bytes:
    """Decode one stream to exactly ``size`` bytes, which must be bounded by the caller: they are allocated.

    As a ``Decoder`` does; it also refuses what no extent may hold.
    """
    if len(data) > MAX_ENCODED or size > MAX_DECODED:
        raise CorruptError(f"{len(data)} compressed bytes for {size} exceed what an extent may hold")
    out = _new_bytes(None, size)
    decoder(algorithm, window)(bytes(data), _address_of_bytes(out), size, partial)
    result: bytes = out
    return result
