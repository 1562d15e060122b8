"""The superblock, its checksum, the algorithm records behind it and the long xattr prefix table."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

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

__all__ = [
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

_SB = struct.Struct(
    "<IIIBBH"  # 00 magic, checksum, compat, log2 bs, extension slots, root nid (low) | blocks (high)
    "QQ"  # 10 inode count, epoch (signed: read as such below)
    "IIII"  # 20 nanoseconds, blocks (low), meta_blkaddr, xattr_blkaddr
    "16s"  # 30 uuid
    "16s"  # 40 label
    "IHHHBBI"  # 50 incompat, algorithms | LZ4 distance, devices, device slot, dirblkbits, prefixes, their start
    "QBB2xI"  # 60 packed nid, xattr filter reserved, ishare prefix, mkfs time
    "Q8x"  # 70 root nid (48-bit)
)
assert _SB.size == SUPERBLOCK_SIZE
_EXT = struct.Struct("<Q8x")  # 80 metabox nid
NO_COMPAT, NO_INCOMPAT = Compat(0), Incompat(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Superblock:
    """The superblock's fields, one for one.

    Block addresses and counts are in blocks, ``device_table`` in 128-byte and ``prefix_table`` in
    4-byte units from the start of the image. ``root_nid`` and ``blocks`` are the joined values:
    `pack` and `unpack` split and join them by the 48-bit rule (field 0E carries blocks[47:32]
    iff BIT48 is set and field 70 is non-zero).
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
        wide = bool(self.incompat & Incompat.BIT48)
        low, root48 = (self.blocks >> 32, self.root_nid) if wide else (self.root_nid, 0)
        main = _SB.pack(
            SUPERBLOCK_MAGIC,
            self.checksum,
            self.compat,
            self.block_bits,
            self.ext_slots,
            low,
            self.inodes,
            self.epoch & 0xFFFF_FFFF_FFFF_FFFF,
            self.fixed_nsec,
            self.blocks & 0xFFFF_FFFF,
            self.meta_blkaddr,
            self.xattr_blkaddr,
            self.uuid,
            self.label,
            self.incompat,
            self.algorithms,
            self.devices,
            self.device_table,
            self.dirblkbits,
            self.prefix_count,
            self.prefix_table,
            self.packed_nid,
            self.filter_reserved,
            self.ishare_prefix,
            self.mkfs_time,
            root48,
        )
        if not self.ext_slots:
            return main
        return (main + _EXT.pack(self.metabox_nid)).ljust(self.size, b"\0")

    @classmethod
    def unpack(cls, data: bytes | memoryview, offset: int = SUPERBLOCK_OFFSET) -> Superblock:
        """Read the structure at ``offset`` of ``data`` without judging its values.

        Raises `OutOfBoundsError` where ``data`` is too short, `CorruptError` for a wrong magic.
        """
        if offset + SUPERBLOCK_SIZE > len(data):
            raise OutOfBoundsError("too short to hold an EROFS superblock", offset)
        f = _SB.unpack_from(data, offset)
        if f[0] != SUPERBLOCK_MAGIC:
            raise CorruptError(f"not an EROFS image: magic is {f[0]:#010x}, not {SUPERBLOCK_MAGIC:#010x}", offset)
        incompat = Incompat(f[14])
        wide = bool(incompat & Incompat.BIT48) and f[25] != 0
        ext_slots = f[4]
        metabox = 0
        if ext_slots:
            if offset + SUPERBLOCK_SIZE + 16 > len(data):
                raise OutOfBoundsError("superblock extension lies outside the image", offset + SUPERBLOCK_SIZE)
            (metabox,) = _EXT.unpack_from(data, offset + SUPERBLOCK_SIZE)
        return cls(
            checksum=f[1],
            compat=Compat(f[2]),
            block_bits=f[3],
            ext_slots=ext_slots,
            root_nid=f[25] if wide else f[5],
            inodes=f[6],
            epoch=f[7] - (1 << 64) if f[7] >> 63 else f[7],
            fixed_nsec=f[8],
            blocks=f[9] | (f[5] << 32 if wide else 0),
            meta_blkaddr=f[10],
            xattr_blkaddr=f[11],
            uuid=f[12],
            label=f[13],
            incompat=incompat,
            algorithms=f[15],
            devices=f[16],
            device_table=f[17],
            dirblkbits=f[18],
            prefix_count=f[19],
            prefix_table=f[20],
            packed_nid=f[21],
            filter_reserved=f[22],
            ishare_prefix=f[23],
            mkfs_time=f[24],
            metabox_nid=metabox,
        )


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
    """What a reader must know to decode one algorithm; only the algorithm's own fields are set.

    LZ4: ``max_distance`` (bytes) and ``max_pcluster`` (blocks); LZMA: ``dict_size`` (bytes);
    DEFLATE: ``window_bits``; Zstandard: ``window_bits`` (log2 bytes, 10 to 20).
    """

    algorithm: Algorithm
    max_distance: int = 0
    max_pcluster: int = 0
    dict_size: int = 0
    window_bits: int = 0

    def payload(self) -> bytes:
        """Return the record without its length."""
        match self.algorithm:
            case Algorithm.LZ4:
                return struct.pack("<HH10x", self.max_distance, self.max_pcluster)
            case Algorithm.LZMA:
                return struct.pack("<IH8x", self.dict_size, 0)
            case Algorithm.DEFLATE:
                return struct.pack("<B5x", self.window_bits)
            case Algorithm.ZSTD:
                return struct.pack("<BB4x", 0, self.window_bits - 10)


