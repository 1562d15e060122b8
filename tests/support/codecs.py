"""Encoders and decoders over bytes instead of addresses."""

from __future__ import annotations

import ctypes

from mkfs_erofs_py.compress import Encoder, decoder

__all__ = ["decode_into", "encode"]


def encode(encoder: Encoder, data: bytes) -> bytes:
    """Return the whole of ``data`` as one stream of up to 1 MiB."""
    target = ctypes.create_string_buffer(1 << 20)
    source = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0
    produced = encoder.piece(source, len(data), ctypes.addressof(target), len(target))
    assert produced, "does not fit"
    return target.raw[:produced]


def decode_into(
    algorithm: int, stream: bytes, out: bytearray | memoryview, *, partial: bool = False, window: int | None = None
) -> None:
    """Decode a stream to exactly the bytes of ``out``."""
    cell = ctypes.c_char.from_buffer(out) if len(out) else ctypes.c_char()  # its address is that of the first byte
    decoder(algorithm, window)(stream, ctypes.addressof(cell), len(out), partial)
