"""Directory blocks: 12-byte entries, then their names back to back, in the order of raw bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..errors import CorruptError
from .constants import NAME_MAX
from .structure import Structure

__all__ = ["DIRENT_FORM", "DIRENT_SIZE", "Dirent", "directory_size", "pack_directory", "unpack_block"]

DIRENT_SIZE = 12
DIRENT_FORM = Structure(
    DIRENT_SIZE,
    (0x00, "Q", "nid", "number of the inode that is named"),
    (0x08, "H", "name_offset", "where its name starts, from the block's start; names end where the next one starts"),
    (0x0A, "B", "type", "a `FileType`, so that listing needs no inode"),
    (0x0B, "x", "", "reserved"),
)
_DIRENT = DIRENT_FORM.struct


class Dirent(NamedTuple):
    """One entry: ``name`` (1 to 255 bytes), the inode it names and its type."""

    name: bytes
    nid: int
    type: int


def _blocks(lengths: Iterable[int], block_size: int) -> list[tuple[int, int]]:
    """Share name lengths out to blocks, greedily -> (entries, bytes used) of each block."""
    blocks = []
    count = used = 0
    for length in lengths:
        need = DIRENT_SIZE + length
        if used + need > block_size:
            blocks.append((count, used))
            count = used = 0
        count += 1
        used += need
    blocks.append((count, used))
    return blocks


def directory_size(name_lengths: Iterable[int], block_size: int) -> int:
    """Return the bytes a directory of names of these lengths, in their final order, will take.

    Whole blocks but for the last, which ends at its last name (that is where ``i_size`` ends).
    """
    blocks = _blocks(name_lengths, block_size)
    return (len(blocks) - 1) * block_size + blocks[-1][1]


def pack_directory(entries: Sequence[Dirent], block_size: int) -> bytes:
    """Return a directory's data; ``entries`` include ``.`` and ``..`` and are sorted by name.

    The kernel searches by bisection over raw bytes, so ``.`` and ``..`` stand where they sort.
    """
    out = bytearray()
    start = 0
    for count, _ in _blocks((len(e.name) for e in entries), block_size):
        out += bytes(-len(out) % block_size)
        block = entries[start : start + count]
        offset = DIRENT_SIZE * count
        for entry in block:
            out += _DIRENT.pack(entry.nid, offset, entry.type)
            offset += len(entry.name)
        out += b"".join([entry.name for entry in block])
        start += count
    return bytes(out)


def unpack_block(data: bytes | memoryview, offset: int = 0) -> list[Dirent]:
    """Read one directory block; ``data`` is its valid part (cut at ``i_size``).

    ``offset`` is the block's absolute position, for messages. Raises `CorruptError` where name
    offsets are not 12 times the entries, not ascending or outside the block, and for names that
    are empty, longer than 255 bytes or hold a slash or NUL.
    """
    size = len(data)
    if size < DIRENT_SIZE + 1:
        raise CorruptError(f"directory block of {size} bytes is too short", offset)
    first = _DIRENT.unpack_from(data, 0)[1]
    if first < DIRENT_SIZE or first % DIRENT_SIZE or first >= size:
        raise CorruptError(f"first name offset {first} of a directory block is impossible", offset)
    raw = list(_DIRENT.iter_unpack(data[:first]))
    names = bytes(data[first:])
    entries = []
    last = len(raw) - 1
    for i, (nid, start, kind) in enumerate(raw):
        if i == last:
            nul = names.find(b"\0", start - first) if start >= first else -1
            end = size if nul < 0 else first + nul
        else:
            end = raw[i + 1][1]
        length = end - start
        if start < first or end > size or not 1 <= length <= NAME_MAX:
            raise CorruptError(
                f"directory entry {i} has name offset {start} and length {length}", offset + i * DIRENT_SIZE
            )
        name = names[start - first : end - first]
        if b"/" in name or b"\0" in name:
            raise CorruptError(f"directory entry {i} has a slash or NUL in its name", offset + i * DIRENT_SIZE)
        entries.append(Dirent(name, nid, kind))
    return entries
