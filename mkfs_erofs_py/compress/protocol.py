"""What every algorithm offers the builder and the reader, and the numbers they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from ..ondisk.constants import Algorithm
from ..ondisk.superblock import AlgorithmRecord
from .spec import CompressorSpec

__all__ = ["Codec", "Decoder", "Encoder", "strip_padding", "window_of"]

Decoder = Callable[[bytes, int, int, bool], None]
"""Decodes ``(stream, address, size, partial)``: one stream, without padding, to ``size`` bytes of the caller's memory
at ``address``. The stream must end with its data and decode to ``size`` bytes, unless ``partial``: then it may go on
after them. Raises CorruptError for every stream that breaks these rules; the memory then holds anything.
Any number of threads may call it at once; the interpreter's lock is released within.
"""


class Encoder(Protocol):
    """Compresses for one worker; never to be shared between threads that run at once.

    Sources and destinations are raw addresses and lengths in bytes, which the caller keeps alive:
    a tree takes some hundred thousand calls, too many to make objects for each. The lock of the
    interpreter is released within a call. A stream never begins with a zero byte, which would
    read as padding. Equal input gives equal output since the last ``begin_file``.
    """

    @property
    def record(self) -> AlgorithmRecord:
        """What the superblock must tell readers about the streams of this encoder."""

    def begin_file(self) -> None:
        """Forget what was learned from earlier calls, so that output depends on one file alone.

        To be called at the start of each file, or of each part of a file that may go to another worker.
        """

    def fill(self, src: int, src_len: int, dst: int, dst_len: int) -> tuple[int, int]:
        """Compress as long a prefix of ``src`` as fits ``dst_len`` bytes: (consumed, produced).

        ``src_len`` is 1 to 12 MiB (``MAX_DECODED``), ``dst_len`` at most the ``max_pcluster`` of the encoder.
        ``(n, 0)`` says that the first ``n`` bytes (all of them, when ``n`` is ``src_len``) are not
        worth compressing; ``produced`` may also come out no smaller than ``consumed``. Bytes behind
        ``produced``, as far as ``dst_len``, are scratch space.
        """

    def piece(self, src: int, src_len: int, dst: int, dst_len: int) -> int:
        """Compress exactly ``src_len`` bytes: the bytes produced, or 0 if they exceed ``dst_len``.

        A stream that would fit with less than a dozen bytes to spare may be counted as too long.
        """


class Codec(NamedTuple):
    """The code of one compressor, once its module is loaded.

    ``library`` finds the C library that encoding needs, or raises UnsupportedError. ``encoder`` makes an encoder
    for a spec, the record that announces its streams (it decides the window) and the largest pcluster in bytes.
    ``decompress_to`` is a `Decoder` that takes the window, in bytes, as its first argument.
    """

    library: Callable[[], object]
    encoder: Callable[[CompressorSpec, AlgorithmRecord, int], Encoder]
    decompress_to: Callable[[int, bytes, int, int, bool], None]


def window_of(record: AlgorithmRecord) -> int:
    """Return how far back, in bytes, the streams that ``record`` announces may refer."""
    if record.algorithm is Algorithm.LZ4:
        return record.max_distance
    if record.algorithm is Algorithm.LZMA:
        return record.dict_size
    return 1 << record.window_bits


def strip_padding(data: bytes) -> bytes:
    """Return the stream in ``data`` without the zero bytes in front that fill its pcluster."""
    return data.lstrip(b"\0")
