"""What a build did, in numbers."""

from __future__ import annotations

import os
import stat
import uuid
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from ..ondisk.superblock import Superblock
from .area import Area
from .inodes import Inodes
from .plan import Plan
from .profile import first_sharing_kernel

__all__ = ["BuildSummary", "summarize"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSummary:
    """What a build did. Sizes in bytes.

    ``counts`` tells the inodes of each kind, ``hard_links`` the names beyond the first. ``bytes_in``
    is the size of all regular files (a hard link's counts once), ``bytes_out`` the image's,
    ``duplicates`` the contents stored once with another's, ``duplicate_bytes`` their size. ``kernel`` is the
    oldest Linux that mounts the image, ``sharing_kernel`` the oldest that shares its page cache, if it can.
    """

    image: str
    source: str
    uuid: str
    inodes: int
    counts: dict[str, int]
    hard_links: int
    bytes_in: int
    bytes_out: int
    duplicates: int
    duplicate_bytes: int
    fingerprint: str
    fingerprints: int
    kernel: str
    sharing_kernel: str | None
    seconds: float

    @property
    def ratio(self) -> float:
        """Image size over content size; 0 for a tree without content."""
        return self.bytes_out / self.bytes_in if self.bytes_in else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return all fields and the ratio, ready for JSON."""
        return {**asdict(self), "ratio": round(self.ratio, 4)}


def summarize(
    image: bytes, source: bytes, plan: Plan, superblock: Superblock, area: Area, seconds: float
) -> BuildSummary:
    """Return what a build that took ``seconds`` did."""
    inodes = plan.inodes
    profile, nodes = inodes.profile, inodes.tree.nodes
    sharing = max(profile.least_kernel, first_sharing_kernel()) if profile.ishare else None
    return BuildSummary(
        image=os.fsdecode(image),
        source=os.fsdecode(source),
        uuid=str(uuid.UUID(bytes=superblock.uuid)),
        inodes=len(inodes.nodes),
        counts=_counts(inodes),
        hard_links=sum(node.nlink - 1 for node in nodes if not node.is_dir),
        bytes_in=sum(node.size for node in nodes),
        bytes_out=plan.end,
        duplicates=area.duplicates,
        duplicate_bytes=area.duplicate_bytes,
        fingerprint=inodes.options.fingerprint,
        fingerprints=sum(map(inodes.attributes.has_fingerprint, nodes)),
        kernel=str(profile.least_kernel),
        sharing_kernel=str(sharing) if sharing is not None else None,
        seconds=round(seconds, 3),
    )


_KINDS = {
    stat.S_IFREG: "files",
    stat.S_IFDIR: "directories",
    stat.S_IFLNK: "symlinks",
    stat.S_IFCHR: "devices",
    stat.S_IFBLK: "devices",
    stat.S_IFIFO: "fifos",
    stat.S_IFSOCK: "sockets",
}


def _counts(inodes: Inodes) -> dict[str, int]:
    """Count the inodes of each kind, in the order in which the tree has them."""
    return dict(Counter(_KINDS[stat.S_IFMT(node.mode)] for node in inodes.tree.nodes))
