"""Rounding to the units in which an image counts: blocks, slots, records."""

from __future__ import annotations

__all__ = ["round_up"]


def round_up(value: int, unit: int) -> int:
    """Return the least multiple of ``unit`` that is not below ``value``."""
    return -(-value // unit) * unit
