"""Where the fields of a planned image stand, by the addresses of `mkfs_erofs_py.write.address`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..encode.encoding import IndexForm
from ..errors import printable
from ..ondisk.constants import SUPERBLOCK_OFFSET, Algorithm, Incompat
from ..ondisk.dirent import DIRENT_FORM, pack_directory
from ..ondisk.extent import EXTENT_FORMS, PLEN_FORMAT_SHIFT, START_FORM
from ..ondisk.inode import COMPACT_FORM, EXTENDED_FORM
from ..ondisk.lcluster import (
    BASE_FORM,
    COMPACT_2B_MAX_BITS,
    D0_CBLKCNT,
    HEAD_FORM,
    HEADER_FORM,
    LCLUSTER_NONHEAD,
    NONHEAD_FORM,
    RECORD_SIZE,
    TYPE_MASK,
    Advise,
    compact_counts,
    compact_pack,
    unpack_packs,
)
from ..ondisk.structure import Structure
from ..ondisk.superblock import EXTENSION_FORM, LENGTH_FORM, PREFIX_FORM, RECORD_FORMS, SUPERBLOCK_FORM
from ..ondisk.xattr import ENTRY_FORM
from ..ondisk.xattr import HEADER_FORM as XATTR_HEADER_FORM
from .address import ALIASES, Address, integer, parse, unescaped
from .area import Placed
from .index import IndexPlaces, index_bytes, index_places
from .plan import Plan
from .where import data_runs

__all__ = ["Place", "find_inode", "locate"]


class Place(NamedTuple):
    """Where a field stands: ``bits`` bits from bit ``shift`` on of the ``width`` bytes at ``offset``, little-endian.

    ``field`` is its name, without an index. ``room`` bytes behind the field may be overwritten with it, where it is a
    byte of data or of the image.
    """

    field: str
    offset: int
    width: int
    shift: int
    bits: int
    room: int = 0


Fields = dict[str, Place]


def locate(plan: Plan, text: str) -> Place:
    """Return the place of an address. Raises `UsageError` in one line that says what would be right."""
    address = parse(text)
    if address.kind in ("bytes", "data"):
        return _byte(plan, address)
    fields = _FIELDS[address.kind](plan, address)
    base, bracket, rest = address.field.partition("[")
    name = ALIASES.get(address.kind, {}).get(base, base) + bracket + rest
    if address.kind == "sb" and name == "root_nid":
        name = "root_nid_wide" if plan.superblock.incompat & Incompat.BIT48 else "root_nid_or_blocks_high"
    if name not in fields:
        raise address.wrong(f"no field {address.field!r}; there are {_listed(fields)}")
    return fields[name]


def find_inode(plan: Plan, path: bytes) -> int | None:
    """Return the number of the inode at a path as addresses spell it, ``None`` where there is none."""
    node = plan.inodes.tree.find(unescaped(path))
    return None if node is None else node.number


def _listed(fields: Fields) -> str:
    """Name all fields; those that have an index once, with the range that it has."""
    last: dict[str, str] = {}
    for name in fields:
        base, bracket, rest = name.partition("[")
        last[base] = f"[0 to {rest}" if bracket else ""
    return ", ".join(base + rest for base, rest in last.items())


def _number(plan: Plan, address: Address) -> int:
    number = find_inode(plan, address.path)
    if number is None:
        raise address.wrong(f"{printable(unescaped(address.path))} is not in the tree")
    return number


def _fields(form: Structure, base: int) -> Fields:
    return {name: Place(name, base + at, width, 0, 8 * width) for name, (at, width) in form.places.items()}


def _part(fields: Fields, word: str, name: str, shift: int, bits: int) -> None:
    """Add a field that is some bits of another."""
    fields[name] = fields[word]._replace(field=name, shift=shift, bits=bits)


def _text(name: str, offset: int, size: int) -> Place:
    return Place(name, offset, size, 0, 8 * size)


def _superblock(plan: Plan, address: Address) -> Fields:
    if address.key is not None:
        raise address.wrong("there is one superblock, which takes no index")
    fields = _fields(SUPERBLOCK_FORM, SUPERBLOCK_OFFSET)
    if plan.superblock.ext_slots:
        fields |= _fields(EXTENSION_FORM, SUPERBLOCK_OFFSET + SUPERBLOCK_FORM.size)
    return fields


def _algorithm(plan: Plan, address: Address) -> Fields:
    announced = plan.announced
    places: dict[str, Fields] = {}
    at = plan.superblock.algorithms_offset
    if announced.records:
        for algorithm in Algorithm:
            if announced.algorithms >> algorithm & 1:
                form = RECORD_FORMS[algorithm]
                places[algorithm.name.lower()] = _fields(LENGTH_FORM, at) | _fields(form, at + LENGTH_FORM.size)
                at += (LENGTH_FORM.size + form.size + 3) & ~3
    if address.key not in places:
        raise address.wrong(f"the image has records of {', '.join(places) or 'no algorithm'}")
    return places[address.key]


def _prefix(plan: Plan, address: Address) -> Fields:
    prefixes = plan.inodes.profile.prefixes
    number = address.number(len(prefixes), "prefixes")
    at = 4 * plan.superblock.prefix_table + sum(len(prefix.pack()) for prefix in prefixes[:number])
    infix = prefixes[number].infix
    return _fields(PREFIX_FORM, at) | {"infix": _text("infix", at + PREFIX_FORM.size, len(infix))}


def _inode(plan: Plan, address: Address) -> Fields:
    number = _number(plan, address)
    form = EXTENDED_FORM if plan.inodes.extended[number] else COMPACT_FORM
    fields = _fields(form, plan.offset(number))
    _part(fields, "format", "extended", 0, 1)
    _part(fields, "format", "layout", 1, 3)
    _part(fields, "format", "flag", 4, 1)
    return fields


def _xattr(plan: Plan, address: Address) -> Fields:
    number = _number(plan, address)
    area = plan.attributes(number)
    if not area:
        raise address.wrong("this inode has no attributes")
    start = plan.offset(number) + plan.inodes.heads[number] - len(area)
    count = area[XATTR_HEADER_FORM.places["shared_count"][0]]
    ids = [XATTR_HEADER_FORM.size + 4 * i for i in range(count)]
    if address.key is None:
        return _fields(XATTR_HEADER_FORM, start) | {
            f"shared[{i}]": Place("shared", start + at, 4, 0, 32) for i, at in enumerate(ids)
        }
    # A reader meets those in the inode first, then those that it names by their ids.
    entries = []
    at = XATTR_HEADER_FORM.size + 4 * count
    while at < len(area):
        entries.append(_entry(area, at, start))
        at += (ENTRY_FORM.size + entries[-1]["name"].width + entries[-1]["value"].width + 3) & ~3
    once = b"".join(plan.inodes.attributes.shared)
    entries += [_entry(once, 4 * int.from_bytes(area[at : at + 4], "little"), plan.xattr_start) for at in ids]
    return entries[address.number(len(entries), "attributes")]


def _entry(data: bytes, at: int, start: int) -> Fields:
    """Return the fields of the attribute at byte ``at`` of ``data``, which stands at the offset ``start``."""
    values = ENTRY_FORM.unpack(data, at)
    name, value = values["suffix_size"], values["value_size"]
    behind = start + at + ENTRY_FORM.size
    texts = {"name": _text("name", behind, name), "value": _text("value", behind + name, value)}
    return _fields(ENTRY_FORM, start + at) | texts


def _directory(plan: Plan, number: int) -> list[list[Fields]]:
    """Return the fields of all entries of a directory, block by block."""
    size = plan.inodes.profile.block_size
    data = pack_directory(plan.entries(number), size)
    blocks = []
    for start in range(0, len(data), size):
        block = data[start : start + size].rstrip(b"\0")
        at = next(run.offset + start - run.start for run in data_runs(plan, number) if start < run.start + run.length)
        first = DIRENT_FORM.unpack(block, 0)["name_offset"]
        offsets = [DIRENT_FORM.unpack(block, entry)["name_offset"] for entry in range(0, first, DIRENT_FORM.size)]
        blocks.append(
            [
                _fields(DIRENT_FORM, at + i * DIRENT_FORM.size) | {"name": _text("name", at + begin, end - begin)}
                for i, (begin, end) in enumerate(zip(offsets, [*offsets[1:], len(block)], strict=True))
            ]
        )
    return blocks


def _dirent(plan: Plan, address: Address) -> Fields:
    folder, _, name = address.path.rstrip(b"/").rpartition(b"/")
    parent = find_inode(plan, folder)
    if parent is not None and plan.inodes.nodes[parent].is_dir:
        names = [entry.name for entry in plan.entries(parent)]
        if unescaped(name) in names:
            entries = [entry for block in _directory(plan, parent) for entry in block]
            return entries[names.index(unescaped(name))]
    raise address.wrong(f"no directory entry names {printable(unescaped(address.path))}")


def _dirblock(plan: Plan, address: Address) -> Fields:
    number = _number(plan, address)
    if not plan.inodes.nodes[number].is_dir:
        raise address.wrong("this inode is not a directory")
    blocks = _directory(plan, number)
    block = blocks[address.number(len(blocks), "blocks")]
    return {f"{name}[{i}]": place for name in block[0] for i, place in enumerate(entry[name] for entry in block)}


class _Index(NamedTuple):
    """A compressed file's index: where it stands, and its bytes."""

    placed: Placed
    places: IndexPlaces
    #: Logical clusters of the file.
    clusters: int
    #: The whole index, from ``places.header`` on.
    data: bytes


