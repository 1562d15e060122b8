"""The kernels that judge: this machine's own, and Debian's newest under QEMU."""

from __future__ import annotations

import pickle
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from mkfs_erofs_py.kernels import Kernel
from mkfs_erofs_py.write import BuildSummary, build_image
from tests.kernel.harness import probes
from tests.kernel.harness.boot import Guest
from tests.kernel.harness.fetch import fetch
from tests.support.mounts import check_kernel
from tests.support.requirements import UnavailableError, lacking
from tests.support.sample import make_crowd, make_tree
from tests.support.trees import snapshot


class Call(Protocol):
    """Runs a function of ``probes`` where the kernel is."""

    def __call__(self, name: str, /, **arguments: Any) -> Any: ...


@dataclass(frozen=True)
class Judge:
    """A kernel that can be asked: whether it shares page cache, its version, and how to call a probe on it."""

    shares: bool
    version: Kernel
    call: Call


@dataclass(frozen=True)
class Source:
    """A source tree, and the pickled snapshot that a kernel's view of its image is compared with."""

    tree: Path
    snapshot: Path


@pytest.fixture(scope="session")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that the guest sees at the same path."""
    return tmp_path_factory.mktemp("share")


@pytest.fixture(scope="session")
def guest(request: pytest.FixtureRequest, share: Path) -> Iterator[Guest]:
    """Boot the kernel once for all tests; where it cannot be had, they fail with the reason."""
    if not request.config.getoption("--boot"):
        pytest.skip("boots a Debian kernel under QEMU: `make kernel-test` does that")
    try:
        with Guest(fetch(), share) as running:
            yield running
    except UnavailableError as error:
        pytest.fail(f"no kernel to judge with: {error}", pytrace=False)


@pytest.fixture(scope="session", params=["this machine's kernel", "Debian's kernel"])
def judge(request: pytest.FixtureRequest) -> Judge:
    """Return each kernel in turn."""
    if request.param == "Debian's kernel":
        running: Guest = request.getfixturevalue("guest")
        return Judge(True, Kernel.parse(running.release), running.call)
    try:
        check_kernel()
    except UnavailableError as error:
        lacking("kernel", error)
    return Judge(
        False, Kernel.parse(platform.release()), lambda name, /, **arguments: getattr(probes, name)(**arguments)
    )


@pytest.fixture(scope="session")
def sources(share: Path) -> Callable[[str], Source]:
    """Return a function that makes a source tree of one of the kinds the layouts name, once."""
    made: dict[str, Source] = {}

    def make(kind: str) -> Source:
        if kind not in made:
            tree = share / f"source-{kind}"
            if kind == "everything":
                make_tree(tree, entries=60, depth=20)
            else:
                make_crowd(tree)
            pickled = share / f"source-{kind}.pickle"
            pickled.write_bytes(pickle.dumps(snapshot(tree)))
            made[kind] = Source(tree, pickled)
        return made[kind]

    return make


class Build(Protocol):
    """Builds an image of a tree with options of ``build_image``; the same twice is built once."""

    def __call__(self, tree: Path, **options: Any) -> BuildSummary: ...


@pytest.fixture(scope="session")
def build(share: Path) -> Build:
    """Return a function that builds an image in the shared folder."""
    built: dict[str, BuildSummary] = {}

    def run(tree: Path, **options: Any) -> BuildSummary:
        key = f"{tree} {sorted(options.items())}"
        if key not in built:
            built[key] = build_image(share / f"image-{len(built)}.erofs", tree, **options)
        return built[key]

    return run
