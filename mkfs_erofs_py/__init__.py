"""Build, read and share EROFS images whose files carry content fingerprints."""

__version__ = "0.1.0"
