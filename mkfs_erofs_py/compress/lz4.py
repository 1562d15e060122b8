"""LZ4 blocks, fast and high-compression, through the C library in the lz4 package.

Both encoders end a block at an output size that is given (the ``destSize`` functions), so one
call fills a pcluster. The format itself limits distances to 65535 bytes.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import weakref
from ctypes import c_int, c_void_p
from types import SimpleNamespace

from ..errors import CorruptError
from ..ondisk.superblock import AlgorithmRecord
from .clib import bind, extension_files, shared_library
from .spec import CompressorSpec

__all__ = ["Lz4Encoder", "Lz4HcEncoder", "decompress_to", "library"]

# The fast encoder has twice the hash table entries for sources shorter than this (LZ4_64Klimit of
# lz4.c): over Debian's /usr at 4 KiB that saves 0.7% of the blocks.
_SHORT_SOURCE = (64 << 10) + 10
_SHORT_OUTPUT = 16 << 10  # the longest whose content is often that short

_PROTOTYPES = {
    "LZ4_decompress_safe": (c_int, (ctypes.c_char_p, c_void_p, c_int, c_int)),
    "LZ4_decompress_safe_partial": (c_int, (ctypes.c_char_p, c_void_p, c_int, c_int, c_int)),
    "LZ4_compress_default": (c_int, (c_void_p, c_void_p, c_int, c_int)),
    "LZ4_compress_destSize": (c_int, (c_void_p, c_void_p, c_void_p, c_int)),
    "LZ4_createStreamHC": (c_void_p, ()),
    "LZ4_freeStreamHC": (c_int, (c_void_p,)),
    "LZ4_resetStreamHC_fast": (None, (c_void_p, c_int)),
    "LZ4_compress_HC_continue": (c_int, (c_void_p, c_void_p, c_void_p, c_int, c_int)),
    "LZ4_compress_HC_continue_destSize": (c_int, (c_void_p, c_void_p, c_void_p, c_void_p, c_int)),
}


@functools.cache
def library() -> SimpleNamespace:
    """Return the functions of the C library. Raises UnsupportedError where this machine lacks it."""
    files = itertools.chain(extension_files("lz4", "block/_block"), shared_library("lz4"))
    return bind("LZ4", files, _PROTOTYPES)


class Lz4Encoder:
    """The fast LZ4 encoder; keeps no state between calls."""

    def __init__(self, spec: CompressorSpec, record: AlgorithmRecord, max_pcluster: int) -> None:  # noqa: ARG002 - has no levels
        functions = library()
        self.record = record
        self._consumed = ctypes.c_int()
        self._consumed_at = ctypes.addressof(self._consumed)
        self._fill = functions.LZ4_compress_destSize
        self._piece = functions.LZ4_compress_default

    def begin_file(self) -> None:
        """Nothing is learned, so there is nothing to forget."""

    def fill(self, src: int, src_len: int, dst: int, dst_len: int) -> tuple[int, int]:
        """See Encoder.fill."""
        offered = min(src_len, _SHORT_SOURCE) if dst_len <= _SHORT_OUTPUT else src_len
        self._consumed.value = offered
        produced: int = self._fill(src, dst, self._consumed_at, dst_len)
        if self._consumed.value == offered < src_len:
            self._consumed.value = src_len
            produced = self._fill(src, dst, self._consumed_at, dst_len)
        # Where not a byte fits, the library may still write an empty block.
        consumed = self._consumed.value
        return (consumed, produced) if consumed and produced else (src_len, 0)

    def piece(self, src: int, src_len: int, dst: int, dst_len: int) -> int:
        """See Encoder.piece."""
        produced: int = self._piece(src, dst, src_len, dst_len)
        return produced


class Lz4HcEncoder:
    """The high-compression LZ4 encoder.

    Its state of 256 KiB is reset the fast way: old entries of the hash tables stay but lie out of
    reach, which gives the same output as clearing them and saves 3% of the time at 4 KiB.
    """

    def __init__(self, spec: CompressorSpec, record: AlgorithmRecord, max_pcluster: int) -> None:  # noqa: ARG002 - any size
        functions = library()
        self.record = record
        self._level = spec.level or 0
        self._consumed = ctypes.c_int()
        self._consumed_at = ctypes.addressof(self._consumed)
        self._reset = functions.LZ4_resetStreamHC_fast
        self._fill = functions.LZ4_compress_HC_continue_destSize
        self._piece = functions.LZ4_compress_HC_continue
        self._state: int | None = functions.LZ4_createStreamHC()
        if self._state is None:
            raise MemoryError("no memory for an LZ4 state")
        weakref.finalize(self, functions.LZ4_freeStreamHC, self._state)

    def begin_file(self) -> None:
        """Nothing is learned, so there is nothing to forget."""

    def fill(self, src: int, src_len: int, dst: int, dst_len: int) -> tuple[int, int]:
        """See Encoder.fill."""
        self._reset(self._state, self._level)
        self._consumed.value = src_len
        produced: int = self._fill(self._state, src, dst, self._consumed_at, dst_len)
        # Where not a byte fits, the library may still write an empty block.
        consumed = self._consumed.value
        return (consumed, produced) if consumed and produced else (src_len, 0)

    def piece(self, src: int, src_len: int, dst: int, dst_len: int) -> int:
        """See Encoder.piece."""
        self._reset(self._state, self._level)
        produced: int = self._piece(self._state, src, dst, src_len, dst_len)
        return produced


def decompress_to(window: int, data: bytes, dst: int, size: int, partial: bool) -> None:
    """Decode the block ``data`` to ``size`` bytes at ``dst``; see ``Decoder`` of this package.

    ``window`` need not be checked: the format has no longer distances than 65535, and kernels since
    7.3 ignore a smaller declaration.
    """
    del window
    functions = library()
    if partial:
        decoded = functions.LZ4_decompress_safe_partial(data, dst, len(data), size, size)
    else:
        decoded = functions.LZ4_decompress_safe(data, dst, len(data), size)
    if decoded != size:
        raise CorruptError(
            "malformed LZ4 block" if decoded < 0 else f"LZ4 block holds {decoded} bytes, {size} expected"
        )
