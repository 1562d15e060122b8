"""Numbers of the format: magic values, feature bits and the Linux release that first reads each.

Sources: ``fs/erofs/erofs_fs.h`` for the values; the release in which ``fs/erofs`` first accepts
a feature was read from the kernel's history.
"""

from __future__ import annotations

import enum

__all__ = [
    "ALGORITHM_KERNEL",
    "BLOCK_BITS_RANGE",
    "COMPAT_KERNEL",
    "FINGERPRINT_NAME",
    "INCOMPAT_KERNEL",
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


#: First Linux release (major, minor) that mounts an image with the bit set.
INCOMPAT_KERNEL: dict[Incompat, tuple[int, int]] = {
    Incompat.LZ4_0PADDING: (5, 4),
    Incompat.COMPR_CFGS: (5, 13),
    Incompat.CHUNKED_FILE: (5, 15),
    Incompat.DEVICE_TABLE: (5, 16),
    Incompat.ZTAILPACKING: (5, 17),
    Incompat.FRAGMENTS: (6, 1),
    Incompat.XATTR_PREFIXES: (6, 4),
    Incompat.BIT48: (6, 15),
    Incompat.METABOX: (6, 17),
}

#: First Linux release that makes use of the bit; older ones ignore it.
COMPAT_KERNEL: dict[Compat, tuple[int, int]] = {
    Compat.SB_CHKSUM: (5, 5),
    Compat.XATTR_FILTER: (6, 6),
    Compat.SHARED_EA_IN_METABOX: (6, 17),
    Compat.PLAIN_XATTR_PFX: (6, 17),
    Compat.ISHARE_XATTRS: (7, 0),
}

#: First Linux release that decodes the algorithm.
ALGORITHM_KERNEL: dict[Algorithm, tuple[int, int]] = {
    Algorithm.LZ4: (5, 4),
    Algorithm.LZMA: (5, 16),
    Algorithm.DEFLATE: (6, 6),
    Algorithm.ZSTD: (6, 10),
}
