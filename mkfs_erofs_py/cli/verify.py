"""``verify``: is an image what it says, and what it should be?"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict
from typing import Any

import click

from ..check.image import Report, Wanted, check_image
from ..check.inode import Finding
from ..check.manifest import read_manifest, write_manifest
from ..errors import ImageError, UnreadableError, UsageError, printable
from ..fingerprint import ALGORITHMS
from ..units import shown, text
from ..workers.team import available_cores
from .progress import Progress
from .reading import device_option, json_option, open_image

__all__ = ["command"]

#: Files without a fingerprint that are named one by one; the rest are counted.
_NAMED_UNPROVEN = 10
#: Images below this size are checked in one process: forking would cost more than it brings.
_SMALL = 4 << 20


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
    if tree is not None and not os.path.isdir(tree):
        raise UnreadableError(tree, "not a directory")
    wanted = Wanted(
        tree=os.fsencode(tree).rstrip(b"/") if tree is not None else None,
        manifest=read_manifest(manifest) if manifest is not None else None,
        digest=digest if output is not None else None,
    )
    status = 0
    results = []
    for image in images:
        try:
            one, report, seconds = _verify(image, devices, wanted, workers, quiet or as_json)
        except UnreadableError as error:
            status = 2
            results.append({"image": image, "status": "unreadable", "error": error.what})
            if not as_json:
                click.echo(f"{shown(os.fsencode(image))}: cannot be read: {error.what}", err=True)
            continue
        if output is not None:
            write_manifest(output, (row for row in set(report.digests) if row[1] == digest))
        if one["status"] != "sound":
            status = max(status, 1)
        results.append(one)
        if not as_json:
            _show(image, one, report, seconds, quiet or output == "-")
    if as_json:
        sys.stdout.write(json.dumps(results, indent=1) + "\n")
    return status


def _verify(
    image: str, devices: tuple[str, ...], wanted: Wanted, workers: int | None, silent: bool
) -> tuple[dict[str, Any], Report, float]:
    began = time.monotonic()
    try:
        with open_image(image, devices) as opened, Progress(quiet=silent, unit=" inodes") as bar:
            expected = opened.superblock.inodes
            count = workers or (1 if opened.size < _SMALL else available_cores())
            report = check_image(opened, wanted, count, lambda done: bar(image, min(done, expected), expected))
    except ImageError as error:
        report = Report(findings=[Finding.of(b"", error)])
    found = {
        "image": image,
        "status": "unsound" if report.faults else "sound",
        "inodes": report.inodes,
        "files": report.files,
        "bytes": report.size,
        "fingerprints": report.proven,
        "findings": [_finding(one) for one in report.findings],
    }
    return found, report, time.monotonic() - began


def _finding(one: Finding) -> dict[str, Any]:
    return asdict(one) | {"path": text(one.path)}


def _show(image: str, one: dict[str, Any], report: Report, seconds: float, quiet: bool) -> None:
    name = shown(os.fsencode(image))
    unproven = [found for found in report.findings if found.kind == "unproven"]
    for found in report.faults:
        click.echo(f"{name}: {_line(found)}")
    if quiet:
        return
    for found in unproven[:_NAMED_UNPROVEN]:
        click.echo(f"{name}: {_line(found)}")
    if len(unproven) > _NAMED_UNPROVEN:
        click.echo(f"{name}: {len(unproven) - _NAMED_UNPROVEN} more files have no fingerprint")
    verdict = "sound" if not report.faults else f"NOT sound, {len(report.faults)} faults"
    click.echo(
        f"{name}: {verdict}: {one['inodes']} inodes, {one['files']} files, {one['bytes']} bytes, "
        f"{one['fingerprints']} fingerprints true, {seconds:.2f} s"
    )


def _line(found: Finding) -> str:
    words = [f"{shown(found.path)}: " if found.path else "", found.what]
    if found.expected is not None:
        words.append(f": expected {printable(found.expected)}")
    if found.found is not None:
        words.append(f"{':' if found.expected is None else ','} found {printable(found.found)}")
    if found.offset is not None:
        words.append(f" (at offset {found.offset})")
    return "".join(words)
