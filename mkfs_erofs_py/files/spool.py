"""Bytes that wait until their place in the image is known, in memory while they are few, on disk when they are many.

Inline tails wait here for their inodes, and contents that came before it was their turn.
"""

from __future__ import annotations

import os

from ..errors import OutputError

__all__ = ["Spool"]

#: Bytes kept in memory before they go to a temporary file.
_IN_MEMORY = 64 << 20


class Spool:
    """Append-only bytes that can be read back by offset."""

    def __init__(self) -> None:
        self._recent = bytearray()
        self._moved = 0
        self._fd = -1

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
        return os.pread(self._fd, size, offset)

    def close(self) -> None:
        """Forget everything."""
        self._recent.clear()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _move(self) -> None:
        """Move what is in memory to the end of the file. Raises `OutputError`."""
        # Most trees never get here, and should not pay for loading it.
        import tempfile

        try:
            if self._fd < 0:
                with tempfile.TemporaryFile(buffering=0) as file:  # it has no name
                    self._fd = os.dup(file.fileno())
            with memoryview(self._recent) as rest:
                done = 0
                while done < len(rest):
                    done += os.pwrite(self._fd, rest[done:], self._moved + done)
        except OSError as error:
            folder = tempfile.gettempdir()
            raise OutputError(folder, f"cannot take what waits for its place: {error.strerror}", error.errno) from None
        self._moved += len(self._recent)
        self._recent.clear()
