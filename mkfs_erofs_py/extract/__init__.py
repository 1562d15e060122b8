"""An image becomes a tree on disk, or a tar stream.

Both ways begin with a selection (`select.py`): everything, or what is at some paths, each with the directories that
lead there, parents first. `extract_image` (`folder.py`) makes directories and everything small in the calling process
and leaves regular files to others, a directory's worth at a time; `write_tar` (`tar.py`) writes one stream in order.
Either returns what it wrote, and counts what it had to leave out (`extracted.py`).
"""

from .extracted import Extracted
from .folder import extract_image
from .tar import write_tar

__all__ = ["Extracted", "extract_image", "write_tar"]
