"""Sizes, times, UUIDs, names and paths as people read and write them: one parser and one printer each."""

from __future__ import annotations

import functools
import os
import re
import uuid
from collections.abc import Iterable, Sequence
from typing import TypeVar

from .errors import UsageError, printable

__all__ = [
    "absolute",
    "amount",
    "distinct",
    "exact_time",
    "expect",
    "format_size",
    "format_time",
    "parse_size",
    "parse_time",
    "parse_uuid",
    "several",
    "text",
]

Value = TypeVar("Value")
Values = TypeVar("Values", bound=Iterable[object])

_SIZE = re.compile(r"(0x[0-9a-f]{1,16}|[0-9]{1,20})([kmg]?)(?:i?b)?", re.IGNORECASE)
_SHIFTS = {"": 0, "k": 10, "m": 20, "g": 30}
_TIME = re.compile(r"[0-9]{1,20}")


def parse_size(written: str) -> int:
    """Read a number of bytes: decimal or ``0x…``, with ``k``, ``m`` or ``g`` (or ``KiB``, ``MB``) for powers of 1024.

    Raises `UsageError`.
    """
    found = _SIZE.fullmatch(written)
    if found is None:
        raise UsageError(f"{written[:40]!r} is not a size: write bytes, with k, m or g behind the number at will")
    return int(found[1], 0 if found[1][:2] in ("0x", "0X") else 10) << _SHIFTS[found[2].lower()]


def format_size(size: int) -> str:
    """Return a number of bytes with a unit of 1024s: ``5 B``, ``1.5 KiB``, up to TiB."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def parse_time(written: str) -> int:
    """Read a time in whole seconds since 1970. Raises `UsageError`."""
    if not _TIME.fullmatch(written):
        raise UsageError(f"{written[:40]}: not a time in seconds")
    return int(written)


@functools.lru_cache(maxsize=4096)  # a tree's files were mostly made at a few moments
def format_time(seconds: int) -> str:
    """Return a time as a date and minutes in UTC; ``@seconds`` where no calendar reaches."""
    try:
        from datetime import UTC, datetime  # here, since a build shows no times and should not pay for loading it

        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError, OSError):
        return f"@{seconds}"


def exact_time(nanoseconds: int) -> str:
    """Return a time as seconds since 1970 with nine digits behind the point; before 1970 it is negative as a whole."""
    sign, value = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    return f"{sign}{value // 10**9}.{value % 10**9:09}"


def parse_uuid(written: str) -> uuid.UUID:
    """Read a UUID; ``clear`` is one of zeros, ``random`` a new one. Raises `UsageError`."""
    if written in ("clear", "random"):
        return uuid.UUID(int=0) if written == "clear" else uuid.uuid4()
    try:
        return uuid.UUID(written)
    except ValueError:
        raise UsageError(f"{written[:80]!r} is not a UUID") from None


def text(name: bytes) -> str:
    """Return a name for JSON: UTF-8, other bytes as lone surrogates (``os.fsencode`` gives the bytes back).

    For people a name is shown by `mkfs_erofs_py.errors.printable`.
    """
    return name.decode("utf-8", "surrogateescape")


def absolute(path: str | bytes) -> bytes:
    """Return a path inside an image in the form in which `Image.walk` gives paths."""
    return b"/" + os.fsencode(path).strip(b"/")


def distinct(paths: Sequence[str]) -> list[str]:
    """Return a name for each image that can be shown: its path, numbered where it was given before."""
    names = []
    for at, path in enumerate(paths):
        number = paths[: at + 1].count(path)
        names.append(printable(path) + (f" ({number})" if number > 1 else ""))
    return names


def several(what: str, given: Values) -> Values:
    """Return ``given``; raise ``TypeError`` for a single text or path, whose letters would be taken for several."""
    if isinstance(given, (str, bytes, os.PathLike)):
        raise TypeError(f"{what}: a sequence is wanted, not the single {given!r:.300}")
    return given


def expect(what: str, given: Value, kind: type | tuple[type, ...], wanted: str) -> Value:
    """Return ``given``, the argument called ``what``; raise ``TypeError`` unless it is of a ``kind``.

    Errors call the kind ``wanted``. A ``bool`` is no number.
    """
    if not isinstance(given, kind) or isinstance(given, bool):
        raise TypeError(f"{what}: {wanted} is wanted, not {type(given).__name__}")
    return given


def amount(what: str, given: int) -> int:
    """Return ``given``, a whole number of at least 0. Raises ``TypeError``, `UsageError`."""
    if expect(what, given, int, "a whole number") < 0:
        raise UsageError(f"{what} {given}: a number, 0 or more, is wanted")
    return given
