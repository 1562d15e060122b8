"""What inodes say that does not depend on contents: times, owners, whether they are compact."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence

from ..errors import UsageError
from ..ondisk.inode import COMPACT_SIZE, EXTENDED_SIZE
from ..tree import Node, Tree
from .attributes import AttributePacker
from .options import BuildOptions
from .profile import Profile
from .times import TimePolicy

__all__ = ["Inodes"]

_ID_MAX = 0xFFFF_FFFF


class Inodes:
    """The inodes of an image by number: the tree's nodes, then those that have no name.

    ``nameless`` are the latter, streams such as the packed inode: they get numbers behind the tree's and are placed,
    described and written as all others are. In columns by number: ``times`` (seconds) and ``nanoseconds`` by the time
    policy, ``uids`` and ``gids`` as forced and shifted, ``extended`` whether an inode is, and ``heads`` the bytes of
    its structure and attributes. ``epoch`` and ``nsec`` are the time that compact inodes share.

    Raises `SourceError` for attributes that do not fit, `UsageError` for owners that leave 32 bits, and where compact
    inodes are forced and cannot hold one.
    """

    def __init__(self, tree: Tree, options: BuildOptions, profile: Profile, nameless: Sequence[Node] = ()) -> None:
        self.tree = tree
        self.options = options
        self.profile = profile
        self.nodes: Sequence[Node] = [*tree.nodes, *nameless] if nameless else tree.nodes
        moments = [_moment(node, profile) for node in self.nodes]
        self.times = array("q", [seconds for seconds, _ in moments])
        self.nanoseconds = array("I", [nanoseconds for _, nanoseconds in moments])
        self.epoch, self.nsec = _epoch(Counter(moments[: len(tree.nodes)]), profile.wide)
        self.uids = _owners([node.uid for node in self.nodes], options.force_uid, options.uid_offset, "--uid-offset")
        self.gids = _owners([node.gid for node in self.nodes], options.force_gid, options.gid_offset, "--gid-offset")
        self.attributes = AttributePacker(self.nodes, options, profile, self.label)
        self.extended = bytes(map(self._is_extended, self.nodes))
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

    def compact_time(self, number: int) -> int:
        """Return a compact inode's time: 48-bit images count from the epoch, others have no such field."""
        return min(max(self.times[number] - self.epoch, 0), 0xFFFF_FFFF) if self.profile.wide else 0

    def _is_extended(self, node: Node) -> bool:
        """Tell whether an inode needs the extended form; compact wherever the rules allow."""
        form = self.options.inode_form
        number = node.number
        if max(self.uids[number], self.gids[number], node.nlink) > 0xFFFF or node.size > 0xFFFF_FFFF:
            if form == "compact":
                raise UsageError("-Eforce-inode-compact: an owner, size or link count does not fit compact inodes")
            return True
        if form != "auto":
            return form == "extended"
        if self.nanoseconds[number] != self.nsec:
            return True
        return not 0 <= self.times[number] - self.epoch <= (0xFFFF_FFFF if self.profile.wide else 0)


def _owners(ids: list[int], forced: int | None, offset: int, option: str) -> array[int]:
    """Return owners or groups as forced and shifted. Raises `UsageError` where one leaves 32 bits."""
    if forced is not None:
        ids = [forced] * len(ids)
    if offset:
        ids = [one + offset for one in ids]
    if not 0 <= min(ids) <= max(ids) <= _ID_MAX:
        wrong = min(ids) if min(ids) < 0 else max(ids)
        raise UsageError(f"{option}={offset}: owner {wrong} does not fit 32 bits")
    return array("I", ids)


def _moment(node: Node, profile: Profile) -> tuple[int, int]:
    """Return (seconds, nanoseconds) of an inode's time."""
    stamp, policy = profile.stamp, profile.time_policy
    if stamp is None or policy is TimePolicy.KEEP or (policy is TimePolicy.CLAMP and node.mtime < stamp):
        return node.mtime, node.nsec
    return stamp, 0


def _epoch(times: Counter[tuple[int, int]], wide: bool) -> tuple[int, int]:
    """Choose, of all inodes' times, the (seconds, nanoseconds) that let the most inodes be compact.

    Classic images: the one time that most have. 48-bit images store seconds in compact inodes too,
    so the epoch is the second that has the most of them within the 2^32 seconds that follow it.
    """
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