def _index(plan: Plan, address: Address, *forms: IndexForm) -> _Index:
    """Return a compressed file's index, which has one of these forms."""
    number = _number(plan, address)
    placed = plan.placed[number]
    if placed is None or placed.spans is None:
        raise address.wrong("this inode is not compressed, so it has no index")
    encoding = placed.key.encoding
    if encoding.index not in forms:
        raise address.wrong(f"this file's index has the form {encoding.index.value}, which has no such record")
    at = plan.offset(number) + plan.inodes.heads[number]
    places = index_places(placed, at)
    clusters = -(-placed.key.size >> encoding.block_bits)
    return _Index(placed, places, clusters, index_bytes(placed, at)[places.header - at :])


def _zheader(plan: Plan, address: Address) -> Fields:
    return _fields(HEADER_FORM, _index(plan, address, *IndexForm).places.header)


def _lcluster(plan: Plan, address: Address) -> Fields:
    index = _index(plan, address, IndexForm.COMPACT, IndexForm.FULL)
    number = address.number(index.clusters, "logical clusters")
    if index.placed.key.encoding.index is IndexForm.COMPACT:
        return _slot(index, number)
    at = index.places.records + RECORD_SIZE * number
    nonhead = index.data[at - index.places.header] & TYPE_MASK == LCLUSTER_NONHEAD
    fields = _fields(NONHEAD_FORM if nonhead else HEAD_FORM, at)
    _part(fields, "word", "type", 0, 2)
    return fields


