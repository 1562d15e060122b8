"""From a tree to an image: the steps in their order."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Unpack

from ..encode.policy import Policy, Uniform
from ..encode.service import Service
from ..encode.shelf import Shelf
from ..files.output import create
from ..files.spool import Spool
from ..progress import Progress, silent
from ..sources.directory import Exclude, read_directory
from ..workers.team import available_cores
from .area import Area
from .emit import emit
from .features import front_size
from .inodes import Inodes
from .intake import Intake, place_contents
from .options import BuildOptions, OptionNames, with_changes
from .patch import Patch
from .plan import Plan, make_plan
from .profile import Profile, admit, resolve
from .summary import BuildSummary, summarize

if TYPE_CHECKING:
    from .override import Override

__all__ = ["Source", "build_from", "build_image"]

#: Feeds an intake with all that a tree is to hold.
Source = Callable[[Intake], None]


def build_image(
    image: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    source: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    options: BuildOptions | None = None,
    *,
    progress: Progress | None = None,
    **changes: Unpack[OptionNames],
) -> BuildSummary:
    """Write the tree below ``source`` to a new EROFS image.

    Options may also be given by name: ``build_image(i, s, compressor="zstd,9", pcluster=65536)``. Those that are not
    given have the defaults of `BuildOptions`; the environment is not read. The same tree and options give the same
    bytes. Nothing is left at ``image``, nor changed, unless all went well.

    Raises `UsageError` for impossible options, `SourceError` for what cannot be read or changes
    meanwhile, `OutputError` for what cannot be written; `TypeError` for what is no option at all.
    """
    options = with_changes(options, changes)
    exclude = Exclude.make(options.exclude_paths, options.exclude_regexes)
    source_path, image_path = os.fsencode(source), os.fsencode(image)
    report = progress or silent

    def feed(intake: Intake) -> None:
        read_directory(
            intake.tree,
            source_path,
            image=image_path,
            exclude=exclude,
            xattrs=options.xattr_tolerance >= 0,
            hard_dereference=options.hard_dereference,
            found=intake.announce,
            progress=lambda seen: report("reading the tree", seen, None),
        )

    return build_from(image_path, source_path, feed, options, progress=report)


def build_from(
    image: bytes,
    name: bytes,
    source: Source,
    options: BuildOptions,
    *,
    policy: Callable[[Profile], Policy] = lambda profile: Uniform(profile.encoding),
    progress: Progress = silent,
    planned: Callable[[Plan], None] = lambda _: None,
    overrides: Sequence[Override] = (),
) -> BuildSummary:
    """Write the tree that ``source`` feeds to a new image; ``name`` is what to call the source.

    ``policy`` makes, of the profile that the options resolve to, what decides how each content is stored.
    ``planned`` is shown the plan before it is written down; ``overrides`` are fields that then get other values, in
    an image that is meant to be wrong. Raises as `build_image` does, and `UsageError` for impossible overrides.
    """
    started = time.monotonic()
    profile = resolve(options)
    decide = policy(profile)
    profile = admit(profile, options.kernel, decide.encodings)
    with contextlib.ExitStack() as stack:
        spool = stack.enter_context(contextlib.closing(Spool()))
        shelf = Shelf(spool)
        service = stack.enter_context(Service(decide, options.workers or available_cores(), shelf))
        intake = Intake(service, shelf)
        source(intake)
        inodes = Inodes(intake.tree.finish(), options, profile)
        output = stack.enter_context(create(image))
        front = front_size(profile, decide.encodings)
        output.append(bytes(front))
        area = Area(output, spool)
        total = sum(node.size for node in inodes.nodes)
        done = 0

        def note(size: int) -> None:
            nonlocal done
            done += size
            progress("packing", done, total)

        placed = place_contents(inodes, intake, service, area, note)
        plan = make_plan(inodes, placed, front, output.position)
        planned(plan)
        superblock = emit(plan, spool, output, _patches(plan, overrides))
    return summarize(image, name, plan, superblock, area, time.monotonic() - started)


def _patches(plan: Plan, overrides: Sequence[Override]) -> Sequence[Patch]:
    if not overrides:
        return ()
    # Only fixtures have any, and other builds should not pay for loading what finds their places.
    from .override import resolve_overrides

    return resolve_overrides(plan, overrides)
