"""The syntax of ``-z``: an algorithm, its level and its options, as mkfs.erofs spells them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import UsageError
from ..ondisk.constants import Algorithm
from . import deflate, microlzma, zstd

__all__ = ["CompressorSpec", "parse_compressor"]


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


@dataclass(frozen=True, slots=True)
class _Rule:
    """What one algorithm's options may be. Ranges and defaults are those mkfs.erofs documents."""

    algorithm: Algorithm
    levels: tuple[range, ...] = ()
    default: int | None = None
    dict_sizes: range | None = None
    power_of_two: bool = False
    extra: tuple[str, ...] = ()


_RULES = {
    "lz4": _Rule(Algorithm.LZ4),
    "lz4hc": _Rule(Algorithm.LZ4, (range(13),), 9),
    "lzma": _Rule(
        Algorithm.LZMA,
        (range(10), range(100, 110)),
        6,
        range(microlzma.MIN_WINDOW, microlzma.MAX_WINDOW + 1),
        extra=("lc", "lp", "pb"),
    ),
    "deflate": _Rule(Algorithm.DEFLATE, (range(10),), 1, range(deflate.MIN_WINDOW, deflate.MAX_WINDOW + 1), True),
    "zstd": _Rule(Algorithm.ZSTD, (range(23),), 3, range(zstd.MIN_WINDOW, zstd.MAX_WINDOW + 1), True),
}

_SUFFIXES = {"": 0, "k": 10, "m": 20, "g": 30}


def parse_compressor(text: str) -> CompressorSpec:
    """Parse ``NAME[,LEVEL][,level=N][,dictsize=N][,lc=N][,lp=N][,pb=N]``.

    Dictionary sizes are in bytes and may end in k, m or g. Raises UsageError naming what is wrong.
    """
    name, *options = text.split(",")
    if ":" in text:
        raise UsageError(f"-z{text}: several compressors for one image are not supported")
    if name == "libdeflate":
        raise UsageError("-zlibdeflate is not supported; deflate writes the same format")
    rule = _RULES.get(name)
    if rule is None:
        raise UsageError(f"-z: unknown compressor {name!r}; known are {', '.join(_RULES)}")
    values: dict[str, int] = {}
    for i, option in enumerate(options):
        key, equals, value = option.partition("=")
        if i == 0 and not equals:
            key, value = "level", option
        if key not in ("level", "dictsize", *rule.extra):
            raise UsageError(f"-z{name}: unknown option {option!r}")
        if key in values:
            raise UsageError(f"-z{name}: {key} is given twice")
        values[key] = _number(name, key, value)
    level = _level(name, rule, values.pop("level", None))
    dict_size = _dict_size(name, rule, values.pop("dictsize", None))
    for key, number in values.items():
        if number > 4:
            raise UsageError(f"-z{name}: {key} {number} is not within 0-4")
    return CompressorSpec(name, rule.algorithm, level, dict_size, **values)


def _number(name: str, key: str, text: str) -> int:
    match = re.fullmatch(r"(0x[0-9a-f]+|[0-9]+)([kmg]?)", text.lower(), re.ASCII)
    if match is None or (match[2] and key != "dictsize"):
        raise UsageError(f"-z{name}: {key} must be a number, not {text!r}")
    digits = match[1]
    return int(digits, 16 if digits.startswith("0x") else 10) << _SUFFIXES[match[2]]


def _level(name: str, rule: _Rule, level: int | None) -> int | None:
    if level is None:
        return rule.default
    if not rule.levels:
        raise UsageError(f"-z{name} has no levels")
    if not any(level in levels for levels in rule.levels):
        ranges = ", ".join(f"{levels[0]}-{levels[-1]}" for levels in rule.levels)
        raise UsageError(f"-z{name}: level {level} is not within {ranges}")
    return level


def _dict_size(name: str, rule: _Rule, size: int | None) -> int | None:
    if not size:  # mkfs.erofs takes 0 for "choose it"
        return None
    if rule.dict_sizes is None:
        raise UsageError(f"-z{name} has no dictionary size")
    if size not in rule.dict_sizes:
        raise UsageError(f"-z{name}: dictionary size {size} is not within {rule.dict_sizes[0]}-{rule.dict_sizes[-1]}")
    if rule.power_of_two and size & (size - 1):
        raise UsageError(f"-z{name}: dictionary size {size} is not a power of two")
    return size
