"""Which encoding a content gets: decided from what is known of its file alone, before anything is read."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from ..tree import Facts
from .encoding import Encoding

__all__ = ["Policy", "Uniform"]


class Policy(Protocol):
    """Decides how contents are stored. The same facts give the same encoding, in whatever order files come.

    What a policy needs to know of several files, such as what their contents have in common, it is told before it is
    asked for the first time. Where spans have to begin for that reason, the encoding's cuts say.
    """

    @property
    def encodings(self) -> tuple[Encoding, ...]:
        """All encodings that may be given, without their cuts: memory and records are sized by them."""
        ...

    def __call__(self, path: bytes, facts: Facts) -> Encoding:
        """Return the encoding for a regular file that is not empty; ``path`` is below the root."""
        ...


class Uniform(NamedTuple):
    """All contents get the same encoding."""

    encoding: Encoding

    @property
    def encodings(self) -> tuple[Encoding, ...]:
        """See `Policy.encodings`."""
        return (self.encoding,)

    def __call__(self, path: bytes, facts: Facts) -> Encoding:
        """See `Policy`."""
        del path, facts
        return self.encoding
