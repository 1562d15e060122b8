"""The superblock, its checksum, the algorithm records behind it and the long xattr prefix table."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import NamedTuple

import google_crc32c

from ..errors import CorruptError, OutOfBoundsError
from .constants import (
    SUPERBLOCK_MAGIC,
    SUPERBLOCK_OFFSET,
    SUPERBLOCK_SIZE,
    Algorithm,
    Compat,
    Incompat,
)
from .structure import Structure

__all__ = [
    "EXTENSION_FORM",
    "LENGTH_FORM",
    "PREFIX_FORM",
    "RECORD_FORMS",
    "SUPERBLOCK_FORM",
    "AlgorithmRecord",
    "LongPrefix",
    "Superblock",
    "checksum",
    "checksum_end",
    "pack_algorithms",
    "pack_prefixes",
    "unpack_algorithms",
    "unpack_prefixes",
]

SUPERBLOCK_FORM = Structure(
    SUPERBLOCK_SIZE,
    (0x00, "I", "magic", "E0F5E1E2"),
    (0x04, "I", "checksum", "over the rest of block 0 with this field zero; see `checksum`"),
    (0x08, "I", "compat", "features that a reader may ignore"),
    (0x0C, "B", "block_bits", "log2 of the block size"),
    (0x0D, "B", "ext_slots", "16-byte slots behind this structure"),
    (0x0E, "H", "root_nid_or_blocks_high", "number of the root's inode, or blocks[47:32]; see `Superblock`"),
    (0x10, "Q", "inodes", "how many there are; only statfs shows it"),
    (0x18, "q", "epoch", "seconds since 1970: the time of all compact inodes, or what theirs are added to"),
    (0x20, "I", "fixed_nsec", "nanoseconds of all compact inodes"),
    (0x24, "I", "blocks_low", "blocks of the image, the low 32 bits"),
    (0x28, "I", "meta_blkaddr", "block from which inodes are counted: number n lies 32 n bytes behind its start"),
    (0x2C, "I", "xattr_blkaddr", "block from which shared attributes are counted, in 4-byte units"),
    (0x30, "16s", "uuid", "the image's identity"),
    (0x40, "16s", "label", "text, NUL-padded; readers before Linux 6.15 want one NUL at least"),
    (0x50, "I", "incompat", "features that a reader must know"),
    (0x54, "H", "algorithms", "with COMPR_CFGS: a bit for each algorithm that has a record; without: LZ4's distance"),
    (0x56, "H", "devices", "extra devices"),
    (0x58, "H", "device_table", "start of their table in 128-byte units"),
    (0x5A, "B", "dirblkbits", "log2 of directory blocks over blocks: zero"),
    (0x5B, "B", "prefix_count", "long xattr prefixes"),
    (0x5C, "I", "prefix_table", "start of their table in 4-byte units"),
    (0x60, "Q", "packed_nid", "number of the packed inode, 0 for none"),
    (0x68, "B", "filter_reserved", "zero, else name filters are not used"),
    (0x69, "B", "ishare_prefix", "with ISHARE_XATTRS: the long prefix that is the fingerprint's name"),
    (0x6A, "2x", "", "reserved"),
    (0x6C, "I", "mkfs_time", "seconds from the epoch to when the image was made"),
    (0x70, "Q", "root_nid_wide", "48-bit images: number of the root's inode; see `Superblock`"),
    (0x78, "8x", "", "reserved"),
)
EXTENSION_FORM = Structure(
    16,
    (0x00, "Q", "metabox_nid", "number of the metabox inode"),
    (0x08, "8x", "", "reserved"),
)
NO_COMPAT, NO_INCOMPAT = Compat(0), Incompat(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Superblock:
    """The superblock's fields, one for one, as the structure above documents them.

    Two of them are joined from parts, by the rule for 48-bit images: where BIT48 is set and the field at 70 is not
    zero, that is ``root_nid``, and the field at 0E holds bits 32 to 47 of ``blocks``; otherwise the field at 0E is
    ``root_nid``. ``metabox_nid`` stands in the first extension slot and is written where there is one.
    """

    block_bits: int
    root_nid: int
    compat: Compat = NO_COMPAT
    incompat: Incompat = NO_INCOMPAT
    checksum: int = 0
    ext_slots: int = 0
    inodes: int = 0
    epoch: int = 0
    fixed_nsec: int = 0
    blocks: int = 0
    meta_blkaddr: int = 0
    xattr_blkaddr: int = 0
    uuid: bytes = bytes(16)
    label: bytes = b""
    algorithms: int = 0
    devices: int = 0
    device_table: int = 0
    dirblkbits: int = 0
    prefix_count: int = 0
    prefix_table: int = 0
    packed_nid: int = 0
    filter_reserved: int = 0
    ishare_prefix: int = 0
    mkfs_time: int = 0
    metabox_nid: int = 0

    @property
    def block_size(self) -> int:
        """Bytes in a block."""
        return 1 << self.block_bits

    @property
    def size(self) -> int:
        """Bytes the structure takes, extension slots included."""
        return SUPERBLOCK_SIZE + 16 * self.ext_slots

    @property
    def algorithms_offset(self) -> int:
        """Absolute offset of the algorithm records: behind the structure, 4-byte aligned."""
        return SUPERBLOCK_OFFSET + self.size

    def pack(self) -> bytes:
        """Return the structure's ``size`` bytes, checksum field as given."""
        values = {name: getattr(self, name) for name in _SAME}
        values["magic"] = SUPERBLOCK_MAGIC
        values["blocks_low"] = self.blocks & 0xFFFF_FFFF
        if self.incompat & Incompat.BIT48:
            values["root_nid_or_blocks_high"], values["root_nid_wide"] = self.blocks >> 32, self.root_nid
        else:
            values["root_nid_or_blocks_high"], values["root_nid_wide"] = self.root_nid, 0
        main = SUPERBLOCK_FORM.pack(values)
        if not self.ext_slots:
            return main
        return (main + EXTENSION_FORM.pack({"metabox_nid": self.metabox_nid})).ljust(self.size, b"\0")

    @classmethod
    def unpack(cls, data: bytes | memoryview, offset: int = SUPERBLOCK_OFFSET) -> Superblock:
        """Read the structure at ``offset`` of ``data`` without judging its values.

        Raises `OutOfBoundsError` where ``data`` is too short, `CorruptError` for a wrong magic.
        """
        if offset + SUPERBLOCK_SIZE > len(data):
            raise OutOfBoundsError("too short to hold an EROFS superblock", offset)
        values = SUPERBLOCK_FORM.unpack(data, offset)
        magic = values.pop("magic")
        if magic != SUPERBLOCK_MAGIC:
            raise CorruptError(f"not an EROFS image: magic is {magic:#010x}, not {SUPERBLOCK_MAGIC:#010x}", offset)
        values["compat"], values["incompat"] = Compat(values["compat"]), Incompat(values["incompat"])
        short, wide = values.pop("root_nid_or_blocks_high"), values.pop("root_nid_wide")
        values["root_nid"], values["blocks"] = short, values.pop("blocks_low")
        if wide and values["incompat"] & Incompat.BIT48:
            values["root_nid"] = wide
            values["blocks"] |= short << 32
        if values["ext_slots"]:
            behind = offset + SUPERBLOCK_SIZE
            if behind + EXTENSION_FORM.size > len(data):
                raise OutOfBoundsError("superblock extension lies outside the image", behind)
            values |= EXTENSION_FORM.unpack(data, behind)
        return cls(**values)


