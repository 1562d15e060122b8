"""What a program sees through the library, in the form in which ``tests.support.trees`` describes trees on disk."""

from __future__ import annotations

import hashlib
import os
import stat

from mkfs_erofs_py.read import Image, Inode
from tests.support.trees import FINGERPRINT, KINDS, Entry, Snapshot

__all__ = ["seen"]

ADDED = (FINGERPRINT, "trusted.overlay.origin")
"""Attributes that builders add: fingerprints, and mkfs.erofs's mark on folders that hold whiteouts."""


def seen(image: Image) -> Snapshot:
    """Return everything that ``image`` shows, every byte of its files read."""
    found = list(image.walk())
    links: dict[int, list[bytes]] = {}
    for path, inode in found:
        links.setdefault(inode.nid, []).append(path[1:] or b".")
    return {path[1:] or b".": _entry(image, inode, tuple(sorted(links[inode.nid]))) for path, inode in found}


def _entry(image: Image, inode: Inode, links: tuple[bytes, ...]) -> Entry:
    st = image.stat(inode)
    attributes = ((os.fsdecode(name), value) for name, value in image.xattrs(inode).items())
    return Entry(
        kind=KINDS[stat.S_IFMT(st.st_mode)],
        mode=stat.S_IMODE(st.st_mode),
        uid=st.st_uid,
        gid=st.st_gid,
        mtime_ns=st.st_mtime_ns,
        size=st.st_size if inode.is_file or inode.is_symlink else None,
        rdev=inode.rdev if inode.is_device else None,
        content=_content(image, inode),
        links=links,
        nlink=st.st_nlink if len(links) == st.st_nlink and not inode.is_dir else None,
        xattrs=tuple(sorted((name, value) for name, value in attributes if name not in ADDED)),
    )


def _content(image: Image, inode: Inode) -> str | bytes | None:
    if inode.is_symlink:
        return image.readlink(inode)
    if not inode.is_file:
        return None
    digest = hashlib.sha256()
    end = 0
    for offset, data in image.pieces(inode):
        digest.update(bytes(offset - end))
        digest.update(data)
        end = offset + len(data)
    digest.update(bytes(inode.size - end))
    return digest.hexdigest()
