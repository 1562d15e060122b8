"""Fields of an image that are to have other values than the plan gives them: for fixtures, and for tests of readers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ..errors import printable
from .address import path_bytes, wrong
from .locate import Place, find_inode, locate
from .patch import CHECKSUM_PLACE, Operator, Patch
from .placing import INODE_SLOT
from .plan import Plan

__all__ = ["Override", "Value", "resolve_overrides"]

#: What a field is to be; see `Override`.
Value = int | str | bytes

#: Fields that count blocks from the image's beginning.
_BLOCKS = ("base", "block", "blocks_low", "meta_blkaddr", "u", "xattr_blkaddr")
#: Fields that count inodes from the inode table's beginning.
_NIDS = ("metabox_nid", "nid", "packed_nid", "root_nid_or_blocks_high", "root_nid_wide")


@dataclass(frozen=True, slots=True)
class Override:
    """One field and its value.

    ``address`` is as `mkfs_erofs_py.write.address` describes. ``value`` is a number (a negative one in two's
    complement), bytes that overwrite the field from its first byte on, or one of these texts:

    * ``5``, ``0x5``: a number;
    * ``+1``, ``-1``: so much more or less than the plan says; what no longer fits the field is lost;
    * ``^1``: what the plan says, with these bits flipped;
    * ``nid:/path``: the number of that inode;
    * ``eof``: the image's end, in the unit in which the field counts: blocks, inode numbers, 4-byte words, else bytes;
    * ``max``: all bits set.

    ``checksum`` says what becomes of the superblock's checksum where it covers the field: it is made to fit the new
    value (``mend``), or stays that of the old one (``keep``). The checksum itself is overridden at the very end.
    """

    address: str
    value: Value
    checksum: Literal["mend", "keep"] = "mend"

    def __post_init__(self) -> None:
        if self.checksum not in ("mend", "keep"):
            raise wrong(self.address, f"checksum {self.checksum!r} is neither 'mend' nor 'keep'")


def resolve_overrides(plan: Plan, overrides: Iterable[Override]) -> list[Patch]:
    """Return what is to be done to the written image. Raises `UsageError` for what is impossible."""
    return [_resolve(plan, one, locate(plan, one.address)) for one in overrides]


def _resolve(plan: Plan, override: Override, place: Place) -> Patch:
    value = override.value
    width, shift, bits, change = place.width, place.shift, place.bits, Operator.SET
    if isinstance(value, bytes):
        _check_bytes(override, place, value)
        number, width = int.from_bytes(value, "little"), len(value)
        bits = 8 * width
    elif isinstance(value, str):
        change, number = _number(plan, override, place, value)
    elif isinstance(value, int):
        number = value
    else:
        raise wrong(override.address, f"{value!r} is no value; these are numbers, bytes and texts")
    if not -(1 << bits) // 2 <= number < 1 << bits:
        raise wrong(override.address, f"{override.value!r} does not fit the field, which has {bits} bits")
    covers_checksum = place.offset < CHECKSUM_PLACE[1] and CHECKSUM_PLACE[0] < place.offset + width
    mask = (1 << bits) - 1
    return Patch(
        offset=place.offset,
        width=width,
        mask=mask << shift,
        value=(number & mask) << shift,
        change=change,
        mend=override.checksum == "mend" and not covers_checksum,
    )


def _check_bytes(override: Override, place: Place, value: bytes) -> None:
    if place.bits % 8:
        raise wrong(override.address, f"the field has {place.bits} bits, so its value is a number, not bytes")
    most = place.width + place.room
    if not 0 < len(value) <= most:
        raise wrong(override.address, f"{len(value)} bytes do not fit the field, which has {most}")


def _number(plan: Plan, override: Override, place: Place, text: str) -> tuple[Operator, int]:
    """Return the number that a text stands for, and what is done with it."""
    if text == "max":
        return Operator.SET, (1 << place.bits) - 1
    if text == "eof":
        return Operator.SET, _end(plan, place)
    if text.startswith("nid:"):
        path = path_bytes(text, text.removeprefix("nid:"))
        number = find_inode(plan, path)
        if number is None:
            raise wrong(override.address, f"{text}: {printable(path)} is not in the tree")
        return Operator.SET, plan.nid(number)
    match = re.fullmatch(r"([+^-]?)(0x[0-9a-fA-F]{1,16}|[0-9]{1,20})", text)
    if match is None:
        forms = "a number, +N, -N, ^N, nid:/path, eof or max"
        raise wrong(override.address, f"{text!r} is no value; these are {forms}")
    number = int(match[2], 16 if match[2].startswith("0x") else 10)
    change = {"+": Operator.ADD, "-": Operator.ADD, "^": Operator.XOR}.get(match[1], Operator.SET)
    return change, -number if match[1] == "-" else number


def _end(plan: Plan, place: Place) -> int:
    """Return the image's end in the unit of a field."""
    if place.field in _BLOCKS:
        return plan.end // plan.inodes.profile.block_size
    if place.field in _NIDS:
        return (plan.end - plan.meta_start) // INODE_SLOT
    if place.field == "prefix_table":
        return plan.end // 4
    if place.field == "shared":
        return (plan.end - plan.xattr_start) // 4
    return plan.end
