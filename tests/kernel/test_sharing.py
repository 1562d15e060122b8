"""When files of images share page cache in the kernel, and when they do not.

Each test makes small images, mounts them, reads through one, and looks at what is cached of the other.
"""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.conftest import Build, Source
from tests.kernel.harness.boot import Guest
from tests.support import reference

pytestmark = pytest.mark.kernel

RNG = random.Random(5)
PLAIN = RNG.randbytes(3_000_001)
"""What does not compress, and is stored as it is whatever the options say."""

TEXT = b" ".join(RNG.choices([b"page", b"cache", b"share", b"inode", b"domain"], k=500_000))
"""What compresses."""

SHARE = "inode_share,domain_id=a"


class Stage:
    """The guest with images mounted for one test: what to build, mount, read and look at."""

    def __init__(self, guest: Guest, build: Build, folder: Path) -> None:
        self._guest, self._build, self._folder = guest, build, folder
        self._points: list[str] = []

    def tree(self, name: str, **files: bytes) -> Path:
        tree = self._folder / f"{self._folder.name}-{name}"
        tree.mkdir()
        for file, data in files.items():
            (tree / file).write_bytes(data)
        return tree

    def mount(self, tree: Path, *, mount: str = SHARE, **options: Any) -> str:
        # A copy for each mount: mounting one file twice shows one superblock in two places.
        image = self._folder / f"{len(self._points)}-{tree.name}.erofs"
        shutil.copyfile(self._build(tree, **options).image, image)
        return self.mount_image(image, mount)

    def mount_image(self, image: Path, options: str = SHARE) -> str:
        self._points.append(self._guest.call("mount", image=str(image), options=options))
        return self._points[-1]

    def unmount(self, point: str) -> None:
        self._points.remove(point)
        self._guest.call("unmount", point=point)

    def cold(self) -> None:
        self._guest.call("drop_caches")

    def read(self, point: str, name: str = "file") -> None:
        self._guest.call("read_file", path=f"{point}/{name}")

    def drop(self, point: str, name: str = "file") -> None:
        self._guest.call("advise", path=f"{point}/{name}", advice="DONTNEED")

    def cached(self, point: str, name: str = "file") -> float:
        """Return the fraction of a file's pages that are cached."""
        cached, pages = self._guest.call("cached_pages", path=f"{point}/{name}")
        return float(cached / pages)

    def differences(self, point: str, source: Source) -> list[str]:
        return list(self._guest.call("examine", point=point, expected=str(source.snapshot)))

    def memory(self) -> int:
        return int(self._guest.call("meminfo")["Cached"])

    def close(self) -> None:
        while self._points:
            self.unmount(self._points[-1])


