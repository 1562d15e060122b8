"""``python -m mkfs_erofs_py``."""

from .cli.main import run

run()