_RECORD_LENGTH = {Algorithm.LZ4: 14, Algorithm.LZMA: 14, Algorithm.DEFLATE: 6, Algorithm.ZSTD: 6}


def pack_algorithms(records: Iterable[AlgorithmRecord]) -> bytes:
    """Return the records in ascending algorithm order, each ``u16 length | payload``, 4-byte aligned."""
    out = b""
    for record in sorted(records, key=lambda r: r.algorithm):
        payload = record.payload()
        one = struct.pack("<H", len(payload)) + payload
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
        (length,) = struct.unpack_from("<H", data, offset)
        if length < _RECORD_LENGTH[algorithm]:
            raise CorruptError(f"{algorithm.name} record of {length} bytes is too short", offset)
        if offset + 2 + length > len(data):
            raise OutOfBoundsError(f"{algorithm.name} record lies outside the image", offset)
        records.append(_unpack_algorithm(algorithm, data, offset + 2))
        offset += 2 + length
    return records, offset


def _unpack_algorithm(algorithm: Algorithm, data: bytes | memoryview, offset: int) -> AlgorithmRecord:
    if algorithm is Algorithm.LZ4:
        distance, blocks = struct.unpack_from("<HH", data, offset)
        return AlgorithmRecord(algorithm=algorithm, max_distance=distance, max_pcluster=blocks or 1)
    if algorithm is Algorithm.LZMA:
        dict_size, form = struct.unpack_from("<IH", data, offset)
        if form:
            raise CorruptError(f"unknown LZMA format {form}", offset)
        return AlgorithmRecord(algorithm=algorithm, dict_size=dict_size)
    if algorithm is Algorithm.DEFLATE:
        return AlgorithmRecord(algorithm=algorithm, window_bits=data[offset])
    if data[offset]:
        raise CorruptError(f"unknown Zstandard format {data[offset]}", offset)
    return AlgorithmRecord(algorithm=algorithm, window_bits=10 + data[offset + 1])


@dataclass(frozen=True, slots=True)
class LongPrefix:
    """A long xattr name prefix: a namespace (index) and what follows it in the name."""

    base_index: int
    infix: bytes

    def pack(self) -> bytes:
        """Return ``u16 length | base index | infix`` padded to 4 bytes."""
        one = struct.pack("<HB", 1 + len(self.infix), self.base_index) + self.infix
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
