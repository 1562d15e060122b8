"""Extended attributes: which are stored once for all, and the area behind each inode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from ..errors import SourceError, printable
from ..fingerprint import DIGEST_SIZE, value
from ..ondisk.constants import FINGERPRINT_NAME
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
from .options import BuildOptions
from .profile import Profile

__all__ = ["AttributePacker"]

#: The largest xattr area that the 16-bit count of an inode can express.
_MAX_AREA = HEADER_SIZE + 4 * 0xFFFE
_NO_DIGEST = bytes(DIGEST_SIZE)


class AttributePacker:
    """Packs the attributes of every inode of an image, fingerprints among them.

    ``shared`` holds the packed entries stored once, with their ids, which count 4 bytes each. Raises `SourceError` for
    attributes that do not fit; ``path`` gives the path to be named then.
    """

    def __init__(
        self, nodes: Sequence[Node], options: BuildOptions, profile: Profile, path: Callable[[Node], bytes]
    ) -> None:
        self._options = options
        self._profile = profile
        self._path = path
        # A stale fingerprint of the source's is replaced by the image's own.
        self._replaced = (options.fingerprint_name, FINGERPRINT_NAME) if profile.fingerprint_entry else ()
        for node in nodes:
            if node.xattrs:
                _check_names(node, profile, path)
        self.shared = _choose_shared(nodes, options, profile)
        self._bare = self._around_digest()
        self._bare_size = len(_NO_DIGEST.join(self._bare)) if self._bare else 0

    def has_fingerprint(self, node: Node) -> bool:
        """Tell whether an inode carries a fingerprint: regular files that are not empty do.

        This is where the builder decides which files may share page cache.
        """
        return self._bare is not None and node.content is not None and node.size > 0

    def size(self, node: Node) -> int:
        """Return the bytes of an inode's area. Raises `SourceError` where its count in the inode would overflow."""
        if node.xattrs:
            size = len(self.area(node, _NO_DIGEST))
            if size > _MAX_AREA:
                raise SourceError(self._path(node), f"extended attributes take {size} bytes; at most {_MAX_AREA} fit")
            return size
        return self._bare_size if self.has_fingerprint(node) else 0

    def area(self, node: Node, digest: bytes) -> bytes:
        """Return an inode's area; ``digest`` is its content's."""
        if not node.xattrs:
            return digest.join(self._bare) if self._bare is not None and self.has_fingerprint(node) else b""
        entries = []
        for name, content in node.xattrs:
            if name in self._replaced and node.is_regular:
                continue
            parts = split_name(name, self._profile.prefixes)
            assert parts is not None
            entries.append(XattrEntry(*parts, content))
        if self.has_fingerprint(node):
            entries.append(self._fingerprint(digest))
        return self._pack(entries)

    def _fingerprint(self, digest: bytes) -> XattrEntry:
        assert self._profile.fingerprint_entry is not None
        return XattrEntry(*self._profile.fingerprint_entry, value(self._profile.encoding.digest, digest))

    def _pack(self, entries: list[XattrEntry]) -> bytes:
        """Pack an area, by reference to shared entries where possible."""
        inline: list[bytes] = []
        shared: list[int] = []
        for entry in entries:
            packed = entry.pack()
            number = self.shared.get(packed)
            if number is None or len(shared) >= MAX_SHARED:
                inline.append(packed)
            else:
                shared.append(number)
        bits = filter_word(entries, self._profile.prefixes) if self._options.xattr_filter else 0
        return pack_area(inline, shared, bits)

    def _around_digest(self) -> tuple[bytes, bytes] | None:
        """Return what stands before and behind the digest where the fingerprint is the only attribute."""
        if self._profile.fingerprint_entry is None:
            return None
        mark = b"\xff" * DIGEST_SIZE
        before, _, behind = self._pack([self._fingerprint(mark)]).rpartition(mark)
        return before, behind


def _choose_shared(nodes: Sequence[Node], options: BuildOptions, profile: Profile) -> dict[bytes, int]:
    """Choose the attributes to store once: those that more inodes repeat than the tolerance -> their ids."""
    counts: Counter[tuple[bytes, bytes]] = Counter()
    for node in nodes:
        if node.xattrs:
            counts.update(node.xattrs)
    common = {pair for pair, count in counts.items() if count > max(options.xattr_tolerance, 1)}
    shared: dict[bytes, int] = {}
    at = 0
    for name, content in sorted(common):
        parts = split_name(name, profile.prefixes)
        assert parts is not None
        packed = XattrEntry(*parts, content).pack()
        shared[packed] = at // 4
        at += len(packed)
    return shared


def _check_names(node: Node, profile: Profile, path: Callable[[Node], bytes]) -> None:
    for name, content in node.xattrs:
        if len(content) > MAX_VALUE:
            raise SourceError(path(node), f"xattr {printable(name)} has {len(content)} bytes; at most {MAX_VALUE} fit")
        parts = split_name(name, profile.prefixes)
        if parts is None:
            raise SourceError(path(node), f"xattr {printable(name)} is in no namespace that an image has")
        if len(parts[1]) > MAX_SUFFIX:
            raise SourceError(path(node), f"xattr name {printable(name)} is too long")
