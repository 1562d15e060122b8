"""Inode records in their compact (32-byte) and extended (64-byte) forms."""

from __future__ import annotations

import stat
from dataclasses import dataclass

from ..errors import OutOfBoundsError
from .constants import FileType
from .structure import Structure

__all__ = [
    "COMPACT",
    "COMPACT_FORM",
    "COMPACT_SIZE",
    "EXTENDED",
    "EXTENDED_FORM",
    "EXTENDED_SIZE",
    "InodeRecord",
    "decode_rdev",
    "encode_rdev",
    "file_type",
]

COMPACT_SIZE = 32
EXTENDED_SIZE = 64

# A compact record serves where the size is below 4 GiB, owner, group and links below 65536, and the time is the
# image's epoch; in 48-bit images, any time from the epoch on that 32 bits of seconds reach.
COMPACT_FORM = Structure(
    COMPACT_SIZE,
    (0x00, "H", "format", "bit 0: extended (clear here); bits 1 to 3: layout; bit 4: flag; other bits zero"),
    (0x02, "H", "xattr_icount", "0 without attributes, else 1 + the 4-byte words behind the area's first 12 bytes"),
    (0x04, "H", "mode", "type and permissions, as in stat"),
    (0x06, "H", "nb", "links; if the flag is set on a non-directory, that has one link, and these are high bits of u"),
    (0x08, "I", "size", "bytes of data"),
    (0x0C, "I", "mtime", "48-bit images: seconds since the superblock's epoch; others: zero, the time is the epoch"),
    (0x10, "I", "u", "by layout and type: first block, blocks used, chunk format, device number, or zero"),
    (0x14, "I", "ino", "inode number that 32-bit stat shows; nothing else depends on it"),
    (0x18, "H", "uid", "owner"),
    (0x1A, "H", "gid", "group"),
    (0x1C, "4x", "", "reserved"),
)
EXTENDED_FORM = Structure(
    EXTENDED_SIZE,
    (0x00, "H", "format", "as in the compact form, bit 0 set"),
    (0x02, "H", "xattr_icount", "as in the compact form"),
    (0x04, "H", "mode", "type and permissions, as in stat"),
    (0x06, "H", "nb", "high bits of u; zero but in 48-bit images"),
    (0x08, "Q", "size", "bytes of data; the top bit is clear"),
    (0x10, "I", "u", "as in the compact form"),
    (0x14, "I", "ino", "as in the compact form"),
    (0x18, "I", "uid", "owner"),
    (0x1C, "I", "gid", "group"),
    (0x20, "q", "mtime", "seconds since 1970"),
    (0x28, "I", "nsec", "nanoseconds to be added"),
    (0x2C, "I", "nlink", "links"),
    (0x30, "16x", "", "reserved"),
)
#: The two forms by position, for who reads or writes a great many.
COMPACT, EXTENDED = COMPACT_FORM.struct, EXTENDED_FORM.struct
_pack_compact, _pack_extended = COMPACT.pack, EXTENDED.pack


@dataclass(slots=True, kw_only=True)
class InodeRecord:
    """An inode's fields as they stand on disk, in either form.

    The fields are those of the two structures above, and mean what they say there. ``layout``, ``extended`` and
    ``flag`` make up the format word. ``nsec`` and ``nlink`` exist in extended records only; of a compact one that is
    read, ``nlink`` is what ``nb`` tells, and ``nsec`` is 0.
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

    def pack(self) -> bytes:
        """Return the record's 32 or 64 bytes. Called once an inode, hence by position and without a detour."""
        if self.extended:
            return _pack_extended(
                1 | self.layout << 1 | self.flag << 4,
                self.xattr_icount,
                self.mode,
                self.nb,
                self.size,
                self.u,
                self.ino,
                self.uid,
                self.gid,
                self.mtime,
                self.nsec,
                self.nlink,
            )
        return _pack_compact(
            self.layout << 1 | self.flag << 4,
            self.xattr_icount,
            self.mode,
            self.nb,
            self.size,
            self.mtime,
            self.u,
            self.ino,
            self.uid,
            self.gid,
        )

    @classmethod
    def unpack(cls, data: bytes | memoryview, offset: int) -> tuple[InodeRecord, int, int]:
        """Read the record at ``offset`` -> record, raw ``i_format``, end of the record.

        Nothing is judged but the bounds: the raw format tells the caller of unknown bits.
        Raises `OutOfBoundsError`.
        """
        if offset < 0 or offset + COMPACT_SIZE > len(data):
            raise OutOfBoundsError("inode lies outside the image", offset)
        extended = bool(data[offset] & 1)
        if extended and offset + EXTENDED_SIZE > len(data):
            raise OutOfBoundsError("extended inode lies outside the image", offset)
        form = EXTENDED_FORM if extended else COMPACT_FORM
        fields = form.unpack(data, offset)
        word: int = fields.pop("format")
        flag = bool(word >> 4 & 1)
        if not extended:
            fields["nlink"] = 1 if flag and not stat.S_ISDIR(fields["mode"]) else fields["nb"]
        return cls(layout=word >> 1 & 7, extended=extended, flag=flag, **fields), word, offset + form.size


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


# Linux's "new" encoding of a device number, 12 bits of major and 20 of minor: the low eight bits of the minor,
# the major, the rest of the minor.


def encode_rdev(major: int, minor: int) -> int:
    """Return the 32-bit device number."""
    return minor & 0xFF | major << 8 | (minor & ~0xFF) << 12


def decode_rdev(rdev: int) -> tuple[int, int]:
    """Return (major, minor) of a 32-bit device number."""
    return rdev >> 8 & 0xFFF, rdev & 0xFF | rdev >> 12 & 0xFFF00