def _packs(index: _Index) -> tuple[int, int, int]:
    """Return how a compact index shares its logical clusters out to packs, see `compact_counts`."""
    two_byte = bool(HEADER_FORM.unpack(index.data, 0)["advise"] & Advise.COMPACTED_2B)
    return compact_counts(index.places.records, index.clusters, two_byte)


def _slot(index: _Index, number: int) -> Fields:
    """Return the fields of a compact index's record: its type, and what its low bits mean."""
    counts = _packs(index)
    start, end, first, entries = compact_pack(counts, number)
    low_bits = max(index.placed.key.encoding.block_bits, COMPACT_2B_MAX_BITS)
    behind = index.places.records - index.places.header
    big = index.placed.key.encoding.big
    kind, low, _ = unpack_packs(index.data[behind + start : behind + end], low_bits, entries, big)[number - first]
    meaning = "clusterofs"
    if kind == LCLUSTER_NONHEAD:
        # The last record of a pack says how far the next head is, the others how far back their own is.
        meaning = "d1" if number - first == entries - 1 and not low & D0_CBLKCNT else "d0"
    bit = (8 * (end - start) - 8 * BASE_FORM.size) // entries * (number - first)

    def bits(name: str, bit: int, count: int) -> Place:
        at = index.places.records + start + bit // 8
        return Place(name, at, -(-(bit % 8 + count) // 8), bit % 8, count)

    return {"type": bits("type", bit + low_bits, 2), meaning: bits(meaning, bit, low_bits)}


def _pack(plan: Plan, address: Address) -> Fields:
    index = _index(plan, address, IndexForm.COMPACT)
    counts = _packs(index)
    ends = sorted({compact_pack(counts, lcn)[1] for lcn in range(index.clusters)})
    end = index.places.records + ends[address.number(len(ends), "packs")]
    return _fields(BASE_FORM, end - BASE_FORM.size)


def _extent(plan: Plan, address: Address) -> Fields:
    index = _index(plan, address, IndexForm.EXTENTS)
    records, record = index.places.records, index.places.record
    if address.key is None and record == min(EXTENT_FORMS):
        return _fields(START_FORM, records - START_FORM.size)
    number = address.number(len(index.placed.addresses), "extents")
    fields = _fields(EXTENT_FORMS[record], records + record * number)
    _part(fields, "plen", "length", 0, 21)
    _part(fields, "plen", "partial", 27, 1)
    _part(fields, "plen", "format", PLEN_FORMAT_SHIFT, 4)
    return fields


def _byte(plan: Plan, address: Address) -> Place:
    position = integer(address.field)
    if position is None:
        raise address.wrong(f"{address.field!r} is not the number of a byte")
    if address.kind == "bytes":
        if position >= plan.end:
            raise address.wrong(f"the image has {plan.end} bytes")
        return Place("bytes", position, 1, 0, 8, plan.end - position - 1)
    runs = data_runs(plan, _number(plan, address))
    for run in runs:
        into = position - run.start
        if 0 <= into < run.room:
            return Place("data", run.offset + into, 1, 0, 8, run.room - into - 1)
    size = runs[-1].start + runs[-1].length if runs else 0
    raise address.wrong(f"this inode stores {size} bytes of data")


_FIELDS: dict[str, Callable[[Plan, Address], Fields]] = {
    "sb": _superblock,
    "prefix": _prefix,
    "alg": _algorithm,
    "inode": _inode,
    "xattr": _xattr,
    "dirent": _dirent,
    "dirblock": _dirblock,
    "zheader": _zheader,
    "lcluster": _lcluster,
    "pack": _pack,
    "extent": _extent,
}
