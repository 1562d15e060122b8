"""What packs a content's bytes in memory into spans.

Nothing here knows where in the image they will lie. Addresses are raw (``int``), since a large tree takes a hundred
thousand calls into the compressors.
"""

from __future__ import annotations

from typing import Protocol

from .encoded import Spans

__all__ = ["Packer"]


class Packer(Protocol):
    """Packs one segment of a content; the same bytes give the same spans in every process."""

    def pack(self, src: int, size: int, dst: int, final: bool) -> tuple[Spans, int]:
        """Pack ``size`` bytes at ``src`` to ``dst`` -> spans, bytes written.

        ``final`` tells whether the content ends here. ``dst`` has room for ``size`` bytes and one pcluster more.
        """
        ...
