"""Images as real file systems: through the kernel, or through FUSE over one shared page cache."""
