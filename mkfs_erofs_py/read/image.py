"""An image, opened: inodes by path and number, and everything about them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from ..errors import (
    NAME_ROOM,
    CorruptError,
    ImageError,
    IsDirectoryError,
    NotListableError,
    UsageError,
    printable,
)
from ..files.read_at import Buffer, PathOrFile, ReadAt, Seekable, open_read_at
from ..ondisk.constants import Incompat
from ..ondisk.device import DeviceSlot
from ..ondisk.dirent import Dirent
from ..ondisk.superblock import AlgorithmRecord, LongPrefix, Superblock
from ..units import several
from .data import CACHE_BYTES, DataReader
from .file import ErofsFile
from .inode import Inode, load_inode
from .inode_data import InodeReader
from .layout import index_place
from .naming import name_error, naming, naming_all
from .span import Span
from .tree import OnError, TreeReader
from .volume import Volume
from .xattrs import Attributes, XattrReader

__all__ = ["Image", "Target"]

#: What names an inode: a path inside the image (``str`` as UTF-8 with surrogateescape), or the inode itself.
Target = str | bytes | Inode


class Image:
    """A read-only EROFS image.

    Opening reads the superblock and the root inode and nothing else. All methods may be called from many threads at
    once; what they return is independent of the image, but for open files.
    Whatever is malformed raises an ``ImageError`` when it is met: ``CorruptError``, ``UnsupportedError`` or
    ``OutOfBoundsError``, or, of an image that lost its end meanwhile, ``CutShortError``; its ``path`` is the image's
    ``name``. A device that fails raises ``UnreadableError``.
    """

    @naming
    def __init__(self, image: ReadAt, devices: Sequence[ReadAt] = (), *, cache_bytes: int = CACHE_BYTES) -> None:
        if not hasattr(image, "read_at"):
            raise TypeError(f"a path, file or memoryview becomes an Image by Image.open (got {type(image).__name__})")
        #: The path of the image, or what else it is known by; ``None`` for bytes in memory.
        self.name = image.name
        volume = self._volume = Volume(image, devices)
        self.superblock: Superblock = volume.superblock
        self.block_size: int = volume.block_size
        self._data = DataReader(volume, cache_bytes)
        sb = volume.superblock
        self._packed: InodeReader | None = None
        if sb.incompat & Incompat.FRAGMENTS and sb.packed_nid:
            self._packed = self._special(sb.packed_nid, "packed inode", fragments=False)
            self._data.packed = self._packed
        if sb.incompat & Incompat.METABOX:
            volume.metabox = self._special(sb.metabox_nid, "metabox", fragments=True)
        self._xattrs = XattrReader(volume, self._packed)
        self.root: Inode = load_inode(volume, sb.root_nid)
        if not self.root.is_dir:
            raise CorruptError(f"the root inode {sb.root_nid} is not a directory", self.root.offset)
        self._tree = TreeReader(volume, self._data, self.root)

    @classmethod
    def open(cls, source: PathOrFile, *, devices: Sequence[PathOrFile] = (), cache_bytes: int = CACHE_BYTES) -> Image:
        """Open a path, a binary file that can seek, or a ``memoryview``/``bytearray``; ``devices`` likewise, in order.

        Raises ``UnreadableError`` for what cannot be read at all, ``ImageError`` for what is no sound image,
        ``UsageError`` for a wrong number of devices.
        """
        readers: list[ReadAt] = []
        try:
            for one in (source, *several("devices", devices)):
                readers.append(open_read_at(one))
            return cls(readers[0], readers[1:], cache_bytes=cache_bytes)
        except BaseException:
            for reader in readers:
                reader.close()
            raise

    def __reduce__(self) -> tuple[object, ...]:
        """Have a worker process that was not forked open the image again; bytes and file objects do not pickle."""
        return type(self), (self._volume.image, tuple(self._volume.devices))

    def close(self) -> None:
        """Close the image and its devices; harmless when repeated. What was read stays valid.

        To read more of an image file is a ``UsageError`` from now on.
        """
        self._volume.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # -- the image as a whole ----------------------------------------------------------------------

    def check(self) -> None:
        """Raise ``CutShortError`` if the image or a device of it was cut short since it was opened.

        Whoever reads what is missing gets that error anyway. This is for long-lived programs that would rather answer
        nothing of such an image than what happens to be remembered of it.
        """
        for reader in (self._volume.image, *self._volume.devices):
            reader.check()

    @property
    def size(self) -> int:
        """Bytes of the image file or device, whatever the superblock says."""
        return self._volume.image.size

    @property
    def bound(self) -> bool:
        """Whether this process alone can read it: a Python file has one position, which a forked process would move."""
        return any(isinstance(reader, Seekable) for reader in (self._volume.image, *self._volume.devices))

    @property
    def algorithms(self) -> Sequence[AlgorithmRecord]:
        """The algorithm records, ascending."""
        return self._volume.records

    @property
    def devices(self) -> Sequence[DeviceSlot]:
        """The extra devices' slots; the k-th is device k+1 in spans."""
        return self._volume.slots

    @property
    @naming
    def prefixes(self) -> Sequence[LongPrefix]:
        """The long xattr prefixes by id."""
        return self._xattrs.prefixes

    @property
    def packed(self) -> Inode | None:
        """The packed inode, which holds fragments."""
        return self._packed.inode if self._packed is not None else None

    @property
    def metabox(self) -> Inode | None:
        """The metabox, which holds inodes."""
        reader = self._volume.metabox
        return reader.inode if isinstance(reader, InodeReader) else None

    def _special(self, nid: int, name: str, *, fragments: bool) -> InodeReader:
        inode = load_inode(self._volume, nid)
        if not inode.is_file:
            raise CorruptError(f"the {name} {nid} is not a regular file", inode.offset)
        return InodeReader(self._data, inode, name, fragments)

    # -- inodes ------------------------------------------------------------------------------------

    def inode(self, nid: int) -> Inode:
        """Return the inode with the number ``nid``. Raises ``ImageError``."""
        try:
            return load_inode(self._volume, nid)
        except ImageError as error:  # as `naming` would, which costs one more call for every inode
            name_error(error, self)
            raise

    @naming_all
    def readdir(self, target: Target) -> Iterator[Dirent]:
        """Yield a directory's entries (``name``, ``nid``, ``type``) in order, ``.`` and ``..`` among them.

        Raises ``NotListableError`` for what is no directory.
        """
        inode = self._inode(target)
        if not inode.is_dir:
            raise NotListableError(_name(target), "is not a directory")
        return self._tree.entries(inode)

    @naming
    def lookup(self, path: str | bytes, *, follow: bool = True) -> Inode:
        """Return the inode at ``path``, which starts at the root with or without a slash.

        Symbolic links on the way are followed inside the image (``..`` never leaves it); one at the end only if
        ``follow``. Raises ``NotFoundError`` where there is no such file, ``NotDirectoryError`` where a part of the way
        is no directory, ``LinkLoopError`` after 40 links.
        """
        return self._tree.lookup(path, follow)

    @naming_all
    def walk(self, top: Target = b"/", *, on_error: OnError | None = None) -> Iterator[tuple[bytes, Inode]]:
        """Yield ``(path, inode)`` for ``top`` and everything below it.

        First a directory, then what is in it but for directories, then its subdirectories, each with all below it;
        names of either kind in byte order. Paths are absolute. Raises ``CorruptError`` for a directory
        that is reached twice (a cycle, two parents), for a ``..`` that does not lead to the parent, for an entry whose
        type is not its inode's. With ``on_error`` nothing malformed ends the walk: it is called with the path at
        fault, and what lies behind that is left out.
        """
        inode = self._inode(top)
        path = b"/" if isinstance(top, Inode) else b"/" + os.fsencode(top).strip(b"/")
        return self._tree.walk(inode, path, on_error)

    @naming_all
    def inodes(self) -> Iterator[tuple[bytes, Inode]]:
        """Yield every inode once, with the first path that leads to it."""
        seen: set[int] = set()
        for path, inode in self.walk():
            if inode.nlink > 1 and not inode.is_dir:
                if inode.nid in seen:
                    continue
                seen.add(inode.nid)
            yield path, inode

    # -- what is known of an inode -----------------------------------------------------------------

    def stat(self, target: Target, *, follow: bool = True) -> os.stat_result:
        """Return what ``os.stat`` shows of a mounted image: ``st_ino`` is the nid, all times are the mtime.

        In images with a metabox ``st_ino`` is the nid as Linux squeezes it: the metabox's bit becomes bit 31.
        """
        inode = self._inode(target, follow=follow)
        if inode.is_compressed:
            blocks = inode.stored_blocks << (self.block_size.bit_length() - 10)
        else:
            blocks = -(-inode.size // self.block_size) * self.block_size >> 9
        ino = inode.nid
        if self._volume.metabox is not None:
            ino = (ino << 1 & 0xFFFF_FFFF_0000_0000) | (ino & 0x7FFF_FFFF) | ino >> 63 << 31
        ns = inode.mtime_ns
        second = inode.mtime
        return os.stat_result(
            (inode.mode, ino, 0, inode.nlink, inode.uid, inode.gid, inode.size, second, second, second),
            {
                "st_atime_ns": ns,
                "st_mtime_ns": ns,
                "st_ctime_ns": ns,
                "st_atime": ns / 1e9,
                "st_mtime": ns / 1e9,
                "st_ctime": ns / 1e9,
                "st_blksize": self.block_size,
                "st_blocks": blocks,
                "st_rdev": os.makedev(*inode.rdev),
            },
        )

    @naming
    def readlink(self, target: Target) -> bytes:
        """Return a symbolic link's target. Raises ``CorruptError`` for one that is empty, too long or holds a NUL."""
        inode = self._inode(target, follow=False)
        if not inode.is_symlink:
            raise UsageError(f"{_shown(target)} is not a symbolic link")
        return self._tree.readlink(inode)

    @naming
    def xattrs(self, target: Target, *, follow: bool = True) -> dict[bytes, bytes]:
        """Return the visible extended attributes: full names to values."""
        return self._xattrs.inspect(self._inode(target, follow=follow)).visible

    @naming
    def shared_xattrs(self, target: Target) -> list[tuple[int, int]]:
        """Return (start, end) of each shared attribute that an inode names; empty where those lie in the metabox."""
        return self._xattrs.shared_places(self._inode(target, follow=False))

    @naming
    def fingerprint(self, target: Target) -> bytes | None:
        """Return a file's content fingerprint as stored (``sha256:`` or ``blake3:`` and 32 raw bytes), if it has one.

        It is the attribute that the superblock announces for page cache sharing; in images that announce none,
        ``trusted.erofs.fingerprint`` or ``erofs.fingerprint.v1``.
        """
        return self._xattrs.fingerprint(self._inode(target))

    @naming
    def attributes(self, target: Target) -> Attributes:
        """Return `xattrs` and `fingerprint` of one inode at once, and which of them its name filter denies."""
        return self._xattrs.inspect(self._inode(target, follow=False))

    @naming_all
    def fingerprints(self) -> Iterator[tuple[bytes, Inode, bytes | None]]:
        """Yield ``(path, inode, fingerprint)`` of every non-empty regular file, each inode once. Reads no file data."""
        for path, inode in self.inodes():
            if inode.size and stat.S_ISREG(inode.mode):
                yield path, inode, self._xattrs.fingerprint(inode)

    @naming_all
    def spans(self, target: Target, pos: int = 0) -> Iterator[Span]:
        """Yield where an inode's bytes lie, in order, from the span that holds byte ``pos``."""
        return self._data.spans(self._inode(target), pos)

    @naming
    def index_place(self, target: Target) -> tuple[int, int] | None:
        """Return (start, end) of an inode's chunk map or cluster index in its metadata; ``None`` without one."""
        return index_place(self._volume, self._inode(target))

    # -- data --------------------------------------------------------------------------------------

    @naming_all
    def pieces(self, target: Target, pos: int = 0) -> Iterator[tuple[int, Buffer]]:
        """Yield ``(offset, bytes)`` front to back; gaps between pieces, and behind the last one, are holes (zeros).

        The fastest way through a whole file, in bounded memory: pieces of at most 256 KiB where data is stored as it
        is (of an image in memory they are views), of at most 12 MiB where it is decoded.
        """
        return self._data.pieces(self._inode(target), pos)

    @naming
    def pread(self, target: Target, length: int, offset: int) -> bytes:
        """Return up to ``length`` bytes from byte ``offset``; fewer only at the end. At most 2 GiB."""
        return self._data.pread(self._inode(target), length, offset)

    @naming
    def raw(self, address: int, length: int, device: int = 0) -> Buffer:
        """Return stored bytes as they are: ``length`` from byte ``address`` of the image or an extra device."""
        return self._volume.raw(device, address, length)

    @naming
    def preadinto(self, target: Target, buffer: memoryview, offset: int) -> int:
        """Like `pread`, into a writable and contiguous ``buffer`` -> bytes written."""
        return self._data.preadinto(self._inode(target), buffer.cast("B"), offset)

    @naming
    def read(self, target: Target) -> bytes:
        """Return the whole content of a file of up to 2 GiB. Raises ``IsDirectoryError``."""
        inode = self._inode(target)
        if inode.is_dir:
            raise IsDirectoryError(_name(target), "is a directory")
        return self._data.pread(inode, inode.size, 0)

    def open_file(self, target: Target) -> ErofsFile:
        """Open a regular file as an unbuffered binary file object (wrap it in ``io.BufferedReader`` at will).

        Raises ``IsDirectoryError``, ``UsageError`` for what else is no regular file.
        """
        inode = self._inode(target)
        if inode.is_dir:
            raise IsDirectoryError(_name(target), "is a directory")
        if not inode.is_file:
            raise UsageError(f"{_shown(target)} is not a regular file")
        return ErofsFile(self.pread, inode, _name(target))

    def _inode(self, target: Target, *, follow: bool = True) -> Inode:
        return target if isinstance(target, Inode) else self.lookup(target, follow=follow)


def _name(target: Target) -> str | bytes:
    return f"inode {target.nid}" if isinstance(target, Inode) else target


def _shown(target: Target) -> str:
    return printable(_name(target), NAME_ROOM)
