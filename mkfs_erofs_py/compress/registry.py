"""The compressors: one table, a row each. Every other module that tells them apart reads it here.

To add one, write a module with an `Encoder` and a ``decompress_to``, and a row below. The modules bind C libraries,
so a row only knows how to load its own: listing an image and parsing options load none.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..kernels import Feature
from ..ondisk.constants import Algorithm
from .protocol import Codec

__all__ = ["COMPRESSORS", "Compressor", "by_algorithm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compressor:
    """One compressor. Ranges and defaults are those that mkfs.erofs documents; sizes are in bytes.

    Two compressors may write the streams of one algorithm; these then agree in window and decoder.
    """

    #: What ``-z`` calls it.
    name: str
    #: Whose streams it writes.
    algorithm: Algorithm
    #: What a kernel must have to decode them.
    feature: Feature
    #: The levels there are, none for a compressor that knows only one way.
    levels: tuple[range, ...] = ()
    #: The level where none is given.
    default_level: int | None = None
    #: Dictionary sizes that may be asked for, None where the format fixes it.
    dict_sizes: range | None = None
    #: Whether a dictionary size must be a power of two, since the record holds its logarithm.
    power_of_two: bool = False
    #: Options of its own, with their values where they are not given; each goes from 0 to 4.
    extra: Mapping[str, int] = field(default_factory=dict)
    #: The longest window the format lets an image declare.
    max_window: int
    #: Size of the largest pcluster -> the window where no dictionary size is given.
    default_window: Callable[[int], int]
    #: Loads its code.
    codec: Callable[[], Codec]


@functools.cache
def _lz4() -> Codec:
    from . import lz4

    return Codec(lz4.library, lz4.Lz4Encoder, lz4.decompress_to)


@functools.cache
def _lz4hc() -> Codec:
    from . import lz4

    return Codec(lz4.library, lz4.Lz4HcEncoder, lz4.decompress_to)


@functools.cache
def _lzma() -> Codec:
    from . import microlzma

    return Codec(microlzma.library, microlzma.MicroLzmaEncoder, microlzma.decompress_to)


@functools.cache
def _deflate() -> Codec:
    from . import deflate

    return Codec(deflate.library, deflate.DeflateEncoder, deflate.decompress_to)


@functools.cache
def _zstd() -> Codec:
    from . import zstd

    return Codec(zstd.library, zstd.ZstdEncoder, zstd.decompress_to)


# LZ4's format has no longer distance. Older kernels size their history by the declared one.
_LZ4_WINDOW = (1 << 16) - 1
_LZMA_SIZES = range(4 << 10, (8 << 20) + 1)
# zlib writes no smaller window than the first in raw streams; the format has no larger one than the last.
_DEFLATE_SIZES = range(1 << 9, (1 << 15) + 1)
# The record holds the window's logarithm less 10, and kernels accept at most 10 there.
_ZSTD_SIZES = range(1 << 10, (1 << 20) + 1)


COMPRESSORS: Mapping[str, Compressor] = {
    row.name: row
    for row in (
        Compressor(
            name="lz4",
            algorithm=Algorithm.LZ4,
            feature=Feature.LZ4,
            max_window=_LZ4_WINDOW,
            default_window=lambda _: _LZ4_WINDOW,
            codec=_lz4,
        ),
        Compressor(
            name="lz4hc",
            algorithm=Algorithm.LZ4,
            feature=Feature.LZ4,
            levels=(range(13),),
            default_level=9,
            max_window=_LZ4_WINDOW,
            default_window=lambda _: _LZ4_WINDOW,
            codec=_lz4hc,
        ),
        Compressor(
            name="lzma",
            algorithm=Algorithm.LZMA,
            feature=Feature.LZMA,
            levels=(range(10), range(100, 110)),  # the latter are the "extreme" presets of the former
            default_level=6,
            dict_sizes=_LZMA_SIZES,
            extra={"lc": 3, "lp": 0, "pb": 2},
            max_window=_LZMA_SIZES[-1],
            # Four times the pcluster, as mkfs.erofs chooses.
            default_window=lambda pcluster: max(1 << 15, min(pcluster << 2, _LZMA_SIZES[-1])),
            codec=_lzma,
        ),
        Compressor(
            name="deflate",
            algorithm=Algorithm.DEFLATE,
            feature=Feature.DEFLATE,
            levels=(range(10),),
            default_level=1,
            dict_sizes=_DEFLATE_SIZES,
            power_of_two=True,
            max_window=_DEFLATE_SIZES[-1],
            default_window=lambda _: _DEFLATE_SIZES[-1],
            codec=_deflate,
        ),
        Compressor(
            name="zstd",
            algorithm=Algorithm.ZSTD,
            feature=Feature.ZSTD,
            levels=(range(23),),
            default_level=3,
            dict_sizes=_ZSTD_SIZES,
            power_of_two=True,
            max_window=_ZSTD_SIZES[-1],
            # Eight times the pcluster, as mkfs.erofs chooses, rounded down to a power of two.
            default_window=lambda pcluster: 1 << min(pcluster << 3, _ZSTD_SIZES[-1]).bit_length() - 1,
            codec=_zstd,
        ),
    )
}
"""The compressors by name, in the order of their algorithms."""

_BY_ALGORITHM = {int(row.algorithm): row for row in reversed(list(COMPRESSORS.values()))}


def by_algorithm(algorithm: int) -> Compressor | None:
    """Return the first compressor that writes streams of ``algorithm``, None for an unknown one."""
    return _BY_ALGORITHM.get(algorithm)
