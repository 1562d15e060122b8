"""From a compressed extent to its bytes: stored bytes, padding taken off, through the algorithm's decoder."""

from __future__ import annotations

from ..compress import Decoder, decode_bytes, decoder, window_of
from ..errors import CorruptError, ImageError
from ..ondisk.constants import Algorithm
from .extent import Extent
from .volume import Volume

__all__ = ["PclusterReader"]

_LZ4 = int(Algorithm.LZ4)


class PclusterReader:
    """Reads and decodes the compressed extents of one volume; any number of threads at once.

    Padding: zeros in front of the stream, fewer than a block of them; LZ4 images of before Linux 5.4 have
    them behind it instead. A stream must end where its pcluster ends unless the extent is a partial reference.
    """

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._windows = {int(record.algorithm): window_of(record) for record in volume.records}
        self._decoders: dict[int, Decoder] = {}

    def decode(self, extent: Extent) -> bytes:
        """Return all bytes of an extent. Raises ``ImageError``, naming the extent's address."""
        stream, partial = self._stream(extent)
        try:
            return decode_bytes(self._decoder(extent.kind), stream, extent.length, partial)
        except ImageError as error:
            raise type(error)(error.what, extent.address) from error

    def decode_into(self, extent: Extent, target: int) -> None:
        """Decode an extent to the memory at the address ``target``. Raises like `decode`; it then holds anything."""
        stream, partial = self._stream(extent)
        try:
            self._decoder(extent.kind)(stream, target, extent.length, partial)
        except ImageError as error:
            raise type(error)(error.what, extent.address) from error

    def _decoder(self, algorithm: int) -> Decoder:
        """Return a decoder, made when first needed: that loads the algorithm's code."""
        made = self._decoders.get(algorithm)
        if made is None:
            made = self._decoders[algorithm] = decoder(algorithm, self._windows.get(algorithm))
        return made

    def _stream(self, extent: Extent) -> tuple[bytes, bool]:
        """Return an extent's stream without padding, and whether it may go on behind the extent's bytes."""
        _, _, kind, device, address, stored, partial = extent
        volume = self._volume
        data = bytes(volume.stored(device, address, stored))
        if kind == _LZ4 and not volume.padding_in_front:
            return data, True
        if not data[0]:
            data = data.lstrip(b"\0")
            if stored - len(data) >= volume.block_size:
                raise CorruptError(f"cluster of {stored} bytes holds no stream in its first block", address)
        return data, partial
