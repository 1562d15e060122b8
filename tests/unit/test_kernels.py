"""The table of features and releases: documentation and builder say what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import mkfs_erofs_py
from mkfs_erofs_py import build_image
from mkfs_erofs_py.errors import UsageError
from mkfs_erofs_py.kernels import OLDEST_KERNEL, Feature, Kernel, Requirements

PACKAGE = Path(mkfs_erofs_py.__file__).parent
ROW = re.compile(r"^\| ([^|]+) \| (\d+\.\d+) \| [^|]+ \|$", re.MULTILINE)

# what an option brings in -> such options
OPTIONS: dict[Feature, dict[str, Any]] = {
    Feature.LZMA: {"compressor": "lzma"},
    Feature.DEFLATE: {"compressor": "deflate"},
    Feature.ZSTD: {"compressor": "zstd"},
    Feature.BIG_PCLUSTER: {"compressor": "lz4", "pcluster": 65536},
    Feature.SUBPAGE_PLAIN: {"compressor": None, "block_size": 512},
    Feature.SUBPAGE_COMPRESSED: {"compressor": "lz4", "block_size": 512},
    Feature.XATTR_PREFIXES: {"xattr_prefixes": (b"user.",)},
    Feature.BIT48: {"encoded_extents": True},
}


def test_releases_ascend() -> None:
    releases = [feature.first for feature in Feature]
    assert releases == sorted(releases)
    assert releases[0] == OLDEST_KERNEL


def test_the_documentation_has_the_same_table() -> None:
    """``docs/building.md`` lists what options bring in, and nothing else."""
    code = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py") if path.name != "kernels.py")
    used = set(re.findall(r"\bFeature\.(\w+)", code))
    documented = ROW.findall((PACKAGE.parent / "docs" / "building.md").read_text())
    assert documented == [(feature.text, str(feature.first)) for feature in Feature if feature.name in used]


@pytest.mark.parametrize("feature", OPTIONS, ids=lambda feature: feature.name)
def test_an_option_is_refused_for_the_release_before(feature: Feature, tmp_path: Path) -> None:
    before = Kernel(feature.first.major, feature.first.minor - 1)
    with pytest.raises(UsageError, match=f"needs Linux {feature.first};"):
        build_image(tmp_path / "image", tmp_path, kernel=str(before), **OPTIONS[feature])


def test_requirements_add_up_to_the_newest_release() -> None:
    needs = Requirements(Kernel(6, 10))
    assert needs.least == OLDEST_KERNEL
    for feature in (Feature.ZSTD, Feature.LZMA):
        needs.require("-z", feature)
    assert needs.least == Feature.ZSTD.first
    assert needs.allow(Feature.ZSTD)
    assert not needs.allow(Feature.BIT48)
    with pytest.raises(UsageError, match=r"^-E needs Linux 6\.15; the image is to mount on 6\.10 \(--kernel\)$"):
        needs.require("-E", Feature.BIT48)
