"""Zstandard frames through the C library in the zstandard package."""

from __future__ import annotations

import ctypes
import functools
import itertools
import threading
import weakref
from ctypes import c_char_p, c_int, c_size_t, c_ulonglong, c_void_p
from types import SimpleNamespace

from ..errors import CorruptError, UsageError
from ..ondisk.superblock import AlgorithmRecord
from .clib import bind, extension_files, shared_library
from .search import FillSearch
from .spec import CompressorSpec

__all__ = ["ZstdEncoder", "decompress_to", "frame_window", "library"]

_MAGIC = b"\x28\xb5\x2f\xfd"
_C_COMPRESSION_LEVEL = 100  # numbers of zstd.h, part of its stable interface
_C_WINDOW_LOG = 101
_RESET_SESSION = 1
_ERRORS = (1 << 8 * ctypes.sizeof(c_size_t)) - 120  # results above are negated error numbers


class _Buffer(ctypes.Structure):
    """ZSTD_inBuffer and ZSTD_outBuffer, which look alike."""

    _fields_ = (("address", c_void_p), ("size", c_size_t), ("pos", c_size_t))


_PROTOTYPES = {
    "ZSTD_createCCtx": (c_void_p, ()),
    "ZSTD_freeCCtx": (c_size_t, (c_void_p,)),
    "ZSTD_CCtx_setParameter": (c_size_t, (c_void_p, c_int, c_int)),
    "ZSTD_compress2": (c_size_t, (c_void_p, c_void_p, c_size_t, c_void_p, c_size_t)),
    "ZSTD_createDCtx": (c_void_p, ()),
    "ZSTD_freeDCtx": (c_size_t, (c_void_p,)),
    "ZSTD_DCtx_reset": (c_size_t, (c_void_p, c_int)),
    "ZSTD_getFrameContentSize": (c_ulonglong, (c_char_p, c_size_t)),
    "ZSTD_findFrameCompressedSize": (c_size_t, (c_char_p, c_size_t)),
    "ZSTD_decompressDCtx": (c_size_t, (c_void_p, c_void_p, c_size_t, c_char_p, c_size_t)),
    "ZSTD_decompressStream": (c_size_t, (c_void_p, c_void_p, c_void_p)),
    "ZSTD_getErrorName": (c_char_p, (c_size_t,)),
}


@functools.cache
def library() -> SimpleNamespace:
    """Return the functions of the C library. Raises UnsupportedError where this machine lacks it."""
    files = itertools.chain(extension_files("zstandard", "_cffi"), shared_library("zstd"))
    return bind("Zstandard", files, _PROTOTYPES)


class ZstdEncoder:
    """Zstandard at one level, no distance longer than the window of ``record``.

    The library cannot fill a given output, so ``fill`` searches: the ratio of the last pcluster of
    the same file predicts how much fits.
    """

    def __init__(self, spec: CompressorSpec, record: AlgorithmRecord, max_pcluster: int) -> None:
        functions = library()
        self.record = record
        self._compress = functions.ZSTD_compress2
        self._context: int | None = functions.ZSTD_createCCtx()
        if self._context is None:
            raise MemoryError("no memory for a Zstandard context")
        weakref.finalize(self, functions.ZSTD_freeCCtx, self._context)
        level, window_bits = spec.level or 0, record.window_bits
        for parameter, value in ((_C_COMPRESSION_LEVEL, level), (_C_WINDOW_LOG, window_bits)):
            if functions.ZSTD_CCtx_setParameter(self._context, parameter, value) > _ERRORS:
                raise UsageError(f"zstd: level {level} with a window of {1 << window_bits} bytes is not possible")
        self._search = FillSearch(self._try, max_pcluster)
        self.begin_file = self._search.forget
        self.fill = self._search.fill

    def piece(self, src: int, src_len: int, dst: int, dst_len: int) -> int:
        """See Encoder.piece."""
        produced: int = self._compress(self._context, dst, dst_len, src, src_len)
        return 0 if produced > _ERRORS else produced

    def _try(self, dst: int, room: int, src: int, length: int) -> int:
        produced: int = self._compress(self._context, dst, room, src, length)
        return produced


class _Decoder(threading.local):
    """One decoding context a thread, made when the thread first decodes and freed when it ends."""

    def __init__(self) -> None:
        functions = library()
        context: int | None = functions.ZSTD_createDCtx()
        if context is None:
            raise MemoryError("no memory for a Zstandard context")
        self.context = context
        self._owner = _Owner()
        weakref.finalize(self._owner, functions.ZSTD_freeDCtx, context)
        self.source = _Buffer()
        self.target = _Buffer()


class _Owner:
    """Dies with the thread whose _Decoder holds it."""


@functools.cache
def _decoder() -> _Decoder:
    return _Decoder()


def frame_window(data: bytes) -> int:
    """Return how many bytes of history the frame at the start of ``data`` asks for.

    RFC 8878, 3.1.1.1: a single segment needs its content's size; otherwise a byte after the
    descriptor holds the window. Raises CorruptError where no ordinary frame starts.
    """
    if data[:4] != _MAGIC or len(data) < 6:
        raise CorruptError("no Zstandard frame where one should start")
    if data[4] & 0x20:
        size: int = library().ZSTD_getFrameContentSize(data, len(data))
        return size
    base = 1 << 10 + (data[5] >> 3)
    return base + (base >> 3) * (data[5] & 7)


def decompress_to(window: int, data: bytes, dst: int, size: int, partial: bool) -> None:
    """Decode the one frame in ``data`` to ``size`` bytes at ``dst``; see ``Decoder`` of this package."""
    if frame_window(data) > window:
        raise CorruptError(f"Zstandard frame needs a window of {frame_window(data)} bytes, {window} declared")
    functions, decoder = library(), _decoder()
    if partial:
        decoded = _decode_prefix(functions, decoder, data, dst, size)
    else:
        if functions.ZSTD_findFrameCompressedSize(data, len(data)) != len(data):
            raise CorruptError("Zstandard frame is cut short or followed by other bytes")
        decoded = functions.ZSTD_decompressDCtx(decoder.context, dst, size, data, len(data))
    if decoded > _ERRORS:
        raise CorruptError(f"malformed Zstandard frame: {functions.ZSTD_getErrorName(decoded).decode()}")
    if decoded != size:
        raise CorruptError(f"Zstandard frame holds {decoded} bytes, {size} expected")


def _decode_prefix(functions: SimpleNamespace, decoder: _Decoder, data: bytes, dst: int, size: int) -> int:
    """Decode until ``size`` bytes are written, the frame ends or an error; return as ZSTD_decompressDCtx."""
    source, target = decoder.source, decoder.target
    source.address, source.size, source.pos = ctypes.cast(c_char_p(data), c_void_p).value, len(data), 0
    target.address, target.size, target.pos = dst, size, 0
    functions.ZSTD_DCtx_reset(decoder.context, _RESET_SESSION)
    before = -1
    while target.pos < size and source.pos + target.pos != before:
        before = source.pos + target.pos
        result: int = functions.ZSTD_decompressStream(
            decoder.context, ctypes.addressof(target), ctypes.addressof(source)
        )
        if result > _ERRORS:
            return result
        if result == 0:
            break
    done: int = target.pos
    return done
