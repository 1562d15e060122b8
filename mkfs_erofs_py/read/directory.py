"""Directories: their entries in order, one by name, every rule about them."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import CorruptError
from ..ondisk.constants import FileType
from ..ondisk.dirent import Dirent, unpack_block
from .data import DataReader
from .inode import Inode
from .span import Kind
from .volume import Volume

__all__ = ["DirectoryReader"]

_BATCH_BYTES = 1 << 16
_KEPT_BLOCKS = 512


class DirectoryReader:
    """Reads the directories of one volume; keeps the blocks that lookups have met (some hundred).

    Threads share it: a block that two of them parse at once is kept once.
    """

    def __init__(self, volume: Volume, data: DataReader) -> None:
        self._data = data
        self._block_size = volume.block_size
        self._kept: dict[tuple[int, int], tuple[bytes, dict[bytes, Dirent]]] = {}

    def entries(self, inode: Inode) -> Iterator[Dirent]:
        """Yield all entries, ``.`` and ``..`` among them, in the order of their names.

        Raises ``CorruptError`` where the names do not ascend over the whole directory, where a type is unknown,
        where ``.`` is not the directory itself or missing (unless it says so) and where ``..`` is missing.
        """
        last = b""
        dots = 0
        nid = inode.nid
        for pos, data in self._blocks(inode):
            for entry in self._parse(inode, pos, data):
                name = entry.name
                if name <= last:
                    raise self._corrupt(inode, pos, f"has {name!r} behind {last!r}")
                if entry.type > FileType.SYMLINK:
                    raise self._corrupt(inode, pos, f"gives {name!r} the unknown type {entry.type}")
                if name == b".":
                    dots |= 1
                    if entry.nid != nid:
                        raise self._corrupt(inode, pos, f"has '.' lead to inode {entry.nid}")
                elif name == b"..":
                    dots |= 2
                last = name
                yield entry
        if inode.flag:
            dots |= 1
        if dots != 3:
            raise self._corrupt(inode, 0, "lacks '.'" if dots & 2 else "lacks '..'")

    def find(self, inode: Inode, name: bytes) -> Dirent | None:
        """Return the entry ``name``: by bisection over blocks, whose first names ascend."""
        low, high = 0, -(-inode.size // self._block_size)
        while low < high:
            middle = (low + high) // 2
            first, names = self._block(inode, middle)
            if name in names:
                return names[name]
            if name < first:
                high = middle
            else:
                low = middle + 1
        return None

    def _blocks(self, inode: Inode) -> Iterator[tuple[int, memoryview]]:
        bs = self._block_size
        batch = max(_BATCH_BYTES, bs)
        for start in range(0, inode.size, batch):
            data = memoryview(self._data.pread(inode, batch, start))
            for at in range(0, len(data), bs):
                yield start + at, data[at : at + bs]

    def _block(self, inode: Inode, number: int) -> tuple[bytes, dict[bytes, Dirent]]:
        key = (inode.nid, number)
        found = self._kept.get(key)
        if found is None:
            pos = number * self._block_size
            entries = self._parse(inode, pos, memoryview(self._data.pread(inode, self._block_size, pos)))
            found = entries[0].name, {entry.name: entry for entry in entries}
            if len(self._kept) >= _KEPT_BLOCKS:
                self._kept.clear()
            self._kept[key] = found
        return found

    def _parse(self, inode: Inode, pos: int, data: memoryview) -> list[Dirent]:
        try:
            return unpack_block(data)
        except CorruptError as error:
            raise CorruptError(
                f"directory inode {inode.nid}: {error.what}", self._address(inode, pos) + (error.offset or 0)
            ) from error

    def _address(self, inode: Inode, pos: int) -> int:
        """Where byte ``pos`` of a directory lies in the image; where it is compressed, where its inode does."""
        for span in self._data.spans(inode, pos):
            if span.kind == Kind.RAW:
                return span.address + pos - span.start
            break
        return inode.offset

    def _corrupt(self, inode: Inode, pos: int, what: str) -> CorruptError:
        return CorruptError(f"directory inode {inode.nid} {what}", self._address(inode, pos))
