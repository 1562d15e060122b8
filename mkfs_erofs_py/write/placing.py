"""Gives each inode its position in the inode table."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from .area import Placed
from .index import index_size
from .inodes import Inodes

__all__ = ["INODE_SLOT", "Positions", "place_inodes"]

#: Inodes lie on multiples of this many bytes; their numbers count it.
INODE_SLOT = 32
#: Inodes whose tail did not fit their turn's block and wait for the next, at most.
_WAITING = 32


class Positions:
    """Where inodes stand: ``positions`` by number, in bytes from the inode table's start; ``order`` the numbers by
    ascending position; ``end`` where the last one's tail or index ends."""

    __slots__ = ("end", "order", "positions")

    def __init__(self, count: int) -> None:
        self.positions = array("Q", bytes(8 * count))
        self.order = array("I")
        self.end = 0


def place_inodes(
    inodes: Inodes, placed: Sequence[Placed | None], tails: Sequence[int], meta_start: int, start: int
) -> Positions:
    """Place all inodes in order, as far as blocks allow, from the offset ``start`` behind ``meta_start`` on.

    An inline tail must not cross a block's end (and a symlink stays in its inode's block: before 6.12
    Linux wants it there). An inode that would, waits for the next block while others, which may
    cross, fill what is left. At most a fixed number waits, and each is looked at once a block, so the time is in
    proportion to the inodes. The root comes first whatever it takes.
    """
    placer = _Placer(inodes, placed, tails, meta_start, start)
    block = inodes.profile.block_size
    waiting: list[int] = []
    tried = -1
    for number in range(len(inodes.nodes)):
        if waiting and placer.at // block != tried:
            # Whatever waits was tried in this block already, and there is only less room now.
            tried = placer.at // block
            waiting = [other for other in waiting if not placer.put(other)]
        if placer.put(number):
            continue
        if number == 0:
            placer.force(number)
            continue
        if len(waiting) == _WAITING:
            placer.force(waiting.pop(0))
        waiting.append(number)
    for number in waiting:
        placer.force(number)
    placer.result.end = placer.at
    return placer.result


class _Placer:
    def __init__(
        self, inodes: Inodes, placed: Sequence[Placed | None], tails: Sequence[int], meta_start: int, start: int
    ) -> None:
        self.at = start
        self.result = Positions(len(inodes.nodes))
        self._heads = inodes.heads
        self._placed = placed
        self._tails = tails
        self._meta_start = meta_start
        self._block = inodes.profile.block_size
        #: How far behind an inode's beginning that begins which must not cross a block's end.
        self._leads = array(
            "I",
            [0 if node.is_symlink else head for node, head in zip(inodes.nodes, inodes.heads, strict=True)],
        )

    def put(self, number: int) -> bool:
        """Place an inode at the current position if it may stand there."""
        position = (self.at + INODE_SLOT - 1) & -INODE_SLOT
        tail = self._tails[number]
        if tail:
            block = self._block
            last = position + self._heads[number] + tail - 1
            if (position + self._leads[number]) // block != last // block:
                return False
        self._take(number, position)
        return True

    def force(self, number: int) -> None:
        """Place an inode at the first position where it may stand."""
        position = (self.at + INODE_SLOT - 1) & -INODE_SLOT
        block, lead = self._block, self._leads[number]
        if tail := self._tails[number]:
            length = self._heads[number] - lead + tail
            begin = position + lead
            if begin % block + length > block:
                # What must not cross begins a block, or as close behind one's beginning as slots allow.
                begin = -(-begin // block) * block
                position = -(-(begin - lead) // INODE_SLOT) * INODE_SLOT
        self._take(number, position)

    def _take(self, number: int, position: int) -> None:
        result = self.result
        result.positions[number] = position
        result.order.append(number)
        end = position + self._heads[number]
        placed = self._placed[number]
        if placed is not None and placed.spans is not None:
            end += index_size(placed, self._meta_start + end)
        self.at = end + self._tails[number]
