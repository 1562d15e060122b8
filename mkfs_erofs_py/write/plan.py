"""Where everything that is not file content will lie: directory blocks, attributes, inodes.

The plan is made when all contents are stored and holds every decision; `mkfs_erofs_py.write.emit`
writes it down without another one. Behind the contents come

1. directory blocks and what else needs blocks of its own (symlinks too long for their inode's),
2. the attributes stored once for all,
3. the inodes, each with its attributes and then its tail or index.
"""

from __future__ import annotations

import bisect
import stat
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..encode.contents import Stored
from ..ondisk.dirent import directory_size
from .heads import Heads
from .index import index_size

__all__ = ["INODE_SLOT", "Plan", "inline_room", "make_plan", "names"]

#: Inodes lie on multiples of this many bytes; their numbers count it.
INODE_SLOT = 32
#: Inodes whose tail did not fit their turn's block and wait for the next, at most.
_WAITING = 32
#: Shared attributes that take more end before the inodes' numbers begin: the root's has 16 bits only.
_SHARED_IN_META = 0xFFFF * INODE_SLOT // 2
#: The smallest page of any machine; larger blocks never begin inside one.
_PAGE = 4096
#: `Plan.tails`: no inline tail.
NO_TAIL = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """Every address. Offsets and sizes in bytes, blocks in blocks of the image.

    ``blocks`` gives the first block of directories and symlinks that have blocks, ``sizes`` the bytes of
    directories, by inode number; ``tails`` how many bytes of each inode's data follow it inline.
    ``order`` is the inode numbers by ascending ``positions``, which count from ``meta_start``.
    """

    heads: Heads
    stored: Mapping[int, Stored]
    blocks: Mapping[int, int]
    sizes: Mapping[int, int]
    tails: array[int]
    data_end: int
    meta_start: int
    xattr_start: int
    shared_size: int
    order: array[int]
    positions: array[int]
    meta_size: int

    def nid(self, number: int) -> int:
        """Return the number by which directories and the superblock name an inode."""
        return self.positions[number] // INODE_SLOT

    @property
    def end(self) -> int:
        """Bytes of the image, in whole blocks."""
        return (
            -(-(self.meta_start + self.meta_size) // self.heads.profile.packing.block_size)
            * self.heads.profile.packing.block_size
        )


def names(heads: Heads, number: int) -> Sequence[tuple[bytes, int]]:
    """Return a directory's (name, inode number) pairs in the order of raw bytes, the dots in their place."""
    node = heads.nodes[number]
    numbers = heads.numbers
    entries = [(name, numbers[id(child)]) for name, child in node.children]
    if not heads.options.dot_omitted:
        bisect.insort(entries, (b".", number))
    bisect.insort(entries, (b"..", heads.parents[number]))
    return entries


def inline_room(heads: Heads, number: int) -> int:
    """Return how many bytes of tail fit one block together with the inode and its attributes.

    None where that would not read back: with blocks smaller than its pages, Linux 7 leaves an inline tail
    out of a shared page that begins with whole blocks (7.3.4 does, with images of mkfs.erofs as well).
    """
    node, block = heads.nodes[number], heads.profile.packing.block_size
    if node.is_regular and not heads.options.inline_data:
        return 0
    if node.is_regular and heads.profile.ishare and (node.size - node.size % block) % _PAGE:
        return 0
    return block - heads.size(number)


def make_plan(heads: Heads, stored: Mapping[int, Stored], data_end: int) -> Plan:
    """Place everything behind ``data_end``, the offset at which the contents end."""
    bits = heads.profile.packing.block_bits
    block = 1 << bits
    tails = array("I", bytes(4 * len(heads.nodes)))
    blocks: dict[int, int] = {}
    sizes: dict[int, int] = {}
    at = -(-data_end // block)
    data_end = at * block
    for number, node in enumerate(heads.nodes):
        if node.is_dir:
            size = sizes[number] = directory_size((len(n) for n, _ in names(heads, number)), block)
        elif stat.S_ISLNK(node.mode):
            size = len(node.target)
        else:
            if number in stored and stored[number].tail >= 0:
                tails[number] = node.size % block
            continue
        full, tail = size >> bits, size & block - 1
        if 0 < tail <= inline_room(heads, number) and (node.is_dir or not full):
            tails[number] = tail
        elif tail:
            full += 1
        if full:
            blocks[number] = at
            at += full
    xattr_start = meta_start = at * block
    shared_size = start = sum(map(len, heads.shared))
    if start > _SHARED_IN_META:
        meta_start = -(-(xattr_start + shared_size) // block) * block
        start = 0
    placer = _Placer(heads, stored, tails, meta_start)
    # Inode number 0 would be taken for "none" by programs that list directories.
    placer.place(max(start, INODE_SLOT))
    return Plan(
        heads=heads,
        stored=stored,
        blocks=blocks,
        sizes=sizes,
        tails=tails,
        data_end=data_end,
        meta_start=meta_start,
        xattr_start=xattr_start,
        shared_size=shared_size,
        order=placer.order,
        positions=placer.positions,
        meta_size=placer.at,
    )


class _Placer:
    """Gives each inode its position, in order, as far as blocks allow.

    An inline tail must not cross a block's end (and a symlink stays in its inode's block: before 6.12
    Linux wants it there). An inode that would, waits for the next block while others, which may
    cross, fill what is left.
    """

    def __init__(self, heads: Heads, stored: Mapping[int, Stored], tails: array[int], meta_start: int) -> None:
        self.heads = heads
        self.stored = stored
        self.tails = tails
        self.meta_start = meta_start
        self.block = heads.profile.packing.block_size
        self.order = array("I")
        self.positions = array("Q", bytes(8 * len(heads.nodes)))
        self.at = 0

    def place(self, start: int) -> None:
        """Place all inodes from the offset ``start`` on; the root comes first."""
        self.at = start
        waiting: list[tuple[int, int]] = []
        tried = -1
        for number in range(len(self.heads.nodes)):
            if waiting and self.at // self.block != tried:
                # Whatever waits was tried in this block already, and there is only less room now.
                tried = self.at // self.block
                waiting = [w for w in waiting if not self._put(*w)]
            head = self.heads.size(number)
            if not self._put(number, head):
                if number == 0 or len(waiting) == _WAITING:
                    self._force(*(waiting.pop(0) if waiting else (number, head)))
                    if number == 0:
                        continue
                waiting.append((number, head))
        for item in waiting:
            self._force(*item)

    def _fits(self, number: int, head: int, position: int) -> bool:
        """Tell whether an inode may stand at ``position``."""
        tail = self.tails[number]
        if not tail:
            return True
        begin = position if stat.S_ISLNK(self.heads.nodes[number].mode) else position + head
        return begin // self.block == (position + head + tail - 1) // self.block

    def _put(self, number: int, head: int) -> bool:
        """Place an inode at the current position if it may stand there."""
        position = (self.at + INODE_SLOT - 1) & -INODE_SLOT
        if not self._fits(number, head, position):
            return False
        self._take(number, head, position)
        return True

    def _force(self, number: int, head: int) -> None:
        """Place an inode at the first position where it may stand."""
        position = (self.at + INODE_SLOT - 1) & -INODE_SLOT
        while not self._fits(number, head, position):
            position += INODE_SLOT
        self._take(number, head, position)

    def _take(self, number: int, head: int, position: int) -> None:
        self.positions[number] = position
        self.order.append(number)
        end = position + head
        stored = self.stored.get(number)
        if stored is not None and stored.pieces is not None:
            size = self.heads.nodes[number].size
            end += index_size(self.heads.profile.packing, stored.pieces, stored.start, size, self.meta_start + end)
        self.at = end + self.tails[number]
