"""Images as real file systems: through the kernel, or through FUSE over one shared page cache.

Where each image goes is read from a command line by `points.py`, which also finds what is mounted. `images.py` chooses
the backend: `kernel.py` runs the system's mount, `fuse.py` a daemon that answers by `operations.py` from one `Vfs`, in
a process of its own (`background.py`) unless it stays in the foreground. `unmount.py` undoes either.
"""
