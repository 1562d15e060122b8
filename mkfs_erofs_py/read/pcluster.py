"""From a compressed span to its bytes: stored bytes, padding taken off, through the algorithm's decoder."""

from __future__ import annotations

from ..compress import Decoder, decode_bytes, decoder, window_of
from ..errors import CorruptError, ImageError
from ..ondisk.constants import Algorithm
from .span import Span
from .volume import Volume

__all__ = ["PclusterReader"]

_LZ4 = int(Algorithm.LZ4)


class _Decoders(dict[int, Decoder]):
    """One volume's decoders by algorithm, each made when it is first looked up: that loads the algorithm's code."""

    def __init__(self, volume: Volume) -> None:
        self._windows = {int(record.algorithm): window_of(record) for record in volume.records}

    def __missing__(self, algorithm: int) -> Decoder:
        made = self[algorithm] = decoder(algorithm, self._windows.get(algorithm))
        return made


class PclusterReader:
    """Reads and decodes the compressed spans of one volume; any number of threads at once.

    Padding: zeros in front of the stream, fewer than a block of them; LZ4 images of before Linux 5.4 have
    them behind it instead. A stream must end where its pcluster ends unless the span is a partial reference.
    """

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._decoders = _Decoders(volume)

    def decode(self, span: Span) -> bytes:
        """Return all bytes of a span. Raises ``ImageError``, naming the span's address."""
        stream, partial = self._stream(span)
        try:
            return decode_bytes(self._decoders[span.kind], stream, span.length, partial)
        except ImageError as error:
            raise type(error)(error.what, span.address) from error

    def decode_into(self, span: Span, target: int) -> None:
        """Decode a span to the memory at the address ``target``. Raises like `decode`; it then holds anything."""
        stream, partial = self._stream(span)
        try:
            self._decoders[span.kind](stream, target, span.length, partial)
        except ImageError as error:
            raise type(error)(error.what, span.address) from error

    def _stream(self, span: Span) -> tuple[bytes, bool]:
        """Return a span's stream without padding, and whether it may go on behind the span's bytes."""
        _, _, kind, device, address, stored, partial = span
        volume = self._volume
        data = bytes(volume.stored(device, address, stored))
        if kind == _LZ4 and not volume.padding_in_front:
            return data, True
        if not data[0]:
            data = data.lstrip(b"\0")
            if stored - len(data) >= volume.block_size:
                raise CorruptError(f"cluster of {stored} bytes holds no stream in its first block", address)
        return data, partial
