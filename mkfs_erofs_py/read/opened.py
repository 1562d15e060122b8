"""What the package's functions take for an image: a path, a file, or one that is open already."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

from ..errors import UsageError
from ..files.read_at import PathOrFile
from ..units import distinct, several
from .image import Image

__all__ = ["ImageSource", "names_of", "opened"]

#: An open image stays its owner's to close.
ImageSource = PathOrFile | Image


@contextlib.contextmanager
def opened(source: ImageSource, devices: Sequence[PathOrFile] = ()) -> Iterator[Image]:
    """Open an image for the length of a ``with``; one that is open already is handed on, and stays open.

    ``devices`` are the extra devices in their order. Raises what `Image.open` does, and ``UsageError`` for devices
    beside an open image, which has its own.
    """
    if isinstance(source, Image):
        if devices:
            raise UsageError("devices are given when an image is opened, and this one is open already")
        yield source
        return
    with Image.open(source, devices=several("devices", devices)) as image:
        yield image


def names_of(sources: Sequence[ImageSource], names: Sequence[str] | None = None) -> list[str]:
    """Return what to call each of several images: ``names``, or else their paths, or their places among the others.

    Raises ``UsageError`` where there are not as many names as images.
    """
    if names is None:
        return distinct([_name(source, number) for number, source in enumerate(several("images", sources), 1)])
    if len(names) != len(sources):
        raise UsageError(f"{len(names)} names for {len(sources)} images")
    return list(names)


def _name(source: ImageSource, number: int) -> str:
    return os.fsdecode(source) if isinstance(source, (str, bytes, os.PathLike)) else f"image {number}"
