"""Everything of the inodes that is known before any content is read: heads, times, links, xattrs."""

from __future__ import annotations

import stat
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import SourceError, UsageError, printable
from ..fingerprint import DIGEST_SIZE, value
from ..ondisk.constants import FINGERPRINT_NAME
from ..ondisk.inode import COMPACT_SIZE, EXTENDED_SIZE
from ..ondisk.xattr import (
    HEADER_SIZE,
    MAX_SHARED,
    MAX_SUFFIX,
    MAX_VALUE,
    XattrEntry,
    filter_word,
    pack_area,
    split_name,
)
from ..tree import Node
from .options import BuildOptions, Profile, TimePolicy

__all__ = ["Heads", "make_heads"]

#: The largest xattr area that the 16-bit count of an inode can express.
_MAX_AREA = HEADER_SIZE + 4 * 0xFFFE
_ID_MAX = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Heads:
    """The inodes in their order (parents first, the root at 0) and what their heads will say.

    ``numbers`` gives a node's place in ``nodes`` by its `id`, ``nlinks`` its link count and ``parents`` the
    parent's place of each directory. ``epoch`` and ``nsec`` are the time that compact inodes share.
    ``shared`` holds the packed attributes stored once, with their 4-byte-unit ids, ``extended`` whether
    an inode is, ``xattr_sizes`` its attributes' bytes. ``bare_area`` surrounds the digest where a
    fingerprint is all there is.
    """

    options: BuildOptions
    profile: Profile
    nodes: Sequence[Node]
    numbers: dict[int, int]
    nlinks: array[int]
    parents: array[int]
    epoch: int
    nsec: int
    shared: dict[bytes, int]
    extended: bytearray
    xattr_sizes: array[int]
    bare_area: tuple[bytes, bytes]

    def mtime(self, node: Node) -> tuple[int, int]:
        """Return (seconds, nanoseconds) by the time policy."""
        return _mtime(node, self.options)

    def owner(self, node: Node) -> tuple[int, int]:
        """Return (uid, gid) as forced and shifted. Raises `UsageError` where they leave 32 bits."""
        return _owner(node, self.options)

    def size(self, number: int) -> int:
        """Bytes of an inode's structure and attributes."""
        return (EXTENDED_SIZE if self.extended[number] else COMPACT_SIZE) + self.xattr_sizes[number]

    def has_fingerprint(self, node: Node) -> bool:
        """Tell whether the inode carries a fingerprint: regular files that are not empty do."""
        return self.profile.fingerprint_entry is not None and node.content is not None and node.size > 0

    def xattr_area(self, node: Node, digest: bytes) -> bytes:
        """Return the inode's packed attributes, its fingerprint among them."""
        if not node.xattrs:
            return digest.join(self.bare_area) if self.has_fingerprint(node) else b""
        entries = _entries(node, self.options, self.profile)
        if self.has_fingerprint(node):
            entries.append(_fingerprint(self.profile, digest))
        return _area(entries, self.options, self.profile, self.shared)


def _mtime(node: Node, options: BuildOptions) -> tuple[int, int]:
    stamp = options.timestamp
    if stamp is None or options.time_policy is TimePolicy.KEEP:
        return node.mtime, node.nsec
    if options.time_policy is TimePolicy.FIX or node.mtime >= stamp:
        return stamp, 0
    return node.mtime, node.nsec


def _owner(node: Node, options: BuildOptions) -> tuple[int, int]:
    uid = (node.uid if options.force_uid is None else options.force_uid) + options.uid_offset
    gid = (node.gid if options.force_gid is None else options.force_gid) + options.gid_offset
    if not (0 <= uid <= _ID_MAX and 0 <= gid <= _ID_MAX):
        raise UsageError(f"--uid-offset/--gid-offset: owner {uid}:{gid} does not fit 32 bits")
    return uid, gid


def _entries(node: Node, options: BuildOptions, profile: Profile) -> list[XattrEntry]:
    """Split a node's attributes; a stale fingerprint of the source's is replaced by the image's own."""
    entries = []
    replaced = (options.fingerprint_name, FINGERPRINT_NAME) if profile.fingerprint_entry and node.is_regular else ()
    for name, content in node.xattrs:
        if name in replaced:
            continue
        parts = split_name(name, profile.prefixes)
        assert parts is not None
        entries.append(XattrEntry(*parts, content))
    return entries


def _fingerprint(profile: Profile, digest: bytes) -> XattrEntry:
    assert profile.fingerprint_entry is not None
    return XattrEntry(*profile.fingerprint_entry, value(profile.packing.digest, digest))


def _area(entries: list[XattrEntry], options: BuildOptions, profile: Profile, common: dict[bytes, int]) -> bytes:
    """Pack an inode's attributes, by reference to those in ``common`` where possible."""
    inline: list[bytes] = []
    shared: list[int] = []
    for entry in entries:
        packed = entry.pack()
        number = common.get(packed)
        if number is None or len(shared) >= MAX_SHARED:
            inline.append(packed)
        else:
            shared.append(number)
    bits = filter_word(entries, profile.prefixes) if options.xattr_filter else 0
    return pack_area(inline, shared, bits)


def _bare_area(options: BuildOptions, profile: Profile) -> tuple[bytes, bytes]:
    """Return what stands before and behind the digest where the fingerprint is the only attribute."""
    if profile.fingerprint_entry is None:
        return b"", b""
    mark = b"\xff" * DIGEST_SIZE
    before, _, behind = _area([_fingerprint(profile, mark)], options, profile, {}).rpartition(mark)
    return before, behind


