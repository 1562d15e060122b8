"""Features and algorithm records: what the superblock announces of what the image uses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..compress import make_record, merge_records
from ..encode.encoding import Encoding, IndexForm
from ..ondisk.constants import (
    LZ4_MAX_BLOCKS,
    MAX_ENCODED,
    SUPERBLOCK_OFFSET,
    SUPERBLOCK_SIZE,
    Algorithm,
    Compat,
    Incompat,
)
from ..ondisk.rounding import round_up
from ..ondisk.superblock import AlgorithmRecord, pack_algorithms, pack_prefixes
from .options import BuildOptions
from .profile import Profile

__all__ = ["Announced", "announce", "front_size"]


class Announced:
    """What the superblock says of features, and what stands behind it.

    ``algorithms`` is the bitmap of records, or LZ4's greatest distance where there are none; ``records`` and
    ``prefixes`` are packed.
    """

    __slots__ = ("algorithms", "compat", "incompat", "prefixes", "records")

    def __init__(self) -> None:
        self.compat = Compat.MTIME
        self.incompat = Incompat(0)
        self.algorithms = 0
        self.records = b""
        self.prefixes = b""


def front_size(profile: Profile, encodings: Iterable[Encoding]) -> int:
    """Return the bytes in front of the contents: whole blocks that hold superblock, records and prefixes.

    ``encodings`` are all that contents may have.
    """
    size = SUPERBLOCK_OFFSET + SUPERBLOCK_SIZE + len(_records(encodings)) + len(pack_prefixes(profile.prefixes))
    return round_up(size, profile.block_size)


def announce(options: BuildOptions, profile: Profile, used: Iterable[Encoding], packed: bool) -> Announced:
    """Return what an image announces whose compressed contents have the encodings ``used``.

    ``packed`` is whether there is a packed inode.
    """
    said = Announced()
    if options.checksum:
        said.compat |= Compat.SB_CHKSUM
    if options.xattr_filter:
        said.compat |= Compat.XATTR_FILTER
    if profile.ishare:
        said.compat |= Compat.ISHARE_XATTRS
    if profile.prefixes:
        said.incompat |= Incompat.XATTR_PREFIXES
        said.compat |= Compat.PLAIN_XATTR_PFX
        said.prefixes = pack_prefixes(profile.prefixes)
    if profile.wide:
        said.incompat |= Incompat.BIT48
    if packed:
        said.incompat |= Incompat.FRAGMENTS
    compressed = [encoding for encoding in used if encoding.compressor is not None]
    if compressed:
        said.incompat |= Incompat.LZ4_0PADDING
        said.records = _records(compressed)
        algorithms = merge_records(map(_record, compressed))
        if said.records:
            said.incompat |= Incompat.COMPR_CFGS
            said.algorithms = sum(1 << record.algorithm for record in algorithms)
        else:
            said.algorithms = algorithms[0].max_distance
    return said


def _records(encodings: Iterable[Encoding]) -> bytes:
    """Return the packed records, none where LZ4 in single blocks is all there is: that needs no record."""
    compressed = [encoding for encoding in encodings if encoding.compressor is not None]
    if all(_compressor_is_lz4(encoding) and encoding.pcluster <= encoding.block_size for encoding in compressed):
        return b""
    return pack_algorithms(merge_records(map(_record, compressed)))


def _compressor_is_lz4(encoding: Encoding) -> bool:
    return encoding.compressor is not None and encoding.compressor.algorithm == Algorithm.LZ4


def _record(encoding: Encoding) -> AlgorithmRecord:
    assert encoding.compressor is not None
    record = make_record(encoding.compressor, max_pcluster=encoding.pcluster, block_size=encoding.block_size)
    if _compressor_is_lz4(encoding) and encoding.index is IndexForm.EXTENTS:
        # A kernel sizes its buffers by this; a piece that starts within a block reaches into one more.
        blocks = min(record.max_pcluster + 1, LZ4_MAX_BLOCKS, MAX_ENCODED >> encoding.block_bits)
        return replace(record, max_pcluster=blocks)
    return record
