"""From a tree to an image: the steps in their order, and what to say about it afterwards."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..compress import require_encoder
from ..encode.contents import ContentStore, Stored
from ..encode.pool import Pool
from ..errors import SourceError, UsageError
from ..files.output import create
from ..files.spool import Spool
from ..sources.directory import Exclude, read_directory
from ..tree import Node
from .emit import emit_metadata, emit_superblock, front_size
from .heads import Heads, kind, make_heads
from .options import BuildOptions, Profile, first_sharing_kernel, resolve
from .plan import inline_room, make_plan

__all__ = ["BuildSummary", "build_image"]

#: Called with (what is being done, units done, units in all or ``None``): entries, then bytes.
Progress = Callable[[str, int, int | None], None]


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


def build_image(
    image: str | bytes | os.PathLike[str],
    source: str | bytes | os.PathLike[str],
    options: BuildOptions | None = None,
    *,
    progress: Progress | None = None,
    **changes: Any,
) -> BuildSummary:
    """Write the tree below ``source`` to a new EROFS image.

    Options may also be given by name: ``build_image(i, s, compressor="zstd,9", pcluster=65536)``. The
    same tree and options give the same bytes. Nothing is left at ``image``, nor changed, unless all
    went well.

    Raises `UsageError` for impossible options, `SourceError` for what cannot be read or changes
    meanwhile, `OutputError` for what cannot be written.
    """
    started = time.monotonic()
    try:
        options = replace(options or BuildOptions(), **changes)
    except TypeError as error:
        raise UsageError(str(error)) from None
    profile = resolve(options)
    if profile.packing.compressor is not None:
        require_encoder(profile.packing.compressor)
    source_path, image_path = os.fsencode(source), os.fsencode(image)
    report = progress or (lambda *_: None)
    with contextlib.ExitStack() as stack:
        # Workers start up while the tree is read.
        pool = stack.enter_context(Pool(profile.packing, options.workers or len(os.sched_getaffinity(0))))
        store = ContentStore(profile.packing, pool)
        root = _read(source_path, image_path, options, store.offer, report)
        output = stack.enter_context(create(image_path))
        spool = stack.enter_context(contextlib.closing(Spool()))
        heads = make_heads(root, options, profile)
        output.append(bytes(front_size(profile)))
        total = sum(node.size for node in heads.nodes)
        stored: dict[int, Stored] = {}
        done = 0

        def keep(node: Node, how: Stored) -> None:
            nonlocal done
            stored[heads.numbers[id(node)]] = how
            done += node.size
            report("packing", done, total)

        store.store(output, spool, lambda node: inline_room(heads, heads.numbers[id(node)]), keep)
        pool.finish()
        plan = make_plan(heads, stored, output.position)
        digest = emit_metadata(plan, spool, output)
        superblock = emit_superblock(plan, digest, output)
    return BuildSummary(
        image=os.fsdecode(image_path),
        source=os.fsdecode(source_path),
        uuid=str(uuid.UUID(bytes=superblock.uuid)),
        inodes=len(heads.nodes),
        counts=dict(Counter(kind(node) for node in heads.nodes)),
        hard_links=_hard_links(heads),
        bytes_in=total,
        bytes_out=plan.end,
        duplicates=store.duplicates,
        duplicate_bytes=store.duplicate_bytes,
        fingerprint=options.fingerprint,
        fingerprints=sum(map(heads.has_fingerprint, heads.nodes)),
        kernel=str(profile.least_kernel),
        sharing_kernel=_sharing_kernel(profile),
        seconds=round(time.monotonic() - started, 3),
    )


def _read(source: bytes, image: bytes, options: BuildOptions, offer: Callable[[Node], None], report: Progress) -> Node:
    exclude = Exclude.make(options.exclude_paths, options.exclude_regexes)
    _check_outside(source, image, exclude)
    return read_directory(
        source,
        exclude=exclude,
        avoid=_identity(image),
        xattrs=options.xattr_tolerance >= 0,
        hard_dereference=options.hard_dereference,
        found=lambda node: offer(node) if node.size else None,
        progress=lambda seen: report("reading the tree", seen, None),
    )


def _check_outside(source: bytes, image: bytes, exclude: Exclude) -> None:
    """Refuse an image inside its source: a second build would not give the same bytes, if it ended at all."""
    inside = os.path.join(os.path.realpath(source), b"")
    target = os.path.realpath(image)
    if target.startswith(inside) and not exclude(target[len(inside) :]):
        raise SourceError(image, "lies inside its source; put it elsewhere, or exclude it")


def _identity(path: bytes) -> tuple[int, int] | None:
    try:
        st = os.stat(path)
    except OSError:
        return None
    return st.st_dev, st.st_ino


def _hard_links(heads: Heads) -> int:
    return sum(n - 1 for n, node in zip(heads.nlinks, heads.nodes, strict=True) if not node.is_dir)


def _sharing_kernel(profile: Profile) -> str | None:
    return str(max(profile.least_kernel, first_sharing_kernel())) if profile.ishare else None
