"""The content of a file of the running system; small, since every worker loads it."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from types import TracebackType

from ..errors import SourceError
from ..files.below import open_below

__all__ = ["FileContent", "Identity", "Place", "identity_of"]

#: Opening must neither follow a link that took the file's place nor wait for a fifo's other end.
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK

#: (device, inode, size, mtime_ns, ctime_ns): any change of content shows in these.
Identity = tuple[int, int, int, int, int]


def identity_of(st: os.stat_result) -> Identity:
    """Return what tells a file's present content from a later one."""
    return st.st_dev, st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns


@dataclass(slots=True, eq=False)
class Place:
    """A path below the root as a chain of names: deep trees would cost depth squared otherwise."""

    parent: Place | None
    name: bytes

    def path(self) -> bytes:
        """Return the names from below the root on, joined."""
        if self.parent is None:
            return self.name
        names = []
        at: Place | None = self
        while at is not None:
            names.append(at.name)
            at = at.parent
        return b"/".join(reversed(names))


@dataclass(slots=True, eq=False)
class FileContent:
    """A regular file's content; opening and closing check that it is still what the walk saw."""

    root: bytes
    place: Place
    identity: Identity

    @property
    def label(self) -> bytes:
        """The file's path."""
        return os.path.join(self.root, self.place.path())

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the path flat: chains of places would recurse."""
        return _unpickle, (self.root, self.place.path(), self.identity)

    def open(self) -> _Open:
        """See `Content.open`."""
        return _Open(self)

    def _check(self, fd: int) -> None:
        if identity_of(os.fstat(fd)) != self.identity:
            raise SourceError(self.label, "changed while it was read; build again when it is at rest")


def _unpickle(root: bytes, path: bytes, identity: Identity) -> FileContent:
    return FileContent(root, Place(None, path), identity)


class _Open:
    """An open file on the bare descriptor: a tree has many small files, and file objects are slow to make."""

    __slots__ = ("_content", "_fd")

    def __init__(self, content: FileContent) -> None:
        self._content = content

    def __enter__(self) -> _Open:  # noqa: PYI034 - nobody derives from it
        content = self._content
        try:
            self._fd = open_below(content.root, content.place.path(), _OPEN_FILE)
        except OSError as error:
            raise self._error(error) from None
        try:
            # Before anything else is done with it: it may have become a directory.
            content._check(self._fd)
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
            raise self._error(error) from None

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

    def _error(self, error: OSError) -> SourceError:
        return SourceError(self._content.label, f"cannot be read: {error.strerror}")
