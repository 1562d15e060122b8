"""Inline tails wait here until their inodes are written: in memory while few, on disk when many."""

from __future__ import annotations

import contextlib
from typing import BinaryIO

from ..errors import OutputError

__all__ = ["Spool"]

#: Bytes kept in memory before they go to a temporary file.
_IN_MEMORY = 8 << 20


class Spool:
    """Append-only bytes that can be read back by offset."""

    def __init__(self) -> None:
        self._recent = bytearray()
        self._moved = 0
        self._file: BinaryIO | None = None

    def append(self, data: bytes | memoryview) -> int:
        """Keep ``data`` -> its offset. Raises `OutputError`."""
        if len(self._recent) + len(data) > _IN_MEMORY:
            self._move()
        offset = self._moved + len(self._recent)
        self._recent += data
        return offset

    def read(self, offset: int, size: int) -> bytes:
        """Return what was kept at ``offset`` with ``size``."""
        if offset >= self._moved:
            return bytes(self._recent[offset - self._moved : offset - self._moved + size])
        assert self._file is not None
        self._file.seek(offset)
        return self._file.read(size)

    def close(self) -> None:
        """Forget everything."""
        self._recent.clear()
        if self._file is not None:
            # What could not be written before, cannot be now.
            with contextlib.suppress(OSError):
                self._file.close()

    def _move(self) -> None:
        """Move what is in memory to the end of the file. Raises `OutputError`."""
        # Most trees never get here, and should not pay for loading it.
        import tempfile

        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
            self._file.seek(self._moved)
            self._file.write(self._recent)
            self._file.flush()
        except OSError as error:
            folder = tempfile.gettempdir()
            raise OutputError(folder, f"cannot take what waits for its place: {error.strerror}") from None
        self._moved += len(self._recent)
        self._recent.clear()
