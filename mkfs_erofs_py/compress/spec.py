"""One compressor, chosen and tuned: what ``-z`` says, as a value."""

from __future__ import annotations

from dataclasses import dataclass

from ..ondisk.constants import Algorithm

__all__ = ["CompressorSpec"]


@dataclass(frozen=True, slots=True)
class CompressorSpec:
    """One compressor with everything the user said and the defaults for the level.

    ``level`` is None only for lz4, which has none. ``dict_size`` in bytes, None: chosen by the size
    of the pclusters. ``lc``, ``lp`` and ``pb`` are LZMA's, None: as in the preset.
    """

    name: str
    algorithm: Algorithm
    level: int | None
    dict_size: int | None = None
    lc: int | None = None
    lp: int | None = None
    pb: int | None = None
