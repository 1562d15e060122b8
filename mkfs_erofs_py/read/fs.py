"""An fsspec file system over an image: ``erofs://`` for pandas, DuckDB, pyarrow and whatever else knows fsspec.

>>> import fsspec
>>> fsspec.filesystem("erofs", fo="root.erofs").ls("/etc")                            # doctest: +SKIP
>>> fsspec.open("erofs://data/table.csv::https://host/root.erofs").open().read()      # doctest: +SKIP

Needs the extra ``fsspec``. Images on other file systems are read through fsspec itself, block by block as needed.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import Any, BinaryIO

from fsspec.core import url_to_fs
from fsspec.spec import AbstractFileSystem
from fsspec.utils import stringify_path

from ..errors import LinkLoopError, NotDirectoryError, NotFoundError, UsageError
from .file import ErofsFile
from .image import Image
from .inode import Inode

__all__ = ["ErofsFileSystem"]

_Source = str | os.PathLike[str] | BinaryIO
_BUFFER = 1 << 17


class _BufferedFile(io.BufferedReader):
    """A buffered file that knows its size and path, as fsspec's own files do."""

    def __init__(self, raw: ErofsFile, path: str) -> None:
        super().__init__(raw, _BUFFER)
        self.size = raw.size
        self.path = path


class ErofsFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """Read-only access to the files of one image.

    ``fo`` is the image: a local path, any URL that fsspec opens (with ``target_protocol`` and ``target_options``), or
    an open binary file. ``devices`` are extra devices, likewise. Paths are ``str``; bytes that are not UTF-8 appear as
    lone surrogates. Symbolic links are followed inside the image; where a listing meets one that leads to a directory
    or nowhere, its type is ``link``, so that no walk goes in circles.
    """

    protocol = "erofs"
    root_marker = ""
    cachable = False

    def __init__(
        self,
        fo: _Source = "",
        *,
        devices: Sequence[_Source] = (),
        target_protocol: str | None = None,
        target_options: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(fo, devices=devices, target_protocol=target_protocol, target_options=target_options, **options)
        if not fo:
            raise UsageError("erofs:// wants an image: fo=…, or erofs://path::image")
        self.fo = fo
        self._opened: list[Any] = []
        sources = [self._source(one, target_protocol, target_options or {}) for one in (fo, *devices)]
        self.image = Image.open(sources[0], devices=sources[1:])

    def _source(self, fo: _Source, protocol: str | None, options: dict[str, Any]) -> Any:
        """Return what `Image.open` takes: a path for a local file, else an open file."""
        if not isinstance(fo, (str, os.PathLike)):
            return fo
        url = stringify_path(fo)
        system, path = url_to_fs(url, **({"protocol": protocol} if protocol else {}), **options)
        if getattr(system, "local_file", False):
            return path
        # Some file systems close their files when they are collected, so this one is kept, too.
        file = system.open(path, "rb")
        self._opened.append((file, system))
        return file

    def close(self) -> None:
        """Close the image and what was opened for it."""
        self.image.close()
        while self._opened:
            file, _ = self._opened.pop()
            file.close()

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        return super()._strip_protocol(path).strip("/")

    def _inode(self, path: str, *, follow: bool = True) -> Inode:
        try:
            return self.image.lookup(path.encode("utf-8", "surrogateescape"), follow=follow)
        except (NotFoundError, NotDirectoryError, LinkLoopError) as error:
            raise FileNotFoundError(path) from error

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return name, size, type and the inode's metadata. Raises ``FileNotFoundError``."""
        path = self._strip_protocol(path)
        return self._info(path, self._inode(path, follow=False), listing=False)

    def _info(self, path: str, inode: Inode, *, listing: bool) -> dict[str, Any]:
        found: dict[str, Any] = {"name": path}
        target: Inode | None = inode
        if inode.is_symlink:
            found["islink"] = True
            found["destination"] = self.image.readlink(inode).decode("utf-8", "surrogateescape")
            try:
                target = self._inode(path)
            except FileNotFoundError:
                target = None
            if target is None or (listing and target.is_dir):
                return found | self._metadata(inode, "link")
        assert target is not None
        kind = "directory" if target.is_dir else "file" if target.is_file else "other"
        return found | self._metadata(target, kind)

    def _metadata(self, inode: Inode, kind: str) -> dict[str, Any]:
        return {
            "type": kind,
            "size": inode.size if kind != "directory" else 0,
            "mode": inode.mode,
            "uid": inode.uid,
            "gid": inode.gid,
            "mtime": inode.mtime_ns / 1e9,
            "ino": inode.nid,
            "nlink": inode.nlink,
        }

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """List a directory (or a file alone), by name. Raises ``FileNotFoundError``."""
        path = self._strip_protocol(path)
        inode = self._inode(path)
        if not inode.is_dir:
            return [self.info(path)] if detail else [path]
        prefix = f"{path}/" if path else ""
        found: list[Any] = []
        for entry in self.image.readdir(inode):
            if entry.name in (b".", b".."):
                continue
            name = prefix + entry.name.decode("utf-8", "surrogateescape")
            found.append(self._info(name, self.image.inode(entry.nid), listing=True) if detail else name)
        return found

    def modified(self, path: str) -> Any:
        """Return the time of modification as an aware ``datetime``."""
        from datetime import UTC, datetime

        return datetime.fromtimestamp(self.info(path)["mtime"], UTC)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """Return a file's bytes, or those from ``start`` to ``end`` (negative ones count from its end)."""
        inode = self._file(self._strip_protocol(path))
        low, high, _step = slice(start, end).indices(inode.size)
        return self.image.pread(inode, max(high - low, 0), low)

    def _file(self, path: str) -> Inode:
        inode = self._inode(path)
        if inode.is_dir:
            raise IsADirectoryError(path)
        if not inode.is_file:
            raise FileNotFoundError(path)
        return inode

    def _open(self, path: str, mode: str = "rb", **_: Any) -> _BufferedFile:
        if mode != "rb":
            raise UsageError("an image is read-only")
        path = self._strip_protocol(path)
        return _BufferedFile(self.image.open_file(self._file(path)), path)
