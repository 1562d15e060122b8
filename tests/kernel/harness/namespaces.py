"""Namespaces on this machine, in which functions of ``probes`` can be called.

What is mounted or started in them is seen nowhere else, and ends with them.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Self

from tests.kernel.harness.remote import LEASH, Remote
from tests.support.requirements import ROOT, UnavailableError

__all__ = ["OWN_PROCESSES", "Namespaces"]

OWN_PROCESSES = (*LEASH, "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
"""Before a command: mounts and processes of its own, that all end when it ends."""


APART = (*OWN_PROCESSES, "--net", "--ipc", "--uts")
"""Before a command: a network, shared memory and a host name of its own as well."""


class Namespaces(Remote):
    """A running agent whose mounts, processes, network, shared memory and /run are its own."""

    def __enter__(self) -> Self:
        tried = subprocess.run([*APART, "true"], capture_output=True, text=True)
        if tried.returncode:
            raise UnavailableError(f"namespaces cannot be made here: {tried.stderr.strip()}")
        with self._connect() as theirs:
            command = [*APART, sys.executable, "-m", "tests.kernel.harness.agent"]
            # A session of its own: ^C is for this process to handle.
            self._process = subprocess.Popen(command, cwd=ROOT, stdin=theirs.fileno(), start_new_session=True)
        try:
            self._receive("start", 60)
            self.call("run_in", root="/", script="mount -t tmpfs run /run", port=0)
        except BaseException:
            self._stop()
            raise
        return self
