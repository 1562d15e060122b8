"""``mount``: images as file systems, through the kernel's driver or through FUSE over one shared cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from ..errors import UsageError, printable
from ..mount.images import BUDGET, DOMAIN, Backend, mount_images
from ..mount.points import places, statistics
from .reading import print_rows
from .types import SIZE

__all__ = ["command"]


@click.command("mount")
@click.argument("arguments", nargs=-1, metavar="IMAGE... DIR | IMAGE=MOUNTPOINT...")
@click.option(
    "--backend",
    type=click.Choice(["auto", "kernel", "fuse"]),
    default="auto",
    show_default=True,
    help="The kernel's driver, or FUSE. auto: the kernel's if it can be used, otherwise FUSE.",
)
@click.option(
    "--domain",
    show_default=DOMAIN,
    metavar="ID",
    help="Files with equal fingerprints share page cache within a domain (the kernel's domain_id).",
)
@click.option("--no-share", is_flag=True, help="Share no page cache: each file of each image has pages of its own.")
@click.option(
    "--budget",
    type=SIZE,
    show_default=f"{BUDGET >> 20}M",
    metavar="SIZE",
    help="FUSE: the most that pages in the cache may take.",
)
@click.option("--strict", is_flag=True, help="FUSE: check content against its fingerprint before it is shared.")
@click.option("-f", "--foreground", is_flag=True, help="FUSE: stay in the foreground; SIGUSR1 prints the counters.")
@click.option("--stats", is_flag=True, help="Print the counters of the FUSE mounts at the given folders, and end.")
@click.option("--json", "as_json", is_flag=True, help="With --stats: as JSON.")
def command(
    arguments: tuple[str, ...],
    backend: Backend,
    domain: str | None,
    no_share: bool,
    budget: int | None,
    strict: bool,
    foreground: bool,
    stats: bool,
    as_json: bool,
) -> None:
    """Mount IMAGEs, each as a folder of its file's name in DIR, or at a MOUNTPOINT of its own.

    Equal files share page cache: in the kernel from Linux 7.0 on, through FUSE with any. The command
    umount undoes it, and so does the system's (`umount -R DIR` where the kernel's driver serves a DIR).

    Fingerprints are believed unless --strict is given: mount images of one trusted source in one domain.
    """
    if stats:
        _print_statistics(arguments, as_json)
        return
    if as_json:
        raise UsageError("--json is for --stats")
    mount_images(
        places(arguments),
        backend=backend,
        domain=domain,
        share=not no_share,
        budget=budget,
        strict=strict,
        foreground=foreground,
        say=lambda text: click.echo(text, err=True),
        warn=lambda text: click.echo(f"warning: {text}", err=True),
        tell=lambda facts: click.echo(_statistics_text(facts), err=True),
    )


def _print_statistics(points: Sequence[str], as_json: bool) -> None:
    if not points:
        raise UsageError("--stats: name the folders where images are mounted through FUSE")
    found = [(point, statistics(point)) for point in points]
    if as_json:
        print_rows({"mount_point": point, **facts} for point, facts in found)
    else:
        click.echo("\n".join(_statistics_text(facts) for _, facts in found))


def _statistics_text(facts: dict[str, Any]) -> str:
    """Return the statistics as a table: a line for each image, and one for all together."""
    columns = list(facts["total"])
    rows = [["", *(column.replace("_", " ") for column in columns)]]
    for name, counters in [*facts["images"].items(), ("all", facts["total"])]:
        rows.append([printable(name), *(str(counters[column]) for column in columns)])
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = [f"process {facts['pid']}, budget {facts['budget_bytes']} bytes; counts are pages of 4096 bytes"]
    for row in rows:
        lines.append(
            "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        )
    return "\n".join([*lines, *(f"warning: {printable(text)}" for text in facts["warnings"])])
