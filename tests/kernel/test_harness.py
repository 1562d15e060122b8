"""The kernel tests' own instruments see a difference where there is one, and say what they lack."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernel.conftest import Build, Judge, Source
from tests.kernel.harness.fetch import NAME
from tests.support.requirements import ROOT
from tests.support.trees import snapshot

pytestmark = pytest.mark.kernel


def test_examine_sees_what_differs(judge: Judge, sources: Callable[[str], Source], build: Build, share: Path) -> None:
    source = sources("everything")
    other = snapshot(source.tree)
    changed = other[b"files/mixed"]
    other[b"files/mixed"] = type(changed)(**{**vars(changed), "content": "0" * 64})
    del other[b"names/\xff\xfe"]
    (share / "other.pickle").write_bytes(pickle.dumps(other))
    point = judge.call("mount", image=build(source.tree).image)
    try:
        found = judge.call("examine", point=point, expected=str(share / "other.pickle"))
    finally:
        judge.call("unmount", point=point)
    assert sorted(line.split(":")[0] for line in found) == ["b'files/mixed'", "files/mixed", "names/\\xff\\xfe"]


def test_mounting_what_is_no_image_fails(judge: Judge, share: Path) -> None:
    (share / "noise").write_bytes(bytes(1 << 20))
    with pytest.raises((OSError, AssertionError), match="mount"):
        judge.call("mount", image=str(share / "noise"))


@pytest.mark.parametrize(
    ("package", "wanted"),
    [
        ("linux-binary-7.3.4+deb13-amd64", True),
        ("linux-binary-7.3.4-amd64", True),
        ("linux-binary-10.0.1+deb14-amd64", True),
        ("linux-binary-6.19.8-amd64", False),
        ("linux-binary-7.3.4+deb13-cloud-amd64", False),
        ("linux-binary-7.3.4+deb13-rt-amd64", False),
        ("linux-binary-7.3.4+deb13-arm64", False),
    ],
)
def test_kernels_with_sharing_are_known_by_name(package: str, wanted: bool) -> None:
    assert bool(re.fullmatch(NAME, package)) == wanted


def run(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run Python in a process of its own -> its status, and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


A_BOOTING_TEST = ("pytest", "-q", "tests/kernel/test_sharing.py", "-k", "two_equal_files")


@pytest.mark.long
def test_without_being_asked_to_boot_tests_skip_and_say_so() -> None:
    status, said = run(*A_BOOTING_TEST)
    assert (status, "1 skipped" in said) == (0, True)
    assert "boots a Debian kernel under QEMU: `make kernel-test` does that" in said


@pytest.mark.long
def test_without_a_kernel_they_fail_with_the_reason(tmp_path: Path) -> None:
    nowhere = {"MKFS_EROFS_PY_CACHE": str(tmp_path), "DEBIAN_MIRROR": "file:///nowhere"}
    status, said = run("tests.kernel.harness.fetch", **nowhere)
    assert (status, said.count("kernel: ")) == (1, 1)
    reason = said.splitlines()[0].removeprefix("kernel: ")
    status, said = run(*A_BOOTING_TEST, "--boot", **nowhere)
    assert status == 1
    assert f"no kernel to judge with: {reason}" in said


@pytest.mark.long
def test_without_qemu_they_fail_with_the_reason(tmp_path: Path) -> None:
    for file in ("usr/lib/modules/7.9/vmlinuz", "bin/busybox"):
        path = tmp_path / "kernel/root" / file
        path.parent.mkdir(parents=True)
        path.touch()
    status, said = run(*A_BOOTING_TEST, "--boot", MKFS_EROFS_PY_CACHE=str(tmp_path), PATH="")
    assert status == 1
    assert "no kernel to judge with: qemu-system-x86_64 is missing: install qemu-system-x86" in said
