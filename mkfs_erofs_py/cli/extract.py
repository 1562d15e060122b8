"""``extract``: an image becomes a tree on disk, or a tar stream."""

from __future__ import annotations

import json
import sys
import time

import click

from ..errors import OutputError
from ..extract import Extracted, extract_image, write_tar
from .progress import Progress
from .reading import device_option, image_argument, json_option

__all__ = ["command"]


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
    if folder == "-":
        if sys.stdout.isatty():
            raise OutputError(folder, "a tar stream does not go to a terminal")
        done = write_tar(image, sys.stdout.buffer, paths=paths or None, devices=devices)
        _say_left_out(done)
        return
    with Progress(quiet=quiet or as_json, unit=" inodes") as bar:
        done = extract_image(
            image,
            folder,
            paths=paths or None,
            devices=devices,
            workers=workers or 0,
            progress=bar.under(image),
        )
    seconds = time.monotonic() - began
    if as_json:
        sys.stdout.write(json.dumps(done.as_dict() | {"seconds": round(seconds, 3)}) + "\n")
        return
    _say_left_out(done)
    if not quiet:
        click.echo(f"{done.inodes} inodes, {done.files} files, {done.size} bytes, {seconds:.2f} s")


def _say_left_out(done: Extracted) -> None:
    for what, count in done.left_out.items():
        click.echo(f"left out: {what} ({count})", err=True)
