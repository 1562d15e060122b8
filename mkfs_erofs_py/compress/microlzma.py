"""MicroLZMA: a raw LZMA1 stream without end marker whose first byte holds the inverted properties.

Encoding needs liblzma's own MicroLZMA encoder, which ends a stream at a given output size. Decoding
goes through the ``lzma`` module: with the header of an ``.lzma`` file put in front, and the zero
that is the first byte of every LZMA stream put back, MicroLZMA is an ordinary stream.
"""

from __future__ import annotations

import _lzma
import ctypes
import functools
import itertools
import lzma
import weakref
from collections.abc import Callable
from ctypes import c_int, c_size_t, c_ubyte, c_uint32, c_uint64, c_void_p
from types import SimpleNamespace

from ..errors import CorruptError, UsageError
from ..ondisk.superblock import AlgorithmRecord
from .clib import bind, shared_library
from .spec import CompressorSpec

__all__ = ["MicroLzmaEncoder", "decompress_to", "library"]

_FINISH = 3
_OK = 0
_STREAM_END = 1
_EXTREME = 1 << 31
_MIN_STREAM = 6  # the encoder refuses to work with less output
_UNKNOWN_SIZE = b"\xff" * 8


class _Stream(ctypes.Structure):
    """lzma_stream of lzma/base.h."""

    _fields_ = (
        ("next_in", c_void_p),
        ("avail_in", c_size_t),
        ("total_in", c_uint64),
        ("next_out", c_void_p),
        ("avail_out", c_size_t),
        ("total_out", c_uint64),
        ("allocator", c_void_p),
        ("internal", c_void_p),
        ("reserved_pointers", c_void_p * 4),
        ("reserved_integers", c_uint64 * 2),
        ("reserved_sizes", c_size_t * 2),
        ("reserved_enums", c_int * 2),
    )


class _Options(ctypes.Structure):
    """The start of lzma_options_lzma of lzma/lzma12.h, with more room behind than any version reserves."""

    _fields_ = (
        ("dict_size", c_uint32),
        ("preset_dict", c_void_p),
        ("preset_dict_size", c_uint32),
        ("lc", c_uint32),
        ("lp", c_uint32),
        ("pb", c_uint32),
        ("reserved", c_ubyte * 256),
    )


_PROTOTYPES = {
    "lzma_lzma_preset": (c_ubyte, (c_void_p, c_uint32)),
    "lzma_microlzma_encoder": (c_int, (c_void_p, c_void_p)),
    "lzma_code": (c_int, (c_void_p, c_int)),
    "lzma_end": (None, (c_void_p,)),
}


@functools.cache
def library() -> SimpleNamespace:
    """Return the functions of the C library. Raises UnsupportedError where this machine lacks it."""
    extension = getattr(_lzma, "__file__", None)  # none where it is built into the interpreter
    files = itertools.chain([extension] if extension else [], shared_library("lzma"))
    return bind("LZMA compression", files, _PROTOTYPES)


class MicroLzmaEncoder:
    """MicroLZMA at one preset (0 to 9, 100 to 109 for the extreme ones), with the dictionary of ``record``."""

    def __init__(self, spec: CompressorSpec, record: AlgorithmRecord, max_pcluster: int) -> None:  # noqa: ARG002 - any size
        functions = library()
        self.record = record
        self._options = _Options()
        self._options_at = ctypes.addressof(self._options)
        self._stream = _Stream()
        self._stream_at = ctypes.addressof(self._stream)
        self._start = functions.lzma_microlzma_encoder
        self._code = functions.lzma_code
        weakref.finalize(self, _end, functions.lzma_end, self._stream)
        level = spec.level or 0
        functions.lzma_lzma_preset(self._options_at, level % 100 | (_EXTREME if level >= 100 else 0))
        self._options.dict_size = record.dict_size
        for name, value in (("lc", spec.lc), ("lp", spec.lp), ("pb", spec.pb)):
            if value is not None:
                setattr(self._options, name, value)
        if self._start(self._stream_at, self._options_at) != _OK:
            raise UsageError("lzma: the options are not allowed: lc + lp and pb may each be at most 4")

    def begin_file(self) -> None:
        """Nothing is learned, so there is nothing to forget."""

    def fill(self, src: int, src_len: int, dst: int, dst_len: int) -> tuple[int, int]:
        """See Encoder.fill."""
        stream = self._stream
        if dst_len < _MIN_STREAM or self._start(self._stream_at, self._options_at) != _OK:
            return src_len, 0
        stream.next_in, stream.avail_in = src, src_len
        stream.next_out, stream.avail_out = dst, dst_len
        if self._code(self._stream_at, _FINISH) != _STREAM_END:
            return src_len, 0
        return stream.total_in, stream.total_out

    def piece(self, src: int, src_len: int, dst: int, dst_len: int) -> int:
        """See Encoder.piece."""
        consumed, produced = self.fill(src, src_len, dst, dst_len)
        return produced if consumed == src_len else 0


def _end(lzma_end: Callable[[int], None], stream: _Stream) -> None:
    lzma_end(ctypes.addressof(stream))


def decompress_to(window: int, data: bytes, dst: int, size: int, partial: bool) -> None:
    """Decode the stream ``data`` to ``size`` bytes at ``dst``; see ``Decoder`` of this package.

    A stream does not tell its length: told one that is a byte or so off, it may well decode to that.
    Deliberately lenient: liblzma may let a stream end in a marker, which kernels refuse.
    """
    if not data:
        raise CorruptError("empty LZMA stream")
    length = _UNKNOWN_SIZE if partial else size.to_bytes(8, "little")
    header = bytes([data[0] ^ 0xFF]) + window.to_bytes(4, "little") + length + b"\0"
    stream = lzma.LZMADecompressor(lzma.FORMAT_ALONE)
    try:
        decoded = stream.decompress(header + data[1:], size)
    except lzma.LZMAError as error:
        raise CorruptError(f"malformed LZMA stream: {error}") from None
    if len(decoded) != size:
        raise CorruptError(f"LZMA stream holds {len(decoded)} bytes, {size} expected")
    if not partial and (not stream.eof or stream.unused_data):
        what = "is followed by other bytes" if stream.eof else "does not end with its data"
        raise CorruptError(f"LZMA stream {what}")
    ctypes.memmove(dst, decoded, size)
