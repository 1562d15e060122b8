"""The tree in the making: sources put files in, one source after the other, and a finished tree comes out."""

from __future__ import annotations

import itertools
import stat
from typing import NoReturn

from ..errors import SourceError, printable
from .node import Facts, Node
from .tree import Tree

__all__ = ["Draft", "TreeBuilder"]

#: The longest name of a file, as Linux has it, and the longest target of a symbolic link, in bytes.
_NAME_MAX, _TARGET_MAX = 255, 4095
#: Linux's limits of owners, of device numbers, and of times and sizes, which have 64 bits with a sign.
_ID_MAX, _MAJOR_MAX, _MINOR_MAX = 0xFFFF_FFFF, 0xFFF, 0xF_FFFF
_SIGNED = 1 << 63
_SECOND = 1_000_000_000
_NO_NAMES = {b"", b".", b".."}
_NO_DEVICE = (0, 0)
_TYPES = {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK}
#: What a folder is that sources name on the way to a file, but never describe.
_IMPLIED = Facts(stat.S_IFDIR | 0o755, 0, 0, 0, 0)


class Draft:
    """A file while the tree is being made; one for all hard links to it.

    ``facts`` is ``None`` for a folder that was only implied by a path so far. ``children`` are a folder's drafts by
    name, ``None`` for anything else. ``layer`` is the source that put it there, counted from 0. ``number`` and
    ``links`` are filled in when the tree is finished.
    """

    __slots__ = ("children", "facts", "layer", "links", "number")

    def __init__(self, facts: Facts | None, layer: int) -> None:
        self.facts = facts
        self.layer = layer
        self.children: dict[bytes, Draft] | None = {} if facts is None or stat.S_ISDIR(facts.mode) else None
        self.number = -1
        self.links = 0


class TreeBuilder:
    """What sources feed.

    A later entry takes the place of an earlier one of the same name, as with tar; a folder over a folder keeps what is
    inside. Sources are layers, from the lowest up: each but the first begins with `begin_layer`, and may take away
    what is below it with `whiteout` and `opaque`.

    Sources that walk keep the `Draft` of a folder and `put` files into it; those that know paths look folders up with
    `folder`, which makes those that are missing.
    """

    def __init__(self) -> None:
        self.root = Draft(None, 0)
        self._layer = 0

    def begin_layer(self) -> None:
        """Begin the next source; what it puts lies over what is there."""
        self._layer += 1

    def put(self, folder: Draft, name: bytes, facts: Facts) -> Draft:
        """Put a file into a folder -> its draft.

        Raises `SourceError` for a name or facts that no tree can have.
        """
        _check_name(name)
        _check_facts(name, facts)
        children = _children(folder, name)
        known = children.get(name)
        if known is not None and known.children is not None and stat.S_ISDIR(facts.mode):
            known.facts, known.layer = facts, self._layer
            return known
        draft = children[name] = Draft(facts, self._layer)
        return draft

    def describe_root(self, facts: Facts) -> Draft:
        """Say what the root folder is -> its draft. Raises `SourceError` if it is none."""
        _check_facts(b".", facts)
        if not stat.S_ISDIR(facts.mode):
            raise SourceError(b".", "is no folder, but the root must be one")
        self.root.facts, self.root.layer = facts, self._layer
        return self.root

    def link(self, folder: Draft, name: bytes, draft: Draft) -> None:
        """Give a file one more name. Raises `SourceError` for a folder, which has one, and for impossible names."""
        _check_name(name)
        if draft.children is not None:
            raise SourceError(name, "is a link to a folder, which can have one name only")
        _children(folder, name)[name] = draft

    def folder(self, path: bytes) -> Draft:
        """Return the folder at a path below the root, made where it is missing.

        Raises `SourceError` where something else has the name of a folder on the way, and for impossible names.
        """
        draft = self.root
        for name in path.split(b"/") if path else ():
            children = _children(draft, path)
            below = children.get(name)
            if below is None:
                _check_name(name)
                below = children[name] = Draft(None, self._layer)
            if below.children is None:
                raise SourceError(path, f"{printable(name)} is no folder, but has entries below it")
            draft = below
        return draft

    def find(self, path: bytes) -> Draft | None:
        """Return what is at a path below the root, ``None`` where nothing is. No link is followed."""
        draft: Draft | None = self.root
        for name in path.split(b"/") if path else ():
            if draft is None or draft.children is None:
                return None
            draft = draft.children.get(name)
        return draft

    def whiteout(self, folder: Draft, name: bytes) -> None:
        """Take away what lower layers have under a name; harmless where they have nothing."""
        children = _children(folder, name)
        below = children.get(name)
        if below is not None and below.layer < self._layer:
            del children[name]

    def opaque(self, folder: Draft) -> None:
        """Take away all that lower layers have in a folder."""
        children = _children(folder, b"")
        for name in [name for name, below in children.items() if below.layer < self._layer]:
            del children[name]

    def finish(self) -> Tree:
        """Number what is there -> the tree; the builder is empty afterwards.

        The order is a folder, what else it holds, then its folders with all below them; names ascend as raw bytes. So
        what is listed together stands together, and folders come before what they hold. Folders that nobody told of
        get mode 0755, root as their owner and the time 0.
        """
        placed = _number(self.root)
        self.root, self._layer = Draft(None, 0), 0
        placed.reverse()
        nodes: list[Node] = []
        while placed:
            # The drafts of a large tree take as much memory as its nodes, so each goes when its node comes.
            draft, name, parent = placed.pop()
            children: tuple[tuple[bytes, int], ...] = ()
            links = draft.links
            if draft.children is not None:
                children = tuple([(below, child.number) for below, child in sorted(draft.children.items())])
                links = 2 + sum(child.children is not None for child in draft.children.values())
                draft.children = {}
            nodes.append(Node(len(nodes), name, parent, links, children, *(draft.facts or _IMPLIED)))
        return Tree(tuple(nodes))


