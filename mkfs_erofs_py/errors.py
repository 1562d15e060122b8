"""Every error this package raises on purpose.

::

    ErofsError                      anything below; carries ``exit_code`` for the command line
    ├── UsageError      ValueError  the caller asked for something impossible            (exit 2)
    ├── SourceError     OSError     what is to be built cannot be read, or changed       (exit 1)
    ├── OutputError     OSError     what is to be written cannot be written              (exit 1)
    ├── UnreadableError OSError     an image cannot be opened or read at all             (exit 2)
    ├── MountError      OSError     an image cannot be mounted here                       (exit 1)
    ├── CacheFullError  MemoryError a view does not fit the page cache's budget          (exit 1)
    └── ImageError                  an image's bytes are at fault; knows path and offset (exit 1)
        ├── CorruptError     ValueError           a structure contradicts the format
        ├── UnsupportedError NotImplementedError  a feature this reader does not know
        └── OutOfBoundsError EOFError             a structure points outside the image

Each also inherits the built-in that fits, so ``except OSError`` keeps working for callers
that know nothing of this package.
"""

from __future__ import annotations

import os

__all__ = [
    "CacheFullError",
    "CorruptError",
    "ErofsError",
    "ImageError",
    "MountError",
    "OutOfBoundsError",
    "OutputError",
    "SourceError",
    "UnreadableError",
    "UnsupportedError",
    "UsageError",
    "printable",
]


def printable(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> str:
    """Return ``path`` as one line of text: undecodable bytes and control characters become ``\\xNN``."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else "".join(f"\\x{b:02x}" for b in c.encode()) for c in text)


class ErofsError(Exception):
    """The root of the tree; ``exit_code`` is the status with which the command line ends."""

    exit_code = 1


class UsageError(ErofsError, ValueError):
    """The caller asked for something impossible: a bad option, or two that contradict each other."""

    exit_code = 2


class _PathError(ErofsError, OSError):
    """An error about one path; prints as ``path: what is wrong``."""

    def __init__(self, path: str | bytes | os.PathLike[str] | os.PathLike[bytes], what: str) -> None:
        self.path = path
        self.what = what
        super().__init__(f"{printable(path)}: {what}")

    def __str__(self) -> str:
        return f"{printable(self.path)}: {self.what}"

    def __reduce__(self) -> tuple[type, tuple[object, str]]:
        return type(self), (self.path, self.what)  # worker processes send errors to their parents


class SourceError(_PathError):
    """A source that cannot be read, holds what the image cannot, or changed while it was read."""


class OutputError(_PathError):
    """An output that cannot be written."""


class UnreadableError(_PathError):
    """An image that cannot be opened or read at all: missing, no permission, an I/O error."""

    exit_code = 2


class MountError(_PathError):
    """An image or folder that cannot be mounted: no privilege, no driver, a mount point in use."""


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
        where = f"{printable(self.path)}: " if self.path is not None else ""
        at = f" (at offset {self.offset})" if self.offset is not None else ""
        return f"{where}{self.what}{at}"


class CorruptError(ImageError, ValueError):
    """A structure that contradicts the format."""


class UnsupportedError(ImageError, NotImplementedError):
    """A feature, layout or algorithm this reader does not know."""


class OutOfBoundsError(ImageError, EOFError):
    """A structure that points outside the image, the packed inode or a device."""
