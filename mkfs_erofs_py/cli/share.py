"""``share``: read images through one shared page cache and show what sharing saves."""

from __future__ import annotations

import contextlib
import gc

import click

from ..errors import SourceError, UsageError
from ..read import Image
from ..sharing import Range, measure, parse_ranges
from ..sharing.report import as_json, chart, distinct, table

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
    ranges = None if files is None else _read_list(files)
    with contextlib.ExitStack() as stack:
        opened = [
            (name, stack.enter_context(Image.open(path))) for path, name in zip(images, distinct(images), strict=True)
        ]
        answer = measure(opened, ranges, strict=strict)
    if plot is not None:
        chart(answer, plot)
    if json_:
        click.echo(as_json(answer))
        return
    for warning in answer.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(table(answer))


def _read_list(path: str) -> list[Range]:
    try:
        with open(path, "rb") as lines:
            return parse_ranges(lines)
    except OSError as error:
        raise SourceError(path, error.strerror or str(error)) from error
