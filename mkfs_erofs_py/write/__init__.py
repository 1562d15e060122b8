"""Building: options resolve to a profile, contents are packed, the rest is planned, then written."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .build import build_image
    from .options import BuildOptions
    from .summary import BuildSummary

__all__ = ["BuildOptions", "BuildSummary", "build_image"]

#: Loaded on use: workers, which live in this package too, start up with every build and need none of it.
_HOMES = {"BuildOptions": "options", "BuildSummary": "summary", "build_image": "build"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
