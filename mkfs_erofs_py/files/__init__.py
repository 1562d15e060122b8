"""Bytes at offsets, the image being written, what waits for its place, and paths of any length."""
