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

#: log2 of the smallest and the largest block size. A machine mounts no blocks larger than its pages.
BLOCK_BITS_RANGE = (9, 16)
#: Longest name in a directory, as Linux has it everywhere.
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

    #: The superblock has a checksum.
    SB_CHKSUM = 0x01
    #: Inodes hold times of last modification; nothing depends on it.
    MTIME = 0x02
    #: Xattr areas have name filters; without it their filter word means nothing.
    XATTR_FILTER = 0x04
    #: Shared attributes stand in the metabox instead of at ``xattr_blkaddr``.
    SHARED_EA_IN_METABOX = 0x08
    #: The table of long prefixes stands on the device, whatever packed or metabox inode there is.
    PLAIN_XATTR_PFX = 0x10
    #: The long prefix ``ishare_prefix`` is the name of the fingerprints.
    ISHARE_XATTRS = 0x20


class Incompat(enum.IntFlag):
    """Feature bits that a kernel must know to mount; 0x02, 0x08 and 0x20 each carry two meanings."""

    #: Streams stand at their pclusters' ends, zeros in front. Set with any compressed inode, of whatever algorithm.
    LZ4_0PADDING = 0x01
    #: There are algorithm records behind the superblock.
    COMPR_CFGS = 0x02
    #: Pclusters may take several blocks.
    BIG_PCLUSTER = 0x02
    #: Files may be laid out in chunks.
    CHUNKED_FILE = 0x04
    #: There are extra devices.
    DEVICE_TABLE = 0x08
    #: Files may have two algorithms.
    COMPR_HEAD2 = 0x08
    #: A compressed file's last pcluster may stand behind its inode.
    ZTAILPACKING = 0x10
    #: Files' tails may stand in the packed inode.
    FRAGMENTS = 0x20
    #: Files may share compressed extents in part.
    DEDUPE = 0x20
    #: There is a table of long xattr prefixes.
    XATTR_PREFIXES = 0x40
    #: 48-bit addresses, encoded extents, times in compact inodes, directories without ``.``.
    BIT48 = 0x80
    #: Inodes may lie in the data of the metabox inode.
    METABOX = 0x100


class Layout(enum.IntEnum):
    """How an inode's data is laid out (bits 1-3 of ``i_format``)."""

    #: Whole blocks in a row.
    FLAT_PLAIN = 0
    #: Compressed, with an index of 8 bytes a block or with encoded extents.
    COMPRESSED_FULL = 1
    #: Whole blocks in a row, and the rest behind the inode.
    FLAT_INLINE = 2
    #: Compressed, with an index of 2 or 4 bytes a block.
    COMPRESSED_COMPACT = 3
    #: Chunks of equal size, each anywhere or a hole.
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
