"""Building: options resolve to a profile, contents are packed, the rest is planned, then written."""

from .image import BuildSummary, build_image
from .options import BuildOptions, TimePolicy

__all__ = ["BuildOptions", "BuildSummary", "TimePolicy", "build_image"]
