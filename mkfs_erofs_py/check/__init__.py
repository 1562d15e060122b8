"""Proof that an image is what it says, and what it should be: by itself, against a tree, another image, a list."""
