"""Reading EROFS images: all layouts, from erofs-utils 1.0 to 1.9 and the companion builder.

>>> from mkfs_erofs_py.read import Image
>>> with Image.open("root.erofs") as image:                            # doctest: +SKIP
...     for path, inode in image.walk():
...         print(path, oct(inode.mode), inode.size, image.xattrs(inode))
...     print(image.read("/etc/os-release"))
...     with image.open_file("/usr/bin/env") as file:
...         file.seek(100)
...         file.read(20)

What an image offers:

=====================================  =====================================================================
``Image.open(path_or_file, devices=)`` lazily; ``with`` or ``close``
``image.root``, ``inode(nid)``         `Inode`: mode, nlink, uid, gid, size, mtime, nsec, rdev, layout …
``lookup(path, follow=True)``          path to `Inode`; ``NotFoundError`` where there is none
``readdir(dir)``, ``walk(top)``        entries with name, nid, type; (path, inode) of a whole tree
``inodes()``                           (path, inode), hard links once
``stat``, ``readlink``, ``xattrs``     as the kernel would show them
``fingerprint(file)``                  the content fingerprint as stored, or ``None``
``fingerprints()``                     (path, inode, fingerprint) of all non-empty files, reading no data
``extents(inode, pos)``                `Extent`: where bytes lie
``pieces(inode, pos)``                 (offset, bytes) front to back, bounded memory, no copies where possible
``pread(inode, length, offset)``       from any number of threads
``read``, ``open_file``                a whole file; a binary file object
=====================================  =====================================================================

Wherever an inode is asked for, a path will do.
"""

from __future__ import annotations

from .extent import METABOX, PACKED, Extent, Kind
from .file import ErofsFile
from .image import Image, Target
from .inode import Inode
from .opened import ImageSource, opened

__all__ = ["METABOX", "PACKED", "ErofsFile", "Extent", "Image", "ImageSource", "Inode", "Kind", "Target", "opened"]
