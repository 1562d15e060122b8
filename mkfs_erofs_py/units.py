"""Sizes, times, names and paths as people read and write them."""

from __future__ import annotations

import os

from .errors import printable

__all__ = ["absolute", "shown", "text"]


def shown(name: bytes) -> str:
    """Return a name as one line of text for people: what does not print becomes ``\\xNN``."""
    try:
        found = name.decode()
    except UnicodeDecodeError:
        return printable(name)
    return found if found.isprintable() else printable(name)


def text(name: bytes) -> str:
    """Return a name for JSON: UTF-8, other bytes as lone surrogates (``os.fsencode`` gives the bytes back)."""
    return name.decode("utf-8", "surrogateescape")


def absolute(path: str | bytes) -> bytes:
    """Return a path inside an image in the form in which `Image.walk` gives paths."""
    return b"/" + os.fsencode(path).strip(b"/")
