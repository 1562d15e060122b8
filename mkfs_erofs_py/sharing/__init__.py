"""What sharing page cache among images saves: foretold from fingerprints, and measured through the shared cache."""

from .measure import Range, measure, parse_ranges
from .predict import Answer, Profile, Saving, TopFile, predict, profile_image

__all__ = [
    "Answer",
    "Profile",
    "Range",
    "Saving",
    "TopFile",
    "measure",
    "parse_ranges",
    "predict",
    "profile_image",
]
