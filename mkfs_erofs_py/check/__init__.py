"""Proof that an image is what it says, and what it should be: by itself, against a tree, a list, another image.

`verify_image` opens an image and walks its directories (`image.py`). Everything that the walk meets is checked by
itself (`inode.py`: attributes, every byte, the fingerprint), in batches, by as many processes as there are cores; in
the same pass a file's bytes are compared with those of a tree (`tree.py`) and hashed for a list of digests
(`manifest.py`). What was found comes back as a `VerifyReport` of `Finding` values, in order of paths.

`diff_images` (`diff.py`) walks two images and compares what has the same path: fields, attributes and content, the
latter by fingerprint where both images have one.

Nothing is printed here, and no image is trusted: what is malformed is a finding, not an exception.
"""

from .diff import Change, Difference, Ignorable, diff_images
from .image import VerifyReport, verify_image
from .inode import Finding
from .manifest import read_manifest, write_manifest

__all__ = [
    "Change",
    "Difference",
    "Finding",
    "Ignorable",
    "VerifyReport",
    "diff_images",
    "read_manifest",
    "verify_image",
    "write_manifest",
]
