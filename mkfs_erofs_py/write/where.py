"""Where the bytes of an inode's data stand in the image, as a plan says."""

from __future__ import annotations

from typing import NamedTuple

from ..ondisk.rounding import round_up
from .plan import Plan

__all__ = ["Run", "data_runs"]


class Run(NamedTuple):
    """Bytes that lie in one piece: ``length`` of them at the absolute ``offset``, from byte ``start`` of the data on.

    Behind them, up to ``room`` bytes from ``offset``, stand the zeros that fill the last block.
    """

    start: int
    length: int
    offset: int
    room: int


def data_runs(plan: Plan, number: int) -> list[Run]:
    """Return the runs of an inode's stored data in order; none where it has no data.

    Stored data is the data itself; of a compressed file, it is the encoded bytes, span after span.
    """
    placed = plan.placed[number]
    if placed is not None and placed.spans is not None:
        runs = []
        start = 0
        for stored, address in zip(placed.spans.stored, placed.addresses, strict=True):
            if stored:
                runs.append(Run(start, stored, address, stored))
            start += stored
        return runs
    block = plan.inodes.profile.block_size
    node = plan.inodes.nodes[number]
    tail = plan.tails[number]
    if placed is not None:
        size, offset = node.size, placed.addresses[0]
    elif node.is_dir or node.is_symlink:
        size = plan.sizes[number] if node.is_dir else len(node.target)
        offset = plan.blocks.get(number, 0) * block
    else:
        return []
    runs = [Run(0, size - tail, offset, round_up(size - tail, block))] if size > tail else []
    if tail:
        runs.append(Run(size - tail, tail, plan.offset(number) + plan.inodes.heads[number], tail))
    return runs
