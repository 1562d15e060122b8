"""What extraction wrote, and what it left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Extracted", "Extracting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracted:
    """What was written: ``inodes`` in all (a hard link's names each), ``files`` among them, ``size`` their bytes.

    ``left_out`` counts, by kind, what this user may not make or the destination has no form for: owners, devices,
    attributes.
    """

    inodes: int = 0
    files: int = 0
    size: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return all fields, ready for JSON."""
        return {"inodes": self.inodes, "files": self.files, "size": self.size, "left_out": dict(self.left_out)}


@dataclass(slots=True)
class Extracting:
    """What was written so far, or what one worker wrote."""

    inodes: int = 0
    files: int = 0
    size: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, other: Extracting) -> None:
        """Take in what a worker wrote."""
        self.inodes += other.inodes
        self.files += other.files
        self.size += other.size
        self.left_out.update(other.left_out)

    def extracted(self) -> Extracted:
        """Return all of it, what was left out in order of its name."""
        return Extracted(
            inodes=self.inodes, files=self.files, size=self.size, left_out=dict(sorted(self.left_out.items()))
        )
