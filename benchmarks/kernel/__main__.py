"""``python -m benchmarks.kernel [SYSTEM…]``: measure the tables and write them to ``benchmarks/results``.

Systems measured before keep their figures, so that one can be measured anew alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import mkfs_erofs_py
from benchmarks.kernel import measure, report, rootfs
from benchmarks.kernel.systems import SYSTEMS
from tests.kernel.harness.boot import GuestError
from tests.kernel.harness.fetch import fetch
from tests.support.requirements import UnavailableError


def main() -> int:
    """Measure; return 1 where something cannot be had or measured, after writing down what could."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernel", description=__doc__)
    parser.add_argument("systems", nargs="*", metavar="SYSTEM", help=f"of {', '.join(SYSTEMS)}; all unless named")
    parser.add_argument("--table", choices=tuple(report.TITLES), action="append", help="measure this table alone")
    chosen = parser.parse_args()
    if unknown := set(chosen.systems) - set(SYSTEMS):
        parser.error(f"no such system: {', '.join(sorted(unknown))}")
    failed = 0
    for name in chosen.systems or SYSTEMS:
        try:
            _measure(name, chosen.table or list(report.TITLES))
        except (UnavailableError, GuestError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed = 1
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
    entry["predicted"] = measure.predicted(pair).as_dict()
    for table in tables:
        if table == "reading":
            found = measure.reading(kernel, pair)
            entry["pages"] = measure.reading(kernel, pair, measure.PAGES_ALONE).as_dict()
        else:
            found = measure.running(kernel, pair, system)
        entry[table] = found.as_dict()
        print(f"{name}, {table}: {found.without >> 20} MB, shared {found.with_ >> 20} MB ({found.reduction:.0%} less)")
        results["systems"] = {known: results["systems"][known] for known in SYSTEMS if known in results["systems"]}
        report.write(results)


if __name__ == "__main__":
    sys.exit(main())
