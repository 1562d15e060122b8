"""Where the bytes of a regular file come from."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

__all__ = ["Bytes", "Content", "Kept", "OpenContent", "Reopen", "Stream"]


class OpenContent(Protocol):
    """A content being read, from its start on."""

    def readinto(self, view: memoryview) -> int:
        """Read the next bytes into ``view`` -> how many; 0 at the end, fewer than asked only just before it.

        Raises `SourceError`.
        """
        ...

    def skip_hole(self, size: int) -> bool:
        """Skip the next ``size`` bytes if they are known to be zeros that were never stored -> whether they are."""
        ...


class Reopen(Protocol):
    """A content that any process can open and read in order, at any time and more than once.

    Implementations can be pickled.
    """

    @property
    def label(self) -> bytes:
        """What to call this content when something is wrong with it."""
        ...

    def open(self) -> AbstractContextManager[OpenContent]:
        """Open for reading.

        Entering and leaving raise `SourceError` where the content cannot be read, or is not what it
        was when the tree was made.
        """
        ...

    def read_into(self, view: memoryview) -> int:
        """Read all of it in one go -> bytes read, which are fewer than fit ``view`` only where the content ends.

        Raises `SourceError`, as `open` does.
        """
        ...


class Stream:
    """A content that comes once, in order, such as a member of a tar stream: who takes it reads it at once."""

    __slots__ = ("label", "reader")

    def __init__(self, label: bytes, reader: OpenContent) -> None:
        self.label = label
        self.reader = reader


class Kept:
    """A content that was taken as it came; who took it keeps it, in a form that nobody else reads."""

    __slots__ = ("label",)

    def __init__(self, label: bytes) -> None:
        self.label = label


class Bytes:
    """A content that is at hand."""

    __slots__ = ("data", "label")

    def __init__(self, label: bytes, data: bytes) -> None:
        self.label = label
        self.data = data

    def __reduce__(self) -> tuple[type[Bytes], tuple[bytes, ...]]:
        return Bytes, (self.label, self.data)

    def open(self) -> AbstractContextManager[OpenContent]:
        """See `Reopen.open`."""
        return _OpenBytes(self.data)

    def read_into(self, view: memoryview) -> int:
        """See `Reopen.read_into`."""
        return _OpenBytes(self.data).readinto(view)


class _OpenBytes:
    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)

    def __enter__(self) -> _OpenBytes:  # noqa: PYI034 - nobody derives from it
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def readinto(self, view: memoryview) -> int:
        count = min(len(view), len(self._data))
        view[:count] = self._data[:count]
        self._data = self._data[count:]
        return count

    def skip_hole(self, size: int) -> bool:
        del size  # it is all stored
        return False


#: The bytes of a regular file, in whichever form its source has them. `Bytes` is a `Reopen`.
Content = Reopen | Stream | Kept
