"""Root file systems in two minor versions: Debian bookworm without and with its security updates."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.kernel.systems import System
from tests.kernel.harness.namespaces import OWN_PROCESSES
from tests.support.debian import KEYRING, mirror
from tests.support.requirements import CACHE, UnavailableError

__all__ = ["HOME", "make_pair", "versions"]

HOME = CACHE / "rootfs"

RELEASE = "bookworm"


def make_pair(name: str, system: System) -> tuple[Path, Path]:
    """Return the two root file systems of a system, made unless they are here."""
    base = f"deb [signed-by={KEYRING}] {mirror()} {RELEASE} main"
    updates = [
        f"deb [signed-by={KEYRING}] {mirror()} {RELEASE}-updates main",
        f"deb [signed-by={KEYRING}] {mirror(archive='debian-security')} {RELEASE}-security main",
    ]
    first, second = HOME / f"{name}.A", HOME / f"{name}.B"
    wheels = system.wheels or (None, None)
    _make(first, system.packages, [base], wheels[0])
    _make(second, system.packages, [base, *updates], wheels[1])
    return first, second


def versions(tree: Path, system: System) -> str:
    """Return the version of a system's last package (or of its wheel) in a root file system."""
    if system.wheels:
        package = system.wheels[0].split("==")[0]
        (found,) = tree.glob(f"usr/local/lib/python3*/dist-packages/{package}-*.dist-info")
        return found.name.removesuffix(".dist-info").removeprefix(f"{package}-")
    command = ["dpkg-query", f"--admindir={tree}/var/lib/dpkg", "-W", "-f", "${Version}", system.packages[-1]]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _make(tree: Path, packages: tuple[str, ...], sources: list[str], wheel: str | None) -> None:
    if tree.exists():
        return
    HOME.mkdir(parents=True, exist_ok=True)
    making = tree.with_suffix(tree.suffix + ".making")
    # Processes and mounts of its own: where it is interrupted, nothing is still mounted in what is deleted then.
    command = [*OWN_PROCESSES, "mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages)}"]
    try:
        _run([*command, RELEASE, str(making), *sources], f"mmdebstrap failed for {tree.name}")
        if wheel:
            target = making / "usr/local/lib/python3.11/dist-packages"
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--only-binary=:all:"]
            _run([*command, "--python-version=3.11", f"--target={target}", wheel], f"{wheel} cannot be had")
        # What downloading left behind is no part of the system.
        for folder in ("var/cache/apt/archives", "var/lib/apt/lists"):
            shutil.rmtree(making / folder, ignore_errors=True)
        making.rename(tree)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _run(command: list[str], failure: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, env={**os.environ, "TMPDIR": folder}, capture_output=True, text=True)
    if done.returncode:
        raise UnavailableError(f"{failure}: {done.stderr.strip()}")
