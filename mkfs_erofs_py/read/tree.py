"""Inodes by path: lookups, and walks through all that is below a directory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from ..errors import (
    CorruptError,
    CutShortError,
    ImageError,
    LinkLoopError,
    NotDirectoryError,
    NotFoundError,
    UnsupportedError,
)
from ..ondisk.constants import FileType
from ..ondisk.dirent import Dirent
from .data import DataReader
from .directory import DirectoryReader
from .inode import Inode, load_inode
from .volume import Volume

__all__ = ["OnError", "TreeReader"]

OnError = Callable[[bytes, ImageError], None]

#: Symbolic links followed in one lookup, as in Linux.
_MAX_LINKS = 40
#: Longest path that a walk makes, so that a chain of directories cannot cost the square of its length.
_MAX_PATH = 1 << 17
#: A walk visits no more entries than this and one for each byte of the image: directories may share blocks.
_FREE_VISITS = 1_000_000
_DOTS = (b".", b"..")


class TreeReader:
    """The directories of one volume as a tree. Threads share it."""

    def __init__(self, volume: Volume, data: DataReader, root: Inode) -> None:
        self._volume = volume
        self._data = data
        self._directories = DirectoryReader(volume, data)
        self.root = root

    def entries(self, directory: Inode) -> Iterator[Dirent]:
        """Yield a directory's entries in order, ``.`` and ``..`` among them; see `DirectoryReader.entries`."""
        return self._directories.entries(directory)

    def readlink(self, inode: Inode) -> bytes:
        """Return a symbolic link's target. Raises ``CorruptError`` for one that is empty, too long or holds a NUL."""
        if not 0 < inode.size < 65536:
            raise CorruptError(f"symbolic link inode {inode.nid} has {inode.size} bytes", inode.offset)
        link = self._data.pread(inode, inode.size, 0)
        if b"\0" in link:
            raise CorruptError(f"symbolic link inode {inode.nid} holds a NUL", inode.offset)
        return link

    def lookup(self, path: str | bytes, follow: bool) -> Inode:
        """See `Image.lookup`."""
        whole = os.fsencode(path)
        todo = [part for part in reversed(whole.split(b"/")) if part]
        above = [self.root]
        links = 0
        while todo:
            name = todo.pop()
            if not above[-1].is_dir:
                raise NotDirectoryError(whole, "not a directory")
            if name == b".":
                continue
            if name == b"..":
                if len(above) > 1:
                    above.pop()
                continue
            entry = self._directories.find(above[-1], name)
            if entry is None:
                raise NotFoundError(whole, "no such file in the image")
            found = load_inode(self._volume, entry.nid)
            if found.is_symlink and (todo or follow):
                links += 1
                if links > _MAX_LINKS:
                    raise LinkLoopError(whole, "too many symbolic links")
                link = self.readlink(found)
                if link.startswith(b"/"):
                    del above[1:]
                todo += [part for part in reversed(link.split(b"/")) if part]
                continue
            above.append(found)
        return above[-1]

    def walk(self, inode: Inode, path: bytes, on_error: OnError | None) -> Iterator[tuple[bytes, Inode]]:
        """See `Image.walk`: ``inode`` is at ``path``, which is absolute."""
        if not inode.is_dir:
            yield path, inode
            return
        seen = {inode.nid}
        room = _FREE_VISITS + self._volume.image.size
        # A pending directory shares its parent's path with its siblings, so that many deep ones cost little.
        stack = [(path.rstrip(b"/"), b"", inode, inode.nid if inode == self.root else None)]
        while stack:
            prefix, name, directory, parent = stack.pop()
            prefix += name + b"/"
            yield prefix[:-1] or b"/", directory
            below: list[tuple[bytes, bytes, Inode, int | None]] = []
            entries = self._children(directory, parent)
            while True:
                path = prefix
                try:
                    entry = next(entries, None)
                    if entry is None:
                        break
                    path = prefix + entry.name
                    child = self._child(directory, entry)
                    if child.is_dir:
                        if child.nid in seen:
                            raise CorruptError(
                                f"directory inode {child.nid} is reached a second time", directory.offset
                            )
                        seen.add(child.nid)
                        if len(path) > _MAX_PATH:
                            raise UnsupportedError(f"directories are nested over {_MAX_PATH} bytes deep", child.offset)
                        below.append((prefix, entry.name, child, directory.nid))
                    room -= 1
                    if room < 0:
                        raise CorruptError("directories hold more entries than the image has bytes", directory.offset)
                except ImageError as error:
                    if on_error is None or room < 0 or isinstance(error, CutShortError):
                        raise
                    on_error(path, error)
                    continue
                if not child.is_dir:
                    yield path, child
            stack += reversed(below)

    def _child(self, directory: Inode, entry: Dirent) -> Inode:
        child = load_inode(self._volume, entry.nid)
        if entry.type != child.type and entry.type != FileType.UNKNOWN:
            raise CorruptError(
                f"directory inode {directory.nid} gives {entry.name!r} the type {entry.type}, "
                f"its inode {child.nid} has {int(child.type)}",
                directory.offset,
            )
        return child

    def _children(self, inode: Inode, parent: int | None) -> Iterator[Dirent]:
        for entry in self._directories.entries(inode):
            if entry.name in _DOTS:
                if entry.name == b".." and parent is not None and entry.nid != parent:
                    raise CorruptError(
                        f"directory inode {inode.nid} has '..' lead to {entry.nid}, not {parent}", inode.offset
                    )
                continue
            yield entry
