"""``share``: read images through one shared page cache and show what sharing saves."""

from __future__ import annotations

import gc

import click

from ..errors import UsageError
from ..sharing import measure, read_ranges
from ..sharing.report import as_json, chart, table
from .progress import Progress

__all__ = ["command"]


@click.command("share")
@click.argument("images", nargs=-1, metavar="IMAGE...")
@click.option("--files", metavar="LIST", help="Read only these: a path a line, or path, offset, length with tabs.")
@click.option("--strict", is_flag=True, help="Check content against its fingerprint before it is shared.")
@click.option("--json", "json_", is_flag=True, help="Print the answer as JSON.")
@click.option("--plot", metavar="FILE", help="Also draw a chart: FILE.svg, or FILE.png with matplotlib.")
def command(images: tuple[str, ...], files: str | None, strict: bool, json_: bool, plot: str | None) -> None:
    """Mount IMAGEs over one page cache, read every file without sharing and with it, and compare.

    By default fingerprints are believed, as the kernel does. MB are 2^20 bytes.
    """
    gc.disable()  # too short a run for it to pay; it would cost a tenth of the time
    if not images:
        raise UsageError("share compares images: name at least one")
    with Progress(quiet=json_) as bar:
        answer = measure(images, None if files is None else read_ranges(files), strict=strict, progress=bar)
    if plot is not None:
        chart(answer, plot)
    if json_:
        click.echo(as_json(answer))
        return
    for warning in answer.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(table(answer))
