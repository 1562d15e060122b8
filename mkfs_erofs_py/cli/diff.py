"""``diff``: how two images differ."""

from __future__ import annotations

import sys

import click

from ..check import Difference, Ignorable, diff_images
from ..check.diff import IGNORABLE
from ..errors import printable
from .progress import Progress
from .reading import image_argument, json_option, print_rows

__all__ = ["command"]


@click.command("diff")
@click.option("--ignore", multiple=True, type=click.Choice(IGNORABLE), help="Differences of no interest; repeatable.")
@click.option("--device-a", "devices_a", multiple=True, metavar="FILE", help="An extra device of the first image.")
@click.option("--device-b", "devices_b", multiple=True, metavar="FILE", help="An extra device of the second image.")
@json_option
@image_argument
@click.argument("other", type=click.Path())
def command(
    image: str,
    other: str,
    ignore: tuple[Ignorable, ...],
    devices_a: tuple[str, ...],
    devices_b: tuple[str, ...],
    as_json: bool,
) -> int:
    """Show what changed from IMAGE to OTHER: - gone, + new, M changed (and what).

    Exit status: 0 the same, 1 different, 2 trouble.
    """
    with Progress(quiet=as_json, unit=" inodes") as bar:
        found = diff_images(
            image, other, ignore=ignore, devices_before=devices_a, devices_after=devices_b, progress=bar
        )
    if as_json:
        print_rows(one.as_dict() for one in found)
    else:
        sys.stdout.writelines(f"{_line(one)}\n" for one in found)
    return int(bool(found))


def _line(one: Difference) -> str:
    words = "; ".join(
        change.what if change.before is None else f"{change.what} {change.before} -> {change.after}"
        for change in one.changes
    )
    return f"{one.mark} {printable(one.path)}{': ' + words if words else ''}"
