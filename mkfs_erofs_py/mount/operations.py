"""What libfuse asks of images that are mounted, and what it is answered.

The way from a program's request to an answer leads through libfuse's path-based interface, mfusepy and this module, and
costs more than most of the work itself. So the kernel is told everything early and asked for little: names come with
their attributes, nothing ever changes, and files are not opened at all (an answer of ``ENOSYS`` to the first ``open``
makes the kernel do without, and without ``release``), which leaves one request for a small file that is read.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import stat
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import mfusepy

from ..errors import CorruptError, CutShortError, ErofsError, OutOfBoundsError, UnsupportedError
from ..pagecache import Advice, CachedFile
from ..read import Inode
from ..vfs import Entry, MountedImage
from .points import STATISTICS

__all__ = ["Fuse", "Operations"]

RECENT = 16384
"""Paths whose inodes are remembered, some 8 MB: a listing tells them, reading the files comes later."""

LISTINGS = 8
"""Folders whose entries are kept, for as long as they may still be asked for in parts."""

OPEN = 256
"""Files kept open for reading. What they remember is where they were read last; their pages stay cached anyway."""

FOREVER = 1e9
"""Seconds for which the kernel may remember names and attributes: images do not change."""

# fuse.h and fuse_common.h of libfuse 3
_READDIR_PLUS = 1 << 0
_FILL_DIR_PLUS = 1 << 1
_CAP_POSIX_ACL = 1 << 19
_CAP_CACHE_SYMLINKS = 1 << 23

_ERRNO: list[tuple[type[ErofsError], int]] = [
    (CutShortError, errno.EIO),
    (UnsupportedError, errno.EOPNOTSUPP),
    (CorruptError, errno.EUCLEAN),
    (OutOfBoundsError, errno.EUCLEAN),
]
"""What a program sees of an image that is at fault; the same numbers that the kernel's driver gives."""

_Method = TypeVar("_Method", bound=Callable[..., Any])
_Found = tuple[MountedImage, Inode]


