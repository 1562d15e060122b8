"""The kernel tests' own instruments see a difference where there is one."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernel.conftest import Build, Judge, Source
from tests.kernel.harness.fetch import NAME
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
