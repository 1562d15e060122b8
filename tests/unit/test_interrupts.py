"""Every command ends cleanly, whatever ends it and whenever: its status, what it says, what it leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.images import make, text
from tests.support.processes import children, members, written
from tests.support.requirements import ROOT
from tests.support.waiting import until

MOMENTS = (0.3, 0.2, 0.15, 0.1, 0.05, 0.02, 0.01, 0)
"""Seconds from the first line of ours that Python runs. Whatever a moment meets, what is asserted is the same."""

PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the package is found, interrupts are Python's own affair
print("begun", flush=True)
from mkfs_erofs_py.__main__ import run
run()
"""

OLD = b"an older image"


@dataclass(frozen=True)
class Given:
    """What commands work on: a tree that takes seconds to build, the image of it."""

    tree: Path
    image: Path


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Given:
    folder = tmp_path_factory.mktemp("given")
    files = {"large": text(9_000_000), **{f"folder/file-{n}": text(400_000, n) for n in range(20)}}
    tree = make(folder / "tree", files)
    subprocess.run(
        [sys.executable, "-m", "mkfs_erofs_py", "build", "-zlz4", "-d0", folder / "image", tree], cwd=ROOT, check=True
    )
    return Given(tree, folder / "image")


COMMANDS: dict[str, Callable[[Given, Path], list[Any]]] = {
    "build": lambda given, out: ["build", "-zlzma,9", "--workers=2", out / "image", given.tree],
    "verify": lambda given, _: ["verify", "--workers=2", given.image],
    "extract": lambda given, out: ["extract", "--workers=2", given.image, out / "tree"],
}


def to_the_process(number: int) -> Callable[[int], None]:
    return lambda pid: os.kill(pid, number)


def to_the_group(number: int) -> Callable[[int], None]:
    return lambda pid: os.killpg(pid, number)


def twice(pid: int) -> None:
    os.killpg(pid, signal.SIGINT)
    os.killpg(pid, signal.SIGINT)


SIGNALS: dict[str, tuple[int, Callable[[int], None]]] = {
    "SIGINT": (signal.SIGINT, to_the_process(signal.SIGINT)),
    "^C": (signal.SIGINT, to_the_group(signal.SIGINT)),
    "^C twice": (signal.SIGINT, twice),
    "SIGTERM": (signal.SIGTERM, to_the_process(signal.SIGTERM)),
    "SIGTERM to all": (signal.SIGTERM, to_the_group(signal.SIGTERM)),
    "SIGHUP": (signal.SIGHUP, to_the_group(signal.SIGHUP)),
    "SIGKILL": (signal.SIGKILL, to_the_process(signal.SIGKILL)),
}


def start(argv: list[Any]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, argv)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def begun(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"


def assert_clean(process: subprocess.Popen[bytes], number: int, folder: Path) -> None:
    """It was ended by the signal, with a line at most, or was done before; no process and no file is left."""
    _, err = process.communicate(timeout=60)
    # A shell shows both as 128 + the signal's number.
    assert process.returncode in (0, -number, 128 + number), err
    said = err.decode().splitlines()
    if process.returncode == 128 + number:
        assert said in ([], ["mkfs-erofs-py: interrupted"], ["mkfs-erofs-py: terminated"])
    else:
        assert said == []
    # Shared memory has no name in any file system: it is gone with the processes.
    until(lambda: not members(process.pid))
    left = set(os.listdir(folder)) - {"tree"}  # what was extracted stays
    assert left <= {"image"}
    if process.returncode and "image" in left:
        # An image that was complete when the signal came may be there.
        data = (folder / "image").read_bytes()
        assert data == OLD or (number != signal.SIGKILL and data[1024:1028] == b"\xe2\xe1\xf5\xe0")


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_signal_at_any_moment_ends_a_command_cleanly(command: str, name: str, given: Given, tmp_path: Path) -> None:
    number, send = SIGNALS[name]
    folders = [tmp_path / f"{moment}" for moment in MOMENTS]
    for folder in folders:
        folder.mkdir()
        if command == "build" and number != signal.SIGKILL:
            (folder / "image").write_bytes(OLD)
    # All at once, those that live longest first: it takes less time, and moments meet more.
    processes = []
    due = []
    for folder, moment in zip(folders, MOMENTS, strict=True):
        process = start(COMMANDS[command](given, folder))
        begun(process)
        processes.append(process)
        due.append((time.monotonic() + moment, process))
    for at, process in sorted(due, key=lambda one: one[0]):
        time.sleep(max(0, at - time.monotonic()))
        if process.poll() is None:
            send(process.pid)
    for process, folder in zip(processes, folders, strict=True):
        assert_clean(process, number, folder)


def workers(process: subprocess.Popen[bytes], command: str, folder: Path) -> list[int]:
    """Wait until a command's workers work -> them. They may be done before we look."""
    if command == "build":
        until(lambda: written(process.pid, folder) >= 0)
    found: list[int] = []

    def seen() -> bool:
        found[:] = children(process.pid)
        return len(found) == 2 or process.poll() is not None

    until(seen)
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_a_stopped_worker_does_not_keep_a_command_from_ending(command: str, given: Given, tmp_path: Path) -> None:
    process = start(COMMANDS[command](given, tmp_path))
    begun(process)
    for pid in workers(process, command, tmp_path):
        os.kill(pid, signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    assert_clean(process, signal.SIGINT, tmp_path)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_worker_that_is_killed_is_told_in_one_line(command: str, given: Given, tmp_path: Path) -> None:
    process = start(COMMANDS[command](given, tmp_path))
    begun(process)
    for pid in workers(process, command, tmp_path)[:1]:
        os.kill(pid, signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    if command == "build" or process.returncode:
        assert process.returncode == 1
        assert err == b"mkfs-erofs-py: a worker process failed: it was killed, as Linux does where memory runs out\n"
    assert set(os.listdir(tmp_path)) <= {"tree"}
    until(lambda: not members(process.pid))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_was_stopped_goes_on(command: str, given: Given, tmp_path: Path) -> None:
    process = start(COMMANDS[command](given, tmp_path))
    begun(process)
    workers(process, command, tmp_path)
    os.killpg(process.pid, signal.SIGSTOP)
    os.killpg(process.pid, signal.SIGCONT)
    assert process.communicate(timeout=60)[1] == b""
    assert process.returncode == 0
    until(lambda: not members(process.pid))
