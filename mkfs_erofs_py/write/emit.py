"""Writes a plan down: directory blocks, attributes, inodes, and at the very end the superblock."""

from __future__ import annotations

import stat
import uuid
from collections.abc import Iterator
from dataclasses import replace

import blake3

from ..compress import make_record
from ..encode.contents import Stored
from ..encode.packing import IndexForm
from ..files.output import Output
from ..files.spool import Spool
from ..fingerprint import DIGEST_SIZE
from ..ondisk.constants import (
    LZ4_MAX_BLOCKS,
    MAX_ENCODED,
    SUPERBLOCK_OFFSET,
    SUPERBLOCK_SIZE,
    Algorithm,
    Compat,
    Incompat,
    Layout,
)
from ..ondisk.dirent import Dirent, pack_directory
from ..ondisk.inode import Inode, encode_rdev, file_type
from ..ondisk.superblock import (
    AlgorithmRecord,
    Superblock,
    checksum,
    checksum_end,
    pack_algorithms,
    pack_prefixes,
)
from .heads import Heads
from .index import index_bytes, index_layout
from .options import Profile
from .plan import Plan, names

__all__ = ["emit_metadata", "emit_superblock", "front_size"]

_CHUNK = 1 << 20


def front_size(profile: Profile) -> int:
    """Return the bytes in front of the contents: whole blocks that hold superblock, records and prefixes."""
    size = SUPERBLOCK_OFFSET + SUPERBLOCK_SIZE + len(_records(profile)) + len(pack_prefixes(profile.prefixes))
    return -(-size // profile.packing.block_size) * profile.packing.block_size


def _record(profile: Profile) -> AlgorithmRecord | None:
    packing = profile.packing
    if packing.compressor is None:
        return None
    record = make_record(packing.compressor, max_pcluster=packing.pcluster, block_size=packing.block_size)
    if packing.compressor.algorithm == Algorithm.LZ4 and packing.index is IndexForm.EXTENTS:
        # A kernel sizes its buffers by this; a piece that starts within a block reaches into one more.
        blocks = min(record.max_pcluster + 1, LZ4_MAX_BLOCKS, MAX_ENCODED >> packing.block_bits)
        return replace(record, max_pcluster=blocks)
    return record


def _records(profile: Profile) -> bytes:
    record = _record(profile)
    return pack_algorithms([record]) if record and _has_records(profile) else b""


def _has_records(profile: Profile) -> bool:
    """Tell whether the algorithm is declared in a record: LZ4 in single blocks needs none."""
    return profile.packing.compressor is not None and (
        profile.packing.compressor.algorithm != 0 or profile.packing.pcluster > profile.packing.block_size
    )


def emit_metadata(plan: Plan, spool: Spool, output: Output) -> bytes:
    """Append all metadata but the superblock -> a digest of it."""
    hasher = blake3.blake3()
    output.pad(plan.heads.profile.packing.block_size)
    assert output.position == plan.data_end
    pending = bytearray()
    for part in _metadata(plan, spool):
        pending += part
        if len(pending) >= _CHUNK:
            hasher.update(pending)
            output.append(pending)
            output.flush()
            pending = bytearray()
    pending += bytes(plan.end - output.position - len(pending))
    hasher.update(pending)
    output.append(pending)
    if plan.heads.profile.fingerprint_entry is None:
        # Without fingerprints nothing in the metadata tells one content from another of the same size.
        for stored in plan.stored.values():
            hasher.update(stored.digest)
    return hasher.digest()


def _metadata(plan: Plan, spool: Spool) -> Iterator[bytes]:
    """Yield the metadata from the end of the contents on, gaps included."""
    heads = plan.heads
    block = heads.profile.packing.block_size
    for number in plan.blocks:
        data = _data(plan, number)
        full = data[: len(data) - plan.tails[number]]
        yield full
        yield bytes(-len(full) % block)
    at = plan.xattr_start - plan.meta_start
    for packed in heads.shared:
        yield packed
        at += len(packed)
    for number in plan.order:
        inode = _inode(plan, spool, number)
        yield bytes(plan.positions[number] - at)
        yield inode
        at = plan.positions[number] + len(inode)


def _data(plan: Plan, number: int) -> bytes:
    """Return the data of a directory or symlink."""
    heads = plan.heads
    node = heads.nodes[number]
    if not node.is_dir:
        return node.target
    entries = [Dirent(name, plan.nid(n), file_type(heads.nodes[n].mode)) for name, n in names(heads, number)]
    return pack_directory(entries, heads.profile.packing.block_size)


def _inode(plan: Plan, spool: Spool, number: int) -> bytes:
    """Return an inode, its attributes, and its index or tail."""
    heads = plan.heads
    node = heads.nodes[number]
    stored = plan.stored.get(number)
    area = heads.xattr_area(node, stored.digest if stored else bytes(DIGEST_SIZE))
    extended = bool(heads.extended[number])
    mtime, nsec = heads.mtime(node)
    uid, gid = heads.owner(node)
    tail = plan.tails[number]
    layout = Layout.FLAT_INLINE if tail else Layout.FLAT_PLAIN
    size, u = node.size, 0
    if node.is_dir or stat.S_ISLNK(node.mode):
        size = plan.sizes[number] if node.is_dir else len(node.target)
        u = plan.blocks.get(number, 0)
    elif stat.S_ISCHR(node.mode) or stat.S_ISBLK(node.mode):
        u = encode_rdev(*node.rdev)
    elif stored is not None:
        if stored.pieces is not None:
            layout = index_layout(heads.profile.packing)
        u = _address(stored, heads)
    nlink = heads.nlinks[number]
    inode = Inode(
        layout=layout,
        extended=extended,
        flag=node.is_dir and heads.options.dot_omitted,
        xattr_icount=(len(area) - 12) // 4 + 1 if area else 0,
        mode=node.mode,
        size=size,
        nb=0 if extended else nlink,
        u=u,
        ino=number + 1,
        uid=uid,
        gid=gid,
        mtime=mtime if extended else _compact_time(heads, mtime),
        nsec=nsec,
        nlink=nlink,
    )
    head = inode.pack() + area
    if stored is not None and stored.pieces is not None:
        at = plan.meta_start + plan.positions[number] + len(head)
        return head + index_bytes(heads.profile.packing, stored.pieces, stored.start, node.size, at)
    if tail:
        return head + (spool.read(stored.tail, tail) if stored else _data(plan, number)[-tail:])
    return head


def _compact_time(heads: Heads, mtime: int) -> int:
    """Return a compact inode's time: 48-bit images count from the epoch, others have no such field."""
    return min(max(mtime - heads.epoch, 0), 0xFFFF_FFFF) if heads.profile.wide else 0


def _address(stored: Stored, heads: Heads) -> int:
    """Return an inode's ``u``: the first block of flat data, the blocks used by compressed data."""
    bits = heads.profile.packing.block_bits
    return stored.start >> bits if stored.pieces is None else -(-stored.length >> bits)


def emit_superblock(plan: Plan, digest: bytes, output: Output) -> Superblock:
    """Write block 0 -> the superblock. ``digest`` stands for all else that the image holds."""
    heads, profile, options = plan.heads, plan.heads.profile, plan.heads.options
    compressed = any(s.pieces is not None for s in plan.stored.values())
    compat = Compat.MTIME
    incompat = Incompat(0)
    if options.checksum:
        compat |= Compat.SB_CHKSUM
    if options.xattr_filter:
        compat |= Compat.XATTR_FILTER
    if profile.ishare:
        compat |= Compat.ISHARE_XATTRS
    if profile.prefixes:
        incompat |= Incompat.XATTR_PREFIXES
        compat |= Compat.PLAIN_XATTR_PFX
    if profile.wide:
        incompat |= Incompat.BIT48
    records, algorithms = b"", 0
    if compressed:
        assert profile.packing.compressor is not None
        incompat |= Incompat.LZ4_0PADDING
        record = _record(profile)
        assert record is not None
        if _has_records(profile):
            incompat |= Incompat.COMPR_CFGS
            records, algorithms = _records(profile), 1 << profile.packing.compressor.algorithm
        else:
            algorithms = record.max_distance
    bits = profile.packing.block_bits
    table = SUPERBLOCK_OFFSET + SUPERBLOCK_SIZE + len(records)
    fields = Superblock(
        block_bits=bits,
        root_nid=plan.nid(0),
        compat=compat,
        incompat=incompat,
        inodes=len(heads.nodes),
        epoch=heads.epoch,
        fixed_nsec=heads.nsec,
        blocks=plan.end >> bits,
        meta_blkaddr=plan.meta_start >> bits,
        xattr_blkaddr=plan.xattr_start >> bits if plan.shared_size else 0,
        label=options.label,
        algorithms=algorithms,
        prefix_count=len(profile.prefixes),
        prefix_table=table // 4 if profile.prefixes else 0,
    )
    behind = records + pack_prefixes(profile.prefixes)
    identity = options.uuid or _content_uuid(fields.pack() + behind + digest)
    fields = replace(fields, uuid=identity.bytes)
    if options.checksum:
        covered = checksum_end(profile.packing.block_size) - SUPERBLOCK_OFFSET
        fields = replace(fields, checksum=checksum((fields.pack() + behind).ljust(covered, b"\0")[:covered]))
    output.write_at((bytes(SUPERBLOCK_OFFSET) + fields.pack() + behind).ljust(front_size(profile), b"\0"), 0)
    return fields


def _content_uuid(content: bytes) -> uuid.UUID:
    """Return a UUID that follows from the content: version 8 of RFC 9562, "whatever the maker likes"."""
    raw = bytearray(blake3.blake3(content).digest(16))
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    return uuid.UUID(bytes=bytes(raw))
