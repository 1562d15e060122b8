"""``dump``: an image's structures as they are."""

from __future__ import annotations

import sys
from typing import Any

import click

from ..describe import describe_data, describe_map, describe_superblock
from ..errors import UsageError, printable
from ..read import Image
from ..units import absolute
from .reading import device_option, image_argument, json_option, print_json

__all__ = ["command"]


@click.command("dump")
@click.option("--nid", type=click.IntRange(0), default=None, help="The inode with this number, and its extents.")
@click.option("--map", "as_map", is_flag=True, help="What every byte of the image is for.")
@json_option
@device_option
@image_argument
@click.argument("path", required=False)
def command(
    image: str, path: str | None, nid: int | None, as_map: bool, as_json: bool, devices: tuple[str, ...]
) -> None:
    """Show IMAGE's superblock; the inode at PATH (or --nid) with its extents; or a --map of every byte."""
    if (path is not None) + (nid is not None) + as_map > 1:
        raise UsageError("PATH, --nid and --map exclude each other")
    with Image.open(image, devices=devices) as opened:
        if as_map:
            facts = describe_map(opened)
        elif path is not None:
            facts = describe_data(opened, absolute(path), opened.lookup(path, follow=False))
        elif nid is not None:
            facts = describe_data(opened, b"", opened.inode(nid))
        else:
            facts = describe_superblock(opened)
    if as_json:
        print_json(facts)
    elif as_map:
        _show_map(facts)
    else:
        _show(facts)


def _show(facts: dict[str, Any]) -> None:
    rows = facts.pop("extents", [])
    for key, value in facts.items():
        sys.stdout.write(f"{key.replace('_', ' ') + ':':22} {_plain(value)}\n")
    if rows:
        sys.stdout.write(f"{'logical':>14} {'length':>10}  {'how':10} {'where':>10} {'address':>14} {'stored':>10}\n")
    for row in rows:
        partial = " partial" if row["partial"] else ""
        sys.stdout.write(
            f"{row['start']:14} {row['length']:10}  {row['kind']:10} {row['device']:>10} "
            f"{row['address']:14} {row['stored']:10}{partial}\n"
        )


def _plain(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(_plain(one) for one in value) or "none"
    if isinstance(value, dict):
        return " ".join(f"{key}={_plain(one)}" for key, one in value.items())
    return "none" if value is None else str(value)


def _show_map(facts: dict[str, Any]) -> None:
    for region in facts["regions"]:
        owner = f"  {printable(region['path'])}" if region["path"] else ""
        more = f" and {region['owners'] - 1} more" if region["owners"] > 1 else ""
        start, end = region["start"], region["end"]
        sys.stdout.write(f"{start:14} {end:14} {end - start:12}  {region['what']:18}{owner}{more}\n")
    sys.stdout.write(f"\n{'bytes':>14}  what\n")
    totals = sorted(facts["totals"].items(), key=lambda one: -one[1])
    for what, size in totals:
        sys.stdout.write(f"{size:14}  {what}\n")
    sys.stdout.write(f"{sum(facts['totals'].values()):14}  in all, of {facts['size']}\n")
