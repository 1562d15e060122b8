"""What tests share: sample trees, comparing trees, kernel mounts, and tools fetched from Debian."""
