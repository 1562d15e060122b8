"""The content of a file of the running system; small, since every worker loads it."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from ..errors import ErofsError, SourceError
from .deep import open_below

__all__ = ["FileContent", "Identity", "Place", "identity_of"]

#: Opening must neither follow a link that took the file's place nor wait for a fifo's other end.
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(slots=True, eq=False)
class Place:
    """A path below the root as a chain of names: deep trees would cost depth squared otherwise."""

    parent: Place | None
    name: bytes

    def path(self) -> bytes:
        """Return the names from the root on, joined."""
        names = []
        at: Place | None = self
        while at is not None and at.parent is not None:
            names.append(at.name)
            at = at.parent
        return b"/".join(reversed(names))


#: (device, inode, size, mtime_ns, ctime_ns): any change of content shows in these.
Identity = tuple[int, int, int, int, int]


def identity_of(st: os.stat_result) -> Identity:
    """Return what tells a file's present content from a later one."""
    return st.st_dev, st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns


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

    @contextlib.contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open the file. Raises `SourceError`, also on leaving, as `Content.open` demands."""
        try:
            fd = open_below(self.root, self.place.path(), _OPEN_FILE)
        except OSError as error:
            raise SourceError(self.label, f"cannot be read: {error.strerror}") from None
        try:
            # Before anything else is done with it: it may have become a directory.
            self._check(fd)
        except BaseException:
            os.close(fd)
            raise
        with io.FileIO(fd, "rb") as file:
            try:
                yield file
                self._check(fd)
            except OSError as error:
                if isinstance(error, ErofsError):
                    raise
                raise SourceError(self.label, f"cannot be read: {error.strerror}") from None

    def _check(self, fd: int) -> None:
        if identity_of(os.fstat(fd)) != self.identity:
            raise SourceError(self.label, "changed while it was read; build again when it is at rest")


def _unpickle(root: bytes, path: bytes, identity: Identity) -> FileContent:
    return FileContent(root, Place(Place(None, b""), path), identity)
