"""A directory of the running system as a source: every type of file, owner, time and attribute."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ..errors import SourceError, UsageError
from ..files.below import PATH_LIMIT, open_below
from ..ondisk.constants import NAME_MAX, SYMLINK_MAX
from ..ondisk.xattr import split_name
from ..tree import Node
from .content import FileContent, Place, identity_of
from .posix_regex import PosixRegex

__all__ = ["Exclude", "read_directory"]

_OPEN_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_NO_XATTRS = (errno.ENOTSUP, errno.ENOSYS, errno.EOPNOTSUPP)


@dataclass(frozen=True, slots=True)
class Exclude:
    """Which paths to leave out: exact ones, and those in which a regular expression is found.

    Paths are relative to the source, without a leading slash; expressions are POSIX extended ones. Both
    as with ``mkfs.erofs``.
    """

    paths: frozenset[bytes] = frozenset()
    patterns: tuple[PosixRegex, ...] = ()

    @classmethod
    def make(cls, paths: Iterable[str] = (), regexes: Iterable[str] = ()) -> Exclude:
        """Compile the rules. Raises `UsageError` for an expression that does not compile."""
        patterns = []
        for text in regexes:
            try:
                patterns.append(PosixRegex(os.fsencode(text)))
            except ValueError as error:
                raise UsageError(f"--exclude-regex={text}: {error}") from None
        return cls(frozenset(os.fsencode(p).strip(b"/") for p in paths), tuple(patterns))

    def __bool__(self) -> bool:
        """Tell whether there is any rule."""
        return bool(self.paths or self.patterns)

    def __call__(self, path: bytes) -> bool:
        """Tell whether ``path`` is left out."""
        return path in self.paths or any(p.found_in(path) for p in self.patterns)


@dataclass(slots=True)
class _Pending:
    """A directory whose entries are being read; frozen into its `Node` when all below it are known."""

    place: Place | None
    node: Node
    entries: list[tuple[bytes, Node]] = field(default_factory=list)


def read_directory(
    root: bytes,
    *,
    exclude: Exclude | None = None,
    avoid: tuple[int, int] | None = None,
    xattrs: bool = True,
    hard_dereference: bool = False,
    found: Callable[[Node], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Node:
    """Read the tree below ``root`` -> its root node. File contents are not read yet.

    ``avoid`` is the (device, inode) of the image about to be written, which must not lie inside.
    Hard links are one node (unless ``hard_dereference``), told by device and inode together, since
    inode numbers repeat across mounts. ``progress`` is called with the entries seen so far.

    Raises `SourceError` for what is missing, unreadable or cannot be expressed.
    """
    walk = _Walk(root, exclude, avoid, xattrs, hard_dereference)
    try:
        st = os.stat(root)
    except OSError as error:
        raise SourceError(root, f"cannot be read: {error.strerror}") from None
    if not stat.S_ISDIR(st.st_mode):
        raise SourceError(root, "is not a directory")
    top = _Pending(None, walk.node(None, st))
    stack = [top]
    announced: set[int] = set()
    while stack:
        pending = stack.pop()
        below = walk.read(pending)
        pending.entries.sort(key=_by_name)
        pending.node.children = tuple(pending.entries)
        below.sort(key=_by_place, reverse=True)
        stack.extend(below)
        if found:
            for _, node in pending.entries:
                if node.content is not None and id(node) not in announced:
                    announced.add(id(node))
                    found(node)
        if progress:
            progress(walk.seen)
    return top.node


def _by_place(pending: _Pending) -> bytes:
    return pending.place.name if pending.place else b""


def _scan(fd: int) -> Any:
    """Scan an open directory; its entries have names of text where a path's have bytes."""
    return os.scandir(fd)


def _by_name(entry: tuple[bytes, Node]) -> bytes:
    return entry[0]


