"""The model between sources and images: who, what and where, and nothing of EROFS.

Sources tell a `TreeBuilder` of files by `Facts`, in any order and one source over the other; `TreeBuilder.finish`
numbers them into a `Tree` of `Node`. What is in a regular file is its `Content`: something to be opened when it is
wanted (`Reopen`, `Bytes`), that comes once and is taken as it comes (`Stream`), or that was taken already (`Kept`).
"""

from .builder import Draft, TreeBuilder
from .content import Bytes, Content, Kept, OpenContent, Reopen, Stream
from .node import Facts, Node
from .tree import Tree

__all__ = [
    "Bytes",
    "Content",
    "Draft",
    "Facts",
    "Kept",
    "Node",
    "OpenContent",
    "Reopen",
    "Stream",
    "Tree",
    "TreeBuilder",
]
