"""Writing images: from what a caller asks for to bytes on the disk.

`options` resolve to a `profile`; what several of them say together about times and owners, `times` and `owners`
decide. A source feeds the `intake`, and the tree that comes of it is described by `inodes` and `attributes`. Contents,
encoded elsewhere, get their places in the `area`; everything else gets its own in the `plan`, which holds every
decision, with the help of `placing`, `directories` and `features`. `where` tells at which bytes of the image an inode's
data stands. `dump` prints the plan, `emit` and `index` write it down.

An `override` gives a single field another value: `address` takes apart what the field is called, `locate` finds its
place in the plan, and a `patch` changes the written image.

`build` has these steps in their order, and `summary` says what was done.
"""

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
