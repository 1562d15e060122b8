"""Strict mode: proving that a file's bytes are those its fingerprint claims.

A fingerprint covers a whole file, but pages come and go one page run at a time. So the first fill
hashes the whole file and keeps, beside the verdict, a digest of each 128 KiB unit; later fills, and
all of each other image's file before it may use the pages, are held against those. 32 bytes per
unit are 0.02 % of the data.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import CorruptError
from ..fingerprint import new_hasher, parse, value

__all__ = ["UNIT", "Proof", "can_prove", "prove"]

UNIT = 128 << 10
"""Bytes covered by one digest of a :class:`Proof`."""

Proof = tuple[bytes, ...]
"""The digest of each unit of a file whose content is known to match its fingerprint."""


def can_prove(fingerprint: bytes) -> bool:
    """Tell whether ``fingerprint`` has the form ``algorithm:`` + 32 raw bytes, of an algorithm known here."""
    try:
        parse(fingerprint)
    except CorruptError:
        return False
    return True


def unit_digests(data: memoryview) -> Iterable[bytes]:
    """Yield the digest of each unit of ``data``, which begins at a unit's start."""
    for at in range(0, len(data), UNIT):
        hasher = new_hasher("blake3")
        hasher.update(data[at : at + UNIT])
        yield hasher.digest()


def prove(claim: bytes, pieces: Iterable[memoryview]) -> Proof | None:
    """Hash a whole file and return its proof, or ``None`` where its fingerprint, ``claim``, lies.

    ``pieces`` are the file's bytes in order; each but the last is a multiple of :data:`UNIT` long.
    Raises :class:`~mkfs_erofs_py.errors.CorruptError` for a claim that :func:`can_prove` refuses.
    """
    algorithm, _ = parse(claim)
    whole = new_hasher(algorithm)
    units: list[bytes] = []
    for piece in pieces:
        whole.update(piece)
        units.extend(unit_digests(piece))
    return tuple(units) if value(algorithm, whole.digest()) == claim else None


def holds(proof: Proof, offset: int, data: memoryview) -> bool:
    """Tell whether ``data``, which begins at byte ``offset`` (a unit's start), is what was proved."""
    first = offset // UNIT
    digests = tuple(unit_digests(data))
    return proof[first : first + len(digests)] == digests
