"""Finds C libraries that are on the machine anyway and binds their functions.

The wheels of lz4 and zstandard carry the whole libraries; where a distribution links the same
packages against shared libraries, the symbols are found through them. ``ctypes.CDLL`` releases the
interpreter's lock for the length of each call, so functions bound here run in parallel.
"""

from __future__ import annotations

import ctypes
import glob
import importlib.util
import os
from collections.abc import Iterable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from ..errors import UnsupportedError

__all__ = ["Prototypes", "bind", "extension_files", "shared_library"]

# name of a function -> its result type and the types of its arguments
Prototypes = Mapping[str, tuple[Any, tuple[Any, ...]]]


def extension_files(package: str, stem: str) -> Iterator[str]:
    """Yield the files ``stem*`` in the folder of ``package``, which is found but not imported."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        yield from sorted(glob.glob(os.path.join(glob.escape(folder), stem + "*.so")))


def shared_library(name: str) -> Iterator[str]:
    """Yield the file name of the system's shared library ``name``, if it has one."""
    # Only one of the algorithms needs it, and it is slow to load.
    from ctypes.util import find_library

    found = find_library(name)
    if found is not None:
        yield found


def bind(what: str, files: Iterable[str], prototypes: Prototypes) -> SimpleNamespace:
    """Return the functions of the first of ``files`` that has all of ``prototypes``.

    Raises UnsupportedError naming ``what`` and the functions that were missing.
    """
    missing: list[str] = []
    for file in files:
        try:
            library = ctypes.CDLL(file)
        except OSError:
            continue
        absent = [name for name in prototypes if not hasattr(library, name)]
        if not absent:
            return SimpleNamespace(**{name: _prototype(library, name, *prototypes[name]) for name in prototypes})
        missing += [f"{os.path.basename(file)} lacks {', '.join(absent)}"]
    reason = "; ".join(missing) or "no library found"
    raise UnsupportedError(f"{what} is not available on this machine: {reason}")


def _prototype(library: ctypes.CDLL, name: str, result: Any, arguments: tuple[Any, ...]) -> Any:
    function = library[name]  # by item: a fresh object, so that no prototype is shared with others
    function.restype = result
    function.argtypes = arguments
    return function
