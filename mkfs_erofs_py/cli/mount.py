"""``mount``: images as file systems, through the kernel's driver or through FUSE over one shared cache."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ..errors import MountError, UsageError, printable
from ..mount.kernel import mount_all, obstacle
from ..mount.points import places, statistics
from ..pagecache import PageCache
from ..read import Image
from ..sharing.report import distinct
from ..vfs import Vfs
from .reading import print_json

if TYPE_CHECKING:
    from ..mount.fuse import Daemon

__all__ = ["command"]

DOMAIN = "mkfs-erofs-py"
"""Where images share unless another domain is named."""

BUDGET = "256M"
"""Room for the shared cache unless told otherwise."""

REFUSALS = 100
"""Warnings that a daemon keeps for whoever asks for its counters: nobody reads its standard error."""

CLUSTERS = 4 << 20
"""Bytes of decoded clusters kept beside the page cache, per image: those that two fills have in common."""


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
@click.option("--budget", show_default=BUDGET, metavar="SIZE", help="FUSE: the most that pages in the cache may take.")
@click.option("--strict", is_flag=True, help="FUSE: check content against its fingerprint before it is shared.")
@click.option("-f", "--foreground", is_flag=True, help="FUSE: stay in the foreground; SIGUSR1 prints the counters.")
@click.option("--stats", is_flag=True, help="Print the counters of the FUSE mounts at the given folders, and end.")
@click.option("--json", "as_json", is_flag=True, help="With --stats: as JSON.")
def command(
    arguments: tuple[str, ...],
    backend: str,
    domain: str | None,
    no_share: bool,
    budget: str | None,
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
    if no_share and (domain is not None or strict):
        raise UsageError("--domain and --strict are about sharing: leave them out with --no-share")
    domain = DOMAIN if domain is None else domain
    chosen = places(arguments)
    room = _size(budget or BUDGET)
    hindrance = obstacle() if backend != "fuse" else "not asked for"
    if backend == "kernel" or hindrance is None:
        if strict or foreground or budget:
            raise UsageError("--strict, --budget and --foreground are for --backend fuse")
        for place in chosen:
            with Image.open(place.image):
                pass  # a clear word about a file that is no image, before anything is mounted
        mount_all(chosen, None if no_share else domain, lambda text: click.echo(text, err=True))
        return
    daemon_class = _load_fuse(f"; the kernel's driver cannot be used either: {hindrance}" if backend == "auto" else "")
    inherited = _descriptors()
    refusals: deque[str] = deque(maxlen=REFUSALS)

    def warn(text: str) -> None:
        refusals.append(text)
        click.echo(f"warning: {text}", err=True)

    with Vfs(PageCache(room, strict=strict, warn=warn), share=not no_share) as vfs:
        mounted = [
            (place, vfs.mount(Image.open(place.image, cache_bytes=CLUSTERS), name, domain.encode()))
            for place, name in zip(chosen, distinct([place.image for place in chosen]), strict=True)
        ]
        daemon = daemon_class(vfs, mounted, refusals)
        if foreground:
            daemon.run(lambda: None, lambda facts: click.echo(_statistics_text(facts), err=True))
        else:
            _in_background(daemon, inherited)


def _size(text: str) -> int:
    """Read a number of bytes, with K, M or G for powers of 1024."""
    found = re.fullmatch(r"([0-9]{1,15})([KMG]?)(I?B)?", text.upper())
    if found is None:
        raise UsageError(f"--budget {text[:40]}: a number of bytes, with K, M or G behind it at will")
    return int(found[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[found[2]]


def _load_fuse(besides: str) -> type[Daemon]:
    """Import what needs libfuse. Raises ``UsageError`` saying what is missing, and ``besides``."""
    try:
        import mfusepy

        if mfusepy.fuse_version_major != 3:
            raise OSError
        from ..mount.fuse import Daemon
    except ImportError:
        raise UsageError(f"FUSE needs the package mfusepy: install mkfs-erofs-py[fuse]{besides}") from None
    except (OSError, AttributeError) as error:  # how mfusepy says that it finds no library that it can use
        said = f" ({error})" if str(error) else ""
        raise UsageError(f"FUSE needs libfuse 3: install your system's package fuse3{said}{besides}") from None
    if not os.path.exists("/dev/fuse"):
        raise UsageError(f"FUSE is not available: there is no /dev/fuse{besides}")
    return Daemon


def _descriptors() -> set[int]:
    """Return the descriptors that are open, standard streams left out."""
    listed = [int(name) for name in os.listdir("/proc/self/fd")]
    return {number for number in listed if number > 2 and _is_open(number)}


def _is_open(descriptor: int) -> bool:
    """Tell whether a descriptor is open: the one that lists them all is not any more."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _in_background(daemon: Daemon, inherited: set[int]) -> None:
    """Serve in a process of its own; return when everything is mounted. Raises ``MountError``.

    ``inherited`` are descriptors of whoever called us, who may wait for their end.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        try:
            with open(reader, encoding="utf-8", errors="replace") as answer:
                text = answer.read()
        except BaseException:  # ^C and the like: the daemon, in a session of its own, knows nothing of it
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGTERM)
                os.waitpid(pid, 0)
            raise
        if text != _READY:
            point, _, what = text.partition("\n")
            raise MountError(point or "mount", what or "the daemon ended without a word")
        return
    status = 1
    try:
        os.close(reader)
        os.setsid()
        for descriptor in inherited:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        os.chdir("/")

        def ready() -> None:
            with open(os.devnull, "r+b") as nothing:
                for descriptor in (0, 1, 2):
                    os.dup2(nothing.fileno(), descriptor)
            os.write(writer, _READY.encode())
            os.close(writer)

        daemon.run(ready, lambda _: None)
        status = 0
    except MountError as error:
        os.write(writer, f"{printable(error.path)}\n{error.what}".encode())
    finally:
        os._exit(status)  # what the parent still has to do is not ours to do as well


_READY = "ready"


def _print_statistics(points: Sequence[str], as_json: bool) -> None:
    if not points:
        raise UsageError("--stats: name the folders where images are mounted through FUSE")
    found = [(point, statistics(point)) for point in points]
    if as_json:
        print_json({"mount_point": point, **facts} for point, facts in found)
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
