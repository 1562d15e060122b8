"""What an image says of itself, as data ready for JSON: superblock, inodes, spans of bytes, directories, every byte.

Names of files are text with lone surrogates for bytes that are not UTF-8 (`mkfs_erofs_py.units.text`); sizes and
offsets are bytes, times seconds since 1970. Everything raises ``ImageError`` for what is malformed.
"""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any
from uuid import UUID

from .errors import CorruptError, printable
from .fingerprint import describe
from .ondisk.constants import Algorithm, Compat, FileType, Incompat, Layout
from .ondisk.dirent import Dirent
from .read import METABOX, PACKED, Image, Inode, Kind
from .read.map import image_map
from .units import format_time, text

__all__ = [
    "describe_data",
    "describe_directory",
    "describe_entry",
    "describe_file",
    "describe_inode",
    "describe_map",
    "describe_superblock",
    "directories",
]

_DEVICES = {METABOX: "metabox", PACKED: "packed inode", 0: "image"}


def describe_superblock(image: Image) -> dict[str, Any]:
    """Return what holds for the image as a whole."""
    sb = image.superblock
    return {
        "block_size": image.block_size,
        "image_size": image.size,
        "blocks": sb.blocks,
        "inodes": sb.inodes,
        "uuid": str(UUID(bytes=sb.uuid)),
        "label": text(sb.label.rstrip(b"\0")),
        "epoch": sb.epoch,
        "fixed_nsec": sb.fixed_nsec,
        "mkfs_time": sb.epoch + sb.mkfs_time,
        "checksum": f"{sb.checksum:#010x}" if sb.compat & Compat.SB_CHKSUM else None,
        "compatible_features": _bits(sb.compat, Compat),
        "incompatible_features": _bits(sb.incompat, Incompat),
        "algorithms": [
            {"name": Algorithm(record.algorithm).name.lower()}
            | {key: value for key, value in asdict(record).items() if value and key != "algorithm"}
            for record in image.algorithms
        ],
        "meta_block": sb.meta_blkaddr,
        "shared_xattr_block": sb.xattr_blkaddr,
        "root_nid": sb.root_nid,
        "packed_nid": image.packed.nid if image.packed else None,
        "metabox_nid": image.metabox.nid if image.metabox else None,
        "xattr_prefixes": [f"{one.base_index}:{printable(one.infix)}" for one in image.prefixes],
        "fingerprint_prefix": sb.ishare_prefix if sb.compat & Compat.ISHARE_XATTRS else None,
        "devices": [
            {"tag": printable(slot.tag.rstrip(b"\0")), "blocks": slot.blocks, "start_block": slot.uniaddr}
            for slot in image.devices
        ],
    }


def _bits(value: int, names: type[Compat | Incompat]) -> list[str]:
    # A bit may have two names; the first one declared stands for both.
    return [str(one.name).lower() for one in names if value & one]


def describe_inode(path: bytes, inode: Inode) -> dict[str, Any]:
    """Return the facts of an inode's own fields, whatever its data and attributes."""
    found: dict[str, Any] = {
        "path": text(path),
        "type": inode.type.name.lower(),
        "mode": f"{inode.mode & 0o7777:04o}",
        "nlink": inode.nlink,
        "uid": inode.uid,
        "gid": inode.gid,
        "size": inode.size,
        "mtime": inode.mtime,
        "mtime_nsec": inode.nsec,
        "nid": inode.nid,
    }
    if inode.is_device:
        found["rdev"] = list(inode.rdev)
    return found


def describe_entry(image: Image, path: bytes, inode: Inode) -> dict[str, Any]:
    """Return what a listing shows: the inode's own fields, and where a symbolic link leads."""
    found = describe_inode(path, inode)
    if inode.is_symlink:
        found["target"] = text(image.readlink(inode))
    return found


