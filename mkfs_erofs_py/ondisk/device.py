"""Slots of the device table: where the blocks of extra devices lie."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import OutOfBoundsError
from .structure import Structure

__all__ = ["SLOT_SIZE", "DeviceSlot"]

SLOT_SIZE = 128
_SLOT = Structure(
    SLOT_SIZE,
    (0x00, "64s", "tag", "what names the device, NUL-padded"),
    (0x40, "I", "blocks_low", "its size in blocks"),
    (0x44, "I", "uniaddr_low", "the block at which it starts in the address space that all devices share"),
    (0x48, "H", "blocks_high", "48-bit images: bits 32 to 47 of its size"),
    (0x4A, "H", "uniaddr_high", "48-bit images: bits 32 to 47 of its start"),
    (0x4C, "52x", "", "reserved"),
)


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
        return _SLOT.struct.pack(self.tag, self.blocks & low, self.uniaddr & low, self.blocks >> 32, self.uniaddr >> 32)

    @classmethod
    def unpack(cls, data: bytes | memoryview, offset: int) -> tuple[DeviceSlot, int]:
        """Read the slot at ``offset`` -> slot, end. Raises `OutOfBoundsError`."""
        if offset + SLOT_SIZE > len(data):
            raise OutOfBoundsError("device slot lies outside the image", offset)
        tag, blocks, start, blocks_hi, start_hi = _SLOT.struct.unpack_from(data, offset)
        return cls(tag, blocks | blocks_hi << 32, start | start_hi << 32), offset + SLOT_SIZE
