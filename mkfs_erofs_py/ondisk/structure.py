"""How a structure on disk is declared: once, a field a line, in the order of its bytes."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

__all__ = ["Structure"]


class Structure:
    """A little-endian structure of fixed size.

    Each field is a line: its offset, its form as `struct` spells it (``B`` ``H`` ``I`` ``Q`` for 1 to 8 bytes, ``q``
    for 8 signed ones, ``16s`` for bytes), its name, and what it means. A field without a name (``4x``) is written as
    zeros and not looked at. Offsets are checked when the structure is declared: no byte is left out or meant twice.

    ``struct`` packs and unpacks the named fields by position, for where that is done often.
    """

    __slots__ = ("names", "places", "size", "struct")

    def __init__(self, size: int, *fields: tuple[int, str, str, str]) -> None:
        form = "<"
        for offset, code, name, _ in fields:
            assert offset == struct.calcsize(form), f"{name or code}: declared at {offset:#x}, stands elsewhere"
            form += code
        #: Offset and bytes of each named field.
        self.places = {name: (offset, struct.calcsize("<" + code)) for offset, code, name, _ in fields if name}
        self.names = tuple(name for _, _, name, _ in fields if name)
        self.struct = struct.Struct(form)
        self.size = self.struct.size
        assert self.size == size, f"{self.size} bytes, not {size}"

    def pack(self, values: Mapping[str, Any]) -> bytes:
        """Return the structure's bytes; ``values`` has all named fields, and may have more."""
        return self.struct.pack(*[values[name] for name in self.names])

    def unpack(self, data: bytes | memoryview, offset: int) -> dict[str, Any]:
        """Read the named fields at ``offset`` of ``data``, which reaches to the structure's end."""
        return dict(zip(self.names, self.struct.unpack_from(data, offset), strict=True))
