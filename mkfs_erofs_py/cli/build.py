"""``build``: a directory becomes an image. Options are spelled as ``mkfs.erofs`` spells them."""

from __future__ import annotations

import gc
import json
import os
import uuid
from collections.abc import Callable
from typing import Any

import click

from ..errors import UsageError, printable
from ..fingerprint import ALGORITHMS
from ..units import format_size, parse_time
from ..write import BuildOptions, BuildSummary, build_image
from ..write.owners import owners
from .progress import Progress
from .types import SIZE, UUID

#: Options of ``mkfs.erofs`` 1.9 that are not done yet: refused by name, since to ignore them would give
#: another image than was asked for.
_LATER_WITH_VALUE = (
    "-m",
    "--async-queue-limit",
    "--blobdev",
    "--chunksize",
    "--clean",
    "--compress-hints",
    "--dsunit",
    "--file-contexts",
    "--fsalignblks",
    "--incremental",
    "--max-extent-bytes",
    "--mount-point",
    "--offset",
    "--ovlfs-strip",
    "--root-xattr-isize",
    "--s3",
    "--sort",
    "--vmdk-desc",
    "--zfeature-bits",
)
_LATER_OPTIONAL = ("--MZ", "--gzinfo", "--oci", "--tar", "--ungzip", "--unxz", "--zD")
_LATER_FLAGS = ("--aufs",)
_LATER_FEATURES = (
    "all-fragments",
    "dedupe",
    "force-chunk-indexes",
    "force-inode-blockmap",
    "fragdedupe",
    "fragments",
    "ztailpacking",
)


def _refuse(ctx: click.Context, param: click.Parameter, value: object) -> None:
    if value and not ctx.resilient_parsing:
        raise UsageError(f"{param.opts[0]}: not supported yet")


