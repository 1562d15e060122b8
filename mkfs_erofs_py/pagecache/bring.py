"""Bringing pages: what a fill does while the cache's lock is free.

Nothing here touches the state of a cache: functions take what they need and return bytes. A file's proof does not
change once it is there, and of pages that are being filled nobody else takes any.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import OutOfBoundsError
from .fetcher import Fetcher
from .proof import UNIT, Proof, holds, prove

__all__ = ["LieError", "bring", "fetch_into", "is_honest"]

_STEP = 1 << 20
"""Bytes read at once where a whole file is gone through. A multiple of `UNIT`."""


class LieError(Exception):
    """What a file holds is not what its fingerprint claims."""


def fetch_into(fetcher: Fetcher, offset: int, buffer: memoryview) -> None:
    """Fill ``buffer`` from a file. Raises ``OutOfBoundsError`` if it ends early, and what the fetcher raises."""
    got = fetcher.readinto(offset, buffer)
    if got != len(buffer):
        raise OutOfBoundsError(f"file data ends after {offset + got} of {fetcher.size} bytes")


def bring(
    fetcher: Fetcher, begin: int, end: int, *, claim: bytes | None, proof: Proof | None, keep: bool
) -> tuple[bytearray | None, Proof | None]:
    """Return bytes ``begin`` to ``end`` of a file, and the proof of its content where there was none.

    ``claim`` is the fingerprint to check, None for none; ``proof`` what is proved of it already. Without a proof, the
    range is the whole file; without ``keep``, it is only read through for its proof, and no bytes are returned.
    Raises `LieError` for content that is not what its fingerprint claims, and what the fetcher raises.
    """
    if claim is None:
        return _fetch(fetcher, begin, end), None
    if proof is None:
        data = _fetch(fetcher, begin, end) if keep else None
        proof = prove(claim, [memoryview(data)] if data is not None else _stream(fetcher, end))
        if proof is None:
            raise LieError
        return data, proof
    low, high = begin // UNIT * UNIT, min(-(-end // UNIT) * UNIT, fetcher.size)
    data = _fetch(fetcher, low, high)
    if not holds(proof, low, memoryview(data)):
        raise LieError
    return (data if (low, high) == (begin, end) else data[begin - low : end - low]), None


def is_honest(fetcher: Fetcher, size: int, proof: Proof) -> bool:
    """Read all of a file and tell whether it is what was proved of another. Raises what the fetcher raises."""
    return all(holds(proof, number * _STEP, piece) for number, piece in enumerate(_stream(fetcher, size)))


def _stream(fetcher: Fetcher, size: int) -> Iterator[memoryview]:
    for offset in range(0, size, _STEP):
        yield memoryview(_fetch(fetcher, offset, min(offset + _STEP, size)))


def _fetch(fetcher: Fetcher, begin: int, end: int) -> bytearray:
    data = bytearray(end - begin)
    with memoryview(data) as buffer:
        fetch_into(fetcher, begin, buffer)
    return data