# The fields that stand in the structure as they are.
_SAME = tuple(field.name for field in fields(Superblock) if field.name in SUPERBLOCK_FORM.names)


def checksum_end(block_size: int) -> int:
    """Return the absolute offset at which the checksum's range, which starts at 1024, ends.

    The rest of block 0, or a whole block from 1024 where blocks are no larger than that.
    """
    return block_size if block_size > SUPERBLOCK_OFFSET else SUPERBLOCK_OFFSET + block_size


def checksum(data: bytes | memoryview) -> int:
    """Return the superblock's checksum over ``data``: bytes [1024, `checksum_end`) of the image.

    CRC-32C without the final inversion, the checksum field itself counted as zero.
    """
    crc = google_crc32c.extend(0, bytes(data[:4]) + bytes(4))
    return int(google_crc32c.extend(crc, bytes(data[8:]))) ^ 0xFFFF_FFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgorithmRecord:
    """What a reader must know to decode the streams of one algorithm in an image.

    Each algorithm has fields of its own, and the others are 0 for it:

    * LZ4: ``max_distance``, how many bytes a match may lie back (at most 65535), and ``max_pcluster``, the blocks of
      the largest physical cluster. Both size a reader's buffers. Without COMPR_CFGS there is no record, clusters have
      one block, and ``max_distance`` stands in the superblock.
    * LZMA: ``dict_size``, the dictionary in bytes, 4 KiB to 8 MiB.
    * DEFLATE: ``window_bits``, log2 of the window in bytes, at most 15.
    * Zstandard: ``window_bits``, log2 of the window in bytes, 10 to 20.

    A stream that refers further back than its record says is corrupt.
    """

    algorithm: Algorithm
    max_distance: int = 0
    max_pcluster: int = 0
    dict_size: int = 0
    window_bits: int = 0

    def payload(self) -> bytes:
        """Return the record without its length."""
        return RECORD_FORMS[self.algorithm].pack(
            {
                "max_distance": self.max_distance,
                "max_pcluster": self.max_pcluster,
                "dict_size": self.dict_size,
                "window_bits": self.window_bits,
                "window_bits_less_10": self.window_bits - 10,
                "format": 0,
            }
        )


