"""Gives each inode its position in the inode table."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from ..ondisk.rounding import round_up
from .area import Placed
from .index import index_size
from .inodes import Inodes

__all__ = ["INODE_SLOT", "Positions", "place_inodes"]

#: Inodes lie on multiples of this many bytes; their numbers count it.
INODE_SLOT = 32
#: The most inodes that wait for the next block because their tail did not fit the one that had room for them.
_WAITING = 32


class Positions:
    """Where inodes stand: ``positions`` by number, in bytes from the inode table's start, ``order`` the numbers by
    ascending position.

    While they are being placed, ``end`` is where the last one's tail or index ends, and ``next`` the first position
    behind that at which an inode may begin.
    """

    __slots__ = ("_block", "_heads", "_meta_start", "_placed", "_tails", "end", "next", "order", "positions")

    def __init__(
        self, inodes: Inodes, placed: Sequence[Placed | None], tails: Sequence[int], meta_start: int, start: int
    ) -> None:
        self.positions = array("Q", bytes(8 * len(inodes.nodes)))
        self.order = array("I")
        self.end = start
        self.next = round_up(start, INODE_SLOT)
        self._block = inodes.profile.block_size
        self._heads = inodes.heads
        self._placed = placed
        self._tails = tails
        self._meta_start = meta_start

    def take(self, number: int) -> None:
        """Place an inode at the next position."""
        position = self.next
        self.positions[number] = position
        self.order.append(number)
        end = position + self._heads[number] + self._tails[number]
        placed = self._placed[number]
        if placed is not None and placed.spans is not None:
            end += index_size(placed, self._meta_start + end)
        self.end = end
        self.next = (end + INODE_SLOT - 1) & -INODE_SLOT  # as `round_up`, without a call for every inode

    def take_further(self, number: int, lead: int, length: int) -> None:
        """Place an inode at the first position where a part of it does not cross a block's end.

        The part begins ``lead`` bytes behind the inode's beginning and takes ``length`` bytes, a block at most.
        """
        block = self._block
        begin = self.next + lead
        if begin % block + length > block:
            begin = round_up(begin, block)
            self.next = round_up(begin - lead, INODE_SLOT)
        self.take(number)


def place_inodes(
    inodes: Inodes, placed: Sequence[Placed | None], tails: Sequence[int], meta_start: int, start: int
) -> Positions:
    """Place all inodes in order, as far as blocks allow, from the offset ``start`` behind ``meta_start`` on.

    An inline tail must not cross a block's end; an inline symlink's target has to be in the block in which its inode
    begins, which Linux before 6.12 demands. An inode whose tail would cross waits for the next block, while others fill
    what is left. At most `_WAITING` wait, and each is looked at once a block, so the time is in proportion to the
    number of inodes. The root is always the first.
    """
    block = inodes.profile.block_size
    # Of each inode, the part that must not cross a block's end: how far behind its beginning, and how long.
    whole = array("I", [length if tail else 0 for length, tail in zip(inodes.heads, tails, strict=True)])
    leads = array("I", [0 if node.is_symlink else length for node, length in zip(inodes.nodes, whole, strict=True)])
    lengths = array("I", [total - lead + tail for total, lead, tail in zip(whole, leads, tails, strict=True)])
    result = Positions(inodes, placed, tails, meta_start, start)
    waiting: list[int] = []
    tried = -1
    for number in range(len(inodes.nodes)):
        if waiting and result.end // block != tried:
            # Whatever waits was tried in this block already, and there is only less room now.
            tried = result.end // block
            left = []
            for other in waiting:
                begin = result.next + leads[other]
                if begin % block + lengths[other] > block:
                    left.append(other)
                else:
                    result.take(other)
            waiting = left
        begin = result.next + leads[number]
        if begin % block + lengths[number] <= block:
            result.take(number)
            continue
        if number == 0:
            result.take_further(number, leads[number], lengths[number])
            continue
        if len(waiting) == _WAITING:
            first = waiting.pop(0)
            result.take_further(first, leads[first], lengths[first])
        waiting.append(number)
    for number in waiting:
        result.take_further(number, leads[number], lengths[number])
    return result