def _children(folder: Draft, name: bytes) -> dict[bytes, Draft]:
    if folder.children is None:
        raise SourceError(name, "would be an entry of something that is no folder")
    return folder.children


def _check_name(name: bytes) -> None:
    if b"/" in name or b"\0" in name or name in _NO_NAMES or len(name) > _NAME_MAX:
        raise SourceError(name or b"''", f"is no name: 1 to {_NAME_MAX} bytes without / and NUL are, . and .. are not")


def _check_facts(name: bytes, facts: Facts) -> None:
    """Refuse what no file can be. This is asked of every file, so the numbers are looked at together first."""
    mode, uid, gid, mtime, nsec, xattrs, size, content, target, rdev = facts
    if not (
        0 <= nsec < _SECOND
        and -_SIGNED <= mtime < _SIGNED
        and 0 <= uid <= _ID_MAX
        and 0 <= gid <= _ID_MAX
        and 0 <= size < _SIGNED
    ):
        _refuse_numbers(name, facts)
    kind = mode & 0o170000
    if kind not in _TYPES or mode > 0xFFFF:
        raise SourceError(name, f"has the mode {mode:#o}, which is of no type")
    if size and content is None:
        raise SourceError(name, f"has {size} bytes, but no content")
    if kind == stat.S_IFLNK and (not 1 <= len(target) <= _TARGET_MAX or b"\0" in target):
        raise SourceError(name, f"is a symlink of {len(target)} bytes; 1 to {_TARGET_MAX} without NUL fit")
    if rdev != _NO_DEVICE and not (0 <= rdev[0] <= _MAJOR_MAX and 0 <= rdev[1] <= _MINOR_MAX):
        raise SourceError(name, f"is the device {rdev[0]}:{rdev[1]}; {_MAJOR_MAX}:{_MINOR_MAX} is the last there is")
    if xattrs and any(one >= other for (one, _), (other, _) in itertools.pairwise(xattrs)):
        raise SourceError(name, "has attributes that do not ascend by name, each once")


def _refuse_numbers(name: bytes, facts: Facts) -> NoReturn:
    if not 0 <= facts.nsec < _SECOND:
        raise SourceError(name, f"has {facts.nsec} nanoseconds in its time; less than a second of them fit")
    if not -_SIGNED <= facts.mtime < _SIGNED:
        raise SourceError(name, f"has the time {facts.mtime}, which does not fit 64 bits")
    if not 0 <= facts.size < _SIGNED:
        raise SourceError(name, f"has {facts.size} bytes; 0 to {_SIGNED - 1} fit")
    raise SourceError(name, f"belongs to {facts.uid}:{facts.gid}, which does not fit 32 bits")


def _number(root: Draft) -> list[tuple[Draft, bytes, int]]:
    """Give every draft its number and count its names -> (draft, first name, parent's number) in order.

    Nothing recurses, so that any depth will do.
    """
    placed: list[tuple[Draft, bytes, int]] = []
    waiting = [(root, b"", 0)]
    while waiting:
        folder, name, parent = waiting.pop()
        number = folder.number = len(placed)
        placed.append((folder, name, parent))
        folders = []
        assert folder.children is not None
        for below, child in sorted(folder.children.items()):
            if child.children is not None:
                folders.append((child, below, number))
                continue
            child.links += 1
            if child.number < 0:
                child.number = len(placed)
                placed.append((child, below, number))
        folders.reverse()
        waiting += folders
    return placed
