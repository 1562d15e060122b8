"""Which Linux release has what, in one table, and the refusal of what a given release lacks."""

from __future__ import annotations

import enum
import re
from typing import NamedTuple

from .errors import UsageError

__all__ = ["DEFAULT_KERNEL", "OLDEST_KERNEL", "Feature", "Kernel", "Requirements"]


class Kernel(NamedTuple):
    """A Linux release, as far as features go: major and minor."""

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str) -> Kernel:
        """Read ``6.6`` (or ``6.6.12-generic``). Raises `UsageError`."""
        found = re.match(r"(\d{1,3})\.(\d{1,4})(?:[.\-+].*)?$", text)
        if not found:
            raise UsageError(f"--kernel={text}: not a release; write it as in 6.6")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


class Feature(enum.Enum):
    """What an image may use, and the first Linux release that has it, from the history of ``fs/erofs``.

    Older releases refuse to mount an image that uses it, or to read the files that do. Only those marked as ignored
    go unnoticed: the image works, but nothing comes of the feature.
    """

    #: What users read of it.
    text: str
    #: The first release that has it.
    first: Kernel

    def __init__(self, text: str, major: int, minor: int) -> None:
        self.text = text
        self.first = Kernel(major, minor)

    LZ4 = "LZ4 in single blocks", 5, 4
    SB_CHKSUM = "checksum of the superblock", 5, 5  # ignored before
    BIG_PCLUSTER = "physical clusters of several blocks", 5, 13
    CHUNKED_FILE = "files in chunks", 5, 15
    DEVICE_TABLE = "extra devices", 5, 16
    COMPR_HEAD2 = "two algorithms in one file", 5, 16
    LZMA = "MicroLZMA", 5, 16
    ZTAILPACKING = "compressed tails behind inodes", 5, 17
    FRAGMENTS = "tails packed together", 6, 1
    DEDUPE = "compressed data shared between files", 6, 1
    XATTR_PREFIXES = "announced fingerprints, long prefixes of attribute names", 6, 4
    SUBPAGE_PLAIN = "blocks smaller than 4096 bytes, plain", 6, 4
    DEFLATE = "DEFLATE", 6, 6
    XATTR_FILTER = "filters of attribute names", 6, 6  # ignored before
    SUBPAGE_COMPRESSED = "blocks smaller than 4096 bytes, compressed", 6, 8
    ZSTD = "Zstandard", 6, 10
    BIT48 = "encoded extents, 48-bit addresses, per-file seconds in compact inodes", 6, 15
    METABOX = "metadata in compressed boxes", 6, 17
    SHARED_EA_IN_METABOX = "shared attributes in a metadata box", 6, 17
    PLAIN_XATTR_PFX = "the table of long prefixes beside a packed inode", 6, 17  # ignored before
    ISHARE = "shared page cache", 7, 0  # ignored before


#: What an image without ``--kernel`` mounts on, unless an option asks for more.
DEFAULT_KERNEL = Kernel(6, 6)
#: EROFS entered the mainline in a form that these images need.
OLDEST_KERNEL = Kernel(5, 4)


class Requirements:
    """Collects what options ask of the kernel and holds it against the one that was named."""

    def __init__(self, limit: Kernel | None) -> None:
        if limit is not None and limit < OLDEST_KERNEL:
            raise UsageError(f"--kernel={limit}: the oldest supported release is {OLDEST_KERNEL}")
        self._limit = limit
        self._least = OLDEST_KERNEL

    @property
    def least(self) -> Kernel:
        """The oldest release that mounts an image with all that was required so far."""
        return self._least

    def allow(self, feature: Feature) -> bool:
        """Tell whether a layout that is free to choose may be chosen: the target has it."""
        return feature.first <= (self._limit or DEFAULT_KERNEL)

    def require(self, option: str, feature: Feature) -> None:
        """Note that ``option`` needs ``feature``. Raises `UsageError` where the named kernel lacks it."""
        if self._limit is not None and feature.first > self._limit:
            raise UsageError(f"{option} needs Linux {feature.first}; the image is to mount on {self._limit} (--kernel)")
        self._least = max(self._least, feature.first)