def make_heads(root: Node, options: BuildOptions, profile: Profile) -> Heads:
    """Number the inodes and decide all that does not depend on contents.

    Raises `SourceError` for attributes that do not fit.
    """
    nodes = list(root.walk())
    numbers = {id(node): i for i, node in enumerate(nodes)}
    nlinks = array("I", bytes(4 * len(nodes)))
    parents = array("I", bytes(4 * len(nodes)))
    for number, node in enumerate(nodes):
        if not node.is_dir:
            continue
        nlinks[number] += 2
        for _, child in node.children:
            at = numbers[id(child)]
            if child.is_dir:
                parents[at] = number
                nlinks[number] += 1
            else:
                nlinks[at] += 1
    epoch, nsec = _epoch(nodes, options, profile.wide)
    shared = _shared(nodes, options, profile)
    heads = Heads(
        options=options,
        profile=profile,
        nodes=nodes,
        numbers=numbers,
        nlinks=nlinks,
        parents=parents,
        epoch=epoch,
        nsec=nsec,
        shared=shared,
        extended=bytearray(len(nodes)),
        xattr_sizes=array("I", bytes(4 * len(nodes))),
        bare_area=_bare_area(options, profile),
    )
    blank = bytes(DIGEST_SIZE)
    for number, node in enumerate(nodes):
        if node.xattrs:
            _check_xattrs(root, node, profile)
        heads.xattr_sizes[number] = size = len(heads.xattr_area(node, blank))
        if size > _MAX_AREA:
            raise SourceError(_label(root, node), f"extended attributes take {size} bytes; at most {_MAX_AREA} fit")
        heads.extended[number] = _extended(heads, number)
    return heads


def _extended(heads: Heads, number: int) -> bool:
    """Tell whether an inode needs the extended form; compact wherever the rules allow.

    Raises `UsageError` where compact inodes are forced and cannot hold it.
    """
    form = heads.options.inode_form
    node = heads.nodes[number]
    uid, gid = heads.owner(node)
    if uid > 0xFFFF or gid > 0xFFFF or node.size > 0xFFFF_FFFF or heads.nlinks[number] > 0xFFFF:
        if form == "compact":
            raise UsageError("-Eforce-inode-compact: an owner, size or link count does not fit compact inodes")
        return True
    if form != "auto":
        return form == "extended"
    mtime, nsec = heads.mtime(node)
    return nsec != heads.nsec or not 0 <= mtime - heads.epoch <= (0xFFFF_FFFF if heads.profile.wide else 0)


def _epoch(nodes: Sequence[Node], options: BuildOptions, wide: bool) -> tuple[int, int]:
    """Choose the (seconds, nanoseconds) that let the most inodes be compact.

    Classic images: the one time that most have. 48-bit images store seconds in compact inodes too,
    so what counts is the second that has the most of them within 2^32 seconds behind it.
    """
    times = Counter(_mtime(node, options) for node in nodes)
    if not wide:
        # Where several are as common, the latest: an order that does not depend on the walk.
        (mtime, nsec), _ = max(times.items(), key=lambda item: (item[1], item[0]))
        return (mtime, nsec) if mtime >= 0 else (0, 0)
    by_nsec: Counter[int] = Counter()
    for (_, ns), count in times.items():
        by_nsec[ns] += count
    nsec, _ = max(by_nsec.items(), key=lambda item: (item[1], item[0]))
    seconds = sorted((s, count) for (s, ns), count in times.items() if ns == nsec and s >= 0)
    epoch = most = reached = end = 0
    for start, count in seconds:
        while end < len(seconds) and seconds[end][0] - start <= 0xFFFF_FFFF:
            reached += seconds[end][1]
            end += 1
        if reached > most:
            epoch, most = start, reached
        reached -= count
    return epoch, nsec


def _shared(nodes: Sequence[Node], options: BuildOptions, profile: Profile) -> dict[bytes, int]:
    """Choose the attributes to store once: those that more inodes repeat than the tolerance -> their ids."""
    counts: Counter[tuple[bytes, bytes]] = Counter()
    for node in nodes:
        counts.update(node.xattrs)
    common = {pair for pair, count in counts.items() if count > max(options.xattr_tolerance, 1)}
    if not common:
        return {}
    shared: dict[bytes, int] = {}
    at = 0
    for name, content in sorted(common):
        parts = split_name(name, profile.prefixes)
        assert parts is not None
        packed = XattrEntry(*parts, content).pack()
        shared[packed] = at // 4
        at += len(packed)
    return shared


def _check_xattrs(root: Node, node: Node, profile: Profile) -> None:
    for name, content in node.xattrs:
        if len(content) > MAX_VALUE:
            raise SourceError(
                _label(root, node), f"xattr {printable(name)} has {len(content)} bytes; at most {MAX_VALUE} fit"
            )
        parts = split_name(name, profile.prefixes)
        if parts and len(parts[1]) > MAX_SUFFIX:
            raise SourceError(_label(root, node), f"xattr name {printable(name)} is too long")


def _label(root: Node, wanted: Node) -> bytes:
    """Return a node's path below the source. Nodes do not know their names, so this searches."""
    stack = [(b"", root)]
    while stack:
        path, node = stack.pop()
        if node is wanted:
            return path or b"."
        stack.extend((path + b"/" + name, child) for name, child in node.children)
    raise AssertionError("a node outside its tree")


def kind(node: Node) -> str:
    """Return the name of a node's type, for reports."""
    return _KINDS[stat.S_IFMT(node.mode)]


_KINDS = {
    stat.S_IFREG: "files",
    stat.S_IFDIR: "directories",
    stat.S_IFLNK: "symlinks",
    stat.S_IFCHR: "devices",
    stat.S_IFBLK: "devices",
    stat.S_IFIFO: "fifos",
    stat.S_IFSOCK: "sockets",
}
