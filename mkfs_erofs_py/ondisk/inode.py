"""Inodes in their compact (32-byte) and extended (64-byte) forms."""

from __future__ import annotations

import stat
import struct
from dataclasses import dataclass

from ..errors import OutOfBoundsError
from .constants import FileType, Layout

__all__ = [
    "COMPACT",
    "COMPACT_SIZE",
    "EXTENDED",
    "EXTENDED_SIZE",
    "Inode",
    "decode_rdev",
    "encode_rdev",
    "file_type",
    "is_compressed",
]

COMPACT_SIZE = 32
EXTENDED_SIZE = 64

COMPACT = struct.Struct(
    "<HHHH"  # 00 format, xattr icount, mode, nb
    "IIII"  # 08 size, mtime - epoch, u, ino
    "HHI"  # 18 uid, gid, reserved
)
EXTENDED = struct.Struct(
    "<HHHHQ"  # 00 format, xattr icount, mode, nb, size
    "IIII"  # 10 u, ino, uid, gid
    "QII16x"  # 20 mtime, nanoseconds, nlink, reserved
)
_FORMAT = struct.Struct("<H")
assert COMPACT.size == COMPACT_SIZE
assert EXTENDED.size == EXTENDED_SIZE


@dataclass(slots=True, kw_only=True)
class Inode:
    """An inode's fields as they stand on disk.

    ``nb``, ``u`` and ``flag`` (bit 4 of the format) mean what layout and type make of them:
    ``nb`` is a compact inode's link count unless ``flag`` is set on a non-directory, otherwise the
    high 16 bits of a 48-bit address or block count; ``u`` is the first block, the used blocks, the
    chunk format or the device number. ``mtime`` is seconds since 1970 in extended inodes and since
    the superblock's epoch in compact ones; ``nsec`` and ``nlink`` exist in extended ones only.
    """

    layout: int
    extended: bool
    mode: int
    size: int
    flag: bool = False
    xattr_icount: int = 0
    nb: int = 0
    u: int = 0
    ino: int = 0
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    nsec: int = 0
    nlink: int = 1

    @property
    def format(self) -> int:
        """The ``i_format`` word."""
        return self.extended | self.layout << 1 | self.flag << 4

    @property
    def head_size(self) -> int:
        """Bytes of the structure itself: 32 or 64."""
        return EXTENDED_SIZE if self.extended else COMPACT_SIZE

    @property
    def xattr_size(self) -> int:
        """Bytes of the xattr area that follows the structure."""
        return 12 + 4 * (self.xattr_icount - 1) if self.xattr_icount else 0

    def pack(self) -> bytes:
        """Return the structure's 32 or 64 bytes."""
        if self.extended:
            return EXTENDED.pack(
                self.format,
                self.xattr_icount,
                self.mode,
                self.nb,
                self.size,
                self.u,
                self.ino,
                self.uid,
                self.gid,
                self.mtime & 0xFFFF_FFFF_FFFF_FFFF,
                self.nsec,
                self.nlink,
            )
        return COMPACT.pack(
            self.format,
            self.xattr_icount,
            self.mode,
            self.nb,
            self.size,
            self.mtime,
            self.u,
            self.ino,
            self.uid,
            self.gid,
            0,
        )

    @classmethod
    def unpack(cls, data: bytes | memoryview, offset: int) -> tuple[Inode, int, int]:
        """Read the inode at ``offset`` -> inode, raw ``i_format``, end of the structure.

        Nothing is judged but the bounds: the raw format tells the caller of unknown bits.
        Raises `OutOfBoundsError`.
        """
        if offset < 0 or offset + COMPACT_SIZE > len(data):
            raise OutOfBoundsError("inode lies outside the image", offset)
        (fmt,) = _FORMAT.unpack_from(data, offset)
        layout, flag = fmt >> 1 & 7, bool(fmt >> 4 & 1)
        if fmt & 1:
            if offset + EXTENDED_SIZE > len(data):
                raise OutOfBoundsError("extended inode lies outside the image", offset)
            _, icount, mode, nb, size, u, ino, uid, gid, mtime, nsec, nlink = EXTENDED.unpack_from(data, offset)
            if mtime >> 63:
                mtime -= 1 << 64
            end = offset + EXTENDED_SIZE
        else:
            _, icount, mode, nb, size, mtime, u, ino, uid, gid, _ = COMPACT.unpack_from(data, offset)
            nsec, nlink = 0, 1 if flag and not stat.S_ISDIR(mode) else nb
            end = offset + COMPACT_SIZE
        inode = cls(
            layout=layout,
            extended=bool(fmt & 1),
            flag=flag,
            xattr_icount=icount,
            mode=mode,
            nb=nb,
            size=size,
            u=u,
            ino=ino,
            uid=uid,
            gid=gid,
            mtime=mtime,
            nsec=nsec,
            nlink=nlink,
        )
        return inode, fmt, end


def is_compressed(layout: int) -> bool:
    """Tell whether the layout holds compressed data."""
    return layout in (Layout.COMPRESSED_FULL, Layout.COMPRESSED_COMPACT)


_TYPES = {
    stat.S_IFREG: FileType.REGULAR,
    stat.S_IFDIR: FileType.DIRECTORY,
    stat.S_IFCHR: FileType.CHARACTER,
    stat.S_IFBLK: FileType.BLOCK,
    stat.S_IFIFO: FileType.FIFO,
    stat.S_IFSOCK: FileType.SOCKET,
    stat.S_IFLNK: FileType.SYMLINK,
}


def file_type(mode: int) -> FileType:
    """Return the directory entry type for a mode; `FileType.UNKNOWN` for none of the seven."""
    return _TYPES.get(stat.S_IFMT(mode), FileType.UNKNOWN)


def encode_rdev(major: int, minor: int) -> int:
    """Return the 32-bit device number: 12 bits of major, 20 of minor, in Linux's "new" encoding."""
    return minor & 0xFF | major << 8 | (minor & ~0xFF) << 12


def decode_rdev(rdev: int) -> tuple[int, int]:
    """Return (major, minor) of a 32-bit device number."""
    return rdev >> 8 & 0xFFF, rdev & 0xFF | rdev >> 12 & 0xFFF00
