"""Fixtures every test may use; see ``tests.support`` for what they are made of."""

from __future__ import annotations

import os
import platform
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.support import mounts, reference
from tests.support.requirements import UnavailableError, lacking
from tests.support.sample import make_tree


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--boot``, with which ``make kernel-test`` runs the tests that boot a kernel."""
    parser.addoption("--boot", action="store_true", help="boot a Debian kernel under QEMU and test with it")


def pytest_configure(config: pytest.Config) -> None:
    """Take signals as usual: what starts tests in the background may have them ignored, and commands honour that."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.pluginmanager.register(LongTests(config), "long tests")


class LongTests:
    """Leaves tests marked ``long`` out unless ``-m`` asks for some, and says so at the end.

    With pytest-xdist, the processes that collect are not the one that reports: they send it how many they left out.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._left_out = 0

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave them out."""
        if self._config.option.markexpr:
            return
        left_out = [item for item in items if item.get_closest_marker("long")]
        items[:] = [item for item in items if not item.get_closest_marker("long")]
        self._config.hook.pytest_deselected(items=left_out)
        self._left_out = len(left_out)

    def pytest_sessionfinish(self) -> None:
        """Tell the process that reports, if this is another."""
        if hasattr(self._config, "workeroutput"):
            self._config.workeroutput["left_out"] = self._left_out

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Hear it from a process that ran tests; all of them collect the same."""
        self._left_out = getattr(node, "workeroutput", {}).get("left_out", self._left_out)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say it."""
        if self._left_out:
            line = f"LEFT OUT: {self._left_out} tests that take long; `make test-long` (or -m long) runs them"
            terminalreporter.write_line(line, yellow=True, bold=True)


class KernelMount(Protocol):
    """Mounts an image with the host's kernel until the test ends; see the fixture."""

    def __call__(
        self, image: str | os.PathLike[str], options: str = "", *, since: tuple[int, int] = (5, 4)
    ) -> Path: ...


@pytest.fixture(scope="session")
def reference_tool() -> Callable[[str], Path]:
    """Return a function from a tool's name (``mkfs.erofs``) to its path; it skips where there is none."""

    def find(name: str) -> Path:
        try:
            return reference.find(name)
        except UnavailableError as error:
            lacking("reference", error)

    return find


@pytest.fixture
def kernel_mount() -> Iterator[KernelMount]:
    """Return a function that mounts an image read-only with the host's kernel and returns the folder.

    It skips where the kernel cannot (or is older than ``since``), and the test fails where the kernel
    refuses the image. Everything is unmounted when the test ends.
    """
    with ExitStack() as stack:

        def mount(image: str | os.PathLike[str], options: str = "", *, since: tuple[int, int] = (5, 4)) -> Path:
            try:
                mounts.check_kernel()
            except UnavailableError as error:
                lacking("kernel", error)
            if mounts.kernel_version() < since:
                # A promised kernel need not be the newest; `make kernel-test` boots one that is.
                pytest.skip(f"needs Linux {since[0]}.{since[1]}, this is {platform.release()}")
            return stack.enter_context(mounts.mounted(image, options))

        yield mount


@pytest.fixture(scope="session")
def sample_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a source tree with one of everything an image must carry; treat it as read-only.

    What this user or machine cannot make (devices without root, attributes on some file systems) is
    missing from it.
    """
    root = tmp_path_factory.mktemp("sample") / "tree"
    make_tree(root)
    return root
