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
``spans(inode, pos)``                  `Span`: where bytes lie
``pieces(inode, pos)``                 (offset, bytes) front to back, in bounded memory, holes left out
``pread(inode, length, offset)``       from any number of threads
``read``, ``open_file``                a whole file; a binary file object
=====================================  =====================================================================

Wherever an inode is asked for, a path will do.

How a read finds its bytes, from the top down, a module a step:

* `image.py` is what callers see. It turns a path into an inode by `tree.py` (lookups and walks, over `directory.py`),
  and gives every error that leaves it the image's name (`naming.py`).
* `inode.py` makes an `Inode` of 32 or 64 bytes; `xattrs.py` reads what is attached to it, the fingerprint among it.
* `layout.py` yields the inode's spans, from the byte that is wanted on: `flat.py` for flat and chunked data,
  `zmap.py` for compressed data with a record for each logical cluster, `xmap.py` for lists of encoded extents.
* `data.py` turns spans into bytes: a whole file front to back (`pieces`), or any part of one (`pread`, `preadinto`).
  Stored bytes are bytes already; those of a compressed span go through `pcluster.py` to a decoder of ``compress``;
  those of a fragment come from the packed inode, which `inode_data.py` reads like any file. `kept.py` is what is kept
  for later.
* `volume.py` is below them all. It has judged the superblock, knows which address lies on which device, and reads:
  metadata through windows of 16 KiB, of which one serves many inodes, data by itself.

`map.py` says what every byte of an image is for, `whole.py` hands out a file with its holes as zeros, `file.py` is a
file object, `fs.py` an fsspec file system.
"""

from __future__ import annotations

from .file import ErofsFile
from .image import Image, Target
from .inode import Inode
from .opened import ImageSource, opened
from .span import METABOX, PACKED, Kind, Span

__all__ = ["METABOX", "PACKED", "ErofsFile", "Image", "ImageSource", "Inode", "Kind", "Span", "Target", "opened"]
