"""Building small images of trees that are written down as tables, and asking erofs-utils about images."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from mkfs_erofs_py.write import BuildOptions, BuildSummary, build_image

__all__ = ["WHEN", "Spec", "build", "fsck", "make", "mixed", "noise", "text"]

#: What a path of a tree is: a file's bytes, a symlink's target, or ``None`` for a directory.
Spec: TypeAlias = "Mapping[str, bytes | str | None]"

#: The modification time that everything in a tree made by `make` has.
WHEN = 1_700_000_000


def text(size: int, seed: int = 0) -> bytes:
    """Return bytes that compress to about a third."""
    rng = random.Random(seed)
    words = [rng.randbytes(rng.randint(2, 9)).hex().encode() for _ in range(200)]
    return b" ".join(rng.choices(words, k=size // 4 + 1))[:size]


def noise(size: int, seed: int = 0) -> bytes:
    """Return bytes that do not compress."""
    return random.Random(seed).randbytes(size)


def mixed(size: int, seed: int = 0, longest: int = 40_000) -> bytes:
    """Return text, noise and zeros by turns, in stretches that respect no boundary."""
    rng = random.Random(seed)
    parts: list[bytes] = []
    left = size
    while left > 0:
        length = min(left, rng.randint(1, longest))
        parts.append(rng.choice((text, text, noise, lambda n, _: bytes(n)))(length, rng.random().__hash__()))
        left -= length
    return b"".join(parts)


def make(root: Path, spec: Spec) -> Path:
    """Make the tree ``spec`` below the new folder ``root``; all times are `WHEN`."""
    root.mkdir(parents=True)
    for name, what in spec.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if what is None:
            path.mkdir(exist_ok=True)
        elif isinstance(what, str):
            os.symlink(what, path)
        else:
            path.write_bytes(what)
    for found in sorted(root.rglob("*"), reverse=True):
        os.utime(found, (WHEN, WHEN), follow_symlinks=False)
    os.utime(root, (WHEN, WHEN))
    return root


def build(image: Path, source: Path, **options: Any) -> BuildSummary:
    """Build ``image`` from ``source`` with one worker unless ``workers`` says otherwise."""
    return build_image(image, source, BuildOptions(**{"workers": 1, **options}))


def fsck(tool: Path, image: Path, *options: str | Path) -> str:
    """Run ``fsck.erofs`` on an image -> what it said; the test fails where it does not accept the image."""
    done = subprocess.run([tool, *options, image], capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, f"{image.name}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr
