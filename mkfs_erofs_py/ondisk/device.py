"""Slots of the device table: where the blocks of extra devices lie."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ..errors import OutOfBoundsError

__all__ = ["SLOT_SIZE", "DeviceSlot"]

SLOT_SIZE = 128
_SLOT = struct.Struct("<64sIIHH52x")
assert _SLOT.size == SLOT_SIZE


@dataclass(frozen=True, slots=True)
class DeviceSlot:
    """One extra device: its tag, its size in blocks and its start in the unified address space.

    The high 16 bits of both count in 48-bit images only; `unpack` joins them, and whoever reads an
    older image masks them off.
    """

    tag: bytes
    blocks: int
    uniaddr: int

    def pack(self) -> bytes:
        """Return the slot's 128 bytes."""
        low = 0xFFFF_FFFF
        return _SLOT.pack(self.tag, self.blocks & low, self.uniaddr & low, self.blocks >> 32, self.uniaddr >> 32)

    @classmethod
    def unpack(cls, data: bytes | memoryview, offset: int) -> tuple[DeviceSlot, int]:
        """Read the slot at ``offset`` -> slot, end. Raises `OutOfBoundsError`."""
        if offset + SLOT_SIZE > len(data):
            raise OutOfBoundsError("device slot lies outside the image", offset)
        tag, blocks, start, blocks_hi, start_hi = _SLOT.unpack_from(data, offset)
        return cls(tag, blocks | blocks_hi << 32, start | start_hi << 32), offset + SLOT_SIZE