@pytest.fixture
def stage(guest: Guest, build: Build, share: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    folder = share / request.node.name.replace("/", "-")
    folder.mkdir()
    set_up = Stage(guest, build, folder)
    yield set_up
    set_up.close()


def shared(stage: Stage, first: str, second: str) -> bool:
    """Tell whether reading a file through one mount fills it in the other, and nothing was there before."""
    stage.cold()
    assert stage.cached(second) == 0
    stage.read(first)
    assert stage.cached(first) == 1
    fraction = stage.cached(second)
    assert fraction in (0, 1)
    return fraction == 1


@pytest.mark.parametrize("data", [PLAIN, TEXT], ids=["incompressible", "compressible"])
@pytest.mark.parametrize(
    "options",
    [{"compressor": "lz4"}, {"compressor": "zstd", "pcluster": 65536}, {}, {"encoded_extents": True}],
    ids=["lz4", "zstd", "default", "extents"],
)
def test_two_images_share(stage: Stage, data: bytes, options: dict[str, Any]) -> None:
    first = stage.mount(stage.tree("one", file=data, other=b"1"), **options)
    second = stage.mount(stage.tree("two", file=data, another=b"22"), **options)
    assert shared(stage, first, second)


def test_images_share_across_compressors(stage: Stage) -> None:
    tree = stage.tree("one", file=TEXT)
    assert shared(
        stage, stage.mount(tree, compressor="lz4"), stage.mount(tree, compressor="zstd", encoded_extents=True)
    )


@pytest.mark.parametrize("plain", [False, True], ids=["compressed", "plain"])
def test_what_is_shared_is_what_each_source_holds(stage: Stage, sources: Callable[[str], Source], plain: bool) -> None:
    """Images of all kinds of files, laid out unlike each other: whoever fills the pages, all see their own."""
    source = sources("everything")
    layouts: list[dict[str, Any]] = [
        {"compressor": None if plain else "lz4", "inline_data": not plain},
        {"compressor": None if plain else "zstd", "encoded_extents": True},
    ]
    first, second = (stage.mount(source.tree, **options) for options in layouts)
    stage.cold()
    assert stage.differences(first, source) == []
    assert stage.differences(second, source) == []
    stage.unmount(first)
    assert stage.differences(second, source) == []


def test_two_equal_files_of_one_image_share(stage: Stage) -> None:
    point = stage.mount(stage.tree("one", file=TEXT, twin=TEXT, other=TEXT + b"."))
    stage.cold()
    stage.read(point)
    assert (stage.cached(point, "twin"), stage.cached(point, "other")) == (1, 0)


def test_memory_is_used_once(stage: Stage) -> None:
    """The total of the whole kernel says the same as the pages of single files do."""
    tree = stage.tree("one", file=PLAIN * 5)
    used = {}
    for sharing, options in ((True, SHARE), (False, "")):
        points = [stage.mount(tree, mount=options) for _ in range(2)]
        stage.cold()
        before = stage.memory()
        for point in points:
            stage.read(point)
        used[sharing] = (stage.memory() - before) / len(PLAIN * 5)
        for point in points:
            stage.unmount(point)
    assert 0.9 < used[True] < 1.3
    assert 1.9 < used[False] < 2.3


@pytest.mark.parametrize(
    "options", ["inode_share,domain_id=b", "domain_id=a", ""], ids=["another domain", "not asked for", "neither"]
)
def test_outside_the_domain_nothing_is_shared(stage: Stage, options: str) -> None:
    tree = stage.tree("one", file=TEXT)
    assert not shared(stage, stage.mount(tree), stage.mount(tree, mount=options))


def test_fingerprints_of_different_algorithms_do_not_share(stage: Stage) -> None:
    tree = stage.tree("one", file=TEXT)
    assert not shared(stage, stage.mount(tree), stage.mount(tree, fingerprint="sha256"))


def test_images_without_fingerprints_do_not_share(stage: Stage) -> None:
    tree = stage.tree("one", file=TEXT)
    points = [stage.mount(tree, fingerprint="none") for _ in range(2)]
    assert not shared(stage, *points)


def test_compressed_and_plain_files_do_not_share(stage: Stage) -> None:
    """As docs/kernel.md says: the kernel reads the two by different means, and keeps them apart."""
    tree = stage.tree("one", file=TEXT)
    assert not shared(stage, stage.mount(tree, compressor="lz4"), stage.mount(tree, compressor=None))


def test_unmounting_the_first_image_leaves_the_second_working(stage: Stage) -> None:
    first = stage.mount(stage.tree("one", file=TEXT, only=b"1" * 9000))
    second = stage.mount(stage.tree("two", file=TEXT))
    assert shared(stage, first, second)
    stage.unmount(first)
    assert stage.cached(second) == 1
    stage.cold()
    stage.read(second)
    assert stage.cached(second) == 1


def test_advice_through_one_image_reaches_the_pages_of_both(stage: Stage) -> None:
    first, second = (stage.mount(stage.tree(name, file=TEXT)) for name in ("one", "two"))
    assert shared(stage, first, second)
    stage.drop(second)
    assert stage.cached(first) == 0


@pytest.mark.parametrize("data", [PLAIN, TEXT], ids=["incompressible", "compressible"])
@pytest.mark.reference
def test_sha256_images_share_with_those_of_mkfs(stage: Stage, share: Path, data: bytes) -> None:
    tree = stage.tree("one", file=data)
    theirs = share / f"{tree.name}-reference.erofs"
    subprocess.run(
        [reference.find("mkfs.erofs"), "--quiet", "-zzstd", "--xattr-inode-digest", theirs, tree],
        check=True, capture_output=True,
    )  # fmt: skip
    ours = stage.mount(tree, compressor="zstd", fingerprint="sha256")
    assert shared(stage, ours, stage.mount_image(theirs))
