"""Measure, on a Debian kernel under QEMU, what two images of a system take in memory with sharing off and on."""

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
from mkfs_erofs_py.build import build_image
from tests.kernel.harness.boot import Guest
from tests.kernel.harness.fetch import Kernel
from tests.support.requirements import CACHE

__all__ = ["PAGES_ALONE", "Memory", "images", "predicted", "reading", "running"]

MEGABYTES = 10_240
"""The guest's memory: twice what the largest pair needs, so that the kernel drops no page before it is counted."""

SHARE = "inode_share,domain_id=benchmark"

DISKS = ("vda", "vdb")

READ_AHEAD = 128
"""Kilobytes. Linux reads shared files ahead by its default, whatever the disk says, and QEMU's disks say 8192."""

PAGES_ALONE = "cache_strategy=disabled"
"""The option with which EROFS keeps no compressed clusters in memory, as it else does with those read in part."""


@dataclass(frozen=True)
class Memory:
    """Bytes of page cache that two images take together, without sharing and with."""

    without: int
    with_: int

    @property
    def reduction(self) -> float:
        """The part of the memory that sharing saves."""
        return 1 - self.with_ / self.without

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


def predicted(pair: tuple[Path, Path]) -> Memory:
    """Return what ``mkfs-erofs-py dedup`` says of the images, from their fingerprints alone."""
    command = [sys.executable, "-m", "mkfs_erofs_py", "dedup", "--json", *map(str, pair)]
    total = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["total"]
    return Memory(total["without_bytes"], total["with_bytes"])


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


def running(kernel: Kernel, pair: tuple[Path, Path], system: System) -> Memory:
    """Return the growth of the page cache, without what lies in memory-backed file systems, while both run.

    Each image has a writable overlay in memory on top and a service in a chroot of it; the services run at
    the same time and each gets its load. A kernel of its own for each of the two measurements.
    """
    used = []
    for sharing in ("", SHARE):
        with _booted(kernel, pair) as guest:
            roots = [guest.call("overlay", lower=point) for point in _mounted(guest, sharing)]
            before = _settled(guest)
            for script in (system.start, system.work):
                for number, root in enumerate(roots):
                    guest.call("run_in", root=root, script=script, port=7100 + number, seconds=900)
            after = guest.call("meminfo")
            used.append(after["Cached"] - after["Shmem"] - before["Cached"] + before["Shmem"])
    return Memory(*used)


@contextmanager
def _booted(kernel: Kernel, pair: tuple[Path, Path]) -> Iterator[Guest]:
    with tempfile.TemporaryDirectory() as share, Guest(kernel, Path(share), disks=pair, megabytes=MEGABYTES) as guest:
        yield guest


def _mounted(guest: Guest, options: str) -> list[str]:
    """Mount both disks; return where. Their read-ahead is that of shared files, so that sharing alone differs."""
    for name in DISKS:
        script = f"echo {READ_AHEAD} >/sys/block/{name}/queue/read_ahead_kb"
        guest.call("run_in", root="/", script=script, port=0)
    return [guest.call("mount", image=f"/dev/{name}", options=options, loop=False) for name in DISKS]


def _settled(guest: Guest) -> dict[str, int]:
    """Return the guest's memory with nothing cached but what the guest itself needs to measure."""
    guest.call("drop_caches")
    guest.call("run_in", root="/", script=":", port=0)
    return dict(guest.call("meminfo"))
