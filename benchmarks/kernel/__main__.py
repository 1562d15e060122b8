"""``python -m benchmarks.kernel [SYSTEM…]``: measure the tables and write them to ``benchmarks/results``.

Systems measured before keep their figures, so that one can be measured anew alone.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
from subprocess import CalledProcessError
from typing import Any

import mkfs_erofs_py
from benchmarks.kernel import measure, report, rootfs
from benchmarks.kernel.measure import UntrueError
from benchmarks.kernel.systems import SYSTEMS
from mkfs_erofs_py.errors import ErofsError
from tests.kernel.harness.fetch import fetch
from tests.kernel.harness.remote import RemoteError
from tests.support.requirements import UnavailableError

TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "qemu-system-x86_64": "qemu-system-x86",
    "fusermount3": "fuse3",
    "unshare": "util-linux",
}
"""Programs that are needed, and Debian's packages that have them."""


def main() -> int:
    """Measure; return 1 where something cannot be had or measured, after writing down what could."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernel", description=__doc__)
    parser.add_argument("systems", nargs="*", metavar="SYSTEM", help=f"of {', '.join(SYSTEMS)}; all unless named")
    parser.add_argument("--table", choices=tuple(report.TITLES), action="append", help="measure this table alone")
    chosen = parser.parse_args()
    if unknown := set(chosen.systems) - set(SYSTEMS):
        parser.error(f"no such system: {', '.join(sorted(unknown))}")
    if missing := [package for tool, package in TOOLS.items() if shutil.which(tool) is None]:
        parser.error(f"packages are missing: apt install {' '.join(missing)}")
    if os.geteuid() != 0:
        parser.error("making root file systems and namespaces needs root")
    # Whatever ends this, the context managers end what was started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    failed = 0
    for name in chosen.systems or SYSTEMS:
        try:
            _measure(name, chosen.table or list(report.TITLES))
        except (UnavailableError, RemoteError, UntrueError, ErofsError, CalledProcessError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed = 1
        except KeyboardInterrupt:
            return 128 + signal.SIGINT
    return failed


def _measure(name: str, tables: list[str]) -> None:
    """Measure one system and write it down beside those of before."""
    system, kernel = SYSTEMS[name], fetch()
    trees = rootfs.make_pair(name, system)
    pair = measure.images(trees)
    path = report.RESULTS / "kernel.json"
    about = {"kernel": kernel.release, "builder": mkfs_erofs_py.__version__}
    results: dict[str, Any] = {**about, "systems": {}}
    if path.exists():
        before = json.loads(path.read_text())
        if before["kernel"] == kernel.release:
            results["systems"] = before["systems"]
    entry = results["systems"].setdefault(name, {})
    entry["versions"] = [rootfs.versions(tree, system) for tree in trees]
    for table in tables:
        if table == "reading":
            found = {
                "kernel": measure.reading(kernel, pair),
                "pages": measure.reading(kernel, pair, measure.PAGES_ALONE),
                "userspace": measure.reading_in_user_space(pair),
            }
        else:
            found = {
                "kernel": measure.running(kernel, pair, system),
                "userspace": measure.running_in_user_space(pair, system),
            }
        entry[table] = {judge: memory.as_dict() for judge, memory in found.items()}
        print(f"{name}, {table}: {', '.join(f'{judge} {memory}' for judge, memory in found.items())}", flush=True)
        results["systems"] = {known: results["systems"][known] for known in SYSTEMS if known in results["systems"]}
        report.write(results)


if __name__ == "__main__":
    sys.exit(main())
