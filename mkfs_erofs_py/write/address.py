"""Every field of a planned image by its address, which a person writes and reads.

=============================  ======================================================================================
``sb.FIELD``                   the superblock
``inode:PATH.FIELD``           an inode; ``layout``, ``extended`` and ``flag`` are the parts of ``format``
``xattr:PATH.FIELD``           the head of an inode's attributes: ``filter``, ``shared_count``, ``shared[N]``
``xattr:PATH[N].FIELD``        its entries, those in the inode first, then those stored once for all
``dirent:PATH.FIELD``          the entry of a directory that names this path
``dirblock:PATH[N].FIELD[M]``  the entry M in block N of a directory
``zheader:PATH.FIELD``         the header of a compressed file's index
``lcluster:PATH[N].FIELD``     the record of a logical cluster, in full and compact indexes
``pack:PATH[N].base``          the block that a pack of a compact index counts from
``extent:PATH[N].FIELD``       the record of an encoded extent; ``extent:PATH.start`` where records have no address
``prefix[N].FIELD``            a long prefix of attribute names
``alg[NAME].FIELD``            an algorithm's record, NAME as in ``alg[lz4]``
``data:PATH@N``                byte N of an inode's data; of a compressed file, of what is stored, span after span
``bytes@N``                    byte N of the image
=============================  ======================================================================================

Fields have the names that the structures of `mkfs_erofs_py.ondisk` give them, and the short ones of `ALIASES`. A path
begins at the image's root, which is ``/``. The field is what stands behind the last dot, so names may hold dots:
``inode:/a.b.size`` is the size of ``/a.b``. An index is what stands in brackets at the path's end, and ``\\xNN`` is the
byte NN: a name that ends in brackets is written ``/a\\x5b1]``. N is decimal or, behind ``0x``, hexadecimal.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from ..errors import UsageError, printable

__all__ = ["ALIASES", "Address", "integer", "parse", "path_bytes", "unescaped", "wrong"]

#: Short names of fields, by the kind of address.
ALIASES: dict[str, dict[str, str]] = {
    "sb": {"blocks": "blocks_low"},
    "inode": {"icount": "xattr_icount", "blkaddr": "u"},
    "xattr": {"namelen": "suffix_size", "vallen": "value_size"},
    "dirent": {"nameoff": "name_offset"},
    "dirblock": {"nameoff": "name_offset"},
    "extent": {"lstart": "lstart_low", "pstart": "pstart_low"},
    "prefix": {"len": "length"},
    "alg": {"len": "length"},
}
#: Kinds of addresses that have a path.
_WITH_PATH = ("inode", "xattr", "dirent", "dirblock", "zheader", "lcluster", "pack", "extent", "data")
#: Kinds whose paths may have an index.
_WITH_INDEX = ("xattr", "dirblock", "lcluster", "pack", "extent")


def wrong(address: str, what: str) -> UsageError:
    """Return the error that says what is wrong with an address or its value."""
    return UsageError(f"{printable(address)}: {what}")


class Address(NamedTuple):
    """An address taken apart; ``key`` is what stands in brackets behind the path, ``None`` without brackets."""

    text: str
    kind: str
    path: bytes
    key: str | None
    field: str

    def wrong(self, what: str) -> UsageError:
        """Return the error that says what is wrong with this address."""
        return wrong(self.text, what)

    def number(self, count: int, what: str) -> int:
        """Return the index, which is below ``count``. Raises `UsageError`."""
        if self.key is None:
            raise self.wrong(f"an index in brackets is missing; there are {count} {what}, counted from 0")
        number = integer(self.key)
        if number is None or number >= count:
            raise self.wrong(f"{self.key} is none of the {count} {what}, counted from 0")
        return number


def parse(text: str) -> Address:
    """Take an address apart. Raises `UsageError`."""
    path_bytes(text, text)
    kind, colon, rest = text.partition(":")
    if kind in _WITH_PATH and colon:
        return _parse_path(text, kind, rest)
    if colon and kind == "chunk":
        raise wrong(text, "this builder writes no chunks yet, so there is no such field")
    match = re.fullmatch(r"(sb|prefix|alg|bytes)(?:\[([^]]*)\])?([.@])(.+)", text)
    kinds = f"{', '.join(_WITH_PATH)} with a colon and a path, or sb, prefix[N], alg[NAME], bytes@N"
    if match is None or (match[3] == "@") != (match[1] == "bytes"):
        raise wrong(text, f"not an address; these are {kinds}")
    return Address(text, match[1], b"", match[2], match[4])


def _parse_path(text: str, kind: str, rest: str) -> Address:
    mark = "@" if kind == "data" else "."
    path, found, field = rest.rpartition(mark)
    if not found or not path.startswith("/") or not field:
        what = "@ and the number of a byte" if kind == "data" else "a dot and a field"
        raise wrong(text, f"a path from / on is followed by {what}")
    key = None
    if kind in _WITH_INDEX and (match := re.fullmatch(r"(.*)\[([^][]*)\]", path, re.DOTALL)):
        path, key = match[1], match[2]
    return Address(text, kind, path_bytes(text, path), key, field)


def path_bytes(address: str, path: str) -> bytes:
    """Return a path as bytes. Raises `UsageError` for text that no system would make of any bytes."""
    try:
        return os.fsencode(path)
    except UnicodeEncodeError:
        raise UsageError(f"{address!a}: holds half a character; write bytes that are not text as \\xNN") from None


def integer(text: str) -> int | None:
    """Return a number in an address, ``None`` for what is none."""
    return int(text, 0) if re.fullmatch(r"0x[0-9a-fA-F]{1,16}|0|[1-9][0-9]{0,19}", text) else None


def unescaped(path: bytes) -> bytes:
    """Return a path with every byte that was written as ``\\xNN``."""
    return re.sub(rb"\\x([0-9a-fA-F]{2})", lambda match: bytes([int(match[1], 16)]), path)
