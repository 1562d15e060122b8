"""Side by side: this builder and ``mkfs.erofs`` on the same tree, wall time and image size.

    python -m benchmarks.build TREE [--runs 5] [--json FILE] [--case NAME]...

Runs alternate, so that a machine whose speed drifts slows both; medians and the ratio of each pair's
times are printed. ``mkfs.erofs`` is taken from $EROFS_UTILS or the path.
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
from dataclasses import asdict, dataclass

CASES: dict[str, list[str]] = {
    "lz4hc 4K": ["-zlz4hc"],
    "lz4hc 64K": ["-zlz4hc", "-C65536"],
    "lz4hc packed 64K": ["-zlz4hc", "-C65536", "-E48bit"],
    "lz4hc packed 4K": ["-zlz4hc", "-C4096", "-E48bit"],
    "zstd 4K": ["-zzstd"],
    "zstd 64K": ["-zzstd", "-C65536"],
    "zstd packed 64K": ["-zzstd", "-C65536", "-E48bit"],
    "zstd packed 4K": ["-zzstd", "-C4096", "-E48bit"],
}


@dataclass(frozen=True)
class Row:
    """One case: median seconds, median ratio of the pairs, image bytes."""

    case: str
    ours_s: float
    theirs_s: float
    time_ratio: float
    ours_bytes: int
    theirs_bytes: int

    @property
    def size_ratio(self) -> float:
        return self.ours_bytes / self.theirs_bytes


def timed(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def measure(case: str, tree: str, tool: str, runs: int, folder: str) -> Row:
    ours, theirs = os.path.join(folder, "ours.erofs"), os.path.join(folder, "theirs.erofs")
    options = CASES[case]
    us = [sys.executable, "-m", "mkfs_erofs_py", "build", "--quiet", *options, ours, tree]
    them = [tool, "--quiet", "--xattr-inode-digest=trusted.erofs.fingerprint", *options, theirs, tree]
    pairs = [(timed(us), timed(them)) for _ in range(runs + 1)][1:]  # the first warms the page cache
    return Row(
        case,
        round(statistics.median(p[0] for p in pairs), 3),
        round(statistics.median(p[1] for p in pairs), 3),
        round(statistics.median(p[0] / p[1] for p in pairs), 3),
        os.path.getsize(ours),
        os.path.getsize(theirs),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tree")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json")
    parser.add_argument("--case", action="append", choices=list(CASES))
    parser.add_argument("--folder", help="where images go; memory-backed by default, so that disks do not count")
    arguments = parser.parse_args()
    tool = shutil.which("mkfs.erofs", path=os.environ.get("EROFS_UTILS") or None) or shutil.which("mkfs.erofs")
    if tool is None:
        sys.exit("benchmarks.build: mkfs.erofs is not here; set EROFS_UTILS to its folder")
    print("| case | ours s | mkfs.erofs s | time ratio | ours MB | mkfs.erofs MB | size ratio |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    rows = []
    with tempfile.TemporaryDirectory(dir=arguments.folder or "/dev/shm") as folder:
        for case in arguments.case or CASES:
            row = measure(case, arguments.tree, tool, arguments.runs, folder)
            rows.append(row)
            sizes = f"{row.ours_bytes / 1e6:.1f} | {row.theirs_bytes / 1e6:.1f} | {row.size_ratio:.3f}"
            print(
                f"| {row.case} | {row.ours_s:.2f} | {row.theirs_s:.2f} | {row.time_ratio:.2f} | {sizes} |", flush=True
            )
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"runs": arguments.runs, "rows": [asdict(row) for row in rows]}, file, indent=2)


if __name__ == "__main__":
    main()
