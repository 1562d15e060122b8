"""Images through FUSE: one process serves any number of mount points from one shared cache.

An adapter of :mod:`.vfs` to libfuse 3 by way of the package mfusepy (the extra ``fuse``); what it is asked and
answers is in :mod:`.operations`. Each mount
point has a session, and each session one thread, which runs its operations: with libfuse's pool of threads
instead, which would take turns at Python's lock, the same reads took a fifth longer, two readers' a half.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from ..errors import MountError, printable
from ..pagecache import Counters
from ..vfs import MountedImage, Vfs
from .operations import Fuse, Operations
from .points import OURS, MountPoint, pack_statistics

__all__ = ["Daemon"]


class _Session:
    """One mount point: the thread that runs libfuse's loop until it is unmounted."""

    def __init__(self, vfs: Vfs, point: str, images: dict[bytes, MountedImage], facts: Callable[[], bytes]) -> None:
        self.point = point
        self._vfs = vfs
        self._images = list(images.values())
        self._operations = Operations(images, facts, alone=len(vfs.mounted) == 1)

    def start(self) -> bool:
        """Mount, and return when the session is up; ``False`` if it could not be mounted."""
        # Not made any earlier: threading takes every thread that was made before a fork for dead.
        self.thread = threading.Thread(target=self._run, name=f"fuse {self.point}")
        self.thread.start()
        while not self._operations.ready.wait(0.01):
            if not self.thread.is_alive():
                return False
        self._read_ahead()
        return True

    def _run(self) -> None:
        root = os.geteuid() == 0
        try:
            Fuse(
                self._operations,
                self.point,
                foreground=True,
                nothreads=True,
                fsname=OURS,
                subtype="erofs",
                ro=True,
                default_permissions=True,
                **({"allow_other": True, "dev": True, "suid": True} if root else {}),
            )
        except RuntimeError:  # libfuse has said why on standard error
            pass
        for image in self._images:
            self._vfs.unmount(image)

    def _read_ahead(self) -> None:
        """Let the kernel ask for 512 KiB at a time, not 128, where we may.

        Of a large file, that reads a half faster. 1 MiB reads no faster, and files of that size slower: a program then
        has nothing to do while we decode, and we have nothing while it copies.
        """
        with contextlib.suppress(OSError):
            device = os.stat(self.point).st_dev
            with open(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb", "w") as file:
                file.write("512")

    def unmount(self) -> None:
        """Unmount, even if the folder is in use."""
        commands = (["fusermount3", "-u", "-z", self.point], ["umount", "--lazy", self.point])
        for command in commands if os.geteuid() else reversed(commands):
            with contextlib.suppress(FileNotFoundError):
                if subprocess.run(command, capture_output=True, check=False).returncode == 0:
                    return


class Daemon:
    """All mount points of one process.

    :meth:`run` must be called in the main thread: it handles SIGTERM, SIGINT and SIGHUP (unmount all), and
    SIGUSR1 (tell the counters). ``warnings`` are told with the counters; whoever makes them may go on adding.
    """

    def __init__(
        self, vfs: Vfs, mounted: Sequence[tuple[MountPoint, MountedImage]], warnings: Collection[str] = ()
    ) -> None:
        self._vfs = vfs
        self._warnings = warnings
        self._sessions = [
            _Session(
                vfs,
                point,
                {os.fsencode(place.name or ""): image for place, image in mounted if place.point == point},
                lambda: pack_statistics(self.statistics()),
            )
            for point in dict.fromkeys(place.point for place, _ in mounted)
        ]
        self._running: list[_Session] = []
        self._stopped = False

    def statistics(self) -> dict[str, Any]:
        """Return the counters, in all and by image, and the warnings, ready for JSON."""
        images = {image.name: dataclasses.asdict(image.counters()) for image in list(self._vfs.mounted)}
        total: Counters = self._vfs.cache.counters()
        facts = {"pid": os.getpid(), "budget_bytes": self._vfs.cache.budget}
        told = {"total": dataclasses.asdict(total), "images": images, "warnings": list(self._warnings)}
        return {**facts, **told}

    def run(self, ready: Callable[[], None], tell: Callable[[dict[str, Any]], None]) -> None:
        """Mount everything, call ``ready``, and serve until the last mount point is unmounted.

        ``tell`` gets :meth:`statistics` upon SIGUSR1. Raises :class:`~mkfs_erofs_py.errors.MountError`,
        with nothing left mounted.
        """
        # Pages and open files come and go without cycles; looking for some after every 700 took a tenth of the time.
        gc.set_threshold(100_000)
        # Handlers that stand before libfuse starts are left alone by it.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: self._stop())
        signal.signal(signal.SIGUSR1, lambda *_: tell(self.statistics()))
        self._start()
        if not self._stopped:
            ready()
        for session in self._running:
            session.thread.join()

    def _stop(self) -> None:
        self._stopped = True
        self._unmount()

    def _unmount(self) -> None:
        for session in self._running:
            if session.thread.is_alive():
                session.unmount()

    def _start(self) -> None:
        with open(os.memfd_create("said"), "w+b") as said, _standard_error(said.fileno()):
            for session in self._sessions:
                if self._stopped:
                    break
                if session.start():
                    self._running.append(session)
                    continue
                self._unmount()
                for other in self._running:
                    other.thread.join()
                said.seek(0)
                raise MountError(session.point, f"cannot be mounted through FUSE: {_reason(said.read())}")
        if self._stopped:  # by a signal that came before the last one was up
            self._unmount()


def _reason(said: bytes) -> str:
    """Return the last that libfuse said, leaving out what it says of its own defaults."""
    lines = [line.strip() for line in said.decode(errors="replace").splitlines()]
    lines = [line for line in lines if line and not line.startswith("Ignoring invalid max threads")]
    return printable(lines[-1].removeprefix("fuse: ")) if lines else "libfuse gives no reason"


@contextlib.contextmanager
def _standard_error(descriptor: int) -> Iterator[None]:
    """Send what C code writes to standard error to ``descriptor`` meanwhile."""
    kept = os.dup(2)
    try:
        os.dup2(descriptor, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
