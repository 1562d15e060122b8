"""Images through FUSE: one process serves any number of mount points from one shared cache.

An adapter of :mod:`.vfs` to libfuse 3 by way of the package mfusepy (the extra ``fuse``). Each mount
point has a session, and each session one thread, which runs its operations: with libfuse's pool of threads
instead, which would take turns at Python's lock, the same reads took a fifth longer, two readers' a half.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import errno
import functools
import gc
import itertools
import json
import os
import signal
import stat
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import mfusepy

from ..errors import (
    CorruptError,
    ErofsError,
    MountError,
    OutOfBoundsError,
    UnreadableError,
    UnsupportedError,
    printable,
)
from ..pagecache import CachedFile, Counters
from ..read import Inode
from .points import OURS, STATISTICS, Place
from .vfs import MountedImage, Vfs

__all__ = ["Daemon"]

RECENT = 1024
"""Paths whose inodes are remembered: between looking a file up and opening it come only a few others."""

FOREVER = 1e9
"""Seconds for which the kernel may remember names and attributes: images do not change."""

_Method = TypeVar("_Method", bound=Callable[..., Any])

_ERRNO: list[tuple[type[ErofsError], int]] = [
    (UnsupportedError, errno.EOPNOTSUPP),
    (CorruptError, errno.EUCLEAN),
    (OutOfBoundsError, errno.EUCLEAN),
    (UnreadableError, errno.EIO),
]
"""What a program sees of our errors; the same numbers that the kernel's driver gives."""


def _translated(method: _Method) -> _Method:
    """Turn our errors into ``OSError`` with the number for the program that asked."""

    @functools.wraps(method)
    def call(*arguments: Any) -> Any:
        try:
            return method(*arguments)
        except ErofsError as error:
            number = next((number for kind, number in _ERRNO if isinstance(error, kind)), errno.EIO)
            raise OSError(number, os.strerror(number)) from error

    return call  # type: ignore[return-value]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


