"""Memory that the main process shares with a worker: slots, each with room for a task's input and its output."""

from __future__ import annotations

import contextlib
import mmap
import os
from typing import NamedTuple

from ..errors import ErofsError

__all__ = ["SharedMemory", "SlotMap"]


class SlotMap(NamedTuple):
    """Where the slots of one worker's shared memory lie. Sizes and offsets in bytes.

    Each slot has ``input_size`` bytes that the main process fills, then ``output_size`` that the worker fills; both
    begin at a page.
    """

    input_size: int
    output_size: int
    slots: int

    @property
    def stride(self) -> int:
        """Bytes from one slot to the next."""
        return _pages(self.input_size) + _pages(self.output_size)

    @property
    def size(self) -> int:
        """Bytes of all slots."""
        return self.stride * self.slots

    def input(self, slot: int) -> int:
        """Offset of a slot's input."""
        return self.stride * slot

    def output(self, slot: int) -> int:
        """Offset of a slot's output."""
        return self.stride * slot + _pages(self.input_size)


def _pages(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE


class SharedMemory:
    """Memory without a name in any file system: it goes when the last process that has it is gone.

    ``fd`` lets another program map it too; it may be closed (`close_descriptor`) once all have mapped it that are to.
    """

    def __init__(self, size: int) -> None:
        self.fd = -1
        try:
            self.fd = os.memfd_create("mkfs-erofs-py")
            os.ftruncate(self.fd, size)
            self._map = mmap.mmap(self.fd, size)
        except OSError as error:  # a limit of file sizes (ulimit -f) counts for memory, too
            self.close_descriptor()
            raise ErofsError(f"cannot share {size} bytes with a worker: {error.strerror}") from None
        self.view = memoryview(self._map)

    def close_descriptor(self) -> None:
        """Close the descriptor; the memory stays mapped here."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def close(self) -> None:
        """Give the memory back, or leave that to the last view of it that somebody holds."""
        self.close_descriptor()
        with contextlib.suppress(BufferError):
            self.view.release()
            self._map.close()
