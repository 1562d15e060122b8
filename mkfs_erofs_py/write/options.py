"""What a caller may ask for."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from ..ondisk.constants import FINGERPRINT_NAME
from .times import TimePolicy

__all__ = ["BuildOptions", "TimePolicy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """Everything that shapes an image. Times are seconds since 1970, sizes bytes.

    ``compressor`` is in ``mkfs.erofs``'s ``-z`` syntax, ``None`` to store plain. ``pcluster`` is the
    most a block-aligned physical cluster takes, or the content in a piece of encoded extents.
    ``encoded_extents`` and ``legacy_index`` choose the index; ``None`` and False leave it to
    ``kernel``, the release that must mount the image (``None``: 6.6, or what other options need).
    ``timestamp`` with ``time_policy`` sets or clamps modification times. ``xattr_tolerance`` is how
    many inodes may repeat an attribute before it is stored once for all; negative leaves all out.
    ``fingerprint`` is ``blake3``, ``sha256`` or ``none``. ``workers`` is 0 for one a processor.
    """

    compressor: str | None = "lz4hc"
    pcluster: int | None = None
    block_size: int = 4096
    encoded_extents: bool | None = None
    legacy_index: bool = False
    dot_omitted: bool = False
    kernel: str | None = None
    fingerprint: str = "blake3"
    fingerprint_name: bytes = FINGERPRINT_NAME
    xattr_prefixes: tuple[bytes, ...] = ()
    xattr_filter: bool = True
    xattr_tolerance: int = 2
    inline_data: bool = True
    inode_form: str = "auto"
    checksum: bool = True
    timestamp: int | None = None
    time_policy: TimePolicy = TimePolicy.KEEP
    uuid: uuid.UUID | None = None
    label: bytes = b""
    force_uid: int | None = None
    force_gid: int | None = None
    uid_offset: int = 0
    gid_offset: int = 0
    hard_dereference: bool = False
    exclude_paths: tuple[str, ...] = ()
    exclude_regexes: tuple[str, ...] = ()
    workers: int = 0