class _Operations(mfusepy.Operations):  # type: ignore[misc]
    """What libfuse calls for one mount point, one call at a time.

    ``images`` are the folders in it by name, or, under an empty name, the one image that it is itself.
    """

    use_ns = True  # times are whole nanoseconds

    def __init__(self, images: dict[bytes, MountedImage], facts: Callable[[], str]) -> None:
        self._images = images
        self._facts = facts
        # Open files and folders by handle: libfuse names no paths for these.
        self._files: dict[int, tuple[MountedImage, Inode, CachedFile]] = {}
        self._folders: dict[int, tuple[MountedImage, Inode] | None] = {}
        self._numbers = itertools.count(1)
        self._recent: dict[str, tuple[MountedImage, Inode]] = {}
        self.ready = threading.Event()

    def init_with_config(self, conn_info: Any, config_3: Any) -> None:  # noqa: ARG002 - mfusepy's signature
        """Tell libfuse that nothing ever changes; the session is up when this is called."""
        config_3.use_ino = True
        config_3.kernel_cache = True
        config_3.nullpath_ok = True
        config_3.entry_timeout = config_3.attr_timeout = config_3.negative_timeout = FOREVER
        self.ready.set()

    def _find(self, path: str) -> tuple[MountedImage, Inode] | None:
        """Return image and inode, ``None`` for the folder of images."""
        found = self._recent.get(path)
        if found is None:
            found = self._search(path)
            if found is not None:
                if len(self._recent) >= RECENT:
                    self._recent.clear()
                self._recent[path] = found
        return found

    def _search(self, path: str) -> tuple[MountedImage, Inode] | None:
        whole = _bytes(path)
        image = self._images.get(b"")
        if image is None:
            name, _, whole = whole.lstrip(b"/").partition(b"/")
            if not name:
                return None
            image = self._images.get(name)
            if image is None:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        try:
            return image, image.lookup(whole)
        except UnreadableError as error:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT)) from error

    @_translated
    def getattr(self, path: str | None, fh: int | None = None) -> dict[str, Any]:
        """See ``stat(2)``."""
        found = self._find(path) if path is not None else self._opened(fh)
        if found is None:
            nlink = 2 + len(self._images)
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": nlink, "st_ino": 1, "st_uid": os.geteuid()}
        image, inode = found
        facts = image.attributes(inode)
        names = ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_blocks", "st_blksize", "st_rdev")
        shown: dict[str, Any] = {name: getattr(facts, name) for name in names}
        shown["st_ino"] = image.number_of(inode.nid)
        shown["st_mtime"] = shown["st_atime"] = shown["st_ctime"] = facts.st_mtime_ns
        return shown

    def _opened(self, fh: int | None) -> tuple[MountedImage, Inode] | None:
        if fh in self._folders:
            return self._folders[fh]
        image, inode, _ = self._files[fh or 0]
        return image, inode

    @_translated
    def opendir(self, path: str) -> int:
        """Open a folder."""
        number = next(self._numbers)
        self._folders[number] = self._find(path)
        return number

    @_translated
    def readdir(self, path: str | None, fh: int) -> list[tuple[str, dict[str, int], int]]:  # noqa: ARG002
        """List an open folder in one go."""
        found = self._folders[fh]
        if found is None:
            names = [b".", b"..", *self._images]
            return [(_text(name), {"st_mode": stat.S_IFDIR, "st_ino": 1}, 0) for name in names]
        image, inode = found
        return [(_text(name), {"st_mode": mode, "st_ino": number}, 0) for name, mode, number in image.entries(inode)]

    def releasedir(self, path: str | None, fh: int) -> int:  # noqa: ARG002
        """Close a folder."""
        self._folders.pop(fh, None)
        return 0

    @_translated
    def readlink(self, path: str) -> str:
        """See ``readlink(2)``."""
        image, inode = self._inode(path)
        return _text(image.readlink(inode))

    def _inode(self, path: str) -> tuple[MountedImage, Inode]:
        found = self._find(path)
        if found is None:
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        return found

    @_translated
    def listxattr(self, path: str) -> list[str]:
        """See ``listxattr(2)``."""
        found = self._find(path)
        return [] if found is None else [_text(name) for name in found[0].xattrs(found[1])]

    @_translated
    def getxattr(self, path: str, name: str, position: int = 0) -> bytes:  # noqa: ARG002
        """See ``getxattr(2)``; the mount point has the statistics as well."""
        if path == "/" and name == STATISTICS:
            return self._facts().encode()
        found = self._find(path)
        value = None if found is None else found[0].xattrs(found[1]).get(_bytes(name))
        if value is None:
            raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))
        return value

    @_translated
    def open(self, path: str, flags: int) -> int:
        """Open a file for reading."""
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        image, inode = self._inode(path)
        number = next(self._numbers)
        self._files[number] = image, inode, image.open(inode)
        return number

    def read(self, path: str | None, size: int, offset: int, fh: int) -> bytes:  # noqa: ARG002
        """See ``pread(2)``. Reads go to :meth:`read_into`; libfuse must see that there is one."""
        return self._files[fh][2].read(offset, size)

    @_translated
    def read_into(self, fh: int, offset: int, buffer: memoryview) -> int:
        """Read into the memory that libfuse hands to the kernel."""
        return self._files[fh][2].readinto(offset, buffer)

    def release(self, path: str | None, fh: int) -> int:  # noqa: ARG002
        """Close a file."""
        self._files.pop(fh)[2].close()
        return 0

    @_translated
    def statfs(self, path: str) -> dict[str, int]:
        """See ``statvfs(3)``: of the image the path lies in, or of all together."""
        found = self._find(path)
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


class _Fuse(mfusepy.FUSE):  # type: ignore[misc]
    """mfusepy, but for two copies of all that is read."""

    def read(self, path: bytes | None, buf: Any, size: int, offset: int, fip: Any) -> int:  # noqa: ARG002
        memory = (ctypes.c_char * size).from_address(ctypes.addressof(buf.contents))
        with memoryview(memory).cast("B") as buffer:
            return int(self.operations.read_into(fip.contents.fh, offset, buffer))


