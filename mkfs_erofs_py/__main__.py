"""The command ``mkfs-erofs-py``, also as ``python -m mkfs_erofs_py``."""

from __future__ import annotations

import gc
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def run() -> NoReturn:
    """Load the command line, run it and exit."""
    # While modules are loaded there is nothing to clean up: an interrupt ends the process there and then, and Python
    # does not show where it was.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Modules, trees and listings are a great many objects and hardly a cycle: to look for one after every 700 of them
    # would be a twentieth of a short command's time.
    gc.set_threshold(100_000)
    from .cli.main import run as run_command

    try:
        run_command()
    except SystemExit as ended:
        # All is closed, and what could not be printed was said. To take the interpreter apart object by object would
        # be a tenth of a short command's time.
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                pass
        os._exit(ended.code if isinstance(ended.code, int) else 1)


if __name__ == "__main__":
    run()
