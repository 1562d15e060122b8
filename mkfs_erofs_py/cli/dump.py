"""``dump``: an image's structures as they are."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any
from uuid import UUID

import click

from ..errors import UsageError
from ..ondisk.constants import Algorithm, Compat, Incompat, Layout
from ..read import METABOX, PACKED, Image, Inode, Kind
from ..read.map import image_map
from ..units import absolute, shown, text
from .reading import describe_inode, device_option, image_argument, json_option, open_image

__all__ = ["command"]

_DEVICES = {METABOX: "metabox", PACKED: "packed inode", 0: "image"}


@click.command("dump")
@click.option("--nid", type=click.IntRange(0), default=None, help="The inode with this number, and its extents.")
@click.option("--map", "as_map", is_flag=True, help="What every byte of the image is for.")
@json_option
@device_option
@image_argument
@click.argument("path", required=False)
def command(
    image: str, path: str | None, nid: int | None, as_map: bool, as_json: bool, devices: tuple[str, ...]
) -> None:
    """Show IMAGE's superblock; the inode at PATH (or --nid) with its extents; or a --map of every byte."""
    if (path is not None) + (nid is not None) + as_map > 1:
        raise UsageError("PATH, --nid and --map exclude each other")
    with open_image(image, devices) as opened:
        if as_map:
            _show_map(opened, as_json)
            return
        if path is not None:
            facts = _inode(opened, absolute(path), opened.lookup(path, follow=False))
        elif nid is not None:
            facts = _inode(opened, b"", opened.inode(nid))
        else:
            facts = _superblock(opened)
    if as_json:
        sys.stdout.write(json.dumps(facts, indent=1) + "\n")
        return
    rows = facts.pop("extents", [])
    for key, value in facts.items():
        sys.stdout.write(f"{key.replace('_', ' ') + ':':22} {_plain(value)}\n")
    if rows:
        sys.stdout.write(f"{'logical':>14} {'length':>10}  {'how':10} {'where':>10} {'address':>14} {'stored':>10}\n")
    for row in rows:
        partial = " partial" if row["partial"] else ""
        sys.stdout.write(
            f"{row['start']:14} {row['length']:10}  {row['kind']:10} {row['device']:>10} "
            f"{row['address']:14} {row['stored']:10}{partial}\n"
        )


def _plain(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(_plain(one) for one in value) or "none"
    if isinstance(value, dict):
        return " ".join(f"{key}={_plain(one)}" for key, one in value.items())
    return "none" if value is None else str(value)


def _superblock(image: Image) -> dict[str, Any]:
    sb = image.superblock
    return {
        "block_size": image.block_size,
        "image_size": image.size,
        "blocks": sb.blocks,
        "inodes": sb.inodes,
        "uuid": str(UUID(bytes=sb.uuid)),
        "label": text(sb.label.rstrip(b"\0")),
        "epoch": sb.epoch,
        "fixed_nsec": sb.fixed_nsec,
        "mkfs_time": sb.epoch + sb.mkfs_time,
        "checksum": f"{sb.checksum:#010x}" if sb.compat & Compat.SB_CHKSUM else None,
        "compatible_features": _bits(sb.compat, Compat),
        "incompatible_features": _bits(sb.incompat, Incompat),
        "algorithms": [
            {"name": Algorithm(record.algorithm).name.lower()}
            | {key: value for key, value in asdict(record).items() if value and key != "algorithm"}
            for record in image.algorithms
        ],
        "meta_block": sb.meta_blkaddr,
        "shared_xattr_block": sb.xattr_blkaddr,
        "root_nid": sb.root_nid,
        "packed_nid": image.packed.nid if image.packed else None,
        "metabox_nid": image.metabox.nid if image.metabox else None,
        "xattr_prefixes": [f"{one.base_index}:{shown(one.infix)}" for one in image.prefixes],
        "fingerprint_prefix": sb.ishare_prefix if sb.compat & Compat.ISHARE_XATTRS else None,
        "devices": [
            {"tag": shown(slot.tag.rstrip(b"\0")), "blocks": slot.blocks, "start_block": slot.uniaddr}
            for slot in image.devices
        ],
    }


def _bits(value: int, names: type[Compat | Incompat]) -> list[str]:
    # A bit may have two names; the first one declared stands for both.
    return [str(one.name).lower() for one in names if value & one]


def _inode(image: Image, path: bytes, inode: Inode) -> dict[str, Any]:
    has_data = inode.is_file or inode.is_dir or inode.is_symlink
    return describe_inode(path, inode) | {
        "form": "extended" if inode.extended else "compact",
        "layout": Layout(inode.layout).name.lower(),
        "offset": inode.offset,
        "in_metabox": inode.in_metabox,
        "xattr_bytes": inode.xattr_size,
        "index": image.index_span(inode) if has_data else None,
        "extents": list(_extents(image, inode)) if has_data else [],
    }


def _extents(image: Image, inode: Inode) -> Iterator[dict[str, Any]]:
    for extent in image.extents(inode):
        row = extent._asdict()
        row["kind"] = Kind(extent.kind).name.lower()
        row["device"] = _DEVICES.get(extent.device, f"device {extent.device}")
        yield row


def _show_map(image: Image, as_json: bool) -> None:
    totals: Counter[str] = Counter()
    rows = []
    for region in image_map(image):
        totals[region.what] += region.size
        if as_json:
            rows.append(asdict(region) | {"path": text(region.path)})
            continue
        owner = f"  {shown(region.path)}" if region.path else ""
        more = f" and {region.owners - 1} more" if region.owners > 1 else ""
        sys.stdout.write(f"{region.start:14} {region.end:14} {region.size:12}  {region.what:18}{owner}{more}\n")
    if as_json:
        sys.stdout.write(json.dumps({"size": image.size, "totals": dict(totals), "regions": rows}, indent=1) + "\n")
        return
    sys.stdout.write(f"\n{'bytes':>14}  what\n")
    for what, size in totals.most_common():
        sys.stdout.write(f"{size:14}  {what}\n")
    sys.stdout.write(f"{sum(totals.values()):14}  in all, of {image.size}\n")
