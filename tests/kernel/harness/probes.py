"""What the tests ask of a kernel; runs inside the guest, and on the host for the host's own kernel.

Standard library alone (but for the FUSE mounts, which are this project's), arguments and results are JSON:
paths are text with surrogate escapes.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.kernel.harness.examine import examine_files
from tests.kernel.harness.mapping import PAGE, resident
from tests.support.trees import differences, snapshot

__all__ = [
    "advise",
    "cached_pages",
    "drop_caches",
    "examine",
    "fuse_counters",
    "kernel_complaints",
    "meminfo",
    "mount",
    "mount_fuse",
    "overlay",
    "read_ahead",
    "read_all",
    "read_file",
    "run_in",
    "unmount",
]


def mount(image: str, options: str = "", *, loop: bool = True) -> str:
    """Mount an image read-only, on a new folder that is returned; ``loop`` is for images that are files."""
    point = tempfile.mkdtemp(prefix="erofs-", dir="/run")
    chosen = ",".join(filter(None, ("ro", "loop" if loop else "", options)))
    done = subprocess.run(
        ["mount", "-t", "erofs", "-o", chosen, image, point], capture_output=True, text=True, errors="replace"
    )
    if done.returncode:
        os.rmdir(point)
        raise OSError(f"{done.stderr.strip()}: {'; '.join(kernel_complaints()[-3:])}")
    return point


def unmount(point: str) -> None:
    """Undo ``mount``."""
    subprocess.run(["umount", point], check=True, capture_output=True)
    os.rmdir(point)


def mount_fuse(images: list[str], options: list[str]) -> list[str]:
    """Mount images through FUSE, all in one process with one cache, each on a new folder; return the folders."""
    points = [tempfile.mkdtemp(prefix="fuse-", dir="/run") for _ in images]
    places = [f"{image}={point}" for image, point in zip(images, points, strict=True)]
    _mkfs_erofs_py("mount", "--backend=fuse", *options, *places)
    return points


def fuse_counters(point: str) -> Any:
    """Return what the process behind a FUSE mount counts; see ``mount --stats``."""
    return json.loads(_mkfs_erofs_py("mount", "--stats", "--json", point))[0]


def _mkfs_erofs_py(*arguments: str) -> str:
    command = [sys.executable, "-m", "mkfs_erofs_py", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise OSError(done.stderr.strip())
    return done.stdout


def read_ahead(point: str, kilobytes: int) -> None:
    """Set how far the kernel reads ahead in the files of a mount, and of all others of the same device."""
    device = os.stat(point).st_dev
    name = f"{os.major(device)}:{os.minor(device)}"
    Path(f"/sys/class/bdi/{name}/read_ahead_kb").write_text(str(kilobytes))


def kernel_complaints() -> list[str]:
    """Return the lines of the kernel's log in which EROFS reports an error, or the kernel a fault of its own."""
    log = subprocess.run(["dmesg"], check=True, capture_output=True, text=True, errors="replace").stdout
    plain = ("mounted with root inode", "EXPERIMENTAL", "erofs: initialized")
    faults = ("BUG:", "WARNING:", "Oops", "Call Trace")
    return [
        line
        for line in log.splitlines()
        if ("erofs" in line and not any(word in line for word in plain)) or any(word in line for word in faults)
    ]


def examine(point: str, expected: str, *, seed: int = 0) -> list[str]:
    """Compare everything a program can see under ``point`` with a pickled snapshot of the source."""
    with open(expected, "rb") as file:
        want = pickle.load(file)
    return differences(want, snapshot(point)) + examine_files(point, want, seed)


def drop_caches() -> None:
    """Empty the kernel's caches of pages, inodes and names."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


def meminfo() -> dict[str, int]:
    """Return /proc/meminfo in bytes."""
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    return {name.rstrip(":"): int(number) * 1024 for name, number, *unit in lines if unit}


def read_file(path: str) -> int:
    """Read a file from front to back; return its size."""
    total = 0
    with open(path, "rb", buffering=0) as file:
        while data := file.read(1 << 20):
            total += len(data)
    return total


def read_all(point: str) -> int:
    """Read every regular file under ``point``, a few at a time; return how many bytes that were."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return sum(pool.map(read_file, _regular_files(point)))


def _regular_files(folder: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _regular_files(entry.path)
            elif entry.is_file(follow_symlinks=False):
                yield entry.path


def advise(path: str, advice: str) -> None:
    """Give the kernel advice about a whole file: ``DONTNEED``, ``WILLNEED``, …"""
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, getattr(os, f"POSIX_FADV_{advice}"))


def cached_pages(path: str) -> tuple[int, int]:
    """Return how many pages of a file are cached, and how many it has."""
    with open(path, "rb") as file:
        pages = -(-os.fstat(file.fileno()).st_size // PAGE)
        return (resident(file.fileno()) if pages else 0), pages


def overlay(lower: str) -> str:
    """Return the root of a system that can be written to: ``lower`` with a layer in memory on top."""
    base = tempfile.mkdtemp(prefix="overlay-", dir="/run")
    subprocess.run(["mount", "-t", "tmpfs", "layer", base], check=True)
    for name in ("data", "work", "root"):
        os.mkdir(f"{base}/{name}")
    layers = f"lowerdir={lower},upperdir={base}/data,workdir={base}/work"
    subprocess.run(["mount", "-t", "overlay", "-o", layers, "overlay", f"{base}/root"], check=True)
    kinds = {"proc": "proc", "sys": "sysfs", "dev": "devtmpfs", "dev/shm": "tmpfs", "tmp": "tmpfs", "run": "tmpfs"}
    for folder, kind in kinds.items():
        os.makedirs(f"{base}/root/{folder}", exist_ok=True)
        subprocess.run(["mount", "-t", kind, kind, f"{base}/root/{folder}"], check=True)
    os.chmod(f"{base}/root/tmp", 0o1777)
    return f"{base}/root"


def run_in(root: str, script: str, port: int) -> str:
    """Run a shell script in a chroot with ``$PORT`` set; return what it printed, raise where it fails."""
    environment = {"PORT": str(port), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C"}
    with tempfile.TemporaryFile() as out:
        # A file, not a pipe: a service that stays behind would keep a pipe open.
        done = subprocess.run(
            ["chroot", root, "/bin/bash", "-c", script],
            env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
        out.seek(0)
        printed = out.read().decode(errors="replace")
    if done.returncode:
        raise OSError(f"status {done.returncode}: {printed[-2000:]}")
    return printed