def _later(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that are refused by name."""
    shared: dict[str, Any] = {"callback": _refuse, "expose_value": False, "hidden": True}
    for name in _LATER_WITH_VALUE:
        command = click.option(name, **shared)(command)
    for name in _LATER_OPTIONAL:
        command = click.option(name, is_flag=False, flag_value="yes", **shared)(command)
    for name in _LATER_FLAGS:
        command = click.option(name, is_flag=True, **shared)(command)
    return command


def _extended(words: tuple[str, ...]) -> dict[str, Any]:
    """Read all ``-E`` values -> changes to the options; ``^`` in front of a feature turns it off."""
    features: dict[str, tuple[str, Any, Any]] = {
        "48bit": ("encoded_extents", True, False),
        "dot-omitted": ("dot_omitted", True, False),
        "force-inode-compact": ("inode_form", "compact", "auto"),
        "force-inode-extended": ("inode_form", "extended", "auto"),
        "inline_data": ("inline_data", True, False),
        "legacy-compress": ("legacy_index", True, False),
        "noinline_data": ("inline_data", False, True),
        "nosbcrc": ("checksum", False, True),
        "xattr-name-filter": ("xattr_filter", True, False),
    }
    changes: dict[str, Any] = {}
    for word in ",".join(words).split(",") if words else ():
        name, equals, _ = word.removeprefix("^").partition("=")
        off = word.startswith("^")
        if name in _LATER_FEATURES:
            if not off:
                raise UsageError(f"-E{name}: not supported yet")
        elif name == "plain-xattr-prefixes" and not equals:
            # Prefixes are always stored plainly: nothing else would work on every kernel.
            if off:
                raise UsageError("-E^plain-xattr-prefixes: not supported")
        elif name in features and not equals:
            field, on_value, off_value = features[name]
            changes[field] = off_value if off else on_value
        else:
            raise UsageError(f"-E{word}: no such feature")
    return changes


def _source_date_epoch() -> int | None:
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        return parse_time(epoch) if epoch else None
    except UsageError as error:
        raise UsageError(f"SOURCE_DATE_EPOCH={error}") from None


def _owner_word(ctx: click.Context, param: click.Parameter, value: int | bool | None) -> None:
    """Note an option about who owns all files, in the order of the command line: the last word counts."""
    if value is not None and value is not False:
        ctx.meta.setdefault(_OWNERS, []).append((param.opts[0].removeprefix("--"), int(value)))


_OWNERS = f"{__name__}.owners"


class _Command(click.Command):
    """Takes optional values with ``=`` only, as getopt does: the next word is never one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        optional = {
            name: param.flag_value
            for param in self.params
            if isinstance(param, click.Option) and not param.is_flag and isinstance(param.flag_value, str)
            for name in param.opts
        }
        end = args.index("--") if "--" in args else len(args)
        return super().parse_args(ctx, [f"{a}={optional[a]}" if a in optional else a for a in args[:end]] + args[end:])


@click.command("build", cls=_Command, short_help="Write a directory to an image.")
@click.argument("image", type=click.Path(path_type=bytes))
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE", type=click.Path(path_type=bytes))
@click.option(
    "-z",
    "compressor",
    metavar="X[,level=Y]",
    default="lz4hc",
    show_default=True,
    help="Compressor: lz4, lz4hc, zstd, deflate or lzma, with a level (lz4hc,12) or options "
    "(zstd,level=9,dictsize=64k); none stores all data plain.",
)
@click.option(
    "-C",
    "pcluster",
    type=SIZE,
    help="Largest physical cluster; in the 48-bit layout, what a compressed piece holds.  "
    "[default: a block; 64k in the 48-bit layout]",
)
@click.option("-b", "block_size", type=SIZE, default=4096, show_default=True, help="Block size, 512 to 65536.")
@click.option(
    "-E",
    "extended",
    metavar="X[,...]",
    multiple=True,
    help="Features: 48bit (byte-packed extents), legacy-compress (full indexes), dot-omitted, noinline_data, "
    "force-inode-compact, force-inode-extended, xattr-name-filter, nosbcrc; ^X turns X off.",
)
@click.option(
    "--kernel",
    metavar="X.Y",
    help="Linux release that must mount the image: choose the newest layout it reads, refuse what it cannot.  "
    "[default: 6.6, or what other options need]",
)
@click.option(
    "--fingerprint",
    type=click.Choice([*ALGORITHMS, "none"]),
    default=ALGORITHMS[0],
    show_default=True,
    help="Hash of each file's content; sha256 shares with images of mkfs.erofs.",
)
@click.option(
    "--xattr-inode-digest",
    "fingerprint_name",
    metavar="NAME",
    is_flag=False,
    flag_value="erofs.fingerprint.v1",
    help="Attribute that holds the fingerprint.  [default: trusted.erofs.fingerprint]",
)
@click.option("--xattr-prefix", "xattr_prefixes", multiple=True, metavar="X", help="Extra long xattr name prefix.")
@click.option(
    "-x",
    "xattr_tolerance",
    type=int,
    default=2,
    show_default=True,
    help="Store attributes that more inodes than this repeat only once; negative: no attributes.",
)
@click.option("-T", "timestamp", type=int, metavar="SECONDS", help="Fixed time for all files (--all-time) or none.")
@click.option("--all-time/--mkfs-time", "all_time", default=None, help="What -T applies to: all files, or no file.")
@click.option("--ignore-mtime", is_flag=True, help="Give all files the time of -T or SOURCE_DATE_EPOCH.")
@click.option("--preserve-mtime", is_flag=True, expose_value=False, help="Keep each file's time (what is done anyway).")
@click.option("-U", "identity", type=UUID, help="UUID, clear or random.  [default: follows from the content]")
@click.option("-L", "label", default="", help="Volume label, at most 15 bytes.")
@click.option(
    "--all-root", is_flag=True, callback=_owner_word, expose_value=False, help="Make all files owned by root."
)
@click.option(
    "--force-uid",
    type=click.IntRange(0, 0xFFFFFFFF),
    callback=_owner_word,
    expose_value=False,
    help="Owner of all files.",
)
@click.option(
    "--force-gid",
    type=click.IntRange(0, 0xFFFFFFFF),
    callback=_owner_word,
    expose_value=False,
    help="Group of all files.",
)
@click.option("--uid-offset", type=int, default=0, help="Add to all owners.")
@click.option("--gid-offset", type=int, default=0, help="Add to all groups.")
@click.option("--hard-dereference", is_flag=True, help="Store hard links as separate files.")
@click.option("--exclude-path", "exclude_paths", multiple=True, help="Leave out this path (below SOURCE).")
@click.option("--exclude-regex", "exclude_regexes", multiple=True, help="Leave out paths in which this is found.")
@click.option(
    "--workers", type=click.IntRange(0, 1024), default=0, help="Worker processes.  [default: one a processor]"
)
@click.option("-d", "verbosity", type=click.IntRange(0, 9), default=2, help="0 is quiet.")
@click.option("--quiet", is_flag=True, help="Write nothing to standard output.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@_later
def command(
    image: bytes,
    sources: tuple[bytes, ...],
    extended: tuple[str, ...],
    identity: uuid.UUID | None,
    label: str,
    fingerprint_name: str | None,
    xattr_prefixes: tuple[str, ...],
    verbosity: int,
    quiet: bool,
    as_json: bool,
    **rest: Any,
) -> None:
    """Write the directory SOURCE to the EROFS image IMAGE.

    Every non-empty regular file gets its content's fingerprint as an extended attribute, by which
    Linux 7.0 and newer share page cache between images. The same tree gives the same bytes.
    """
    if len(sources) > 1:
        raise UsageError("several sources: not supported yet")
    changes = {**rest, **_extended(extended)}
    changes["force_uid"], changes["force_gid"] = owners(click.get_current_context().meta.get(_OWNERS, ()))
    if fingerprint_name is not None:
        changes["fingerprint_name"] = os.fsencode(fingerprint_name)
    options = BuildOptions(
        source_date_epoch=_source_date_epoch(),
        uuid=identity,
        label=os.fsencode(label),
        xattr_prefixes=tuple(map(os.fsencode, xattr_prefixes)),
        **changes,
    )
    quiet = quiet or verbosity == 0
    # A tree of a million nodes has no cycles worth looking for again and again.
    gc.disable()
    with Progress(quiet=quiet) as progress:
        summary = build_image(image, sources[0], options, progress=progress)
    if as_json:
        click.echo(json.dumps(summary.as_dict(), indent=2))
    elif not quiet:
        click.echo(_text(summary))


def _text(summary: BuildSummary) -> str:
    counts = ", ".join(f"{number} {name}" for name, number in summary.counts.items())
    links = f" and {summary.hard_links} more hard links" if summary.hard_links else ""
    sharing = f", page cache shared by Linux {summary.sharing_kernel} and newer" if summary.sharing_kernel else ""
    lines = [
        f"{printable(summary.image)}: {summary.inodes} inodes ({counts}){links}",
        f"  content   {format_size(summary.bytes_in)} -> image {format_size(summary.bytes_out)} ({summary.ratio:.1%})",
        f"  duplicate {summary.duplicates} files, {format_size(summary.duplicate_bytes)} stored once",
        f"  digests   {summary.fingerprints} {summary.fingerprint}{sharing}",
        f"  mounts on Linux {summary.kernel} and newer",
        f"  uuid      {summary.uuid}",
        f"  took      {summary.seconds:.2f} s",
    ]
    return "\n".join(lines)
