"""The syntax of ``-z``: a compressor, its level and its options, as mkfs.erofs spells them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..errors import UsageError
from .registry import COMPRESSORS, Compressor
from .spec import CompressorSpec

__all__ = ["parse_compressor"]

_SUFFIXES = {"": 0, "k": 10, "m": 20, "g": 30}
#: The largest value of LZMA's options, and of ``lc`` and ``lp`` together: liblzma refuses more.
_MOST_EXTRA = 4


def parse_compressor(text: str) -> CompressorSpec:
    """Parse ``NAME[,LEVEL][,level=N][,dictsize=N][,lc=N][,lp=N][,pb=N]``.

    Dictionary sizes are in bytes and may end in k, m or g. Raises UsageError naming what is wrong.
    """
    name, *options = text.split(",")
    if ":" in text:
        raise UsageError(f"-z{text}: several compressors for one image are not supported")
    if name == "libdeflate":
        raise UsageError("-zlibdeflate is not supported; deflate writes the same format")
    row = COMPRESSORS.get(name)
    if row is None:
        raise UsageError(f"-z: unknown compressor {name!r}; known are {', '.join(COMPRESSORS)}")
    values = _values(row, options)
    level = _level(row, values.pop("level", None))
    dict_size = _dict_size(row, values.pop("dictsize", None))
    _check_extra(row, values)
    return CompressorSpec(name, row.algorithm, level, dict_size, **values)


def _values(row: Compressor, options: list[str]) -> dict[str, int]:
    values: dict[str, int] = {}
    for i, option in enumerate(options):
        key, equals, value = option.partition("=")
        if i == 0 and not equals:
            key, value = "level", option
        if key not in ("level", "dictsize", *row.extra):
            raise UsageError(f"-z{row.name}: unknown option {option!r}")
        if key in values:
            raise UsageError(f"-z{row.name}: {key} is given twice")
        values[key] = _number(row.name, key, value)
    return values


def _number(name: str, key: str, text: str) -> int:
    match = re.fullmatch(r"(0x[0-9a-f]+|[0-9]+)([kmg]?)", text.lower(), re.ASCII)
    if match is None or (match[2] and key != "dictsize"):
        raise UsageError(f"-z{name}: {key} must be a number, not {text!r}")
    digits = match[1]
    return int(digits, 16 if digits.startswith("0x") else 10) << _SUFFIXES[match[2]]


def _level(row: Compressor, level: int | None) -> int | None:
    if level is None:
        return row.default_level
    if not row.levels:
        raise UsageError(f"-z{row.name} has no levels")
    if not any(level in levels for levels in row.levels):
        ranges = ", ".join(f"{levels[0]}-{levels[-1]}" for levels in row.levels)
        raise UsageError(f"-z{row.name}: level {level} is not within {ranges}")
    return level


def _dict_size(row: Compressor, size: int | None) -> int | None:
    if not size:  # mkfs.erofs takes 0 for "choose it"
        return None
    sizes = row.dict_sizes
    if sizes is None:
        raise UsageError(f"-z{row.name} has no dictionary size")
    if size not in sizes:
        raise UsageError(f"-z{row.name}: dictionary size {size} is not within {sizes[0]}-{sizes[-1]}")
    if row.power_of_two and size & (size - 1):
        raise UsageError(f"-z{row.name}: dictionary size {size} is not a power of two")
    return size


def _check_extra(row: Compressor, values: Mapping[str, int]) -> None:
    for key, number in values.items():
        if number > _MOST_EXTRA:
            raise UsageError(f"-z{row.name}: {key} {number} is not within 0-{_MOST_EXTRA}")
    all_values = {**row.extra, **values}
    together = all_values.get("lc", 0) + all_values.get("lp", 0)
    if together > _MOST_EXTRA:
        raise UsageError(f"-z{row.name}: lc + lp is {together}; it may be at most {_MOST_EXTRA}")
