"""``verify``: is an image what it says, and what it should be?"""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from ..check import Finding, VerifyReport, verify_image, write_manifest
from ..check.manifest import format_manifest
from ..errors import UnreadableError, UsageError, printable
from ..fingerprint import ALGORITHMS
from .progress import Progress
from .reading import device_option, json_option, print_json

__all__ = ["command"]

#: Files without a fingerprint that are named one by one; the rest are counted.
_NAMED_UNPROVEN = 10


@click.command("verify")
@click.option("--against", "tree", type=click.Path(), metavar="DIR", help="Compare everything with the tree DIR.")
@click.option("--manifest", type=click.Path(), metavar="FILE", help="Compare files' digests with those in FILE.")
@click.option(
    "--write-manifest", "output", type=click.Path(), metavar="FILE", help="Write files' digests to FILE (- for stdout)."
)
@click.option("--digest", type=click.Choice(ALGORITHMS), default=ALGORITHMS[0], help="The manifest's algorithm.")
@click.option("--workers", type=click.IntRange(1), default=None, help="Processes at work (default: one a core).")
@click.option("--quiet", is_flag=True, help="Print faults only.")
@json_option
@device_option
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
def command(
    images: tuple[str, ...],
    tree: str | None,
    manifest: str | None,
    output: str | None,
    digest: str,
    workers: int | None,
    quiet: bool,
    as_json: bool,
    devices: tuple[str, ...],
) -> int:
    """Check each IMAGE: checksum, structure, that every byte decodes, that every file matches its fingerprint.

    Exit status: 0 sound, 1 something differs (each thing named), 2 cannot be read.
    """
    if len(images) > 1 and (tree or manifest or output or devices):
        raise UsageError("--against, --manifest, --write-manifest and --device want a single IMAGE")
    status = 0
    results: list[dict[str, Any]] = []
    for image in images:
        began = time.monotonic()
        try:
            with Progress(quiet=quiet or as_json, unit=" inodes") as bar:
                report = verify_image(
                    image,
                    devices=devices,
                    tree=tree,
                    manifest=manifest,
                    digest=digest if output is not None else None,
                    workers=workers or 0,
                    progress=bar.under(image),
                )
        except UnreadableError as error:
            if error.path == tree:
                raise
            status = 2
            results.append({"image": image, "status": "unreadable", "error": error.what})
            if not as_json:
                click.echo(f"{printable(image)}: cannot be read: {error.what}", err=True)
            continue
        if output == "-":
            sys.stdout.buffer.write(format_manifest(report.digests, digest))
        elif output is not None:
            write_manifest(output, report.digests, digest)
        if not report.sound:
            status = max(status, 1)
        results.append({"image": image, **report.as_dict()})
        if not as_json:
            _show(printable(image), report, time.monotonic() - began, quiet or output == "-")
    if as_json:
        print_json(results)
    return status


def _show(name: str, report: VerifyReport, seconds: float, quiet: bool) -> None:
    for found in report.faults:
        click.echo(f"{name}: {_line(found)}")
    if quiet:
        return
    unproven = [found for found in report.findings if found.kind == "unproven"]
    for found in unproven[:_NAMED_UNPROVEN]:
        click.echo(f"{name}: {_line(found)}")
    if len(unproven) > _NAMED_UNPROVEN:
        click.echo(f"{name}: {len(unproven) - _NAMED_UNPROVEN} more files have no fingerprint")
    verdict = "sound" if report.sound else f"NOT sound, {len(report.faults)} faults"
    click.echo(
        f"{name}: {verdict}: {report.inodes} inodes, {report.files} files, {report.size} bytes, "
        f"{report.proven} fingerprints true, {seconds:.2f} s"
    )


def _line(found: Finding) -> str:
    words = [f"{printable(found.path)}: " if found.path else "", found.what]
    if found.expected is not None:
        words.append(f": expected {printable(found.expected)}")
    if found.found is not None:
        words.append(f"{':' if found.expected is None else ','} found {printable(found.found)}")
    if found.offset is not None:
        words.append(f" (at offset {found.offset})")
    return "".join(words)