class _Session:
    """One mount point: the thread that runs libfuse's loop until it is unmounted."""

    def __init__(self, vfs: Vfs, point: str, images: dict[bytes, MountedImage], facts: Callable[[], str]) -> None:
        self.point = point
        self._vfs = vfs
        self._images = list(images.values())
        self._operations = _Operations(images, facts)

    def start(self) -> bool:
        """Mount, and return when the session is up; ``False`` if it could not be mounted."""
        # Not made any earlier: threading takes every thread that was made before a fork for dead.
        self.thread = threading.Thread(target=self._run, name=f"fuse {self.point}")
        self.thread.start()
        while not self._operations.ready.wait(0.01):
            if not self.thread.is_alive():
                return False
        self._read_ahead()
        return True

    def _run(self) -> None:
        root = os.geteuid() == 0
        try:
            _Fuse(
                self._operations,
                self.point,
                foreground=True,
                nothreads=True,
                fsname=OURS,
                subtype="erofs",
                ro=True,
                default_permissions=True,
                **({"allow_other": True, "dev": True, "suid": True} if root else {}),
            )
        except RuntimeError:  # libfuse has said why on standard error
            pass
        for image in self._images:
            self._vfs.unmount(image)

    def _read_ahead(self) -> None:
        """Let the kernel ask for 1 MiB at a time, not 128 KiB, where we may: sequential reads gain a half."""
        with contextlib.suppress(OSError):
            device = os.stat(self.point).st_dev
            with open(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb", "w") as file:
                file.write("1024")

    def unmount(self) -> None:
        """Unmount, even if the folder is in use."""
        commands = (["fusermount3", "-u", "-z", self.point], ["umount", "--lazy", self.point])
        for command in commands if os.geteuid() else reversed(commands):
            with contextlib.suppress(FileNotFoundError):
                if subprocess.run(command, capture_output=True, check=False).returncode == 0:
                    return


class Daemon:
    """All mount points of one process.

    :meth:`run` must be called in the main thread: it handles SIGTERM, SIGINT and SIGHUP (unmount all), and
    SIGUSR1 (tell the counters).
    """

    def __init__(self, vfs: Vfs, mounted: Sequence[tuple[Place, MountedImage]]) -> None:
        self._vfs = vfs
        self._sessions = [
            _Session(
                vfs,
                point,
                {os.fsencode(place.name or ""): image for place, image in mounted if place.point == point},
                self.statistics,
            )
            for point in dict.fromkeys(place.point for place, _ in mounted)
        ]
        self._running: list[_Session] = []

    def statistics(self) -> str:
        """Return the counters, in all and by image, as JSON."""
        images = {image.name: dataclasses.asdict(image.counters()) for image in list(self._vfs.mounted)}
        total: Counters = self._vfs.cache.counters()
        facts = {"pid": os.getpid(), "budget_bytes": self._vfs.cache.budget}
        return json.dumps({**facts, "total": dataclasses.asdict(total), "images": images})

    def run(self, ready: Callable[[], None], tell: Callable[[str], None]) -> None:
        """Mount everything, call ``ready``, and serve until the last mount point is unmounted.

        ``tell`` gets :meth:`statistics` upon SIGUSR1. Raises :class:`~mkfs_erofs_py.errors.MountError`,
        with nothing left mounted.
        """
        # Pages and open files come and go without cycles; looking for some after every 700 took a tenth of the time.
        gc.set_threshold(100_000)
        # Handlers that stand before libfuse starts are left alone by it.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: self._unmount())
        signal.signal(signal.SIGUSR1, lambda *_: tell(self.statistics()))
        self._start()
        ready()
        for session in self._sessions:
            session.thread.join()

    def _unmount(self) -> None:
        for session in self._running:
            if session.thread.is_alive():
                session.unmount()

    def _start(self) -> None:
        with tempfile.TemporaryFile() as said, _standard_error(said.fileno()):
            for session in self._sessions:
                if session.start():
                    self._running.append(session)
                    continue
                self._unmount()
                for other in self._running:
                    other.thread.join()
                said.seek(0)
                raise MountError(session.point, f"cannot be mounted through FUSE: {_reason(said.read())}")


def _reason(said: bytes) -> str:
    """Return the last that libfuse said, leaving out what it says of its own defaults."""
    lines = [line.strip() for line in said.decode(errors="replace").splitlines()]
    lines = [line for line in lines if line and not line.startswith("Ignoring invalid max threads")]
    return printable(lines[-1].removeprefix("fuse: ")) if lines else "libfuse gives no reason"


@contextlib.contextmanager
def _standard_error(descriptor: int) -> Iterator[None]:
    """Send what C code writes to standard error to ``descriptor`` meanwhile."""
    kept = os.dup(2)
    try:
        os.dup2(descriptor, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
