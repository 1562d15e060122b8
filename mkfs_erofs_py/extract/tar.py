"""An image as a tar stream (pax format): owners, times to the nanosecond, devices, attributes, hard links."""

from __future__ import annotations

import os
import stat
import struct
import tarfile
from collections.abc import Sequence
from typing import BinaryIO

from ..files.read_at import PathOrFile
from ..progress import Progress, silent
from ..read import Image, ImageSource, Inode, opened
from ..read.whole import filled
from ..units import exact_time
from .extracted import Extracted, Extracting
from .select import selected

__all__ = ["write_tar"]

_TYPES = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
}
#: Attributes that tar has a form of its own for, as text; GNU tar reads no other (``--acls``).
_ACLS = {b"system.posix_acl_access": "SCHILY.acl.access", b"system.posix_acl_default": "SCHILY.acl.default"}
_ACL_VERSION = 2
_ACL_ENTRY = struct.Struct("<HHI")  # tag, permissions, id: linux/posix_acl_xattr.h
_ACL_TAGS = {0x01: "user", 0x02: "user", 0x04: "group", 0x08: "group", 0x10: "mask", 0x20: "other"}
_ACL_NAMED = 0x02 | 0x08
_ENCODING = ("utf-8", "surrogateescape")
_RECORD = 10240


def write_tar(
    image: ImageSource,
    file: BinaryIO,
    *,
    paths: Sequence[str | bytes] | None = None,
    devices: Sequence[PathOrFile] = (),
    progress: Progress | None = None,
) -> Extracted:
    """Write what is in an image, or only what is at ``paths`` in it, to ``file`` as a tar stream (pax format).

    ``image`` is a path, a binary file or an open `Image`; ``devices`` are its extra devices in their order. ``file``
    takes bytes in order: it need not seek, and stays open. ``progress`` hears of inodes. What tar does not have is
    left out and counted: sockets, and attributes whose names are not UTF-8.

    Raises `NotFoundError` for a path that the image does not have, `UnreadableError`, `ImageError` for what is
    malformed, and what ``file`` raises.
    """
    if not hasattr(file, "write"):
        raise TypeError(f"a tar stream goes to a binary file, not {type(file).__name__}")
    if hasattr(file, "encoding"):
        raise TypeError("a tar stream goes to a binary file, not to one that was opened for text")
    with opened(image, devices) as one:
        return _write(one, paths, file, progress or silent)


def _write(image: Image, paths: Sequence[str | bytes] | None, out: BinaryIO, progress: Progress) -> Extracted:
    done = Extracting()
    total = image.superblock.inodes if paths is None else None
    first: dict[int, bytes] = {}
    written = 0
    for path, inode in selected(image, paths):
        if stat.S_ISSOCK(inode.mode):
            done.left_out["sockets"] += 1
            continue
        done.inodes += 1
        progress("extracting", done.inodes if total is None else min(done.inodes, total), total)
        name = b"." + path if path != b"/" else b"."
        known = first.setdefault(inode.nid, name) if inode.nlink > 1 and not inode.is_dir else name
        header = _header(image, name, inode, known if known != name else None, done)
        out.write(header)
        written += len(header)
        if not inode.is_file or known != name:
            continue
        out.writelines(filled(image, inode))
        padding = -inode.size % tarfile.BLOCKSIZE
        out.write(bytes(padding))
        written += inode.size + padding
        done.files += 1
        done.size += inode.size
    out.write(bytes(2 * tarfile.BLOCKSIZE + -(written + 2 * tarfile.BLOCKSIZE) % _RECORD))
    out.flush()
    return done.extracted()


def _header(image: Image, name: bytes, inode: Inode, link: bytes | None, done: Extracting) -> bytes:
    info = tarfile.TarInfo(os.fsdecode(name))
    info.type = _TYPES[stat.S_IFMT(inode.mode)]
    info.mode = stat.S_IMODE(inode.mode)
    info.uid, info.gid = inode.uid, inode.gid
    info.mtime = inode.mtime
    pax: dict[str, str] = {}
    if inode.nsec or inode.mtime < 0:
        # Text, since a float does not hold nanoseconds; before 1970 the fraction counts towards zero.
        pax["mtime"] = exact_time(inode.mtime_ns)
        info.mtime = max(inode.mtime, 0)
    if link is not None:
        info.type = tarfile.LNKTYPE
        info.linkname = os.fsdecode(link)
    elif inode.is_symlink:
        info.linkname = os.fsdecode(image.readlink(inode))
    elif inode.is_file:
        info.size = inode.size
    elif inode.is_device:
        info.devmajor, info.devminor = inode.rdev
    if link is None:
        for key, value in image.xattrs(inode).items():
            if key in _ACLS and (text := _acl_text(value)) is not None:
                pax[_ACLS[key]] = text
            try:
                pax[f"SCHILY.xattr.{key.decode()}"] = value.decode(*_ENCODING)
            except UnicodeDecodeError:
                done.left_out["attributes whose names are not UTF-8"] += 1
    info.pax_headers = pax
    return info.tobuf(tarfile.PAX_FORMAT, *_ENCODING)


def _acl_text(value: bytes) -> str | None:
    """Return an access control list as acl(5) writes it, ids as numbers; ``None`` for what is none."""
    if len(value) % _ACL_ENTRY.size != 4 or int.from_bytes(value[:4], "little") != _ACL_VERSION:
        return None
    entries = []
    for tag, bits, number in _ACL_ENTRY.iter_unpack(value[4:]):
        if tag not in _ACL_TAGS or bits > 7:
            return None
        who = number if tag & _ACL_NAMED else ""
        may = "".join(letter if bits & bit else "-" for letter, bit in (("r", 4), ("w", 2), ("x", 1)))
        entries.append(f"{_ACL_TAGS[tag]}:{who}:{may}")
    return ",".join(entries)
