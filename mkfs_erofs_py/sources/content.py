"""The content of a file of the running system. The module is small, since every worker loads it."""

from __future__ import annotations

import errno
import os
import struct
from types import TracebackType

from ..errors import SourceError
from ..files.below import open_below

__all__ = ["FileContent", "Folder", "identity_of"]

#: Opening must neither follow a link that took the file's place nor wait for a fifo's other end.
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_IDENTITY = struct.Struct("<QQqQQ")
#: Nanoseconds since 1970 leave 64 bits in 2262; what is above these need not be told apart.
_LOW = (1 << 64) - 1
#: The longest path that a folder keeps. Longer ones are put together each time: folders that lie very deep, each with
#: its whole path, would take memory in proportion to the square of the depth.
_KEPT_PATH = 512


def identity_of(st: os.stat_result) -> bytes:
    """Return what tells a file's present content from a later one: any change shows in it."""
    return _IDENTITY.pack(st.st_dev, st.st_ino, st.st_size, st.st_mtime_ns & _LOW, st.st_ctime_ns & _LOW)


class Folder:
    """A folder's path below the root as a chain of names."""

    __slots__ = ("_kept", "_name", "_parent")

    def __init__(self, parent: Folder | None = None, name: bytes = b"") -> None:
        self._parent = parent
        self._name = name
        self._kept: bytes | None = name if parent is None else None

    def path(self) -> bytes:
        """Return the names from below the root on, joined; empty for the root."""
        if self._kept is not None:
            return self._kept
        names = []
        at: Folder | None = self
        while at is not None:
            names.append(at._name)
            at = at._parent
        path = b"/".join(reversed(names[:-1]))
        if len(path) <= _KEPT_PATH:
            self._kept = path
        return path

    def below(self, name: bytes) -> bytes:
        """Return the path of a name in this folder."""
        path = self.path()
        return path + b"/" + name if path else name


class FileContent:
    """A regular file's content; reading ends with a check that it is still what the walk saw."""

    __slots__ = ("_folder", "_identity", "_name", "_root")

    def __init__(self, root: bytes, folder: Folder, name: bytes, identity: bytes) -> None:
        self._root = root
        self._folder = folder
        self._name = name
        self._identity = identity

    @property
    def label(self) -> bytes:
        """The file's path."""
        return os.path.join(self._root, self._folder.below(self._name))

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the path flat: chains of folders would recurse."""
        return _unpickle, (self._root, self._folder.below(self._name), self._identity)

    def open(self) -> _Open:
        """See `Reopen.open`."""
        return _Open(self)

    def read_into(self, view: memoryview) -> int:
        """See `Reopen.read_into`."""
        fd = self._descriptor()
        try:
            done = 0
            try:
                while count := os.readv(fd, [view[done:] if done else view]):
                    done += count
                    if done == len(view):
                        break
            except OSError as error:
                self._check(fd)
                raise self._error(error) from None
            self._check(fd)
        finally:
            os.close(fd)
        return done

    def _descriptor(self) -> int:
        try:
            return open_below(self._root, self._folder.below(self._name), _OPEN_FILE)
        except OSError as error:
            raise self._error(error) from None

    def _check(self, fd: int) -> None:
        if identity_of(os.fstat(fd)) != self._identity:
            raise SourceError(self.label, "changed while it was read; build again when it is at rest")

    def _error(self, error: OSError) -> SourceError:
        return SourceError(self.label, f"cannot be read: {error.strerror}", error.errno)


def _unpickle(root: bytes, path: bytes, identity: bytes) -> FileContent:
    return FileContent(root, _ROOT, path, identity)


_ROOT = Folder()


class _Open:
    """An open file on the bare descriptor."""

    __slots__ = ("_content", "_fd")

    def __init__(self, content: FileContent) -> None:
        self._content = content

    def __enter__(self) -> _Open:  # noqa: PYI034 - nobody derives from it
        self._fd = self._content._descriptor()
        try:
            # Before anything else is done with it: it may have become a directory.
            self._content._check(self._fd)
        except BaseException:
            os.close(self._fd)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None:
                self._content._check(self._fd)
        finally:
            os.close(self._fd)

    def readinto(self, view: memoryview) -> int:
        """See `OpenContent.readinto`."""
        try:
            return os.readv(self._fd, [view])
        except OSError as error:
            raise self._content._error(error) from None

    def skip_hole(self, size: int) -> bool:
        """See `OpenContent.skip_hole`."""
        start = os.lseek(self._fd, 0, os.SEEK_CUR)
        try:
            data = os.lseek(self._fd, start, os.SEEK_DATA)
        except OSError as error:
            # No data up to the end; or a file system that does not tell.
            data = start + size if error.errno == errno.ENXIO else start
        hole = data >= start + size
        os.lseek(self._fd, start + size if hole else start, os.SEEK_SET)
        return hole
