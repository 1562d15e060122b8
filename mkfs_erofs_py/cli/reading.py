"""What the commands that read images have in common: arguments, and JSON as it comes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

import click

__all__ = ["device_option", "image_argument", "json_option", "print_json", "print_rows"]

image_argument = click.argument("image", type=click.Path())
device_option = click.option(
    "--device", "devices", multiple=True, metavar="FILE", help="An extra device of the image; repeat in their order."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def print_json(facts: object) -> None:
    """Print a JSON value."""
    sys.stdout.write(json.dumps(facts, indent=1) + "\n")


def print_rows(rows: Iterable[object]) -> None:
    """Print a JSON array, one row a line, as the rows come."""
    write = sys.stdout.write
    first = True
    for row in rows:
        write("[\n" if first else ",\n")
        write(json.dumps(row))
        first = False
    write("[]\n" if first else "\n]\n")
