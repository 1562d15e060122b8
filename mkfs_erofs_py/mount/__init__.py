"""Images as file systems over one shared page cache, and what sharing it saves."""

from .measurement import Range, measure, parse_ranges
from .saving import Answer, Profile, Saving, TopFile, predict, profile_image
from .vfs import FileSystemFacts, MountedImage, Vfs

__all__ = [
    "Answer",
    "FileSystemFacts",
    "MountedImage",
    "Profile",
    "Range",
    "Saving",
    "TopFile",
    "Vfs",
    "measure",
    "parse_ranges",
    "predict",
    "profile_image",
]
