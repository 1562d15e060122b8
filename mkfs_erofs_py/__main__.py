"""The command ``mkfs-erofs-py``, also as ``python -m mkfs_erofs_py``."""

from __future__ import annotations

import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def run() -> NoReturn:
    """Load the command line and run it."""
    # While modules are loaded there is nothing to clean up: an interrupt ends the process there and then, and Python
    # does not show where it was.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from .cli.main import run as run_command

    run_command()


if __name__ == "__main__":
    run()
