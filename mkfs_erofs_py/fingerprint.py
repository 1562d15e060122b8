"""What a fingerprint is: an algorithm's name, a colon and the raw digest of a file's content.

The kernel compares values (and domains), never the attribute's name, and does not check them
against the content: whoever shares trusts whoever built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from .errors import CorruptError

__all__ = ["ALGORITHMS", "DIGEST_SIZE", "Hasher", "describe", "digest", "fingerprint", "new_hasher", "parse", "value"]

#: Bytes of every algorithm's digest.
DIGEST_SIZE = 32


class Hasher(Protocol):
    """An incremental hash, as in `hashlib`."""

    def update(self, data: bytes | memoryview, /) -> object:
        """Take in more bytes, in order."""
        ...

    def digest(self) -> bytes:
        """Return the digest of all bytes so far."""
        ...


def _blake3() -> Hasher:
    import blake3  # here, since listing a directory should not pay for loading it

    return blake3.blake3()


def _sha256() -> Hasher:
    import hashlib

    return hashlib.sha256(usedforsecurity=False)


_HASHERS: dict[str, Callable[[], Hasher]] = {"blake3": _blake3, "sha256": _sha256}
#: Names of the algorithms, the default first.
ALGORITHMS = tuple(_HASHERS)


def new_hasher(algorithm: str) -> Hasher:
    """Return an incremental hasher for one of `ALGORITHMS`."""
    return _HASHERS[algorithm]()


def digest(algorithm: str, data: bytes | memoryview) -> bytes:
    """Return the digest of content that is in memory as a whole."""
    hasher = new_hasher(algorithm)
    hasher.update(data)
    return hasher.digest()


def value(algorithm: str, raw: bytes) -> bytes:
    """Return the attribute's value for a digest."""
    return algorithm.encode() + b":" + raw


def fingerprint(chunks: Iterable[bytes | memoryview], algorithm: str = ALGORITHMS[0]) -> bytes:
    """Return the attribute's value for content given in pieces."""
    hasher = new_hasher(algorithm)
    for chunk in chunks:
        hasher.update(chunk)
    return value(algorithm, hasher.digest())


def parse(attribute: bytes) -> tuple[str, bytes]:
    """Split an attribute's value -> algorithm, digest.

    Raises `CorruptError` for an unknown algorithm or a digest of another length than 32 bytes.
    """
    name, colon, digest = attribute.partition(b":")
    algorithm = name.decode("ascii", "replace")
    if not colon or algorithm not in _HASHERS:
        raise CorruptError(f"fingerprint names no known algorithm: {attribute[:16]!r}")
    if len(digest) != DIGEST_SIZE:
        raise CorruptError(f"fingerprint's digest has {len(digest)} bytes, not {DIGEST_SIZE}")
    return algorithm, digest


def describe(attribute: bytes) -> str:
    """Return a fingerprint as text, the digest in hex: ``blake3:0123…``."""
    algorithm, digest = parse(attribute)
    return f"{algorithm}:{digest.hex()}"
