"""Where trees come from. Each source yields the same model, `mkfs_erofs_py.tree`."""

from .directory import Exclude, read_directory

__all__ = ["Exclude", "read_directory"]
