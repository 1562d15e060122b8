"""``dedup``: what sharing page cache would save, from fingerprints and sizes alone."""

from __future__ import annotations

import contextlib
import gc
import os

import click

from ..errors import UnreadableError, UsageError
from ..read import Image
from ..sharing import Answer, Profile, predict, profile_image
from ..sharing.index import Index
from ..sharing.report import as_json, distinct, export, matrix_table, table, top_table

__all__ = ["command"]


@click.command("dedup")
@click.argument("images", nargs=-1, metavar="IMAGE...")
@click.option("--json", "json_", is_flag=True, help="Print the answer as JSON.")
@click.option("--top", default=10, show_default=True, metavar="N", help="Name the N files that save the most.")
@click.option("--export", "exports", multiple=True, metavar="FILE", help="Also write FILE.csv, .json or .html.")
@click.option(
    "--index", metavar="FILE", help="Keep the fingerprints in FILE and compare with all images that it knows."
)
def command(images: tuple[str, ...], json_: bool, top: int, exports: tuple[str, ...], index: str | None) -> None:
    """Tell what sharing page cache among IMAGEs would save, without reading any file.

    Counts what Linux 7.0 and later cache when every file is read once: whole pages, each inode once.
    MB are 2^20 bytes.

    With --index, IMAGEs are added to the index unless it has them, and compared with every image in it; no
    IMAGE compares all of them.
    """
    gc.disable()  # too short a run for it to pay; it would cost a tenth of the time
    if top < 0:
        raise UsageError(f"--top {top}: a number of files, 0 or more")
    answer = _from_index(index, images, top) if index is not None else _from_images(images, top)
    for path in exports:
        export(answer, path)
    if json_:
        click.echo(as_json(answer))
        return
    for warning in answer.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo("\n\n".join(part for part in (table(answer), matrix_table(answer), top_table(answer)) if part))


def _profile(path: str, name: str) -> Profile:
    with Image.open(path) as image:
        return profile_image(image, name)


def _from_images(paths: tuple[str, ...], top: int) -> Answer:
    if not paths:
        raise UsageError("dedup compares images: name at least one")
    return predict([_profile(*named) for named in zip(paths, distinct(paths), strict=True)], top=top)


def _from_index(index: str, paths: tuple[str, ...], top: int) -> Answer:
    if not paths and not os.path.exists(index):
        raise UnreadableError(index, "no such index: name images to begin one")
    with contextlib.closing(Index(index)) as known:
        for path in paths:
            if not known.knows(path):
                known.add(path, _profile(path, path))
        return known.answer(paths or known.images(), top=top)
