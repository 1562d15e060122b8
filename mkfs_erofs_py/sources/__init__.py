"""Where trees come from.

A source is given an intake and feeds it: names and facts go to its tree builder, contents are announced, or taken as
they come (`mkfs_erofs_py.write.intake`). What a source knows of is a tree of files, never an image.
"""
