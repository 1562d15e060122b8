"""Coverage-guided fuzzing of the reader with atheris: ``make fuzz``. Python's own mutations start from the seeds.

Arguments go to libFuzzer, among them the folder in which inputs are kept. Ends at the first defect.
"""

from __future__ import annotations

import os
import sys

import atheris

with atheris.instrument_imports(include=["mkfs_erofs_py"]):
    from tests.fuzz.exercise import exercise, mended

from tests.fuzz.seeds import SEEDS


def one(data: bytes) -> None:
    """Run one input."""
    exercise(mended(data))


def main() -> None:
    """Put the seeds into the corpus, the last argument, and start."""
    folder = sys.argv[-1]
    os.makedirs(folder, exist_ok=True)
    for name, data in SEEDS.items():
        with open(os.path.join(folder, f"seed-{name}"), "wb") as file:
            file.write(data)
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
