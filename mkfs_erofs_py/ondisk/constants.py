"""Numbers of the format: magic values, limits, feature bits. The values are those of ``fs/erofs/erofs_fs.h``."""

from __future__ import annotations

import enum

__all__ = [
    "BLOCK_BITS_RANGE",
    "FINGERPRINT_NAME",
    "LZ4_MAX_BLOCKS",
    "MAX_DECODED",
    "MAX_ENCODED",
    "NAME_MAX",
    "SUPERBLOCK_MAGIC",
    "SUPERBLOCK_OFFSET",
    "SUPERBLOCK_SIZE",
    "SYMLINK_MAX",
    "Algorithm",
    "Compat",
    "FileType",
    "Incompat",
    "Layout",
]

SUPERBLOCK_MAGIC = 0xE0F5E1E2
SUPERBLOCK_OFFSET = 1024
SUPERBLOCK_SIZE = 128

#: log2 of the smallest and the largest block size.
BLOCK_BITS_RANGE = (9, 16)
NAME_MAX = 255
#: Longest usable symlink target: one page less its NUL.
SYMLINK_MAX = 4095
#: Most bytes one compressed extent may take in the image, and most it may decode to.
MAX_ENCODED = 1 << 20
MAX_DECODED = 12 << 20
#: Most blocks of an LZ4 pcluster, of whatever size: to judge the declared number, Linux counts how many blocks
#: make 1 MiB before it has looked at their size, hence pages of 4 KiB.
LZ4_MAX_BLOCKS = 256

#: The xattr that holds a file's fingerprint unless another name is asked for.
FINGERPRINT_NAME = b"trusted.erofs.fingerprint"


class Compat(enum.IntFlag):
    """Feature bits that a kernel may ignore."""

    SB_CHKSUM = 0x01
    MTIME = 0x02
    XATTR_FILTER = 0x04
    SHARED_EA_IN_METABOX = 0x08
    PLAIN_XATTR_PFX = 0x10
    ISHARE_XATTRS = 0x20


class Incompat(enum.IntFlag):
    """Feature bits that a kernel must know to mount; 0x02, 0x08 and 0x20 each carry two meanings."""

    LZ4_0PADDING = 0x01
    COMPR_CFGS = 0x02
    BIG_PCLUSTER = 0x02
    CHUNKED_FILE = 0x04
    DEVICE_TABLE = 0x08
    COMPR_HEAD2 = 0x08
    ZTAILPACKING = 0x10
    FRAGMENTS = 0x20
    DEDUPE = 0x20
    XATTR_PREFIXES = 0x40
    BIT48 = 0x80
    METABOX = 0x100


class Layout(enum.IntEnum):
    """How an inode's data is laid out (bits 1-3 of ``i_format``)."""

    FLAT_PLAIN = 0
    COMPRESSED_FULL = 1
    FLAT_INLINE = 2
    COMPRESSED_COMPACT = 3
    CHUNK_BASED = 4


class FileType(enum.IntEnum):
    """A directory entry's type byte."""

    UNKNOWN = 0
    REGULAR = 1
    DIRECTORY = 2
    CHARACTER = 3
    BLOCK = 4
    FIFO = 5
    SOCKET = 6
    SYMLINK = 7


class Algorithm(enum.IntEnum):
    """Compression algorithms by their number on disk."""

    LZ4 = 0
    LZMA = 1
    DEFLATE = 2
    ZSTD = 3
