"""Where trees come from. Each source yields the same model, `mkfs_erofs_py.tree`."""
