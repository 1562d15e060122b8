"""What images look like as a file system, over one shared cache; every front end adapts this.

A :class:`Vfs` holds the cache, a :class:`MountedImage` one image in it. Names and paths are bytes. Inodes are asked for
by the numbers that their image gives them (nids).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, Self

from .errors import UsageError
from .ondisk.constants import Compat
from .ondisk.inode import file_type
from .pagecache import PAGE, CachedFile, Counters, PageCache, Tenant, page_round
from .read import Image, Inode
from .units import expect

__all__ = ["Entry", "FileSystemFacts", "ImageFetcher", "MountedImage", "Vfs"]


class ImageFetcher:
    """Brings one file's bytes out of an image: the cache's view of a file."""

    __slots__ = ("_image", "_inode", "size")

    def __init__(self, image: Image, inode: Inode) -> None:
        self._image = image
        self._inode = inode
        self.size: int = inode.size

    def readinto(self, offset: int, buffer: memoryview) -> int:
        """See :class:`~mkfs_erofs_py.pagecache.Fetcher`."""
        return self._image.preadinto(self._inode, buffer, offset)


@dataclass(frozen=True, slots=True)
class FileSystemFacts:
    """What ``statfs`` tells: sizes in blocks of ``block_size`` bytes, nothing free."""

    block_size: int
    blocks: int
    files: int
    name_max: int = 255


class Entry(NamedTuple):
    """A name in a folder; ``mode`` has the file type's bits only, 0 where the image does not tell."""

    name: bytes
    mode: int
    number: int
    nid: int


_FORMATS: dict[int, int] = {
    file_type(form): form
    for form in (
        stat.S_IFREG,
        stat.S_IFDIR,
        stat.S_IFCHR,
        stat.S_IFBLK,
        stat.S_IFIFO,
        stat.S_IFSOCK,
        stat.S_IFLNK,
    )
}


class MountedImage:
    """One image, mounted. Made by :meth:`Vfs.mount`. All methods may be called from any thread."""

    def __init__(self, image: Image, name: str, tenant: Tenant, kernel_rules: bool, number: int) -> None:
        self.image = image
        self.name = name
        self._number = number
        self._tenant = tenant
        self._kernel_rules = kernel_rules

    def open(self, inode: Inode) -> CachedFile:
        """Open a regular file through the shared cache.

        Raises :class:`~mkfs_erofs_py.errors.UsageError` for anything else, ``ImageError`` where its
        attributes are malformed, ``UnreadableError`` once the image is unmounted.
        """
        if not inode.is_file:
            raise UsageError(f"inode {inode.nid} is not a regular file")
        fingerprint = self.image.fingerprint(inode) if self._tenant.shares and inode.size else None
        return self.open_known(inode, fingerprint)

    def open_known(self, inode: Inode, fingerprint: bytes | None) -> CachedFile:
        """Like :meth:`open`, for whoever knows the file's type and fingerprint already."""
        return self._tenant.open(
            inode.nid,
            ImageFetcher(self.image, inode),
            fingerprint,
            compressed=inode.is_compressed if self._kernel_rules else None,
        )

    def read_around(self, inode: Inode, offset: int, buffer: memoryview) -> int:
        """Read part of a regular file without the cache -> bytes written.

        Raises ``UnreadableError`` once the image is unmounted, ``ImageError``.
        """
        self._tenant.pass_by(page_round(max(min(len(buffer), inode.size - offset), 0)) // PAGE)
        return self.image.preadinto(inode, buffer, offset)

    def lookup(self, path: bytes) -> Inode:
        """Return the inode at a path from the image's root; a symbolic link at its end is not followed.

        Raises ``UnreadableError`` where there is none, ``ImageError``.
        """
        return self.image.lookup(path, follow=False)

    def entries(self, inode: Inode) -> Iterator[Entry]:
        """Yield a folder's entries in byte order, ``.`` and ``..`` among them. Raises ``ImageError``."""
        for entry in self.image.readdir(inode):
            yield Entry(entry.name, _FORMATS.get(entry.type, 0), self.number_of(entry.nid), entry.nid)

    def number_of(self, nid: int) -> int:
        """Return the inode number that is shown: unique among all images of the Vfs, and never 0."""
        return self._number << 53 | (nid >> 63) << 52 | nid & (1 << 52) - 1

    def inode(self, nid: int) -> Inode:
        """Return the inode that an entry leads to. Raises ``ImageError``."""
        return self.image.inode(nid)

    def attributes(self, inode: Inode) -> os.stat_result:
        """Return what ``stat`` shows, but for the inode number.

        ``st_ino`` is the nid, which other images may have as well; what a front end shows instead is :meth:`number_of`.
        """
        return self.image.stat(inode)

    def readlink(self, inode: Inode) -> bytes:
        """Return where a symbolic link leads. Raises ``ImageError``."""
        return self.image.readlink(inode)

    def xattrs(self, inode: Inode) -> dict[bytes, bytes]:
        """Return the visible extended attributes. Raises ``ImageError``."""
        return self.image.xattrs(inode)

    def facts(self) -> FileSystemFacts:
        """Return what ``statfs`` shows."""
        sb = self.image.superblock
        return FileSystemFacts(sb.block_size, sb.blocks, sb.inodes)

    def counters(self) -> Counters:
        """Return what was read through this image and what of it is cached."""
        return self._tenant.counters()

    def detach(self) -> None:
        """Leave the cache; see :meth:`Vfs.unmount`."""
        self._tenant.detach()


class Vfs:
    """Images mounted over one page cache; a context manager that unmounts them all.

    ``share`` is whether files with equal fingerprints share at all. ``kernel_rules`` keeps
    compressed files apart from plain ones, as the kernel must and user space need not. ``owns`` is
    whether unmounting an image closes it.
    """

    def __init__(self, cache: PageCache, *, share: bool = True, kernel_rules: bool = False, owns: bool = True) -> None:
        self.cache = expect("cache", cache, PageCache, "a PageCache")
        self._owns = owns
        self._share = share
        self._kernel_rules = kernel_rules
        self._count = 0
        self.mounted: list[MountedImage] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self.mounted:
            self.unmount(self.mounted[-1])

    def mount(self, image: Image, name: str, domain: bytes = b"") -> MountedImage:
        """Mount an image that is open already. Images of one ``domain`` share.

        Raises ``TypeError`` for what is no open image.
        """
        expect("image", image, Image, "an Image (see Image.open)")
        expect("name", name, str, "a text")
        expect("domain", domain, bytes, "bytes")
        announced = bool(image.superblock.compat & Compat.ISHARE_XATTRS)
        tenant = self.cache.attach(name, domain if self._share else None, announced=announced)
        self._count += 1
        mounted = MountedImage(image, name, tenant, self._kernel_rules, self._count)
        self.mounted.append(mounted)
        return mounted

    def unmount(self, mounted: MountedImage) -> None:
        """Let go of an image: its open files fail from now on, pages that others share stay."""
        self.mounted.remove(mounted)
        mounted.detach()
        if self._owns:
            mounted.image.close()
