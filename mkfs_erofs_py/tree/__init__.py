"""The model between sources and images: a tree of nodes that knows nothing of where it came from."""

from .node import Content, Node, OpenContent

__all__ = ["Content", "Node", "OpenContent"]
