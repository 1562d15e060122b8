"""An inode as a reader wants it: every field joined, judged and with a meaning."""

from __future__ import annotations

import stat

from ..errors import CorruptError, UnsupportedError
from ..ondisk.constants import FileType, Layout
from ..ondisk.inode import COMPACT, COMPACT_SIZE, EXTENDED, EXTENDED_SIZE, decode_rdev, file_type
from .volume import Volume

__all__ = ["METABOX_NID", "Inode", "load_inode"]

#: Set in the nid of an inode that lies in the metabox.
METABOX_NID = 1 << 63
_ALL_FORMAT_BITS = 0x1F
_FLAG = 0x10
#: Plain numbers: a member of an enumeration takes longer to look up, and this is done for every inode.
_FLAT_PLAIN, _CHUNK_BASED = int(Layout.FLAT_PLAIN), int(Layout.CHUNK_BASED)
_COMPRESSED = (int(Layout.COMPRESSED_FULL), int(Layout.COMPRESSED_COMPACT))
#: The types of inode there are, one bit each: bits 12 to 15 of the mode count them.
_TYPES = sum(1 << kind for kind in (1, 2, 4, 6, 8, 10, 12))


class Inode:
    """One inode. Never changes; equal to another of the same image iff ``nid`` is.

    ``mtime`` is in seconds since 1970 (may be negative), ``nsec`` what is added to it. ``start_block`` is the first
    block of flat data (``None``: the whole file is a hole), ``chunk_format`` the chunked layout's format word,
    ``stored_blocks`` the blocks a compressed file claims to use; ``rdev`` is (major, minor). ``offset`` is where the
    inode lies in the image, or, when ``in_metabox``, in the metabox's data; ``body`` is where its xattrs end.
    """

    __slots__ = (
        "body",
        "extended",
        "flag",
        "gid",
        "in_metabox",
        "ino",
        "layout",
        "mode",
        "mtime",
        "nid",
        "nlink",
        "nsec",
        "offset",
        "size",
        "u",
        "u_high",
        "uid",
        "xattr_size",
    )

    nid: int
    offset: int
    body: int
    in_metabox: bool
    extended: bool
    flag: bool
    layout: int
    mode: int
    nlink: int
    uid: int
    gid: int
    size: int
    mtime: int
    nsec: int
    ino: int
    u: int
    u_high: int
    xattr_size: int

    def __repr__(self) -> str:
        return f"<Inode nid={self.nid} mode={self.mode:o} size={self.size}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Inode) and self.nid == other.nid and self.offset == other.offset

    def __hash__(self) -> int:
        return hash(self.nid)

    @property
    def is_dir(self) -> bool:
        """Is it a directory?"""
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        """Is it a regular file?"""
        return stat.S_ISREG(self.mode)

    @property
    def is_symlink(self) -> bool:
        """Is it a symbolic link?"""
        return stat.S_ISLNK(self.mode)

    @property
    def is_device(self) -> bool:
        """Is it a character or block device?"""
        return stat.S_ISCHR(self.mode) or stat.S_ISBLK(self.mode)

    @property
    def is_compressed(self) -> bool:
        """Is its data stored compressed?"""
        return self.layout in _COMPRESSED

    @property
    def type(self) -> FileType:
        """Its type as a directory entry tells it."""
        return file_type(self.mode)

    @property
    def rdev(self) -> tuple[int, int]:
        """(major, minor) of a device, (0, 0) of anything else."""
        return decode_rdev(self.u) if self.is_device else (0, 0)

    @property
    def mtime_ns(self) -> int:
        """Time of last modification in nanoseconds since 1970."""
        return self.mtime * 1_000_000_000 + self.nsec

    @property
    def start_block(self) -> int | None:
        """The first block of flat data; ``None`` for a file that is one hole (all address bits set)."""
        wide = self.extended or (self.flag and not self.is_dir)
        block = self.u | self.u_high << 32
        if self.layout == _FLAT_PLAIN and block == (0xFFFF_FFFF_FFFF if wide else 0xFFFF_FFFF):
            return None
        return block

    @property
    def stored_blocks(self) -> int:
        """The blocks that a compressed inode claims to use; nobody checks the claim."""
        return self.u | self.u_high << 32

    @property
    def chunk_format(self) -> int:
        """The format word of the chunked layout."""
        return self.u & 0xFFFF


def load_inode(volume: Volume, nid: int) -> Inode:
    """Read and judge the inode ``nid``.

    Raises ``UnsupportedError`` for unknown format bits or layouts, ``CorruptError`` for what contradicts itself,
    ``OutOfBoundsError`` for a place outside the image (or the metabox).
    """
    in_metabox = bool(nid & METABOX_NID)
    offset = (nid & ~METABOX_NID) * 32 if in_metabox else volume.meta_start + nid * 32
    data, at = volume.meta(in_metabox, offset, COMPACT_SIZE)
    fmt = data[at] | data[at + 1] << 8
    if fmt & 1:
        if at + EXTENDED_SIZE > len(data):
            data, at = volume.meta(in_metabox, offset, EXTENDED_SIZE)
        _, icount, mode, high, size, u, ino, uid, gid, mtime, nsec, nlink = EXTENDED.unpack_from(data, at)
        head = EXTENDED_SIZE
        if size >> 63:
            raise CorruptError(f"inode {nid} has the negative size {size - (1 << 64)}", offset)
    else:
        _, icount, mode, nlink, size, mtime, u, ino, uid, gid = COMPACT.unpack_from(data, at)
        mtime += volume.epoch
        nsec = volume.fixed_nsec
        high = 0
        if fmt & _FLAG and mode & 0o170000 != stat.S_IFDIR:
            nlink, high = 1, nlink
        head = COMPACT_SIZE
    layout = fmt >> 1 & 7
    if fmt > _ALL_FORMAT_BITS or layout > _CHUNK_BASED:
        raise UnsupportedError(f"inode {nid} has the unknown format {fmt:#06x}", offset)
    if not _TYPES >> (mode >> 12) & 1:
        raise CorruptError(f"inode {nid} has the impossible mode {mode:#o}", offset)
    if layout & 1 and not volume.algorithms:
        raise CorruptError(f"inode {nid} is compressed in an image without compression", offset)
    if layout == _CHUNK_BASED and u & 0xFF80:
        raise UnsupportedError(f"inode {nid} has the unknown chunk format {u & 0xFFFF:#06x}", offset)
    inode = Inode.__new__(Inode)
    inode.nid = nid
    inode.offset = offset
    inode.in_metabox = in_metabox
    inode.extended = head == EXTENDED_SIZE
    inode.flag = fmt >= _FLAG
    inode.layout = layout
    inode.mode = mode
    inode.nlink = nlink
    inode.uid = uid
    inode.gid = gid
    inode.size = size
    inode.mtime = mtime
    inode.nsec = nsec
    inode.ino = ino
    inode.u = u
    inode.u_high = high
    inode.xattr_size = xattr_size = 12 + 4 * (icount - 1) if icount else 0
    inode.body = offset + head + xattr_size
    return inode
