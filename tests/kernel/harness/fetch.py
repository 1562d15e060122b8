"""Bring the newest Debian kernel with EROFS page cache sharing (7.0 or newer) into the cache folder.

``python -m tests.kernel.harness.fetch`` does it ahead of the tests, and fails with the reason where it cannot.
"""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.debian import Archive
from tests.support.requirements import CACHE, UnavailableError

__all__ = ["Kernel", "fetch", "find"]

HOME = CACHE / "kernel"

SUITES = ("trixie-backports", "sid")

NAME = r"linux-binary-(?:[7-9]|\d\d)\.[0-9.]+(?:\+\w+)?-amd64"
"""Debian's unsigned kernels; the flavours for clouds and real time carry another word in their names."""


@dataclass(frozen=True)
class Kernel:
    """A kernel that can be booted: its release, its image, its modules, and a static shell to start with."""

    release: str
    image: Path
    modules: Path
    busybox: Path


def find() -> Kernel:
    """Return the kernel in the cache; raise UnavailableError where there is none."""
    for image in sorted(HOME.glob("root/usr/lib/modules/*/vmlinuz")) + sorted(HOME.glob("root/boot/vmlinuz-*")):
        release = image.parent.name if image.name == "vmlinuz" else image.name.removeprefix("vmlinuz-")
        modules = HOME / "root/usr/lib/modules" / release
        busybox = next((path for path in HOME.glob("root/**/bin/busybox")), None)
        if modules.is_dir() and busybox is not None:
            return Kernel(release, image, modules, busybox)
    raise UnavailableError("no kernel with page cache sharing here: run `make kernel-test`")


def fetch() -> Kernel:
    """Fetch the newest such kernel of Debian unless one is here already."""
    try:
        return find()
    except UnavailableError:
        pass
    shutil.rmtree(HOME, ignore_errors=True)
    archive = Archive(HOME / "apt", SUITES)
    archive.update()
    binary = archive.newest(NAME)
    modules = re.sub("^linux-binary", "linux-modules", binary)
    archive.unpack(archive.fetch([binary, modules, "busybox-static"], dependencies=False), HOME / "unpacking")
    # Only complete when renamed: an interrupted fetch must not pass for a kernel.
    (HOME / "unpacking").rename(HOME / "root")
    shutil.rmtree(HOME / "apt")
    return find()


def main() -> int:
    """Fetch the kernel; say which it is, or why there is none."""
    try:
        kernel = fetch()
    except UnavailableError as error:
        print(f"kernel: {error}", file=sys.stderr)
        return 1
    print(f"{kernel.image}: Linux {kernel.release}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
