"""``cat``: the content of files inside an image."""

from __future__ import annotations

import sys

import click

from ..errors import UnreadableError
from ..read import Image
from ..read.whole import filled
from .reading import device_option, image_argument

__all__ = ["command"]


@click.command("cat")
@device_option
@image_argument
@click.argument("paths", nargs=-1, required=True)
def command(image: str, paths: tuple[str, ...], devices: tuple[str, ...]) -> None:
    """Write the regular files at PATHS inside IMAGE to standard output, one after the other."""
    with Image.open(image, devices=devices) as opened:
        for path in paths:
            inode = opened.lookup(path)
            if not inode.is_file:
                raise UnreadableError(path, "not a regular file")
            for data in filled(opened, inode):
                sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
