"""Measure, on a Debian kernel under QEMU, what two images of a system take in memory with sharing off and on."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.kernel.systems import System
from mkfs_erofs_py.build import build_image
from tests.kernel.harness.boot import Guest
from tests.kernel.harness.fetch import Kernel
from tests.support.requirements import CACHE

__all__ = ["Memory", "images", "predicted", "reading", "running"]

MEGABYTES = 10_240
"""The guest's memory: twice what the largest pair needs, so that the kernel drops no page before it is counted."""

SHARE = "inode_share,domain_id=benchmark"


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


def reading(kernel: Kernel, pair: tuple[Path, Path]) -> Memory:
    """Return the growth of the page cache while every file of both images is read."""
    used = []
    with tempfile.TemporaryDirectory() as share, Guest(kernel, Path(share), disks=pair, megabytes=MEGABYTES) as guest:
        for options in ("", SHARE):
            points = [guest.call("mount", image=disk, options=options, loop=False) for disk in ("/dev/vda", "/dev/vdb")]
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
    for options in ("", SHARE):
        with (
            tempfile.TemporaryDirectory() as share,
            Guest(kernel, Path(share), disks=pair, megabytes=MEGABYTES) as guest,
        ):
            roots = [
                guest.call("overlay", lower=guest.call("mount", image=disk, options=options, loop=False))
                for disk in ("/dev/vda", "/dev/vdb")
            ]
            before = _settled(guest)
            for script in (system.start, system.work):
                for number, root in enumerate(roots):
                    guest.call("run_in", root=root, script=script, port=7100 + number, seconds=900)
            after = guest.call("meminfo")
            used.append(after["Cached"] - after["Shmem"] - before["Cached"] + before["Shmem"])
    return Memory(*used)


def _settled(guest: Guest) -> dict[str, int]:
    """Return the guest's memory with nothing cached but what the guest itself needs to measure."""
    guest.call("drop_caches")
    guest.call("run_in", root="/", script=":", port=0)
    return dict(guest.call("meminfo"))
