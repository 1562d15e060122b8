"""Side by side: reading through this project's FUSE mount and ``erofsfuse``; and how long share and dedup take.

    python -m benchmarks.sharing IMAGE [IMAGE...] [--runs 5] [--json FILE]

Of the first image, every file is read front to back in 1 MiB pieces, once the 64 largest and once all of them, from
fresh mounts with the image itself in the page cache. Runs alternate, so that a machine whose speed drifts slows both.
``erofsfuse`` is taken from $EROFS_UTILS or the path.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

CLI = [sys.executable, "-m", "mkfs_erofs_py"]


def read_files(root: str, largest: int | None) -> tuple[int, float]:
    """Read files below ``root`` -> bytes, seconds; finding them is not counted where only the largest are read."""
    started = time.perf_counter()
    paths = [os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names]
    files = [path for path in paths if os.path.isfile(path) and not os.path.islink(path)]
    if largest is not None:
        files = sorted(files, key=os.path.getsize)[-largest:]
        started = time.perf_counter()
    total = 0
    for path in files:
        with open(path, "rb", buffering=0) as file:
            while piece := file.read(1 << 20):
                total += len(piece)
    return total, time.perf_counter() - started


def mounted(command: list[str], point: str, work: Callable[[], tuple[int, float]]) -> float:
    """Mount, read, unmount -> bytes a second."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        size, seconds = work()
    finally:
        subprocess.run(["umount", point], check=True)
    return size / seconds


def seconds(*arguments: str) -> float:
    started = time.perf_counter()
    subprocess.run([*CLI, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description="compare FUSE mounts, and time share and dedup")
    parser.add_argument("images", nargs="+")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json")
    options = parser.parse_args()
    tool = shutil.which("erofsfuse", path=os.environ.get("EROFS_UTILS", os.environ["PATH"]))
    if tool is None:
        parser.error("no erofsfuse: set EROFS_UTILS to its folder")
    image = os.path.abspath(options.images[0])
    with open(image, "rb") as file:
        while file.read(1 << 20):
            pass
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as point:
        ours = [*CLI, "mount", "--backend=fuse", f"{image}={point}"]
        for case, largest in (("largest files", 64), ("all files", None)):
            pairs = []
            for _ in range(options.runs):
                theirs = mounted([tool, image, point], point, lambda n=largest: read_files(point, n))  # type: ignore[misc]
                pairs.append((mounted(ours, point, lambda n=largest: read_files(point, n)), theirs))  # type: ignore[misc]
            us, them = (statistics.median(side) for side in zip(*pairs, strict=True))
            ratio = statistics.median(a / b for a, b in pairs)
            results[case] = {"ours_mb_s": us / 1e6, "theirs_mb_s": them / 1e6, "speed_ratio": ratio}
            print(f"{case:14} ours {us / 1e6:7.0f} MB/s   erofsfuse {them / 1e6:7.0f} MB/s   ratio {ratio:.2f}")
    for name in ("share", "dedup"):
        taken = statistics.median(seconds(name, *options.images) for _ in range(options.runs))
        results[name] = {"seconds": taken}
        print(f"{name:14} {taken:.2f} s for {len(options.images)} images")
    if options.json:
        with open(options.json, "w") as file_out:
            json.dump(results, file_out, indent=2)


if __name__ == "__main__":
    main()
