"""What inodes say that does not depend on contents: times, owners, whether they are compact."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence

from ..errors import UsageError
from ..ondisk.inode import COMPACT_SIZE, EXTENDED_SIZE
from ..tree import Node, Tree
from .attributes import Attributes
from .options import BuildOptions, TimePolicy
from .profile import Profile

__all__ = ["Inodes"]

_ID_MAX = 0xFFFF_FFFF


class Inodes:
    """The inodes of an image by number: the tree's nodes, then those that have no name.

    ``nameless`` are the latter, streams such as the packed inode: they get numbers behind the tree's and are placed,
    described and written as all others are. ``epoch`` and ``nsec`` are the time that compact inodes share,
    ``extended`` tells whether an inode is, ``heads`` the bytes of each inode's structure and attributes.

    Raises `SourceError` for attributes that do not fit, `UsageError` for owners that leave 32 bits, and where compact
    inodes are forced and cannot hold one.
    """

    def __init__(self, tree: Tree, options: BuildOptions, profile: Profile, nameless: Sequence[Node] = ()) -> None:
        self.tree = tree
        self.options = options
        self.profile = profile
        self.nodes: Sequence[Node] = [*tree.nodes, *nameless] if nameless else tree.nodes
        self.epoch, self.nsec = _epoch(tree.nodes, options, profile.wide)
        self.attributes = Attributes(self.nodes, options, profile, self.label)
        self.extended = bytes([self._is_extended(node) for node in self.nodes])
        size = self.attributes.size
        self.heads = array(
            "I",
            [
                (EXTENDED_SIZE if extended else COMPACT_SIZE) + size(node)
                for node, extended in zip(self.nodes, self.extended, strict=True)
            ],
        )

    def label(self, node: Node) -> bytes:
        """Return what to call a node in messages: its path from the image's root, ``.`` for the root."""
        path = self.tree.path(node)
        return b"/" + path if node.number else path

    def mtime(self, node: Node) -> tuple[int, int]:
        """Return (seconds, nanoseconds) by the time policy."""
        return _mtime(node, self.options)

    def compact_time(self, mtime: int) -> int:
        """Return a compact inode's time: 48-bit images count from the epoch, others have no such field."""
        return min(max(mtime - self.epoch, 0), 0xFFFF_FFFF) if self.profile.wide else 0

    def owner(self, node: Node) -> tuple[int, int]:
        """Return (uid, gid) as forced and shifted. Raises `UsageError` where they leave 32 bits."""
        options = self.options
        uid = (node.uid if options.force_uid is None else options.force_uid) + options.uid_offset
        gid = (node.gid if options.force_gid is None else options.force_gid) + options.gid_offset
        if not (0 <= uid <= _ID_MAX and 0 <= gid <= _ID_MAX):
            raise UsageError(f"--uid-offset/--gid-offset: owner {uid}:{gid} does not fit 32 bits")
        return uid, gid

    def _is_extended(self, node: Node) -> bool:
        """Tell whether an inode needs the extended form; compact wherever the rules allow."""
        form = self.options.inode_form
        uid, gid = self.owner(node)
        if uid > 0xFFFF or gid > 0xFFFF or node.size > 0xFFFF_FFFF or node.nlink > 0xFFFF:
            if form == "compact":
                raise UsageError("-Eforce-inode-compact: an owner, size or link count does not fit compact inodes")
            return True
        if form != "auto":
            return form == "extended"
        mtime, nsec = self.mtime(node)
        return nsec != self.nsec or not 0 <= mtime - self.epoch <= (0xFFFF_FFFF if self.profile.wide else 0)


def _mtime(node: Node, options: BuildOptions) -> tuple[int, int]:
    stamp = options.timestamp
    if stamp is None or options.time_policy is TimePolicy.KEEP:
        return node.mtime, node.nsec
    if options.time_policy is TimePolicy.FIX or node.mtime >= stamp:
        return stamp, 0
    return node.mtime, node.nsec


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
