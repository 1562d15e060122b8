"""Raw DEFLATE streams (RFC 1951, no wrapper) through zlib."""

from __future__ import annotations

import ctypes
import functools
import itertools
import weakref
import zlib
from collections.abc import Callable
from ctypes import c_char_p, c_int, c_uint, c_ulong, c_void_p
from types import SimpleNamespace

from ..errors import CorruptError
from ..ondisk.superblock import AlgorithmRecord
from .clib import bind, shared_library
from .search import FillSearch
from .spec import CompressorSpec

__all__ = ["DeflateEncoder", "decompress_to", "library"]

_FINISH = 4
_STREAM_END = 1
_DEFLATED = 8
_MEM_LEVEL = 8
_DEFAULT_STRATEGY = 0


class _Stream(ctypes.Structure):
    """z_stream of zlib.h."""

    _fields_ = (
        ("next_in", c_void_p),
        ("avail_in", c_uint),
        ("total_in", c_ulong),
        ("next_out", c_void_p),
        ("avail_out", c_uint),
        ("total_out", c_ulong),
        ("msg", c_char_p),
        ("state", c_void_p),
        ("zalloc", c_void_p),
        ("zfree", c_void_p),
        ("opaque", c_void_p),
        ("data_type", c_int),
        ("adler", c_ulong),
        ("reserved", c_ulong),
    )


_PROTOTYPES = {
    "deflateInit2_": (c_int, (c_void_p, c_int, c_int, c_int, c_int, c_int, c_char_p, c_int)),
    "deflateReset": (c_int, (c_void_p,)),
    "deflate": (c_int, (c_void_p, c_int)),
    "deflateEnd": (c_int, (c_void_p,)),
}


@functools.cache
def library() -> SimpleNamespace:
    """Return the functions of the C library. Raises UnsupportedError where this machine lacks it."""
    extension = getattr(zlib, "__file__", None)  # none where zlib is built into the interpreter
    files = itertools.chain([extension] if extension else [], shared_library("z"))
    return bind("DEFLATE compression", files, _PROTOTYPES)


class DeflateEncoder:
    """Raw DEFLATE at one level, no distance longer than the window of ``record``."""

    def __init__(self, spec: CompressorSpec, record: AlgorithmRecord, max_pcluster: int) -> None:
        functions = library()
        self.record = record
        self._stream = _Stream()
        self._stream_at = ctypes.addressof(self._stream)
        self._reset = functions.deflateReset
        self._deflate = functions.deflate
        status = functions.deflateInit2_(
            self._stream_at,
            spec.level or 0,
            _DEFLATED,
            -record.window_bits,  # negative: raw
            _MEM_LEVEL,
            _DEFAULT_STRATEGY,
            zlib.ZLIB_VERSION.encode(),
            ctypes.sizeof(_Stream),
        )
        if status != 0:
            raise MemoryError("no memory for a DEFLATE stream")
        # The stream must outlive the encoder by this call, and zlib's state points back to it.
        weakref.finalize(self, _end, functions.deflateEnd, self._stream)
        self._search = FillSearch(self._try, max_pcluster)
        self.begin_file = self._search.forget
        self.fill = self._search.fill

    def piece(self, src: int, src_len: int, dst: int, dst_len: int) -> int:
        """See Encoder.piece."""
        produced = self._try(dst, dst_len, src, src_len)
        return 0 if produced > dst_len else produced

    def _try(self, dst: int, room: int, src: int, length: int) -> int:
        stream = self._stream
        self._reset(self._stream_at)
        stream.next_in, stream.avail_in = src, length
        stream.next_out, stream.avail_out = dst, room
        if self._deflate(self._stream_at, _FINISH) != _STREAM_END:
            return room + 1
        # A stream that begins with a stored block which is not the last begins with a zero byte and
        # would lose it as padding. Bits 3 to 7 of that byte mean nothing: RFC 1951, 3.2.4.
        first = ctypes.c_ubyte.from_address(dst)
        if not first.value:
            first.value = 1 << 3
        unused: int = stream.avail_out
        return room - unused


def _end(deflate_end: Callable[[int], int], stream: _Stream) -> None:
    deflate_end(ctypes.addressof(stream))


def decompress_to(window: int, data: bytes, dst: int, size: int, partial: bool) -> None:
    """Decode the stream ``data`` to ``size`` bytes at ``dst``; see ``Decoder`` of this package."""
    del window  # decoded in one go, every distance lies within the output
    stream = zlib.decompressobj(-15)
    try:
        decoded = stream.decompress(data, size if partial and size else size + 1)
    except zlib.error as error:
        raise CorruptError(f"malformed DEFLATE stream: {error}") from None
    if not partial and (not stream.eof or stream.unused_data):
        what = "is followed by other bytes" if stream.eof else "does not end with its data"
        raise CorruptError(f"DEFLATE stream {what}")
    if len(decoded) < size or (len(decoded) > size and not partial):
        raise CorruptError(f"DEFLATE stream holds {len(decoded)} bytes, {size} expected")
    ctypes.memmove(dst, decoded, size)
