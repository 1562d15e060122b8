"""What sharing page cache among images saves: foretold from fingerprints, and measured through the shared cache.

`profile_image` reads an image's fingerprints and sizes, and `predict` tells from several images' what they save
together, by the kernel's rules (`predict.py`). `compare_with_index` does the same against a file that remembers the
fingerprints of a whole fleet (`index.py`). `measure` computes nothing: it mounts images over one cache, reads their
files, and asks the cache what it holds (`measure.py`). All three return an `Savings`; `report.py` shows it as table,
JSON, CSV, HTML or chart.
"""

from .index import compare_with_index
from .measure import Range, measure, parse_ranges, read_ranges
from .predict import ImageProfile, Saving, Savings, TopFile, predict, profile_image

__all__ = [
    "ImageProfile",
    "Range",
    "Saving",
    "Savings",
    "TopFile",
    "compare_with_index",
    "measure",
    "parse_ranges",
    "predict",
    "profile_image",
    "read_ranges",
]
