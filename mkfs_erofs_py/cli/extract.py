"""``extract``: an image becomes a tree on disk, or a tar stream."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict

import click

from ..errors import OutputError
from ..extract.folder import Extracted, extract_tree
from ..extract.tar import write_tar
from ..units import absolute
from ..workers.team import available_cores
from .progress import Progress
from .reading import device_option, image_argument, json_option, open_image

__all__ = ["command"]

#: Images below this size are extracted by one process.
_SMALL = 2 << 20


@click.command("extract")
@click.option("--workers", type=click.IntRange(1), default=None, help="Processes at work (default: one a core).")
@click.option("--quiet", is_flag=True, help="No progress bar, no summary.")
@json_option
@device_option
@image_argument
@click.argument("folder", type=click.Path())
@click.argument("paths", nargs=-1)
def command(
    image: str,
    folder: str,
    paths: tuple[str, ...],
    workers: int | None,
    quiet: bool,
    as_json: bool,
    devices: tuple[str, ...],
) -> None:
    """Extract IMAGE, or only what is at PATHS in it, into FOLDER, which must be new or empty; FOLDER ``-`` writes a
    tar stream to standard output.

    As root with owners, devices and all extended attributes; as anybody else without what that needs, and what was
    left out is said.
    """
    began = time.monotonic()
    with open_image(image, devices) as opened:
        tops = [absolute(path) for path in paths] or [b"/"]
        if folder == "-":
            if sys.stdout.isatty():
                raise OutputError(folder, "a tar stream does not go to a terminal")
            done = write_tar(opened, tops, sys.stdout.buffer)
        else:
            count = workers or (1 if opened.size < _SMALL else available_cores())
            expected = opened.superblock.inodes
            with Progress(quiet=quiet or as_json, unit=" inodes") as bar:
                done = extract_tree(
                    opened, tops, os.fsencode(folder), count, lambda n: bar(image, min(n, expected), expected)
                )
    _report(done, time.monotonic() - began, quiet, as_json, to_stdout=folder == "-")


def _report(done: Extracted, seconds: float, quiet: bool, as_json: bool, *, to_stdout: bool) -> None:
    if as_json and not to_stdout:
        sys.stdout.write(json.dumps(asdict(done) | {"seconds": round(seconds, 3)}) + "\n")
        return
    for what, count in sorted(done.left_out.items()):
        click.echo(f"left out: {what} ({count})", err=True)
    if not quiet and not to_stdout:
        click.echo(f"{done.inodes} inodes, {done.files} files, {done.size} bytes, {seconds:.2f} s")
