"""A place apart on this machine: what happens in it is seen nowhere else, and ends with it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.kernel.measure import running_in_user_space
from benchmarks.kernel.systems import System
from mkfs_erofs_py.write import build_image
from tests.kernel.harness.namespaces import Namespaces
from tests.kernel.harness.remote import RemoteError
from tests.support.requirements import ROOT, UnavailableError, lacking
from tests.support.waiting import until

pytestmark = pytest.mark.kernel

FOREVER = f"sleep 98765.{os.getpid()}"
"""A command that no one else runs."""


@pytest.fixture
def inside() -> Iterator[Namespaces]:
    try:
        with Namespaces() as place:
            yield place
    except UnavailableError as error:
        lacking("kernel", error)


def sh(place: Namespaces, script: str) -> str:
    return str(place.call("run_in", root="/", script=script, port=7100)).strip()


def test_mounts_processes_and_network_are_its_own(inside: Namespaces, tmp_path: Path) -> None:
    sh(inside, f"mount -t tmpfs inside {tmp_path} && touch {tmp_path}/seen /run/seen-{tmp_path.name}")
    assert sh(inside, f"ls {tmp_path}") == "seen"
    assert os.listdir(tmp_path) == []
    assert not os.path.exists(f"/run/seen-{tmp_path.name}")
    assert sh(inside, "echo /proc/[0-9]*").startswith("/proc/1 ")
    assert [line.split(":")[0] for line in sh(inside, "tail -n +3 /proc/net/dev").splitlines()] == ["lo"]
    sh(inside, "exec 3<>/dev/tcp/127.0.0.1/9 || [ $? = 1 ]")  # refused, not unreachable: there is a loopback


def test_a_call_that_fails_or_takes_too_long_says_so(inside: Namespaces) -> None:
    with pytest.raises(RemoteError, match=r"(?s)run_in: .*status 3: so it is"):
        sh(inside, "echo so it is; exit 3")
    with pytest.raises(RemoteError, match=r"run_in: no answer after 0\.1 s"):
        inside.call("run_in", root="/", script="sleep 10", port=0, seconds=0.1)
    with pytest.raises(RemoteError, match="run_in: nobody is there any more"):
        sh(inside, "echo too late")


def still_running() -> bool:
    commands = Path("/proc").glob("[0-9]*/cmdline")
    return any(FOREVER.encode().replace(b" ", b"\0") in read(command) for command in commands)


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # gone meanwhile


ENDS = {
    "ends": "",
    "fails": "raise ValueError",
    "is interrupted": f"os.kill(os.getpid(), {int(signal.SIGINT)}); time.sleep(60)",
    "is killed": f"os.kill(os.getpid(), {int(signal.SIGKILL)})",
    "is killed during a call": f"threading.Timer(0.2, os.kill, (os.getpid(), {int(signal.SIGKILL)})).start();"
    "inside.call('run_in', root='/', script='sleep 60', port=0)",
}


@pytest.mark.usefixtures("inside")  # where there can be none, there is nothing to test
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_nothing_outlives_who_made_it(end: str) -> None:
    program = f"""
import os, signal, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # which whoever starts the tests may have ignored
from tests.kernel.harness.namespaces import Namespaces
with Namespaces() as inside:
    inside.call("run_in", root="/", script="setsid {FOREVER} & while ! kill -0 $!; do :; done", port=0)
    print("up", flush=True)
    {end}
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as p:
        assert p.stdout is not None
        assert p.stdout.readline() == b"up\n"
    until(lambda: not still_running())


def test_a_system_at_work_takes_less_where_it_shares(tmp_path: Path) -> None:
    """Two versions of a system that is a shell and what it reads, through two FUSE mounts over one cache."""
    if os.geteuid() or not os.path.exists("/dev/fuse"):
        lacking("fuse", "FUSE in namespaces needs root and /dev/fuse")
    pytest.importorskip("mfusepy")
    pair = []
    for version in ("one", "two"):
        tree = tmp_path / version
        found = subprocess.run(["ldd", "/bin/bash"], capture_output=True, text=True, check=True).stdout
        for file in ("/bin/bash", *re.findall(r"/\S+", found)):
            target = tree / file.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(os.path.realpath(file), target)
        (tree / "common").write_bytes(b"common to both\n" * 70_000)
        (tree / "own").write_text(version * 100)
        pair.append(tmp_path / f"{version}.erofs")
        build_image(pair[-1], tree)
    system = System((), start="[ $PORT -ge 7100 ]", work="echo written > /own; mapfile < /common; mapfile < /own")
    memory = running_in_user_space((pair[0], pair[1]), system)
    assert memory.with_ % 4096 == memory.without % 4096 == 0
    assert memory.with_ > (tmp_path / "one" / "common").stat().st_size
    assert memory.without == 2 * memory.with_  # what is their own is written before it is read, in memory
