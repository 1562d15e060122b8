"""``dedup``: what sharing page cache would save, from fingerprints and sizes alone."""

from __future__ import annotations

import gc

import click

from ..errors import UsageError
from ..sharing import compare_with_index, predict
from ..sharing.report import as_json, export, matrix_table, table, top_table
from .progress import Progress

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
    with Progress(quiet=json_, unit=" images") as bar:
        if index is not None:
            answer = compare_with_index(index, images, top=top, progress=bar)
        elif images:
            answer = predict(images, top=top, progress=bar)
        else:
            raise UsageError("dedup compares images: name at least one")
    for path in exports:
        export(answer, path)
    if json_:
        click.echo(as_json(answer))
        return
    for warning in answer.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo("\n\n".join(part for part in (table(answer), matrix_table(answer), top_table(answer)) if part))
