"""What a caller may ask for."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
import uuid
from dataclasses import dataclass
from typing import TypedDict

from ..errors import UsageError
from ..ondisk.constants import FINGERPRINT_NAME

__all__ = ["BuildOptions", "OptionNames", "with_changes"]


#: What tuples of options hold.
_ITEMS = {"xattr_prefixes": bytes, "exclude_paths": str, "exclude_regexes": str}
_MOST_WORKERS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """Everything that shapes an image. Times are seconds since 1970, sizes bytes.

    How contents are stored:

    * ``compressor``: as ``mkfs.erofs`` takes it behind ``-z``; ``none`` or ``None`` stores contents as they are
    * ``pcluster``: the most bytes a block-aligned physical cluster takes, or the content in a piece of encoded extents
    * ``block_size``: a power of two
    * ``encoded_extents``: whether pieces are packed to the byte (True, but not with deflate) or to blocks (False)
    * ``legacy_index``: whether indexes have the full form, which the oldest kernels read
    * ``inline_data``: whether the end of a regular file may stand behind its inode
    * ``kernel``: the release that must mount the image, such as ``6.12``; ``None``: 6.6, or what other options need. It
      decides where ``encoded_extents`` is ``None`` and ``legacy_index`` False.

    Attributes and fingerprints:

    * ``fingerprint``: ``blake3``, ``sha256`` or ``none``
    * ``fingerprint_name``: the name of the attribute that has the fingerprint
    * ``xattr_prefixes``: beginnings of attributes' names that are stored once for the image
    * ``xattr_filter``: whether inodes have a filter by which a kernel sees at once that a name is not among theirs
    * ``xattr_tolerance``: how many inodes may repeat an attribute before it is stored once for all; negative leaves all
      attributes of the source out

    Inodes and the superblock:

    * ``inode_form``: ``auto`` (compact where that holds all there is to say), ``compact`` (refused where owners, sizes
      or link counts do not fit; times may be lost) or ``extended``
    * ``dot_omitted``: whether directories do without their entry ``.``
    * ``checksum``: whether the superblock has one
    * ``uuid``: ``None`` for one that follows from the content
    * ``label``: the volume's name, at most 15 bytes

    What is taken from the source:

    * ``timestamp``, ``all_time``, ``ignore_mtime``, ``source_date_epoch``: set or clamp modification times, see
      `mkfs_erofs_py.write.times.times`; the environment is not read
    * ``force_uid``, ``force_gid``: the owner and group of all files; ``None`` leaves each its own
    * ``uid_offset``, ``gid_offset``: added to every owner and group
    * ``hard_dereference``: whether each name of a hard link becomes a file of its own
    * ``exclude_paths``: exact paths to leave out, relative to the source
    * ``exclude_regexes``: POSIX extended expressions; a path in which one matches anywhere is left out

    ``workers`` is the number of processes, 0 for one a processor. It changes nothing in the image.
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
    all_time: bool | None = None
    ignore_mtime: bool = False
    source_date_epoch: int | None = None
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


class OptionNames(TypedDict, total=False):
    """The options as keywords: what `BuildOptions` has, each of which may be left out."""

    compressor: str | None
    pcluster: int | None
    block_size: int
    encoded_extents: bool | None
    legacy_index: bool
    dot_omitted: bool
    kernel: str | None
    fingerprint: str
    fingerprint_name: bytes
    xattr_prefixes: tuple[bytes, ...]
    xattr_filter: bool
    xattr_tolerance: int
    inline_data: bool
    inode_form: str
    checksum: bool
    timestamp: int | None
    all_time: bool | None
    ignore_mtime: bool
    source_date_epoch: int | None
    uuid: uuid.UUID | None
    label: bytes
    force_uid: int | None
    force_gid: int | None
    uid_offset: int
    gid_offset: int
    hard_dereference: bool
    exclude_paths: tuple[str, ...]
    exclude_regexes: tuple[str, ...]
    workers: int


def with_changes(options: BuildOptions | None, changes: OptionNames) -> BuildOptions:
    """Return the options, or the default ones, with changes.

    Raises `TypeError`, in one short line, for a name that is no option, and a value that is of the wrong type;
    `UsageError` for a number of workers that nobody can start.
    """
    if options is not None and not isinstance(options, BuildOptions):
        raise TypeError(f"options are BuildOptions, not {type(options).__name__}")
    for name in changes:
        if name not in OptionNames.__annotations__:
            raise TypeError(f"{name!r} is no option of a build; see BuildOptions")
    found = dataclasses.replace(options or BuildOptions(), **changes)
    for name, kinds in _types().items():
        value = getattr(found, name)
        # True is an int to Python, but no size, owner or time.
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            names = " or ".join("None" if kind is types.NoneType else kind.__name__ for kind in kinds)
            raise TypeError(f"{name}={value!r:.40}: {names} is wanted, not {type(value).__name__}")
    for name, kind in _ITEMS.items():
        if not all(isinstance(item, kind) for item in getattr(found, name)):
            raise TypeError(f"{name}={getattr(found, name)!r:.40}: a tuple of {kind.__name__} is wanted")
    if not 0 <= found.workers <= _MOST_WORKERS:
        raise UsageError(f"workers={found.workers}: 0 for one a processor, or up to {_MOST_WORKERS}")
    return found


@functools.cache
def _types() -> dict[str, tuple[type, ...]]:
    """Return the classes that each option's value may have; what a tuple holds is not told."""
    found = {}
    for name, hint in typing.get_type_hints(BuildOptions).items():
        union = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        found[name] = tuple(typing.get_origin(kind) or kind for kind in union)
    return found
