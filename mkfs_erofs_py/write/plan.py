"""Every decision about an image, in one value: where everything lies and what every structure says.

The plan is made when all contents have their places. `mkfs_erofs_py.write.emit` writes it down without another
decision, and `mkfs_erofs_py.write.dump` prints it. Behind the contents come

1. directory blocks and what else needs blocks of its own (symlinks too long for their inode's),
2. the attributes stored once for all,
3. the inodes, each with its attributes and then its tail or index.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..encode.encoding import Encoding
from ..fingerprint import DIGEST_SIZE
from ..ondisk.constants import SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE, Layout
from ..ondisk.dirent import Dirent
from ..ondisk.inode import COMPACT_SIZE, EXTENDED_SIZE, InodeRecord, encode_rdev, file_type
from ..ondisk.rounding import round_up
from ..ondisk.superblock import Superblock
from ..tree import Node
from .area import Placed
from .directories import directory_bytes, entries
from .features import Announced, announce
from .inodes import Inodes
from .placing import INODE_SLOT, place_inodes

__all__ = ["Plan", "inline_room", "make_plan"]

#: Shared attributes of no more bytes than this stand at the beginning of the inode table, in front of the inodes. With
#: more of them the table begins behind them: inodes are numbered by their place in it, and the superblock has only 16
#: bits for the number of the root.
_SHARED_IN_META = 0xFFFF * INODE_SLOT // 2
#: The smallest page of any machine; larger blocks never begin inside one.
_PAGE = 4096
_NO_DIGEST = bytes(DIGEST_SIZE)


@dataclass(frozen=True, slots=True)
class Plan:
    """Offsets and sizes are in bytes, only ``blocks`` count blocks; inodes are known by their number, see `Inodes`.

    ``placed`` has the content of each inode that has one. ``blocks`` gives the first block of directories and symlinks
    that have any, ``sizes`` the bytes of directories; ``tails`` how many bytes of each inode's data follow it
    inline. ``front`` is where contents begin and ``data_end`` where directory blocks do. Of the shared attributes,
    ``xattr_start`` is the place and ``shared_size`` the size. ``order`` is the inodes by ascending ``positions``,
    which count from ``meta_start``; ``end`` is that of the image, in whole blocks. ``superblock`` lacks what follows
    from the bytes written: the checksum, and a UUID that nobody chose.
    """

    inodes: Inodes
    placed: Sequence[Placed | None]
    blocks: Mapping[int, int]
    sizes: Mapping[int, int]
    tails: array[int]
    front: int
    data_end: int
    meta_start: int
    xattr_start: int
    shared_size: int
    order: array[int]
    positions: array[int]
    end: int
    announced: Announced
    superblock: Superblock

    def nid(self, number: int) -> int:
        """Return the number by which directories and the superblock name an inode."""
        return self.positions[number] // INODE_SLOT

    def offset(self, number: int) -> int:
        """Return where an inode stands in the image."""
        return self.meta_start + self.positions[number]

    def attributes(self, number: int) -> bytes:
        """Return the attributes behind an inode."""
        placed = self.placed[number]
        node = self.inodes.nodes[number]
        return self.inodes.attributes.area(node, _NO_DIGEST if placed is None else placed.key.digest)

    def entries(self, number: int) -> list[Dirent]:
        """Return a directory's entries in order."""
        nodes = self.inodes.nodes
        positions = self.positions
        return [
            Dirent(name, positions[to] // INODE_SLOT, file_type(nodes[to].mode))
            for name, to in entries(nodes[number], not self.inodes.options.dot_omitted)
        ]

    def record(self, number: int) -> InodeRecord:
        """Return an inode's structure."""
        inodes = self.inodes
        node = inodes.nodes[number]
        extended = bool(inodes.extended[number])
        area = inodes.heads[number] - (EXTENDED_SIZE if extended else COMPACT_SIZE)
        layout, size, u = self._data(number, node)
        return InodeRecord(
            layout=layout,
            extended=extended,
            flag=node.is_dir and inodes.options.dot_omitted,
            xattr_icount=(area - 12) // 4 + 1 if area else 0,
            mode=node.mode,
            size=size,
            nb=0 if extended else node.nlink,
            u=u,
            ino=number + 1,
            uid=inodes.uids[number],
            gid=inodes.gids[number],
            mtime=inodes.times[number] if extended else inodes.compact_time(number),
            nsec=inodes.nanoseconds[number],
            nlink=node.nlink,
        )

    def _data(self, number: int, node: Node) -> tuple[Layout, int, int]:
        """Return how an inode's data is laid out, its size and the address or number that goes with it."""
        layout = Layout.FLAT_INLINE if self.tails[number] else Layout.FLAT_PLAIN
        placed = self.placed[number]
        if placed is not None:
            bits = self.inodes.profile.block_bits
            if placed.spans is None:
                return layout, node.size, placed.addresses[0] >> bits
            return placed.key.encoding.layout, node.size, -(-placed.stored >> bits)
        if node.is_dir:
            return layout, self.sizes[number], self.blocks.get(number, 0)
        if node.is_symlink:
            return layout, len(node.target), self.blocks.get(number, 0)
        return layout, node.size, encode_rdev(*node.rdev) if node.is_device else 0


def inline_room(inodes: Inodes, number: int) -> int:
    """Return how many bytes of tail fit one block together with the inode and its attributes, 0 where no tail may.

    Regular files have none where the options say so, nor where it would not read back: with blocks smaller than pages,
    a file's last page may begin with whole blocks and end with the tail. Where such a page is shared, Linux 7 leaves
    the tail out of it (7.3.4 does, with images of mkfs.erofs as well).
    """
    node, block = inodes.nodes[number], inodes.profile.block_size
    if node.is_regular:
        if not inodes.options.inline_data:
            return 0
        if inodes.profile.ishare and (node.size - node.size % block) % _PAGE:
            return 0
    return block - inodes.heads[number]


def make_plan(inodes: Inodes, placed: Sequence[Placed | None], front: int, data_end: int, packed: int = 0) -> Plan:
    """Place everything behind ``data_end``, the offset at which the contents end.

    ``placed`` is by inode number. ``front`` is where contents begin, ``packed`` the number of the packed inode, 0 for
    none.
    """
    profile = inodes.profile
    block = profile.block_size
    tails = array("I", bytes(4 * len(inodes.nodes)))
    blocks: dict[int, int] = {}
    sizes: dict[int, int] = {}
    first = at = -(-data_end // block)
    for number, node in enumerate(inodes.nodes):
        if node.is_dir:
            size = sizes[number] = directory_bytes(node, not inodes.options.dot_omitted, block)
        elif node.is_symlink:
            size = len(node.target)
        else:
            content = placed[number]
            if content is not None and content.tail >= 0:
                tails[number] = node.size % block
            continue
        full, tail = divmod(size, block)
        if 0 < tail <= inline_room(inodes, number) and (node.is_dir or not full):
            tails[number] = tail
        elif tail:
            full += 1
        if full:
            blocks[number] = at
            at += full
    xattr_start = meta_start = at * block
    shared_size = start = sum(map(len, inodes.attributes.shared))
    if start > _SHARED_IN_META:
        meta_start = round_up(xattr_start + shared_size, block)
        start = 0
    # Inode number 0 would be taken for "none" by programs that list directories.
    positions = place_inodes(inodes, placed, tails, meta_start, max(start, INODE_SLOT))
    end = round_up(meta_start + positions.end, block)
    announced = announce(inodes.options, profile, _used(placed), bool(packed))
    superblock = Superblock(
        block_bits=profile.block_bits,
        root_nid=positions.positions[0] // INODE_SLOT,
        compat=announced.compat,
        incompat=announced.incompat,
        inodes=len(inodes.nodes),
        epoch=inodes.epoch,
        fixed_nsec=inodes.nsec,
        blocks=end // block,
        meta_blkaddr=meta_start // block,
        xattr_blkaddr=xattr_start // block if shared_size else 0,
        label=inodes.options.label,
        algorithms=announced.algorithms,
        prefix_count=len(profile.prefixes),
        prefix_table=(SUPERBLOCK_OFFSET + SUPERBLOCK_SIZE + len(announced.records)) // 4 if profile.prefixes else 0,
        packed_nid=positions.positions[packed] // INODE_SLOT if packed else 0,
    )
    return Plan(
        inodes=inodes,
        placed=placed,
        blocks=blocks,
        sizes=sizes,
        tails=tails,
        front=front,
        data_end=first * block,
        meta_start=meta_start,
        xattr_start=xattr_start,
        shared_size=shared_size,
        order=positions.order,
        positions=positions.positions,
        end=end,
        announced=announced,
        superblock=superblock,
    )


def _used(placed: Sequence[Placed | None]) -> list[Encoding]:
    """Return the encodings of all compressed contents, each once."""
    found = {id(one.key.encoding): one.key.encoding for one in placed if one is not None and one.spans is not None}
    return list(found.values())
