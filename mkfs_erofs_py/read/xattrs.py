"""Extended attributes: inline, shared, with long prefixes; the fingerprint among them."""

from __future__ import annotations

import threading
from typing import NamedTuple

from ..errors import CorruptError
from ..files.read_at import ReadAt
from ..ondisk.constants import FINGERPRINT_NAME, Compat, Incompat
from ..ondisk.superblock import LongPrefix, unpack_prefixes
from ..ondisk.xattr import (
    LONG_PREFIX_FLAG,
    XattrEntry,
    XattrHeader,
    filter_word,
    full_name,
    iter_entries,
    unpack_entry,
    unpack_header,
)
from .inode import Inode
from .volume import Volume

__all__ = ["Attributes", "XattrReader"]

#: The name that erofs-utils gives a fingerprint: in no namespace, so that no listing shows it.
_HIDDEN_FINGERPRINT = b"erofs.fingerprint.v1"
#: Longest table of prefixes: 255 records of 2 + 256 bytes, each padded to 4.
_TABLE_ROOM = 255 * 260
_KEPT_BYTES = 1 << 20


class Attributes(NamedTuple):
    """An inode's attributes.

    ``visible``: what ``listxattr`` and ``getxattr`` show, full names to values; of equal names the first. ``denied``:
    those among them that the inode's name filter says are absent, so that kernels since 6.6 do not find them.
    """

    visible: dict[bytes, bytes]
    fingerprint: bytes | None
    denied: list[bytes]


class XattrReader:
    """Reads the attributes of one volume's inodes; threads share it."""

    def __init__(self, volume: Volume, packed: ReadAt | None) -> None:
        self._volume = volume
        self._packed = packed
        self._lock = threading.Lock()
        self._prefixes: list[LongPrefix] | None = None
        self._shared: dict[int, XattrEntry] = {}
        self._shared_bytes = 0
        sb = volume.superblock
        self._announced = LONG_PREFIX_FLAG | sb.ishare_prefix if sb.compat & Compat.ISHARE_XATTRS else None
        self._filters = bool(sb.compat & Compat.XATTR_FILTER) and not sb.filter_reserved
        self._shared_in_metabox = bool(sb.compat & Compat.SHARED_EA_IN_METABOX)

    @property
    def prefixes(self) -> list[LongPrefix]:
        """The long prefixes by id. Read once, when first needed."""
        if self._prefixes is None:
            with self._lock:
                if self._prefixes is None:
                    self._prefixes = self._load_prefixes()
        return self._prefixes

    def _load_prefixes(self) -> list[LongPrefix]:
        """Find the table where kernels since 6.17 do: in the image itself when PLAIN_XATTR_PFX says so, else in the
        metabox, else in the packed inode, else in the image."""
        volume, sb = self._volume, self._volume.superblock
        if not sb.prefix_count:
            return []
        place: ReadAt = volume.image
        if not sb.compat & Compat.PLAIN_XATTR_PFX:
            if sb.incompat & Incompat.METABOX and volume.metabox is not None:
                place = volume.metabox
            elif self._packed is not None:
                place = self._packed
        start = sb.prefix_table * 4
        data = place.read_at(start, max(0, min(_TABLE_ROOM, place.size - start)))
        try:
            return unpack_prefixes(data, 0, sb.prefix_count)[0]
        except CorruptError as error:
            raise CorruptError(error.what, start + (error.offset or 0)) from error

    def _area(self, inode: Inode) -> tuple[XattrHeader, list[XattrEntry]]:
        """Return the head of an inode's area and its entries, inline ones first, hidden ones among them."""
        offset = inode.body - inode.xattr_size
        data, at = self._volume.meta(inode.in_metabox, offset, inode.xattr_size)
        area = data[at : at + inode.xattr_size]
        header, first = unpack_header(area, offset)
        entries = list(iter_entries(area, first, offset))
        if header.shared:
            entries += [self._shared_entry(number) for number in header.shared]
        return header, entries

    def _shared_entry(self, number: int) -> XattrEntry:
        entry = self._shared.get(number)
        if entry is None:
            offset = self._volume.xattr_start + 4 * number
            metabox = self._shared_in_metabox
            data, at = self._volume.meta(metabox, offset, 4)
            size = 4 + data[at] + (data[at + 2] | data[at + 3] << 8)
            data, at = self._volume.meta(metabox, offset, size)
            entry, _ = unpack_entry(data[at : at + size], 0, offset)
            with self._lock:
                if self._shared_bytes > _KEPT_BYTES:
                    self._shared.clear()
                    self._shared_bytes = 0
                self._shared[number] = entry
                self._shared_bytes += size
        return entry

    def shared_places(self, inode: Inode) -> list[tuple[int, int]]:
        """Return (start, end) of each shared entry that an inode names; empty where those lie in the metabox."""
        if not inode.xattr_size or self._shared_in_metabox:
            return []
        header, entries = self._area(inode)
        spans = []
        for number, entry in zip(header.shared, entries[len(entries) - len(header.shared) :], strict=True):
            start = self._volume.xattr_start + 4 * number
            spans.append((start, start + (4 + len(entry.suffix) + len(entry.value) + 3 & ~3)))
        return spans

    def inspect(self, inode: Inode) -> Attributes:
        """Return everything about an inode's attributes."""
        found: dict[bytes, bytes] = {}
        if not inode.xattr_size:
            return Attributes(found, None, [])
        header, entries = self._area(inode)
        fingerprint = None
        denied = []
        for entry in entries:
            prefixes = self.prefixes if entry.index & LONG_PREFIX_FLAG else ()
            name = full_name(entry.index, entry.suffix, prefixes)
            if name is not None:
                if b"\0" in name:
                    raise CorruptError(f"xattr name {name!r} of inode {inode.nid} holds a NUL", inode.offset)
                found.setdefault(name, entry.value)
                if self._filters and header.filter and header.filter & ~filter_word([entry], prefixes):
                    denied.append(name)
            if fingerprint is None and self._is_fingerprint(entry):
                fingerprint = entry.value
        return Attributes(found, fingerprint, denied)

    def fingerprint(self, inode: Inode) -> bytes | None:
        """Return the value of the attribute that the superblock announces, else of one of the known names."""
        if inode.xattr_size:
            for entry in self._area(inode)[1]:
                if self._is_fingerprint(entry):
                    return entry.value
        return None

    def _is_fingerprint(self, entry: XattrEntry) -> bool:
        if self._announced is not None:
            return entry.index == self._announced and not entry.suffix
        return self._name(entry) in (FINGERPRINT_NAME, _HIDDEN_FINGERPRINT)

    def _name(self, entry: XattrEntry) -> bytes | None:
        index, suffix = entry.index, entry.suffix
        if index & LONG_PREFIX_FLAG:
            prefixes = self.prefixes
            number = index & ~LONG_PREFIX_FLAG
            if number >= len(prefixes):
                raise CorruptError(f"xattr uses long prefix {number} of {len(prefixes)}")
            index, suffix = prefixes[number].base_index, prefixes[number].infix + suffix
        return suffix if index == 0 else full_name(index, suffix)
