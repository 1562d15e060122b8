"""Changes of single bits in a written image: what overrides come down to."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NamedTuple

from ..files.output import Output
from ..ondisk.constants import BLOCK_BITS_RANGE, SUPERBLOCK_OFFSET
from ..ondisk.superblock import SUPERBLOCK_FORM, Superblock, checksum, checksum_end

__all__ = ["CHECKSUM_PLACE", "Operator", "Patch", "apply_patches"]

_AT, _SIZE = SUPERBLOCK_FORM.places["checksum"]
#: Where the superblock's checksum begins and ends.
CHECKSUM_PLACE = (SUPERBLOCK_OFFSET + _AT, SUPERBLOCK_OFFSET + _AT + _SIZE)
_BLOCK_BITS = SUPERBLOCK_OFFSET + SUPERBLOCK_FORM.places["block_bits"][0]


class Operator(enum.Enum):
    """What is done to a number with another."""

    SET = enum.auto()
    ADD = enum.auto()
    XOR = enum.auto()


class Patch(NamedTuple):
    """A change of the bits ``mask`` of the ``width`` bytes at ``offset``, a little-endian number, by ``value``.

    Where something is added, what no longer fits the mask is lost. ``mend`` is whether the superblock's checksum is
    made to fit the change: patches with it are applied first, then the checksum is computed, then the others are
    applied.
    """

    offset: int
    width: int
    mask: int
    value: int
    change: Operator
    mend: bool

    def apply(self, old: bytes) -> bytes:
        """Return the bytes that take the place of ``old``."""
        number = int.from_bytes(old, "little")
        new = self.value
        if self.change is Operator.ADD:
            new += number
        elif self.change is Operator.XOR:
            new ^= number
        return (number & ~self.mask | new & self.mask).to_bytes(self.width, "little")


def apply_patches(patches: Sequence[Patch], output: Output, superblock: Superblock, has_checksum: bool) -> None:
    """Change an image that is complete otherwise. Raises `OutputError`."""
    mended = [patch for patch in patches if patch.mend]
    for patch in mended:
        _apply(patch, output)
    if mended and has_checksum:
        _mend_checksum(output, superblock.block_size)
    for patch in patches:
        if not patch.mend:
            _apply(patch, output)


def _apply(patch: Patch, output: Output) -> None:
    output.write_at(patch.apply(output.read_at(patch.width, patch.offset)), patch.offset)


def _mend_checksum(output: Output, block_size: int) -> None:
    """Compute the checksum anew, over a block of the size that the image itself tells by now, if that is possible."""
    (bits,) = output.read_at(1, _BLOCK_BITS)
    if BLOCK_BITS_RANGE[0] <= bits <= BLOCK_BITS_RANGE[1]:
        block_size = 1 << bits
    covered = output.read_at(checksum_end(block_size) - SUPERBLOCK_OFFSET, SUPERBLOCK_OFFSET)
    start, end = CHECKSUM_PLACE
    output.write_at(checksum(covered).to_bytes(end - start, "little"), start)
