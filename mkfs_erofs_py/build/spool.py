"""Inline tails wait here until their inodes are written: in memory while few, on disk when many."""

from __future__ import annotations

import tempfile

__all__ = ["Spool"]

#: Bytes kept in memory before they go to a temporary file.
_IN_MEMORY = 32 << 20


class Spool:
    """Append-only bytes that can be read back by offset."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - closed by `close`
        self._end = 0

    def append(self, data: bytes | memoryview) -> int:
        """Keep ``data`` -> its offset."""
        offset = self._end
        self._file.seek(offset)
        self._file.write(data)
        self._end += len(data)
        return offset

    def read(self, offset: int, size: int) -> bytes:
        """Return what was kept at ``offset``."""
        self._file.seek(offset)
        return self._file.read(size)

    def close(self) -> None:
        """Forget everything."""
        self._file.close()
