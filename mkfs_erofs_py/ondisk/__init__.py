"""Pure conversions between EROFS structures and values: no I/O, no policy.

Most modules hold one structure, declared once with `structure.Structure`, in both directions: ``pack`` takes values
and returns bytes, ``unpack`` takes a buffer and an offset and returns the value and where it ended. Reading is
permissive: only what cannot be expressed is refused here; `mkfs_erofs_py.read` narrows it to what
a kernel accepts.
"""
