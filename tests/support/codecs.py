"""Encoders over bytes instead of addresses."""

from __future__ import annotations

import ctypes

from mkfs_erofs_py.compress import Encoder

__all__ = ["encode"]


def encode(encoder: Encoder, data: bytes) -> bytes:
    """Return the whole of ``data`` as one stream of up to 1 MiB."""
    target = ctypes.create_string_buffer(1 << 20)
    source = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0
    produced = encoder.piece(source, len(data), ctypes.addressof(target), len(target))
    assert produced, "does not fit"
    return target.raw[:produced]
