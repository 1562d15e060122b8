"""Pure conversions between EROFS structures and values: no I/O, no policy."""
