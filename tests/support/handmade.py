"""Images put together by hand, structure by structure: layouts that no builder here writes, and broken ones.

>>> made = Handmade()
>>> file = made.inode(S_IFREG | 0o644, Layout.FLAT_INLINE, size=5, body=b"hello")
>>> data = made.finish({b"file": file})
"""

from __future__ import annotations

import struct
from stat import S_IFDIR, S_IFREG
from typing import Any

from mkfs_erofs_py.ondisk.constants import SUPERBLOCK_OFFSET, Compat, FileType, Incompat, Layout
from mkfs_erofs_py.ondisk.dirent import Dirent, pack_directory
from mkfs_erofs_py.ondisk.inode import InodeRecord, file_type
from mkfs_erofs_py.ondisk.superblock import AlgorithmRecord, Superblock, checksum, checksum_end, pack_algorithms

__all__ = ["Handmade", "with_checksum"]

#: Blocks of metadata behind the superblock's; data follows them.
META_BLOCKS = 4


def with_checksum(data: bytes | bytearray) -> bytes:
    """Return an image with its superblock's checksum made right again."""
    out = bytearray(data)
    end = checksum_end(1 << out[SUPERBLOCK_OFFSET + 12])
    struct.pack_into("<I", out, SUPERBLOCK_OFFSET + 4, checksum(bytes(out[SUPERBLOCK_OFFSET:end])))
    return bytes(out)


class Handmade:
    """Collects inodes and blocks; `finish` adds the root directory and the superblock."""

    def __init__(self, block_bits: int = 12) -> None:
        self.bits = block_bits
        self.block_size = 1 << block_bits
        self.first = max(1, 2048 >> block_bits) if block_bits < 12 else 1
        self.meta = bytearray(32)  # nid 0 means "none" to the superblock
        self.blocks = bytearray()
        self.modes: dict[int, int] = {}

    def block(self, data: bytes) -> int:
        """Append ``data``, padded to whole blocks -> the number of its first block."""
        number = self.first + META_BLOCKS + len(self.blocks) // self.block_size
        self.blocks += data + bytes(-len(data) % self.block_size)
        return number

    @property
    def meta_start(self) -> int:
        """Where nid 0 lies."""
        return self.first * self.block_size

    def next_nid(self) -> int:
        """Return the number that the next inode will get."""
        return -(-len(self.meta) // 32)

    def inode(
        self,
        mode: int,
        layout: int,
        *,
        size: int,
        body: bytes = b"",
        xattrs: bytes = b"",
        align: int = 1,
        **fields: Any,
    ) -> int:
        """Append an inode, its xattr area (12 bytes and more) and what follows, aligned -> its number."""
        nid = self.next_nid()
        if xattrs:
            fields["xattr_icount"] = (len(xattrs) - 12) // 4 + 1
        inode = InodeRecord(**({"layout": layout, "extended": False, "mode": mode, "size": size, "nb": 1} | fields))
        packed = inode.pack() + xattrs
        if layout == Layout.FLAT_INLINE:
            # The tail must not cross a block: move on to one where it fits.
            while (
                self.meta_start + nid * 32 + len(packed)
            ) % self.block_size + size % self.block_size > self.block_size:
                nid += 1
        self.meta += bytes(nid * 32 - len(self.meta))
        self.meta += packed
        self.meta += bytes(-len(self.meta) % align)
        self.meta += body
        self.modes[nid] = mode
        return nid

    def file(self, data: bytes) -> int:
        """Append a regular file with inline data."""
        return self.inode(S_IFREG | 0o644, Layout.FLAT_INLINE, size=len(data), body=data)

    def directory(self, names: dict[bytes, int], parent: int | None = None, **fields: Any) -> int:
        """Append a directory of ``names``; without ``parent`` it is its own, as the root is.

        ``fields`` of the inode; ``types`` overrides entries' types by name.
        """
        types = fields.pop("types", {})
        dots = fields.pop("dots", True)
        size = sum(12 + len(name) for name in names) + 12 + 2 + (13 if dots else 0)
        # Its number is known only when its place is: an inline body may push it on.
        nid = self.next_nid()
        while (self.meta_start + nid * 32 + 32) % self.block_size + size > self.block_size:
            nid += 1
        self.meta += bytes(max(0, nid * 32 - len(self.meta)))
        found = dict(names)
        if dots:
            found[b"."] = nid
        found[b".."] = nid if parent is None else parent
        entries = [
            Dirent(name, target, types.get(name, file_type(self.modes.get(target, S_IFDIR))))
            for name, target in sorted(found.items())
        ]
        entries = [
            e if e.name not in (b".", b"..") else Dirent(e.name, e.nid, types.get(e.name, FileType.DIRECTORY))
            for e in entries
        ]
        body = pack_directory(entries, self.block_size)
        return self.inode(S_IFDIR | 0o755, Layout.FLAT_INLINE, size=len(body), body=body, **({"nb": 2} | fields))

    def finish(
        self,
        names: dict[bytes, int],
        *,
        records: list[AlgorithmRecord] | None = None,
        root: int | None = None,
        **fields: Any,
    ) -> bytes:
        """Return the image. ``fields`` are the superblock's; ``root`` is another root than one made of ``names``."""
        if root is None:
            root = self.directory(names)
        behind = b""
        if records is not None:
            fields.setdefault("algorithms", sum(1 << record.algorithm for record in records))
            fields["incompat"] = fields.get("incompat", Incompat(0)) | Incompat.COMPR_CFGS
            behind = pack_algorithms(records)
        total = self.first + META_BLOCKS + len(self.blocks) // self.block_size
        superblock = Superblock(
            **(
                {
                    "block_bits": self.bits,
                    "root_nid": root,
                    "compat": Compat.SB_CHKSUM,
                    "meta_blkaddr": self.first,
                    "blocks": total,
                    "inodes": len(self.modes),
                }
                | fields
            )
        )
        head = bytes(SUPERBLOCK_OFFSET) + superblock.pack() + behind
        assert len(head) <= self.meta_start
        assert len(self.meta) <= META_BLOCKS * self.block_size
        out = head.ljust(self.meta_start, b"\0") + self.meta.ljust(META_BLOCKS * self.block_size, b"\0") + self.blocks
        return with_checksum(out) if superblock.compat & Compat.SB_CHKSUM else bytes(out)
