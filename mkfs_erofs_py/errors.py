"""Every error this package raises on purpose.

::

    ErofsError                      anything below; carries ``exit_code`` for the command line
    ├── UsageError      ValueError  the caller asked for something impossible            (exit 2)
    │   ├── IsDirectoryError  IsADirectoryError   a directory has no content to read
    │   └── NotListableError  NotADirectoryError  what is no directory has no entries
    ├── SourceError     OSError     what is to be built cannot be read, or changed       (exit 1)
    │   └── SourceNotFoundError FileNotFoundError there is nothing of that name
    ├── OutputError     OSError     what is to be written cannot be written              (exit 1)
    ├── UnreadableError OSError     an image, or a path in it, cannot be read at all     (exit 2)
    │   ├── NotFoundError     FileNotFoundError   there is nothing of that name
    │   ├── NotDirectoryError NotADirectoryError  a part of the way is no directory
    │   └── LinkLoopError     OSError (ELOOP)     too many symbolic links on the way
    ├── MountError      OSError     an image cannot be mounted here                       (exit 1)
    ├── WorkerDiedError             a worker process was killed, or failed unforeseen    (exit 1)
    ├── CacheFullError  MemoryError a view does not fit the page cache's budget          (exit 1)
    └── ImageError                  an image's bytes are at fault; knows path and offset (exit 1)
        ├── CorruptError     ValueError           a structure contradicts the format
        ├── UnsupportedError NotImplementedError  a feature this reader does not know
        └── OutOfBoundsError EOFError             a structure points outside the image
            └── CutShortError                     the image has lost bytes since it was opened

Each also inherits the built-in that fits, so ``except OSError`` or ``except FileNotFoundError``
keeps working for callers that know nothing of this package; an ``OSError`` has ``filename``,
``strerror`` and, where the system has a number for it, ``errno``. All of them can be pickled. An
argument that a function does not know, or of a type it cannot take, is a plain ``TypeError``.
"""

from __future__ import annotations

import errno
import os
from typing import Self

__all__ = [
    "AnyPath",
    "CacheFullError",
    "CorruptError",
    "CutShortError",
    "ErofsError",
    "ImageError",
    "IsDirectoryError",
    "LinkLoopError",
    "MountError",
    "NotDirectoryError",
    "NotFoundError",
    "NotListableError",
    "OutOfBoundsError",
    "OutputError",
    "SourceError",
    "SourceNotFoundError",
    "UnreadableError",
    "UnsupportedError",
    "UsageError",
    "WorkerDiedError",
    "printable",
]


#: A path of the system's, in any form that Python takes.
AnyPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]


#: Characters of a name that an error shows; a longer one is cut, since the rest of the line is what matters.
NAME_ROOM = 300


def printable(name: AnyPath, room: int | None = None) -> str:
    """Return a name or path as one line of text: undecodable bytes and control characters become ``\\xNN``.

    Of what is longer than ``room`` characters, that many of its end are shown, behind ``...``.
    """
    whole = os.fsencode(name)
    text = whole.decode("utf-8", "backslashreplace")
    if not text.isprintable():
        text = "".join(c if c.isprintable() else "".join(f"\\x{b:02x}" for b in c.encode()) for c in text)
    return text if room is None or len(text) <= room else f"...{text[-room:]}"


class ErofsError(Exception):
    """The root of the tree; ``exit_code`` is the status with which the command line ends."""

    exit_code = 1


class UsageError(ErofsError, ValueError):
    """The caller asked for something impossible: a bad option, or two that contradict each other."""

    exit_code = 2


class _PathError(ErofsError, OSError):
    """An error about one path; prints as ``path: what is wrong``."""

    #: The system's number for errors of this kind, where none is given.
    usual_errno: int | None = None

    def __init__(self, path: AnyPath, what: str, number: int | None = None) -> None:
        self.path = path
        self.what = what
        super().__init__(self.usual_errno if number is None else number, what, path)

    @classmethod
    def of(cls, path: AnyPath, error: OSError) -> Self:
        """Return the error for what the system said when something was done with ``path``.

        Where a class below this one stands for that very number, the error is of that class.
        """
        kind = next((one for one in cls.__subclasses__() if one.usual_errno == error.errno), cls)
        return kind(path, error.strerror or str(error), error.errno)

    def __str__(self) -> str:
        return f"{printable(self.path, NAME_ROOM)}: {self.what}"

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return type(self), (self.path, self.what, self.errno)  # worker processes send errors to their parents


class IsDirectoryError(_PathError, IsADirectoryError, UsageError):
    """A directory inside an image, read or opened as if it were a file."""

    usual_errno = errno.EISDIR


class SourceError(_PathError):
    """A source that cannot be read, holds what the image cannot, or changed while it was read."""


class SourceNotFoundError(SourceError, FileNotFoundError):
    """There is no such source."""

    usual_errno = errno.ENOENT


class OutputError(_PathError):
    """An output that cannot be written."""


class UnreadableError(_PathError):
    """What cannot be read at all, an image or a path inside one: missing, no permission, an I/O error."""

    exit_code = 2


class NotFoundError(UnreadableError, FileNotFoundError):
    """There is no such image, or no such path inside an image."""

    usual_errno = errno.ENOENT


class NotDirectoryError(UnreadableError, NotADirectoryError):
    """A path that leads through something that is no directory."""

    usual_errno = errno.ENOTDIR


class NotListableError(NotDirectoryError, UsageError):
    """A file inside an image, listed as if it were a directory."""


class LinkLoopError(UnreadableError):
    """A path that leads through more symbolic links than Linux follows."""

    usual_errno = errno.ELOOP


class MountError(_PathError):
    """An image or folder that cannot be mounted: no privilege, no driver, a mount point in use."""


class WorkerDiedError(ErofsError):
    """A worker process was killed, or failed in a way that nobody foresaw."""


class CacheFullError(ErofsError, MemoryError):
    """A view of cached pages that does not fit the budget, since views held elsewhere pin the rest."""


class ImageError(ErofsError):
    """An image's bytes are at fault.

    ``offset`` is the absolute byte offset of the structure at fault in the image (or, for what
    lies inside the metabox or packed inode, in that inode's data), ``None`` where there is none.
    ``path`` is filled in by whoever knows it.
    """

    def __init__(self, what: str, offset: int | None = None, path: str | bytes | None = None) -> None:
        self.what = what
        self.offset = offset
        self.path = path
        super().__init__(what, offset, path)

    def __str__(self) -> str:
        where = f"{printable(self.path, NAME_ROOM)}: " if self.path is not None else ""
        at = f" (at offset {self.offset})" if self.offset is not None else ""
        return f"{where}{self.what}{at}"


class CorruptError(ImageError, ValueError):
    """A structure that contradicts the format."""


class UnsupportedError(ImageError, NotImplementedError):
    """A feature, layout or algorithm this reader does not know."""


class OutOfBoundsError(ImageError, EOFError):
    """A structure that points outside the image, the packed inode or a device."""


class CutShortError(OutOfBoundsError):
    """An image that has lost its end since it was opened: nothing that is read of it means anything any more."""
