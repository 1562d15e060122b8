"""Every kind of image the builder writes, as options of ``build_image``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["LAYOUTS", "Layout"]


@dataclass(frozen=True)
class Layout:
    """Options of ``build_image``, and the kind of source tree to build from."""

    options: dict[str, Any]
    source: str = "everything"


INDEXES: dict[str, dict[str, Any]] = {
    "compact": {},
    "full": {"legacy_index": True},
    "extents": {"encoded_extents": True},
}

COMPRESSORS = ("lz4hc", "zstd", "deflate", "lzma")

LEVELS = ("lz4", "lz4hc,12", "zstd,level=19", "deflate,level=9", "lzma,level=6")

CLUSTERS = (4096, 12288, 65536, 1 << 20)


def _layouts() -> dict[str, Layout]:
    found = {"default": Layout({}), "plain": Layout({"compressor": None})}
    for compressor in (*COMPRESSORS, *LEVELS):
        found[compressor] = Layout({"compressor": compressor})
    for index, options in INDEXES.items():
        for compressor in COMPRESSORS:
            for cluster in CLUSTERS:
                name = f"{compressor} {index} {cluster}"
                found[name] = Layout({"compressor": compressor, "pcluster": cluster, **options})
    for block in (512, 1024, 2048):
        found[f"plain, blocks of {block}"] = Layout({"compressor": None, "block_size": block})
        for index, options in INDEXES.items():
            name = f"{index}, blocks of {block}"
            found[name] = Layout({"compressor": "zstd", "block_size": block, "pcluster": 16384, **options})
    for release in ("5.4", "5.15", "6.1", "6.6", "6.15", "6.17", "7.0"):
        found[f"for Linux {release}"] = Layout({"kernel": release})
    others: dict[str, dict[str, Any]] = {
        "no inline data": {"inline_data": False},
        "no inline data, plain": {"inline_data": False, "compressor": None},
        "extended inodes": {"inode_form": "extended"},
        "no dots in folders": {"dot_omitted": True},
        "48 bits, plain": {"encoded_extents": True, "compressor": None},
        "all attributes shared": {"xattr_tolerance": 0},
        "no attributes shared": {"xattr_tolerance": 100_000},
        "long prefixes": {"xattr_prefixes": (b"user.n", b"user.number-", b"trusted.over", b"security.no")},
        "no attribute filter": {"xattr_filter": False},
        "sha256": {"fingerprint": "sha256"},
        "no fingerprints": {"fingerprint": "none"},
        "hidden fingerprints": {"fingerprint_name": b"erofs.fingerprint.v1"},
        "no checksum": {"checksum": False},
        "label": {"label": b"fifteen bytes !"},
    }
    found |= {name: Layout(options) for name, options in others.items()}
    found["big folder"] = Layout({}, source="crowd")
    found["big folder, blocks of 512"] = Layout({"block_size": 512, "compressor": None}, source="crowd")
    return found


LAYOUTS = _layouts()