#: What stands in front of each record.
LENGTH_FORM = Structure(2, (0x00, "H", "length", "bytes of the record that follows; may be more than are known of it"))
#: The records themselves.
RECORD_FORMS = {
    Algorithm.LZ4: Structure(
        14,
        (0x00, "H", "max_distance", "bytes"),
        (0x02, "H", "max_pcluster", "blocks; 0 means 1"),
        (0x04, "10x", "", "reserved"),
    ),
    Algorithm.LZMA: Structure(
        14,
        (0x00, "I", "dict_size", "bytes"),
        (0x04, "H", "format", "zero"),
        (0x06, "8x", "", "reserved"),
    ),
    Algorithm.DEFLATE: Structure(
        6,
        (0x00, "B", "window_bits", "log2 of bytes"),
        (0x01, "5x", "", "reserved"),
    ),
    Algorithm.ZSTD: Structure(
        6,
        (0x00, "B", "format", "zero"),
        (0x01, "B", "window_bits_less_10", "log2 of bytes, less 10"),
        (0x02, "4x", "", "reserved"),
    ),
}
_SPOKEN = {Algorithm.LZMA: "LZMA", Algorithm.ZSTD: "Zstandard"}


def pack_algorithms(records: Iterable[AlgorithmRecord]) -> bytes:
    """Return the records in ascending algorithm order, each ``u16 length | payload``, 4-byte aligned."""
    out = b""
    for record in sorted(records, key=lambda r: r.algorithm):
        payload = record.payload()
        one = LENGTH_FORM.struct.pack(len(payload)) + payload
        out += one.ljust((len(one) + 3) & ~3, b"\0")
    return out


def unpack_algorithms(data: bytes | memoryview, offset: int, bitmap: int) -> tuple[list[AlgorithmRecord], int]:
    """Read one record for each bit of ``bitmap`` -> records, end offset.

    Raises `CorruptError` for a record shorter than its algorithm needs or an unknown sub-format,
    `OutOfBoundsError` for one outside ``data``. Unknown bits are the caller's business.
    """
    records = []
    for algorithm in Algorithm:
        if not bitmap >> algorithm & 1:
            continue
        offset = (offset + 3) & ~3
        if offset + 2 > len(data):
            raise OutOfBoundsError(f"{algorithm.name} record lies outside the image", offset)
        (length,) = LENGTH_FORM.struct.unpack_from(data, offset)
        if length < RECORD_FORMS[algorithm].size:
            raise CorruptError(f"{algorithm.name} record of {length} bytes is too short", offset)
        if offset + 2 + length > len(data):
            raise OutOfBoundsError(f"{algorithm.name} record lies outside the image", offset)
        records.append(_unpack_algorithm(algorithm, data, offset + 2))
        offset += 2 + length
    return records, offset


def _unpack_algorithm(algorithm: Algorithm, data: bytes | memoryview, offset: int) -> AlgorithmRecord:
    values = RECORD_FORMS[algorithm].unpack(data, offset)
    form = values.pop("format", 0)
    if form:
        raise CorruptError(f"unknown {_SPOKEN[algorithm]} format {form}", offset)
    if algorithm is Algorithm.LZ4:
        values["max_pcluster"] = values["max_pcluster"] or 1
    elif algorithm is Algorithm.ZSTD:
        values["window_bits"] = 10 + values.pop("window_bits_less_10")
    return AlgorithmRecord(algorithm=algorithm, **values)


PREFIX_FORM = Structure(
    3,
    (0x00, "H", "length", "bytes that follow, 1 to 256"),
    (0x02, "B", "base_index", "a namespace; the rest of the prefix follows"),
)


class LongPrefix(NamedTuple):
    """A long xattr name prefix: a namespace (index) and what follows it in the name."""

    base_index: int
    infix: bytes

    def pack(self) -> bytes:
        """Return ``u16 length | base index | infix`` padded to 4 bytes."""
        one = PREFIX_FORM.struct.pack(1 + len(self.infix), self.base_index) + self.infix
        return one.ljust((len(one) + 3) & ~3, b"\0")


def pack_prefixes(prefixes: Iterable[LongPrefix]) -> bytes:
    """Return the table of long prefixes, in the order of their ids."""
    return b"".join(p.pack() for p in prefixes)


def unpack_prefixes(data: bytes | memoryview, offset: int, count: int) -> tuple[list[LongPrefix], int]:
    """Read ``count`` long prefixes -> prefixes, end offset.

    Raises `CorruptError` for a length of 0 or more than 256, `OutOfBoundsError` outside ``data``.
    """
    prefixes = []
    for number in range(count):
        offset = (offset + 3) & ~3
        if offset + 2 > len(data):
            raise OutOfBoundsError(f"xattr prefix {number} lies outside its table", offset)
        (length,) = struct.unpack_from("<H", data, offset)
        if not 1 <= length <= 256:
            raise CorruptError(f"xattr prefix {number} has length {length}, not 1 to 256", offset)
        if offset + 2 + length > len(data):
            raise OutOfBoundsError(f"xattr prefix {number} lies outside its table", offset)
        prefixes.append(LongPrefix(data[offset + 2], bytes(data[offset + 3 : offset + 2 + length])))
        offset += 2 + length
    return prefixes, offset
