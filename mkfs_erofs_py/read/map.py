"""An image's map: what every byte of it is for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..errors import OutOfBoundsError
from ..ondisk.constants import SUPERBLOCK_OFFSET, Compat, FileType, Incompat
from ..ondisk.device import SLOT_SIZE
from ..ondisk.superblock import unpack_algorithms
from .image import Image
from .inode import Inode
from .span import Kind

__all__ = ["Region", "image_map"]

_SCAN = 1 << 20
_RAW, _ELSEWHERE = int(Kind.RAW), (int(Kind.HOLE), int(Kind.FRAGMENT))


@dataclass(frozen=True, slots=True)
class Region:
    """Bytes ``start`` to ``end`` of the image and what they are.

    ``path`` and ``nid`` name the inode they belong to, where it is one. Bytes that several own (deduplicated data)
    belong to the first; ``owners`` counts them.
    """

    start: int
    end: int
    what: str
    path: bytes = b""
    nid: int | None = None
    owners: int = 1

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.start

    def as_dict(self) -> dict[str, object]:
        """Return all fields by name. An image has tens of thousands of regions, and ``asdict`` takes 30 µs for each."""
        return {
            "start": self.start,
            "end": self.end,
            "what": self.what,
            "path": self.path,
            "nid": self.nid,
            "owners": self.owners,
        }


def image_map(image: Image) -> Iterator[Region]:
    """Yield regions in order of their starts; they tile the image without a gap.

    What nothing refers to appears as ``padding`` (zeros) or ``unused`` (anything else). Raises ``ImageError`` for what
    is malformed.
    """
    known: dict[tuple[int, int], Region] = {}
    for region in _regions(image):
        if region.end > image.size:
            raise OutOfBoundsError(f"{region.what} reaches past the image's end", region.start)
        if region.end > region.start:
            key = region.start, region.end
            first = known.get(key)
            known[key] = replace(first, owners=first.owners + 1) if first is not None else region
    cursor = 0
    for region in sorted(known.values(), key=lambda one: (one.start, one.end)):
        if region.start > cursor:
            yield from _between(image, cursor, region.start)
        elif region.start < cursor:
            # Spans of different lengths from one start, or overlapping ones: the rest of this one.
            if region.end <= cursor:
                continue
            region = replace(region, start=cursor, what=f"{region.what} (overlaps)")
        yield region
        cursor = region.end
    yield from _between(image, cursor, image.size)


def _between(image: Image, start: int, end: int) -> Iterator[Region]:
    """Yield what nothing refers to, split where zeros end and begin (in blocks)."""
    step = image.block_size
    begun, held = start, ""
    while start < end:
        stop = min(end, (start // step + 1) * step)
        what = "unused" if any(image.raw(start, stop - start)) else "padding"
        if held and held != what:
            yield Region(begun, start, held)
            begun = start
        held, start = what, stop
    if held:
        yield Region(begun, end, held)


def _regions(image: Image) -> Iterator[Region]:
    yield from _fixed(image)
    special = [(b"(packed inode)", image.packed), (b"(metabox)", image.metabox)]
    for path, inode in special:
        if inode is not None:
            yield from _inode(image, path, inode)
    for path, inode in image.inodes():
        yield from _inode(image, path, inode)


def _fixed(image: Image) -> Iterator[Region]:
    sb = image.superblock
    yield Region(0, SUPERBLOCK_OFFSET, "boot area")
    yield Region(SUPERBLOCK_OFFSET, SUPERBLOCK_OFFSET + sb.size, "superblock")
    if sb.incompat & Incompat.COMPR_CFGS:
        start = sb.algorithms_offset
        data = image.raw(0, min(image.size, start + 4096))
        _, end = unpack_algorithms(data, start, sb.algorithms)
        yield Region(start, end, "algorithm records")
    if image.devices:
        start = sb.device_table * SLOT_SIZE
        yield Region(start, start + SLOT_SIZE * len(image.devices), "device table")
    elsewhere = image.metabox is not None or image.packed is not None
    if sb.prefix_count and (sb.compat & Compat.PLAIN_XATTR_PFX or not elsewhere):
        size = 0
        for prefix in image.prefixes:
            size = (size + 3 & ~3) + 3 + len(prefix.infix)
        yield Region(sb.prefix_table * 4, sb.prefix_table * 4 + size, "xattr prefixes")


def _inode(image: Image, path: bytes, inode: Inode) -> Iterator[Region]:  # noqa: C901
    def region(start: int, end: int, what: str) -> Region:
        return Region(start, end, what, path, inode.nid)

    if not inode.in_metabox:
        head = inode.body - inode.xattr_size
        yield region(inode.offset, head, "extended inode" if inode.extended else "compact inode")
        yield region(head, inode.body, "xattrs")
        place = image.index_place(inode)
        if place is not None:
            yield region(*place, "cluster index" if inode.is_compressed else "chunk map")
    for start, end in image.shared_xattrs(inode):
        yield Region(start, end, "shared xattr")
    if not (inode.is_file or inode.is_dir or inode.is_symlink):
        return
    noun = {FileType.DIRECTORY: "directory", FileType.SYMLINK: "symlink"}.get(inode.type, "data")
    # Spans that follow each other in the image are one region.
    begun, stop, held = 0, 0, ""
    for span in image.spans(inode):
        if span.device or span.kind in _ELSEWHERE:
            continue
        address = span.address
        if image.devices and address >= image.size:
            continue  # an address of the unified space that an extra device holds
        what = noun if span.kind == _RAW else f"{noun}, {Kind(span.kind).name.lower()}"
        if not inode.in_metabox and inode.body <= address < inode.body + _SCAN:
            what = f"inline {what}" if address % image.block_size else what
        if held != what or stop != address:
            if held:
                yield region(begun, stop, held)
            begun, held = address, what
        stop = address + span.stored
    if held:
        yield region(begun, stop, held)
