"""Measure what two images of a system take in memory with sharing off and on: in a kernel, and in user space.

The kernel is Debian's, under QEMU. User space is this project's own shared cache, on this machine.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.kernel.systems import System
from mkfs_erofs_py.write import build_image
from tests.kernel.harness.boot import Guest
from tests.kernel.harness.fetch import Kernel
from tests.kernel.harness.namespaces import Namespaces
from tests.kernel.harness.remote import Remote
from tests.support.requirements import CACHE

__all__ = [
    "PAGES_ALONE",
    "Memory",
    "UntrueError",
    "images",
    "reading",
    "reading_in_user_space",
    "running",
    "running_in_user_space",
]

MEGABYTES = 10_240
"""The guest's memory: twice what the largest pair needs, so that the kernel drops no page before it is counted."""

SHARE = "inode_share,domain_id=benchmark"

DISKS = ("vda", "vdb")

READ_AHEAD = 128
"""Kilobytes. Linux reads shared files ahead by its default, whatever the disk says, and QEMU's disks say 8192."""

BUDGET = "1024G"
"""The user-space cache's: more than there is, so that it drops no page before it is counted."""

PAGES_ALONE = "cache_strategy=disabled"
"""The option with which EROFS keeps no compressed clusters in memory, as it else does with those read in part."""


class UntrueError(AssertionError):
    """What was measured cannot be what it is taken for; says why."""


@dataclass(frozen=True)
class Memory:
    """Bytes of cached content that two images take together, without sharing and with."""

    without: int
    with_: int

    @property
    def reduction(self) -> float:
        """The part of the memory that sharing saves."""
        return 1 - self.with_ / self.without

    def __str__(self) -> str:
        return f"{self.without >> 20} MB, shared {self.with_ >> 20} MB ({self.reduction:.0%} less)"

    def as_dict(self) -> dict[str, float]:
        """Return the figures, ready for JSON."""
        return {"without": self.without, "with": self.with_, "reduction": round(self.reduction, 4)}


def images(trees: tuple[Path, Path]) -> tuple[Path, Path]:
    """Build an image of each tree, with the builder's own defaults."""
    folder = CACHE / "benchmark"
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for tree in trees:
        image = folder / f"{tree.name}.erofs"
        build_image(image, tree)
        found.append(image)
    return found[0], found[1]


def reading(kernel: Kernel, pair: tuple[Path, Path], options: str = "") -> Memory:
    """Return the growth of the page cache while every file of both images is read; ``options`` go to mount."""
    used = []
    with _booted(kernel, pair) as guest:
        for sharing in ("", SHARE):
            points = _mounted(guest, ",".join(filter(None, (options, sharing))))
            before = _settled(guest)["Cached"]
            for point in points:
                guest.call("read_all", point=point, seconds=900)
            used.append(guest.call("meminfo")["Cached"] - before)
            for point in points:
                guest.call("unmount", point=point)
    return Memory(*used)


def reading_in_user_space(pair: tuple[Path, Path]) -> Memory:
    """Return what ``mkfs-erofs-py share`` finds cached after reading every file of both images.

    Raises UntrueError where ``dedup``, which only knows fingerprints and sizes, foretells anything else.
    """
    measured, foretold = _told("share", pair), _told("dedup", pair)
    if measured != foretold:
        raise UntrueError(f"share measured {measured}, dedup foretold {foretold}")
    return measured


def _told(command: str, pair: tuple[Path, Path]) -> Memory:
    argv = [sys.executable, "-m", "mkfs_erofs_py", command, "--json", *map(str, pair)]
    total = json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout)["total"]
    return Memory(total["without_bytes"], total["with_bytes"])


def running(kernel: Kernel, pair: tuple[Path, Path], system: System) -> Memory:
    """Return the growth of the page cache, without what lies in memory-backed file systems, while both run.

    A kernel of its own for each of the two measurements.
    """
    used = []
    for sharing in ("", SHARE):
        with _booted(kernel, pair) as guest:
            roots = _roots(guest, _mounted(guest, sharing))
            before = _settled(guest)
            _work(guest, roots, system)
            after = guest.call("meminfo")
            used.append(after["Cached"] - after["Shmem"] - before["Cached"] + before["Shmem"])
    return Memory(*used)


def running_in_user_space(pair: tuple[Path, Path], system: System) -> Memory:
    """Return what the cache behind two FUSE mounts holds while both run, on this machine in namespaces."""
    used = []
    for options in (["--no-share"], []):
        with Namespaces() as here:
            points = here.call("mount_fuse", images=[*map(str, pair)], options=[f"--budget={BUDGET}", *options])
            _read_ahead(here, points)
            _work(here, _roots(here, points), system)
            counters = here.call("fuse_counters", point=points[0])["total"]
            if counters["evictions"] or counters["bypasses"]:
                raise UntrueError(f"the user-space cache did not keep everything: {counters}")
            used.append(counters["resident_bytes"])
    return Memory(*used)


def _roots(place: Remote, points: list[str]) -> list[str]:
    """Return a root file system for each mounted image: with a writable layer in memory on top."""
    return [place.call("overlay", lower=point) for point in points]


def _work(place: Remote, roots: list[str], system: System) -> None:
    """Start the system's service in each root, then give each its load; the services run at the same time."""
    for script in (system.start, system.work):
        for number, root in enumerate(roots):
            place.call("run_in", root=root, script=script, port=7100 + number, seconds=900)


@contextmanager
def _booted(kernel: Kernel, pair: tuple[Path, Path]) -> Iterator[Guest]:
    with tempfile.TemporaryDirectory() as share, Guest(kernel, Path(share), disks=pair, megabytes=MEGABYTES) as guest:
        yield guest


def _mounted(guest: Guest, options: str) -> list[str]:
    """Mount both disks; return where."""
    points = [guest.call("mount", image=f"/dev/{name}", options=options, loop=False) for name in DISKS]
    _read_ahead(guest, points)
    return points


def _read_ahead(place: Remote, points: list[str]) -> None:
    """Have all mounts read ahead alike, so that sharing alone differs."""
    for point in points:
        place.call("read_ahead", point=point, kilobytes=READ_AHEAD)


def _settled(guest: Guest) -> dict[str, int]:
    """Return the guest's memory with nothing cached but what the guest itself needs to measure."""
    guest.call("drop_caches")
    guest.call("run_in", root="/", script=":", port=0)
    return dict(guest.call("meminfo"))
