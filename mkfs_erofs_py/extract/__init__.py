"""An image becomes a tree on disk or a tar stream."""
