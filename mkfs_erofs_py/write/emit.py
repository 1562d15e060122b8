"""Writes a plan down: directory blocks, attributes, inodes, and at the very end the superblock.

Nothing is decided here. Whatever turns out other than the plan says is a fault of the builder, and no image comes of
it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace

import blake3

from ..errors import ErofsError
from ..files.output import Output
from ..files.spool import Spool
from ..ondisk.constants import SUPERBLOCK_OFFSET
from ..ondisk.dirent import pack_directory
from ..ondisk.rounding import round_up
from ..ondisk.superblock import Superblock, checksum, checksum_end
from .index import index_bytes
from .patch import Patch, apply_patches
from .plan import Plan

__all__ = ["emit"]

_CHUNK = 1 << 20


def emit(plan: Plan, spool: Spool, output: Output, patches: Sequence[Patch] = ()) -> Superblock:
    """Write all but the contents, which are written already -> the superblock as the plan has it.

    When all is written, ``patches`` are applied.

    Raises `OutputError`, and `ErofsError` where the bytes are not what the plan says.
    """
    block = plan.inodes.profile.block_size
    output.pad(block)
    _agree("the contents' end", output.position, plan.data_end)
    hasher = blake3.blake3()
    pending = bytearray()
    for part in _metadata(plan, spool):
        pending += part
        if len(pending) >= _CHUNK:
            hasher.update(pending)
            output.append(pending)
            output.flush()
            pending = bytearray()
    pending += bytes(-(output.position + len(pending)) % block)
    hasher.update(pending)
    output.append(pending)
    _agree("the image's end", output.position, plan.end)
    if plan.inodes.profile.fingerprint_entry is None:
        # Without fingerprints nothing in the metadata tells one content from another of the same size.
        for placed in plan.placed:
            if placed is not None:
                hasher.update(placed.key.digest)
    superblock = _emit_front(plan, hasher.digest(), output)
    if patches:
        apply_patches(patches, output, superblock, plan.inodes.options.checksum)
    return superblock


def _agree(what: str, written: int, planned: int) -> None:
    if written != planned:
        raise ErofsError(f"the builder contradicts its plan: {what} is {written}, not {planned}; please report this")


def _metadata(plan: Plan, spool: Spool) -> Iterator[bytes]:
    """Yield the metadata from the end of the contents on, gaps included."""
    block = plan.inodes.profile.block_size
    at = plan.data_end
    for number, first in plan.blocks.items():
        _agree(f"the place of inode {number}'s blocks", at, first * block)
        data = _named_data(plan, number)
        full = data[: len(data) - plan.tails[number]]
        yield full
        yield bytes(-len(full) % block)
        at += round_up(len(full), block)
    _agree("the place of shared attributes", at, plan.xattr_start)
    for packed in plan.inodes.attributes.shared:
        yield packed
        at += len(packed)
    _agree("the size of shared attributes", at - plan.xattr_start, plan.shared_size)
    _agree("the number of inodes in the table", len(plan.order), len(plan.inodes.nodes))
    for number in plan.order:
        offset = plan.offset(number)
        if offset > at:
            yield bytes(offset - at)
        elif offset < at:
            _agree(f"the place of inode {number}", at, offset)
        inode = _inode(plan, spool, number, offset)
        yield inode
        at = offset + len(inode)


def _named_data(plan: Plan, number: int) -> bytes:
    """Return the data of a directory or symlink."""
    node = plan.inodes.nodes[number]
    if not node.is_dir:
        return node.target
    data = pack_directory(plan.entries(number), plan.inodes.profile.block_size)
    _agree(f"the size of directory {number}", len(data), plan.sizes[number])
    return data


def _inode(plan: Plan, spool: Spool, number: int, offset: int) -> bytes:
    """Return an inode, its attributes, and its index or tail."""
    head = plan.record(number).pack() + plan.attributes(number)
    if len(head) != plan.inodes.heads[number]:
        _agree(f"the size of inode {number} and its attributes", len(head), plan.inodes.heads[number])
    placed = plan.placed[number]
    if placed is not None and placed.spans is not None:
        return head + index_bytes(placed, offset + len(head))
    tail = plan.tails[number]
    if tail:
        data = spool.read(placed.tail, tail) if placed is not None else _named_data(plan, number)[-tail:]
        if len(data) != tail:
            _agree(f"the size of inode {number}'s tail", len(data), tail)
        return head + data
    return head


def _emit_front(plan: Plan, digest: bytes, output: Output) -> Superblock:
    """Write all in front of the contents -> the superblock. ``digest`` stands for all else that the image holds."""
    options = plan.inodes.options
    fields = plan.superblock
    _agree_superblock(plan, output)
    behind = plan.announced.records + plan.announced.prefixes
    identity = options.uuid or _content_uuid(fields.pack() + behind + digest)
    fields = replace(fields, uuid=identity.bytes)
    if options.checksum:
        covered = checksum_end(fields.block_size) - SUPERBLOCK_OFFSET
        fields = replace(fields, checksum=checksum((fields.pack() + behind).ljust(covered, b"\0")[:covered]))
    front = (bytes(SUPERBLOCK_OFFSET) + fields.pack() + behind).ljust(plan.front, b"\0")
    _agree("the front's size", len(front), plan.front)
    output.write_at(front, 0)
    return fields


def _agree_superblock(plan: Plan, output: Output) -> None:
    """Check that the superblock names the places at which things stand."""
    fields, bits = plan.superblock, plan.inodes.profile.block_bits
    _agree("the number of the root", plan.nid(0), fields.root_nid)
    _agree("the number of inodes", len(plan.order), fields.inodes)
    _agree("the number of blocks", output.position >> bits, fields.blocks)
    _agree("the inode table's block", plan.meta_start >> bits, fields.meta_blkaddr)
    if plan.shared_size:
        _agree("the shared attributes' block", plan.xattr_start >> bits, fields.xattr_blkaddr)
    if plan.announced.prefixes:
        _agree("the place of prefixes", fields.algorithms_offset + len(plan.announced.records), 4 * fields.prefix_table)


def _content_uuid(content: bytes) -> uuid.UUID:
    """Return a UUID that follows from the content: version 8 of RFC 9562, "whatever the maker likes"."""
    raw = bytearray(blake3.blake3(content).digest(16))
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    return uuid.UUID(bytes=bytes(raw))
