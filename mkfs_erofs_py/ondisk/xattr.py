"""Extended attributes: entries, the area behind an inode, and its name filter."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import xxhash

from ..errors import CorruptError
from .structure import Structure
from .superblock import LongPrefix

__all__ = [
    "ENTRY_FORM",
    "HEADER_FORM",
    "HEADER_SIZE",
    "LONG_PREFIX_FLAG",
    "NAMESPACES",
    "XattrEntry",
    "XattrHeader",
    "filter_word",
    "full_name",
    "iter_entries",
    "pack_area",
    "split_name",
    "unpack_entry",
    "unpack_header",
]

#: Namespace of each name index; the two ACLs are whole names. 0 names a hidden attribute.
NAMESPACES: dict[int, bytes] = {
    1: b"user.",
    2: b"system.posix_acl_access",
    3: b"system.posix_acl_default",
    4: b"trusted.",
    6: b"security.",
}
#: Set in an entry's index: the low seven bits are the id of a long prefix.
LONG_PREFIX_FLAG = 0x80
HEADER_SIZE = 12
#: Most shared entries an inode can name, longest suffix and value: what the fields below hold.
MAX_SHARED, MAX_SUFFIX, MAX_VALUE = 255, 255, 65535
HEADER_FORM = Structure(
    HEADER_SIZE,
    (0x00, "I", "filter", "a clear bit says that a name with this hash may be among the inode's; see `filter_word`"),
    (0x04, "B", "shared_count", "ids of shared entries, 4 bytes each, that follow"),
    (0x05, "7x", "", "reserved"),
)
ENTRY_FORM = Structure(
    4,
    (0x00, "B", "suffix_size", "bytes of the name behind its namespace or prefix; the name follows, then the value"),
    (0x01, "B", "index", "the namespace, or 80 plus the number of a long prefix"),
    (0x02, "H", "value_size", "bytes of the value"),
)
_HEADER, _ENTRY = HEADER_FORM.struct, ENTRY_FORM.struct
# The kernel's seed, to which the namespace's index is added.
_FILTER_SEED = 0x25BBE08F


@dataclass(frozen=True, slots=True)
class XattrEntry:
    """One attribute as stored: name index, the name's remaining suffix, value."""

    index: int
    suffix: bytes
    value: bytes

    def pack(self) -> bytes:
        """Return the entry padded with zeros to 4 bytes."""
        size = 4 + len(self.suffix) + len(self.value)
        return _ENTRY.pack(len(self.suffix), self.index, len(self.value)) + self.suffix + self.value + bytes(-size % 4)


class XattrHeader(NamedTuple):
    """The head of an inode's area: the name filter and the ids of shared entries (4-byte units)."""

    filter: int
    shared: tuple[int, ...]


def split_name(name: bytes, prefixes: Sequence[LongPrefix] = ()) -> tuple[int, bytes] | None:
    """Return (index, suffix) for a full attribute name, by the longest prefix that fits.

    ``None`` for a namespace the format cannot express (``system.`` other than the two ACLs…).
    """
    best: tuple[int, int, bytes] | None = None
    for index, namespace in NAMESPACES.items():
        whole = index in (2, 3)
        if name == namespace if whole else name.startswith(namespace):
            best = (len(namespace), index, name[len(namespace) :])
    for number, prefix in enumerate(prefixes):
        text = NAMESPACES.get(prefix.base_index, b"") + prefix.infix
        if prefix.base_index and name.startswith(text) and (best is None or len(text) > best[0]):
            best = (len(text), LONG_PREFIX_FLAG | number, name[len(text) :])
    return best and best[1:]


def full_name(index: int, suffix: bytes, prefixes: Sequence[LongPrefix] = ()) -> bytes | None:
    """Return the name a kernel lists for an entry, ``None`` for a hidden one (namespace 0 or unused).

    Raises `CorruptError` for a long prefix that does not exist.
    """
    if index & LONG_PREFIX_FLAG:
        number = index & ~LONG_PREFIX_FLAG
        if number >= len(prefixes):
            raise CorruptError(f"xattr uses long prefix {number} of {len(prefixes)}")
        index, suffix = prefixes[number].base_index, prefixes[number].infix + suffix
    namespace = NAMESPACES.get(index)
    return None if namespace is None else namespace + suffix


def filter_word(entries: Iterable[XattrEntry], prefixes: Sequence[LongPrefix] = ()) -> int:
    """Return the name filter for an inode that carries ``entries``: a clear bit says "may be here".

    One bit a name: xxh32 of the name behind its namespace (a long prefix's infix included), seeded
    with a constant plus the namespace's index, modulo 32; stored inverted, so that 0 is always safe.
    """
    bits = 0
    for entry in entries:
        base, name = entry.index, entry.suffix
        if base & LONG_PREFIX_FLAG:
            prefix = prefixes[base & ~LONG_PREFIX_FLAG]
            base, name = prefix.base_index, prefix.infix + name
        bits |= 1 << (xxhash.xxh32_intdigest(name, _FILTER_SEED + base) & 31)
    return ~bits & 0xFFFF_FFFF


def pack_area(entries: Sequence[bytes], shared: Sequence[int] = (), filter_bits: int = 0) -> bytes:
    """Return an inode's area: header, shared ids, packed entries; empty where there are neither.

    A bare header is illegal (``icount`` 1), hence nothing at all for an inode without attributes.
    """
    if not entries and not shared:
        return b""
    head = _HEADER.pack(filter_bits, len(shared)) + struct.pack(f"<{len(shared)}I", *shared)
    return head + b"".join(entries)


def unpack_header(data: bytes | memoryview, offset: int = 0) -> tuple[XattrHeader, int]:
    """Read the head of the area that ``data`` is, whole -> header, offset of the first entry.

    ``offset`` is the area's absolute position, for messages. Raises `CorruptError` where the
    shared ids do not fit the area.
    """
    if len(data) <= HEADER_SIZE:
        raise CorruptError(f"xattr area of {len(data)} bytes is too short", offset)
    bits, count = _HEADER.unpack_from(data, 0)
    end = HEADER_SIZE + 4 * count
    if end > len(data):
        raise CorruptError(f"xattr area of {len(data)} bytes cannot hold {count} shared entries", offset)
    return XattrHeader(bits, struct.unpack_from(f"<{count}I", data, HEADER_SIZE) if count else ()), end


def unpack_entry(data: bytes | memoryview, position: int, offset: int = 0) -> tuple[XattrEntry, int]:
    """Read the entry at ``position`` of ``data`` -> entry, end (4-byte aligned).

    ``offset`` is the absolute position of ``data``, for messages. Raises `CorruptError` for an entry
    that does not fit.
    """
    if position + 4 > len(data):
        raise CorruptError("xattr entry does not fit its area", offset + position)
    length, index, value_size = _ENTRY.unpack_from(data, position)
    middle = position + 4 + length
    end = middle + value_size
    if end > len(data):
        raise CorruptError("xattr entry does not fit its area", offset + position)
    return XattrEntry(index, bytes(data[position + 4 : middle]), bytes(data[middle:end])), (end + 3) & ~3


def iter_entries(data: bytes | memoryview, position: int, offset: int = 0) -> Iterator[XattrEntry]:
    """Yield the inline entries from ``position`` to the end of the area; they must tile it exactly.

    Zero words are legal filler: entries without name and value, which are left out.
    """
    while position < len(data):
        entry, position = unpack_entry(data, position, offset)
        if position > len(data):
            raise CorruptError("xattr entry does not fit its area", offset + position)
        if entry.index or entry.suffix or entry.value:
            yield entry
