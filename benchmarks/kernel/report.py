"""Results as JSON, as Markdown beside the proposal's own figures, and as a chart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeAlias

__all__ = ["PROPOSAL", "RESULTS", "TITLES", "write"]

RESULTS = Path(__file__).resolve().parents[1] / "results"

PROPOSAL = Path(__file__).with_name("proposal.json")

Results: TypeAlias = "dict[str, Any]"

TITLES = {
    "reading": "Memory after reading all files of both images",
    "running": "Memory while both systems run and work",
}

SIDES = {
    "kernel": "Linux {kernel}",
    "pages": "the same, `cache_strategy=disabled`",
    "userspace": "user space",
    "proposal": "the proposal",
}
"""Whose figures stand side by side, in this order, by their keys in the results; ``pages`` is in one table only."""

DRAWN = {"kernel": "#1f5fa8", "userspace": "#5fb0a5", "proposal": "#b9bec4"}
"""Whose figures the chart shows, and in which colours."""


def write(results: Results, folder: Path = RESULTS) -> list[Path]:
    """Write ``kernel.json``, ``kernel.md`` and ``kernel.svg``; return them.

    ``results`` holds the kernel's release, the version of this package and, by system, the versions of the
    two images and for each table and side the bytes without and with sharing; a table that was not measured
    for a system is missing from it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"kernel.{ending}" for ending in ("json", "md", "svg")]
    paths[0].write_text(json.dumps(results, indent=2) + "\n")
    tables = _tables(results)
    paths[1].write_text(_markdown(results, tables))
    _chart(results, tables, paths[2])
    return paths


def _tables(results: Results) -> dict[str, dict[str, Any]]:
    """Return by table, system and side what there is: bytes without and with sharing, the proposal's among them."""
    told = json.loads(PROPOSAL.read_text())
    tables: dict[str, dict[str, Any]] = {}
    for table in TITLES:
        for name, entry in results["systems"].items():
            if table in entry:
                proposal = {shared: told[table][name][shared] << 20 for shared in ("without", "with")}
                tables.setdefault(table, {})[name] = {**entry[table], "proposal": proposal}
    return tables


def _markdown(results: Results, tables: dict[str, dict[str, Any]]) -> str:
    source = json.loads(PROPOSAL.read_text())["source"]
    about = f"""\
What two versions of a system take in memory, side by side: without sharing → with sharing, in MB of 2^20 bytes, and
by how much that is less. Images are of Debian bookworm without and with its updates (tensorflow: two releases from
the Python package index, on bookworm), made by mkfs-erofs-py {results["builder"]} with its defaults.

* **Linux {results["kernel"]}**, under QEMU: the growth of `Cached` in /proc/meminfo, less what lies in tmpfs. It
  includes folders, and clusters that EROFS keeps compressed unless mounted with `cache_strategy=disabled`.
* **User space**: what this project's own shared cache holds. After reading, that is what `mkfs-erofs-py share` finds,
  and `dedup` foretells the same to the byte; at work, it is the cache behind two FUSE mounts (`mount --backend fuse`).
* **The proposal**: {source}. Its images were of other versions.

Made by `make kernel-bench`; [docs/kernel.md](../../docs/kernel.md) says why the sides differ."""
    lines = ["# Page cache sharing: measured in a kernel, in user space, and as proposed", "", about]
    for table, systems in tables.items():
        sides = [side for side in SIDES if all(side in found for found in systems.values())]
        header = ["system", "versions", *(SIDES[side].format_map(results) for side in sides)]
        lines += ["", f"## {TITLES[table]}", "", _row(header), _row(["---", "---", *["---:"] * len(sides)])]
        for name, found in systems.items():
            versions = " and ".join(results["systems"][name]["versions"])
            lines.append(_row([name, versions, *(_cell(found[side]) for side in sides)]))
    return "\n".join(lines) + "\n"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(memory: Any) -> str:
    return f"{_megabytes(memory)}, {_saved(memory):.0f}%"


def _megabytes(memory: Any) -> str:
    """Return a figure as people read it, in the unit of the proposal's tables, which is 2^20 bytes."""
    sizes = [memory[shared] / (1 << 20) for shared in ("without", "with")]
    return " → ".join(f"{size:.1f}" if max(sizes) < 100 else f"{size:.0f}" for size in sizes)


def _saved(memory: Any) -> float:
    """Return how much less memory is taken with sharing, in percent."""
    return float(100 * (1 - memory["with"] / memory["without"]))


def _chart(results: Results, tables: dict[str, dict[str, Any]], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "kernel"  # the same figures give the same file
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(tables), figsize=(9, 3.5 * len(tables)), squeeze=False, sharey=True)
    width = 0.8 / len(DRAWN)
    for (axis,), (table, systems) in zip(axes, tables.items(), strict=True):
        for number, (side, colour) in enumerate(DRAWN.items()):
            places = [at + width * (number - (len(DRAWN) - 1) / 2) for at in range(len(systems))]
            parts = [_saved(found[side]) for found in systems.values()]
            bars = axis.bar(places, parts, 0.92 * width, label=SIDES[side].format_map(results), color=colour)
            axis.bar_label(bars, fmt="%.0f%%", fontsize=8.5, padding=1.5, color="#333333")
        names = [f"{name}\n{_megabytes(found['kernel'])} MB" for name, found in systems.items()]
        axis.set_xticks(range(len(systems)), names)
        axis.set_title(f"{TITLES[table]}: saved by sharing", loc="left", fontsize=11, pad=12)
        axis.set_yticks([])
        axis.margins(y=0.12)
        axis.spines[["left", "right", "top"]].set_visible(False)
        axis.tick_params(length=0)
    handles, labels = axes[0][0].get_legend_handles_labels()
    labels[0] += " (and its MB)"
    figure.legend(handles, labels, loc="lower center", ncols=len(DRAWN), frameon=False, fontsize=9.5)
    figure.tight_layout(rect=(0, 0.05, 1, 1), h_pad=2.5)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