def describe_file(image: Image, path: bytes, inode: Inode) -> dict[str, Any]:
    """Return all that is known of one inode: its fields, place, attributes (values in hex), fingerprint, data."""
    found = describe_inode(path, inode)
    found |= {
        "time": format_time(inode.mtime),
        "permissions": stat.filemode(inode.mode),
        "inode": "extended" if inode.extended else "compact",
        "layout": Layout(inode.layout).name.lower(),
        "offset": inode.offset,
        "in_metabox": inode.in_metabox,
        "blocks_512": image.stat(inode).st_blocks,
        "xattrs": {text(name): value.hex() for name, value in image.xattrs(inode).items()},
        "fingerprint": _fingerprint(image.fingerprint(inode)),
    }
    if inode.is_symlink:
        found["target"] = text(image.readlink(inode))
    if _has_data(inode):
        spans = list(image.spans(inode))
        found["extents"] = len(spans)
        found["stored"] = sum(span.stored for span in spans)
    return found


def _fingerprint(value: bytes | None) -> str | None:
    if value is None:
        return None
    try:
        return describe(value)
    except CorruptError:
        return f"malformed:{value.hex()}"


def describe_data(image: Image, path: bytes, inode: Inode) -> dict[str, Any]:
    """Return where an inode and its bytes lie: its fields, its layout and index, a row for each span."""
    return describe_inode(path, inode) | {
        "form": "extended" if inode.extended else "compact",
        "layout": Layout(inode.layout).name.lower(),
        "offset": inode.offset,
        "in_metabox": inode.in_metabox,
        "xattr_bytes": inode.xattr_size,
        "index": image.index_place(inode) if _has_data(inode) else None,
        "extents": list(_spans(image, inode)) if _has_data(inode) else [],
    }


def _has_data(inode: Inode) -> bool:
    return inode.is_file or inode.is_dir or inode.is_symlink


def _spans(image: Image, inode: Inode) -> Iterator[dict[str, Any]]:
    for span in image.spans(inode):
        row = span._asdict()
        row["kind"] = Kind(span.kind).name.lower()
        row["device"] = _DEVICES.get(span.device, f"device {span.device}")
        yield row


def describe_map(image: Image) -> dict[str, Any]:
    """Return what every byte is for: ``regions`` in order, which tile the image, and ``totals`` by what they are."""
    totals: Counter[str] = Counter()
    regions = []
    for region in image_map(image):
        totals[region.what] += region.size
        regions.append(region.as_dict() | {"path": text(region.path)})
    return {"size": image.size, "totals": dict(totals), "regions": regions}


def describe_directory(image: Image, path: bytes, *, recursive: bool, follow: bool = True) -> Iterator[dict[str, Any]]:
    """Yield `describe_entry` of what is in the directory at ``path``, and below it if ``recursive``.

    What is no directory stands for itself. ``follow`` is for a symbolic link at ``path``.
    """
    top = image.lookup(path, follow=follow)
    if not top.is_dir:
        yield describe_entry(image, path, top)
        return
    for directory, entries in directories(image, path, top, recursive=recursive):
        prefix = directory.rstrip(b"/") + b"/"
        for entry in entries:
            yield describe_entry(image, prefix + entry.name, image.inode(entry.nid))


def directories(image: Image, path: bytes, top: Inode, *, recursive: bool) -> Iterator[tuple[bytes, list[Dirent]]]:
    """Yield the directory ``top``, which is at ``path``, and, if asked, all below it: path, entries.

    ``.`` and ``..`` are left out. Only directories' inodes are read.
    """
    seen = {top.nid}
    stack = [(path, top)]
    while stack:
        path, inode = stack.pop()
        entries = [entry for entry in image.readdir(inode) if entry.name not in (b".", b"..")]
        yield path, entries
        if not recursive:
            return
        prefix = path.rstrip(b"/") + b"/"
        for entry in reversed(entries):
            if entry.type in (FileType.DIRECTORY, FileType.UNKNOWN):
                child = image.inode(entry.nid)
                if not child.is_dir:
                    if entry.type == FileType.DIRECTORY:
                        raise CorruptError(f"{entry.name!r} is listed as a directory but is none", child.offset)
                    continue
                if child.nid in seen:
                    raise CorruptError(f"directory inode {child.nid} is reached a second time", child.offset)
                seen.add(child.nid)
                stack.append((prefix + entry.name, child))
