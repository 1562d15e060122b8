"""A finished tree: every file once, numbered, in the order in which an image has them."""

from __future__ import annotations

from collections.abc import Sequence

from .node import Node

__all__ = ["Tree"]


class Tree:
    """Nodes in their order, the root at 0 and parents before what they hold. Made by `TreeBuilder.finish`."""

    __slots__ = ("nodes",)

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes

    def path(self, node: Node) -> bytes:
        """Return a node's path below the root, ``.`` for the root itself."""
        names = []
        while node.number:
            names.append(node.name)
            node = self.nodes[node.parent]
        return b"/".join(reversed(names)) or b"."

    def find(self, path: bytes) -> Node | None:
        """Return the node at a path below the root, ``None`` where there is none. No link is followed."""
        node = self.nodes[0]
        for name in path.strip(b"/").split(b"/") if path.strip(b"/") else ():
            number = dict(node.children).get(name)
            if number is None:
                return None
            node = self.nodes[number]
        return node