def _failure(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def _number(error: ErofsError) -> int:
    """Return the number for an error: the system's own where it comes from there, or from a path that leads nowhere."""
    by_kind = next((number for kind, number in _ERRNO if isinstance(error, kind)), None)
    return by_kind or getattr(error, "errno", None) or errno.EIO


def _translated(method: _Method) -> _Method:
    """Turn our errors into ``OSError`` with the number for the program that asked."""

    @functools.wraps(method)
    def call(*arguments: Any) -> Any:
        try:
            return method(*arguments)
        except ErofsError as error:
            raise _failure(_number(error)) from error

    return call  # type: ignore[return-value]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


class Operations(mfusepy.Operations):  # type: ignore[misc]
    """The answers for one mount point, one at a time.

    ``images`` are the folders in it by name, or, under an empty name, the one image that it is itself. ``alone`` says
    that no other image is mounted with it: then nothing is there to share, what is read is left to the kernel's own
    page cache, and ours holds no second copy.
    """

    use_ns = True  # times are whole nanoseconds

    def __init__(self, images: dict[bytes, MountedImage], facts: Callable[[], bytes], *, alone: bool) -> None:
        self._images = images
        self._facts = facts
        self._alone = alone
        self._files: dict[bytes, CachedFile] = {}
        self._recent: dict[bytes, _Found] = {}
        self._listings: dict[int, list[Entry]] = {}
        self.ready = threading.Event()

    def init_with_config(self, conn_info: Any, config_3: Any) -> None:
        """Tell libfuse that nothing ever changes; the session is up when this is called.

        Access control lists are the kernel's to enforce, as everything that permits; without it, it would take a
        list's mask for what the group may do.
        """
        conn_info.want |= conn_info.capable & (_CAP_CACHE_SYMLINKS | _CAP_POSIX_ACL)
        config_3.use_ino = True
        config_3.kernel_cache = True
        config_3.entry_timeout = config_3.attr_timeout = config_3.negative_timeout = FOREVER
        self.ready.set()

    # What is where

    def find(self, path: bytes) -> _Found | None:
        """Return image and inode, ``None`` for the folder of images.

        Raises ``OSError``, ``ImageError``, and ``CutShortError`` for an image that was cut short: what is remembered of
        it is answered no more.
        """
        found = self._recent.get(path)
        if found is None:
            found = self._search(path)
            if found is not None:
                self.remember(path, *found)
        else:
            found[0].image.check()
        return found

    def remember(self, path: bytes, image: MountedImage, inode: Inode) -> None:
        """Keep what is at a path, in the place of what has been kept longest."""
        recent = self._recent
        if len(recent) >= RECENT:
            del recent[next(iter(recent))]
        recent[path] = image, inode

    def _search(self, path: bytes) -> _Found | None:
        image = self._images.get(b"")
        if image is None:
            name, _, path = path.lstrip(b"/").partition(b"/")
            if not name:
                return None
            image = self._images.get(name)
            if image is None:
                raise _failure(errno.ENOENT)
        image.image.check()
        return image, image.lookup(path)

    def _inode(self, path: bytes) -> _Found:
        found = self.find(path)
        if found is None:
            raise _failure(errno.EISDIR)
        return found

    # Attributes

    @_translated
    def show(self, path: bytes, st: Any) -> None:
        """Fill a ``struct stat``, cleared, with what is at a path."""
        found = self.find(path)
        if found is None:
            st.st_mode = stat.S_IFDIR | 0o755
            st.st_nlink = 2 + len(self._images)
            st.st_ino = 1
            st.st_uid = os.geteuid()
        else:
            show(st, *found)

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        """See ``stat(2)``. What is shown comes from :meth:`show`; libfuse must see that there is one."""
        raise NotImplementedError

    @_translated
    def readlink(self, path: str) -> str:
        """See ``readlink(2)``."""
        image, inode = self._inode(_bytes(path))
        return _text(image.readlink(inode))

    @_translated
    def listxattr(self, path: str) -> list[str]:
        """See ``listxattr(2)``: like the kernel's driver, with names in ``trusted.`` for root alone."""
        found = self.find(_bytes(path))
        names = [] if found is None else found[0].xattrs(found[1])
        user, _, _ = mfusepy.fuse_get_context()
        return [_text(name) for name in names if not (user and name.startswith(b"trusted."))]

    @_translated
    def getxattr(self, path: str, name: str, position: int = 0) -> bytes:  # noqa: ARG002
        """See ``getxattr(2)``; the mount point has the statistics as well."""
        if path == "/" and name == STATISTICS:
            return self._facts()
        found = self.find(_bytes(path))
        value = None if found is None else found[0].xattrs(found[1]).get(_bytes(name))
        if value is None:
            raise _failure(errno.ENODATA)
        return value

    @_translated
    def statfs(self, path: str) -> dict[str, int]:
        """See ``statvfs(3)``: of the image the path lies in, or of all together."""
        found = self.find(_bytes(path))
        images = list(self._images.values()) if found is None else [found[0]]
        facts = [image.facts() for image in images]
        block = min(one.block_size for one in facts)
        return {
            "f_bsize": block,
            "f_frsize": block,
            "f_blocks": sum(one.blocks * one.block_size for one in facts) // block,
            "f_files": sum(one.files for one in facts),
            "f_namemax": min(one.name_max for one in facts),
        }

    # Folders and files

    def readdir(self, path: str, fh: int) -> list[str]:
        """List a folder. Entries come from :meth:`list_to`; libfuse must see that there is this."""
        raise NotImplementedError

    @_translated
    def list_to(self, path: bytes, offset: int, plus: bool, st: Any, add: Callable[[bytes, int, int], int]) -> None:
        """List a folder from its entry number ``offset`` on, until ``add`` returns 1 or no more are left.

        ``add`` takes a name, the number of the next entry, and whether ``st`` holds all of the entry's attributes or
        just its type and number. With ``plus`` all are wanted; they are there unless the inode is damaged.
        """
        found = self.find(path)
        if found is None:
            names = [b".", b"..", *self._images]
            st.st_mode, st.st_ino = stat.S_IFDIR, 1
            for number, name in enumerate(names[offset:], offset + 1):
                if add(name, number, 0):
                    return
            return
        image, inode = found
        base = path if path.endswith(b"/") else path + b"/"
        entries = self._listed(image, inode, offset)
        for number in range(offset, len(entries)):
            entry, told = entries[number], 0
            if plus and entry.name not in (b".", b".."):
                try:
                    child = image.inode(entry.nid)
                except ErofsError:  # whoever asks for this entry alone is told
                    pass
                else:
                    self.remember(base + entry.name, image, child)
                    show(st, image, child)
                    told = _FILL_DIR_PLUS
            if not told:
                st.st_mode, st.st_ino = entry.mode, entry.number
            if add(entry.name, number + 1, told):
                return

    def _listed(self, image: MountedImage, inode: Inode, offset: int) -> list[Entry]:
        """Return a folder's entries; a long one is asked for in parts, and read once."""
        key = image.number_of(inode.nid)
        entries = self._listings.get(key)
        if entries is None or not offset:
            entries = list(image.entries(inode))
            if len(self._listings) >= LISTINGS:
                self._listings.clear()
            self._listings[key] = entries
        return entries

    def open(self, path: str, flags: int) -> int:
        """Never opened: see :meth:`Fuse.open`; libfuse must see that there is one."""
        raise NotImplementedError

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        """See ``pread(2)``. What is read goes where :meth:`read_into` says; libfuse must see that there is one."""
        raise NotImplementedError

    @_translated
    def read_into(self, path: bytes, offset: int, buffer: memoryview) -> int:
        """Read into the memory that libfuse hands to the kernel."""
        image, inode = self._inode(path)
        if self._alone:
            return image.read_around(inode, offset, buffer)
        file = self._files.get(path)
        if file is None:
            file = image.open(inode)
            file.advise(Advice.RANDOM)  # the kernel reads ahead already, and asks for that
            if len(self._files) >= OPEN:
                self._files.pop(next(iter(self._files))).close()
            self._files[path] = file
        return file.readinto(offset, buffer)


def show(st: Any, image: MountedImage, inode: Inode) -> None:
    """Fill a ``struct stat`` with an inode's attributes."""
    facts = image.attributes(inode)
    st.st_mode = facts.st_mode
    st.st_nlink = facts.st_nlink
    st.st_uid = facts.st_uid
    st.st_gid = facts.st_gid
    st.st_size = facts.st_size
    st.st_blocks = facts.st_blocks
    st.st_blksize = facts.st_blksize
    st.st_rdev = facts.st_rdev
    st.st_ino = image.number_of(inode.nid)
    seconds, nanoseconds = divmod(facts.st_mtime_ns, 1_000_000_000)
    for time in (st.st_atimespec, st.st_mtimespec, st.st_ctimespec):
        time.tv_sec, time.tv_nsec = seconds, nanoseconds


class Fuse(mfusepy.FUSE):  # type: ignore[misc]
    """mfusepy, but for its detours by dictionaries, text and copies where a program waits most often."""

    def getattr_fuse_3(self, path: bytes, buf: Any, fip: Any) -> int:  # noqa: ARG002
        """Called for each name that no listing has told."""
        ctypes.memset(buf, 0, ctypes.sizeof(mfusepy.c_stat))
        self.operations.show(path, buf.contents)
        return 0

    def readdir_fuse_3(self, path: bytes, buf: Any, filler: Any, offset: int, fip: Any, flags: int) -> int:  # noqa: ARG002
        """List part of a folder, with all attributes if the kernel wants them.

        Entries are given with their numbers: those without, libfuse 3.14 tells the kernel no attributes of.
        """
        st = mfusepy.c_stat()
        where = ctypes.byref(st)

        def add(name: bytes, number: int, told: int) -> int:
            return int(filler(buf, name, where, number, told))

        self.operations.list_to(path, offset, bool(flags & _READDIR_PLUS), st, add)
        return 0

    def open(self, path: bytes, fip: Any) -> int:  # noqa: ARG002
        """Have the kernel do without opening files: it never asks again."""
        return -errno.ENOSYS

    def read(self, path: bytes, buf: Any, size: int, offset: int, fip: Any) -> int:  # noqa: ARG002
        """Read into libfuse's own buffer."""
        memory = (ctypes.c_char * size).from_address(ctypes.addressof(buf.contents))
        with memoryview(memory).cast("B") as buffer:
            return int(self.operations.read_into(path, offset, buffer))
