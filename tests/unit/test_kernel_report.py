"""The benchmark's report says what was measured, and nothing of what was not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.kernel.report import PROPOSAL, write
from benchmarks.kernel.systems import SYSTEMS

MB = 1 << 20


def figures(without: int, with_: int) -> dict[str, float]:
    return {"without": without * MB, "with": with_ * MB, "reduction": 1 - with_ / without}


RESULTS: dict[str, Any] = {
    "kernel": "7.9",
    "builder": "1.2",
    "systems": {
        "redis": {
            "versions": ["1", "2"],
            "reading": {"kernel": figures(400, 200), "pages": figures(380, 209), "userspace": figures(380, 210)},
            "running": {"kernel": figures(40, 30), "userspace": figures(30, 24)},
        },
        "nginx": {
            "versions": ["3", "4"],
            "reading": {"kernel": figures(320, 160), "pages": figures(300, 150), "userspace": figures(300, 150)},
        },
    },
}


def rows(path: Path, system: str) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.startswith(f"| {system} ")]


def test_each_system_stands_beside_the_proposal(tmp_path: Path) -> None:
    data, text, chart = write(RESULTS, tmp_path)
    assert json.loads(data.read_text()) == RESULTS
    assert rows(text, "system") == [
        "| system | versions | Linux 7.9 | the same, `cache_strategy=disabled` | user space | the proposal |",
        "| system | versions | Linux 7.9 | user space | the proposal |",
    ]
    assert rows(text, "redis") == [
        "| redis | 1 and 2 | 400 → 200, 50% | 380 → 209, 45% | 380 → 210, 45% | 241 → 163, 32% |",
        "| redis | 1 and 2 | 40.0 → 30.0, 25% | 30.0 → 24.0, 20% | 35.0 → 28.0, 20% |",
    ]
    assert len(rows(text, "nginx")) == 1
    assert b"<svg" in chart.read_bytes()


def test_the_same_figures_give_the_same_files(tmp_path: Path) -> None:
    first, second = (write(RESULTS, tmp_path / name) for name in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_the_proposal_has_both_figures_of_every_system() -> None:
    proposal = json.loads(PROPOSAL.read_text())
    assert proposal["reading"].keys() == proposal["running"].keys() == SYSTEMS.keys()