class _Walk:
    def __init__(
        self, root: bytes, exclude: Exclude | None, avoid: tuple[int, int] | None, xattrs: bool, dereference: bool
    ) -> None:
        self.root = root
        self.exclude = exclude
        self.avoid = avoid
        self.xattrs = xattrs
        self.dereference = dereference
        self.links: dict[tuple[int, int], Node] = {}
        self.seen = 1

    def read(self, pending: _Pending) -> list[_Pending]:
        """Read one directory's entries -> the directories among them."""
        place = pending.place
        path = place.path() if place else b""
        below = []
        try:
            with contextlib.ExitStack() as stack:
                if len(self.root) + len(path) + NAME_MAX < PATH_LIMIT:
                    base = os.path.join(self.root, path) if path else self.root
                    listing = stack.enter_context(os.scandir(base))
                else:
                    fd = open_below(self.root, path, _OPEN_DIR)
                    stack.callback(os.close, fd)
                    listing = stack.enter_context(_scan(fd))
                    base = b"/proc/self/fd/%d" % fd
                for entry in listing:
                    name = os.fsencode(entry.name)
                    if self.exclude and self.exclude(path + b"/" + name if path else name):
                        continue
                    at = Place(place, name)
                    child, is_new_dir = self.entry(at, base + b"/" + name, entry)
                    pending.entries.append((name, child))
                    if is_new_dir:
                        below.append(_Pending(at, child))
        except OSError as error:
            if isinstance(error, SourceError):
                raise
            raise SourceError(os.path.join(self.root, path), f"cannot be read: {error.strerror}") from None
        self.seen += len(pending.entries)
        return below

    def entry(self, place: Place, access: bytes, entry: os.DirEntry[bytes] | os.DirEntry[str]) -> tuple[Node, bool]:
        try:
            st = entry.stat(follow_symlinks=False)
        except OSError as error:
            raise self.error(place, f"cannot be read: {error.strerror}") from None
        if stat.S_ISDIR(st.st_mode):
            return self.node(place, st, access), True
        if st.st_nlink > 1 and not self.dereference:
            key = st.st_dev, st.st_ino
            known = self.links.get(key)
            if known is None:
                known = self.links[key] = self.node(place, st, access)
            return known, False
        return self.node(place, st, access), False

    def error(self, place: Place | None, what: str) -> SourceError:
        return SourceError(os.path.join(self.root, place.path()) if place else self.root, what)

    def node(self, place: Place | None, st: os.stat_result, access: bytes | None = None) -> Node:
        """Make a node from its status; ``access`` is a path by which it can be reached right now."""
        mode = st.st_mode
        try:
            node = Node(
                mode,
                st.st_uid,
                st.st_gid,
                st.st_mtime_ns // 1_000_000_000,
                st.st_mtime_ns % 1_000_000_000,
                self.read_xattrs(access or self.root, follow=access is None) if self.xattrs else (),
            )
            if stat.S_ISREG(mode):
                if (st.st_dev, st.st_ino) == self.avoid:
                    raise self.error(place, "is the image to be written; put it outside its source, or exclude it")
                node.size = st.st_size
                assert place is not None  # the root is a directory
                node.content = FileContent(self.root, place, identity_of(st))
            elif stat.S_ISLNK(mode):
                node.target = os.readlink(access or self.root)
                if not 1 <= len(node.target) <= SYMLINK_MAX:
                    raise self.error(place, f"is a symlink of {len(node.target)} bytes; at most {SYMLINK_MAX} fit")
            elif stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
                node.rdev = os.major(st.st_rdev), os.minor(st.st_rdev)
        except OSError as error:
            if isinstance(error, SourceError):
                raise
            raise self.error(place, f"cannot be read: {error.strerror}") from None
        return node

    def read_xattrs(self, path: bytes, *, follow: bool) -> tuple[tuple[bytes, bytes], ...]:
        """Read the attributes an image can express; others (``system.nfs4_acl`` …) have no place in it."""
        try:
            names = os.listxattr(path, follow_symlinks=follow)
        except OSError as error:
            if error.errno in _NO_XATTRS:
                return ()
            raise
        if not names:
            return ()
        out = []
        for text in names:
            name = os.fsencode(text)
            if split_name(name) is None:
                continue
            try:
                value = os.getxattr(path, name, follow_symlinks=follow)
            except OSError as error:
                if error.errno == errno.ENODATA:
                    continue
                raise
            out.append((name, value))
        return tuple(sorted(out))
