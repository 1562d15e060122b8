"""A directory of the running system as a source: every type of file, owner, time and attribute."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ..errors import SourceError, UsageError
from ..files.below import PATH_LIMIT, open_below
from ..ondisk.constants import NAME_MAX, SYMLINK_MAX
from ..ondisk.xattr import split_name
from ..tree import Draft, Facts, TreeBuilder
from .content import FileContent, Folder, identity_of
from .posix_regex import PosixRegex

__all__ = ["Exclude", "read_directory"]

_OPEN_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_NO_XATTRS = (errno.ENOTSUP, errno.ENOSYS, errno.EOPNOTSUPP)


class Exclude(NamedTuple):
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


def read_directory(
    builder: TreeBuilder,
    root: bytes,
    *,
    image: bytes | None = None,
    exclude: Exclude | None = None,
    xattrs: bool = True,
    hard_dereference: bool = False,
    found: Callable[[bytes, Facts], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Put the tree below ``root`` into ``builder``. File contents are not read yet.

    ``image`` is the path of the image about to be written, which must not lie inside.
    Hard links are one file (unless ``hard_dereference``), recognized by device and inode together, since
    inode numbers repeat across mounts. ``found`` hears of each regular file once, by its path below
    the root, in the order in which a tree of this directory alone has them. ``progress`` is
    called with the entries seen so far.

    Raises `SourceError` for what is missing, unreadable or cannot be expressed.
    """
    if image is not None:
        _check_outside(root, image, exclude or Exclude())
    avoid = _identity(image) if image is not None else None
    walk = _Walk(builder, root, exclude, avoid, xattrs, hard_dereference, found)
    try:
        st = os.stat(root)
    except OSError as error:
        raise SourceError(root, f"cannot be read: {error.strerror}", error.errno) from None
    if not stat.S_ISDIR(st.st_mode):
        raise SourceError(root, "is not a directory", errno.ENOTDIR)
    waiting = [walk.top(st)]
    while waiting:
        below = walk.read(waiting.pop())
        below.sort(key=_by_name, reverse=True)
        waiting += below
        if progress:
            progress(walk.seen)


def _check_outside(root: bytes, image: bytes, exclude: Exclude) -> None:
    """Refuse an image inside its source: a second build would not give the same bytes, if it ended at all."""
    inside = os.path.join(os.path.realpath(root), b"")
    target = os.path.realpath(image)
    if target.startswith(inside) and not exclude(target[len(inside) :]):
        raise SourceError(image, "lies inside its source; put it elsewhere, or exclude it")


def _identity(path: bytes) -> tuple[int, int] | None:
    try:
        st = os.stat(path)
    except OSError:
        return None
    return st.st_dev, st.st_ino


class _Pending(NamedTuple):
    """A directory whose entries are still to be read."""

    name: bytes
    folder: Folder
    draft: Draft


def _by_name(named: tuple[bytes, *tuple[Any, ...]]) -> bytes:
    return named[0]


def _facts(st: os.stat_result, attributes: tuple[tuple[bytes, bytes], ...]) -> Facts:
    """Return what status and attributes tell of a file of any type."""
    seconds, nanoseconds = divmod(st.st_mtime_ns, 1_000_000_000)
    return Facts(st.st_mode, st.st_uid, st.st_gid, seconds, nanoseconds, attributes)


def _scan(fd: int) -> Any:
    """Scan an open directory. Its names come as text, while those of a directory scanned by its path are bytes."""
    return os.scandir(fd)


class _Walk:
    def __init__(
        self,
        builder: TreeBuilder,
        root: bytes,
        exclude: Exclude | None,
        avoid: tuple[int, int] | None,
        xattrs: bool,
        dereference: bool,
        found: Callable[[bytes, Facts], None] | None,
    ) -> None:
        self.builder = builder
        self.root = root
        self.exclude = exclude
        self.avoid = avoid
        self.xattrs = xattrs
        self.dereference = dereference
        self.found = found
        #: Drafts of files that may have more names, by device and inode.
        self.links: dict[tuple[int, int], Draft] = {}
        #: The same drafts, by `id`; and those of them whose content was announced.
        self.linked: set[int] = set()
        self.announced: set[int] = set()
        self.seen = 1

    def error(self, path: bytes, what: str, number: int | None = None) -> SourceError:
        return SourceError(os.path.join(self.root, path) if path else self.root, what, number)

    def top(self, st: os.stat_result) -> _Pending:
        """Say what the root is -> the root, to be read."""
        try:
            attributes = self.read_xattrs(self.root, follow=True) if self.xattrs else ()
        except OSError as error:
            raise self.error(b"", f"cannot be read: {error.strerror}", error.errno) from None
        return _Pending(b"", Folder(), self.builder.describe_root(_facts(st, attributes)))

    def read(self, pending: _Pending) -> list[_Pending]:
        """Put one directory's entries into the tree -> the directories among them."""
        path = at = pending.folder.path()
        below = []
        regular: list[tuple[bytes, Draft]] = []
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
                    at = path + b"/" + name if path else name
                    if self.exclude and self.exclude(at):
                        continue
                    self.seen += 1
                    draft = self.entry(pending, name, entry.stat(follow_symlinks=False), base + b"/" + name)
                    if draft.children is not None:
                        below.append(_Pending(name, Folder(pending.folder, name), draft))
                    elif draft.facts is not None and draft.facts.content is not None:
                        regular.append((name, draft))
                at = path
        except OSError as error:
            if isinstance(error, SourceError):
                raise
            raise self.error(at, f"cannot be read: {error.strerror}", error.errno) from None
        if self.found:
            self.announce(pending.folder, regular, self.found)
        return below

    def announce(
        self, folder: Folder, regular: list[tuple[bytes, Draft]], found: Callable[[bytes, Facts], None]
    ) -> None:
        """Tell of a directory's regular files by name, of those with several names once."""
        regular.sort(key=_by_name)
        for name, draft in regular:
            facts = draft.facts
            assert facts is not None
            if id(draft) in self.linked:
                if id(draft) in self.announced:
                    continue
                self.announced.add(id(draft))
            found(folder.below(name), facts)

    def entry(self, pending: _Pending, name: bytes, st: os.stat_result, access: bytes) -> Draft:
        """Put one entry, which ``access`` reaches right now, into the tree -> its draft. Raises `OSError`."""
        mode = st.st_mode
        key = None
        if st.st_nlink > 1 and not self.dereference and not stat.S_ISDIR(mode):
            key = st.st_dev, st.st_ino
            known = self.links.get(key)
            if known is not None:
                self.builder.link(pending.draft, name, known)
                return known
        facts = _facts(st, self.read_xattrs(access, follow=False) if self.xattrs else ())
        if stat.S_ISREG(mode):
            if (st.st_dev, st.st_ino) == self.avoid:
                raise self.error(
                    pending.folder.below(name), "is the image to be written; put it outside its source, or exclude it"
                )
            content = FileContent(self.root, pending.folder, name, identity_of(st))
            facts = Facts(*facts[:6], st.st_size, content)
        elif stat.S_ISLNK(mode):
            target = os.readlink(access)
            if not 1 <= len(target) <= SYMLINK_MAX:
                raise self.error(
                    pending.folder.below(name), f"is a symlink of {len(target)} bytes; at most {SYMLINK_MAX} fit"
                )
            facts = facts._replace(target=target)
        elif stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            facts = facts._replace(rdev=(os.major(st.st_rdev), os.minor(st.st_rdev)))
        draft = self.builder.put(pending.draft, name, facts)
        if key is not None:
            self.links[key] = draft
            self.linked.add(id(draft))
        return draft

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
