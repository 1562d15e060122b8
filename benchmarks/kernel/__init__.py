"""How much memory page cache sharing saves on a real kernel: the proposal's two tables, measured anew."""
