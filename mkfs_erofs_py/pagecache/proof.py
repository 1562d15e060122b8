"""Strict mode: proving that a file's bytes are those its fingerprint claims.

A fingerprint covers a whole file, but pages come and go one extent at a time. So the first fill
hashes the whole file and keeps, beside the verdict, a digest of each 128 KiB unit; later fills,
from whichever image, are held against those. 32 bytes per unit are 0.02 % of the data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Protocol

import blake3

__all__ = ["UNIT", "Proof", "can_prove", "prove"]

UNIT = 128 << 10
"""Bytes covered by one digest of a :class:`Proof`."""

Proof = tuple[bytes, ...]
"""The digest of each unit of a file whose content is known to match its fingerprint."""


class _Hash(Protocol):
    def update(self, data: bytes | memoryview, /) -> object: ...
    def digest(self) -> bytes: ...


_ALGORITHMS: dict[bytes, Callable[[], _Hash]] = {b"sha256": hashlib.sha256, b"blake3": blake3.blake3}


def _split(fingerprint: bytes) -> tuple[Callable[[], _Hash] | None, bytes]:
    name, _, digest = fingerprint.partition(b":")
    return (_ALGORITHMS.get(name) if len(digest) == 32 else None), digest


def can_prove(fingerprint: bytes) -> bool:
    """Tell whether ``fingerprint`` has the form ``algorithm:`` + 32 raw bytes, of an algorithm known here."""
    return _split(fingerprint)[0] is not None


def unit_digests(data: memoryview) -> Iterable[bytes]:
    """Yield the digest of each unit of ``data``, which begins at a unit's start."""
    for at in range(0, len(data), UNIT):
        yield blake3.blake3(data[at : at + UNIT]).digest()


def prove(fingerprint: bytes, pieces: Iterable[memoryview]) -> Proof | None:
    """Hash a whole file and return its proof, or ``None`` where its fingerprint lies.

    ``pieces`` are the file's bytes in order; each but the last is a multiple of :data:`UNIT` long.
    """
    algorithm, wanted = _split(fingerprint)
    if algorithm is None:
        return None
    whole = algorithm()
    units: list[bytes] = []
    for piece in pieces:
        whole.update(piece)
        units.extend(unit_digests(piece))
    return tuple(units) if whole.digest() == wanted else None


def holds(proof: Proof, offset: int, data: memoryview) -> bool:
    """Tell whether ``data``, which begins at byte ``offset`` (a unit's start), is what was proved."""
    first = offset // UNIT
    digests = tuple(unit_digests(data))
    return proof[first : first + len(digests)] == digests
