"""Results as JSON, as Markdown beside the proposal's own figures, and as a chart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeAlias

__all__ = ["PROPOSAL", "RESULTS", "write"]

RESULTS = Path(__file__).resolve().parents[1] / "results"

PROPOSAL = Path(__file__).with_name("proposal.json")

Results: TypeAlias = "dict[str, Any]"

TITLES = {
    "reading": "Memory after reading all files of both images",
    "running": "Memory while both systems run and work",
}


def write(results: Results, folder: Path = RESULTS) -> list[Path]:
    """Write ``kernel.json``, ``kernel.md`` and ``kernel.svg``; return them.

    ``results`` holds the kernel's release, the version of this package and, by system, the versions of the
    two images and for each table the bytes without and with sharing; a table that was not measured for a
    system is missing from it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    proposal = json.loads(PROPOSAL.read_text())
    paths = [folder / f"kernel.{ending}" for ending in ("json", "md", "svg")]
    paths[0].write_text(json.dumps(results, indent=2) + "\n")
    paths[1].write_text(_markdown(results, proposal))
    _chart(results, proposal, paths[2])
    return paths


def _markdown(results: Results, proposal: Any) -> str:
    about = (
        f"Measured on Linux {results['kernel']} under QEMU with images of mkfs-erofs-py {results['builder']}, "
        "made with its defaults from Debian bookworm without and with its updates (tensorflow: two releases "
        "from PyPI on bookworm). Memory is the growth of `Cached` in /proc/meminfo. It includes clusters that EROFS "
        "keeps compressed; files' pages alone are what is cached with `cache_strategy=disabled`, and the prediction "
        "is what `mkfs-erofs-py dedup` says from fingerprints and sizes. MB are 2^20 bytes. The proposal's figures are "
        f"from {proposal['source']}; its images were other versions of the systems. Made by `make kernel-bench`."
    )
    lines = ["# Page cache sharing on a real kernel", "", about]
    for table, title in TITLES.items():
        measured = {name: entry for name, entry in results["systems"].items() if table in entry}
        if not measured:
            continue
        told = ["files' pages alone (MB)", "reduction", "predicted (MB)", "reduction"] if table == "reading" else []
        header = ["system", "versions", "shared", "memory (MB)", "reduction", *told, "proposal (MB)", "reduction"]
        lines += ["", f"## {title}", "", _row(header), _row(["---"] * len(header))]
        for name, entry in measured.items():
            own, theirs = entry[table], proposal[table][name]
            for shared in ("without", "with"):
                yes = shared == "with"
                told = []
                for other in (entry["pages"], entry["predicted"]) if table == "reading" else ():
                    told += [_mb(other[shared]), _part(other) if yes else ""]
                lines.append(
                    _row([
                        "" if yes else name,
                        "" if yes else " and ".join(entry["versions"]),
                        "yes" if yes else "no",
                        _mb(own[shared]),
                        _part(own) if yes else "",
                        *told,
                        str(theirs[shared]),
                        _part(theirs) if yes else "",
                    ])
                )  # fmt: skip
    return "\n".join(lines) + "\n"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _mb(size: int) -> str:
    """Return bytes in the unit of the proposal's tables, which is 2^20 bytes."""
    return f"{size / (1 << 20):.1f}" if size < 100 << 20 else f"{size / (1 << 20):.0f}"


def _part(entry: Any) -> str:
    return f"{1 - entry['with'] / entry['without']:.0%}"


def _chart(results: Results, proposal: Any, path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "kernel"  # the same figures give the same file
    from matplotlib import pyplot

    tables = [table for table in TITLES if any(table in entry for entry in results["systems"].values())]
    figure, axes = pyplot.subplots(1, len(tables), figsize=(6 * len(tables), 3.6), squeeze=False)
    for axis, table in zip(axes[0], tables, strict=True):
        names = [name for name, entry in results["systems"].items() if table in entry]
        sides = (("measured", [results["systems"][name][table] for name in names], "tab:blue"),
                 ("the proposal's", [proposal[table][name] for name in names], "tab:gray"))  # fmt: skip
        for offset, (label, entries, colour) in zip((-0.2, 0.2), sides, strict=True):
            places = [number + offset for number in range(len(names))]
            parts = [100 * (1 - entry["with"] / entry["without"]) for entry in entries]
            bars = axis.bar(places, parts, 0.38, label=label, color=colour)
            axis.bar_label(bars, fmt="%.0f%%", fontsize=8)
        axis.set_xticks(range(len(names)), names)
        axis.set_title(TITLES[table], fontsize=10)
        axis.set_ylabel("saved by sharing, %")
        axis.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
