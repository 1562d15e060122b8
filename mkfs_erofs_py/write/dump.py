"""The plan as text: a map of the image from its first byte on, for people to read and for tests to compare.

The same plan gives the same text. Offsets are hexadecimal and count from the image's beginning; sizes, numbers and
everything else are decimal, modes octal. Long lists are complete, one item a line.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields

from ..encode.encoded import HOLE, PLAIN, Spans
from ..errors import printable
from ..fingerprint import DIGEST_SIZE
from ..ondisk.constants import SUPERBLOCK_OFFSET, Algorithm, Compat, FileType, Layout
from ..ondisk.inode import COMPACT_FORM, EXTENDED_FORM, InodeRecord, file_type
from ..ondisk.superblock import AlgorithmRecord, LongPrefix, Superblock, unpack_algorithms, unpack_prefixes
from ..ondisk.xattr import XattrEntry, full_name, iter_entries, unpack_entry, unpack_header
from .area import Placed
from .index import index_places
from .plan import Plan
from .where import data_runs

__all__ = ["dump"]

_KINDS = {**{int(algorithm): algorithm.name.lower() for algorithm in Algorithm}, PLAIN: "plain", HOLE: "hole"}
#: What follows from the rest of the image, hence is not in the plan.
_LATER = ("checksum", "uuid")
#: Fields of inodes that have a line of their own.
_SHOWN_APART = ("format", "mode")
_LIMITS = [field.name for field in fields(AlgorithmRecord) if field.name != "algorithm"]


def dump(plan: Plan) -> str:
    """Return the whole plan as text."""
    return "".join(f"{line}\n" for line in _lines(plan))


def _lines(plan: Plan) -> Iterator[str]:
    yield from _superblock(plan)
    yield from _records(plan)
    yield from _sections(plan)
    yield from _shared(plan)
    paths = _paths(plan)
    for number in plan.order:
        yield ""
        yield from _inode(plan, number, paths[number])


def _superblock(plan: Plan) -> Iterator[str]:
    yield f"superblock at {SUPERBLOCK_OFFSET:#x}"
    for field in fields(Superblock):
        value = getattr(plan.superblock, field.name)
        if value and field.name not in _LATER:
            yield f"  {field.name} {_value(value)}"
    chosen = plan.inodes.options.uuid
    yield f"  uuid {chosen or 'by the content'}"
    if plan.superblock.compat & Compat.SB_CHKSUM:
        yield "  checksum by the content"


def _value(value: object) -> str:
    """Return a field's value: features by their names, texts in quotes."""
    if isinstance(value, enum.IntFlag):
        return " ".join(one.name or "" for one in type(value) if value & one)
    if isinstance(value, bytes):
        return f'"{printable(value)}"'
    return str(value)


def _records(plan: Plan) -> Iterator[str]:
    """Yield what stands behind the superblock."""
    announced = plan.announced
    at = plan.superblock.algorithms_offset
    if announced.records:
        yield f"algorithms at {at:#x}, {len(announced.records)} bytes"
        records, _ = unpack_algorithms(announced.records, 0, announced.algorithms)
        for record in records:
            yield f"  {_KINDS[record.algorithm]} {_said(record, _LIMITS)}"
    if announced.prefixes:
        yield f"prefixes at {at + len(announced.records):#x}, {len(announced.prefixes)} bytes"
        for number, prefix in enumerate(unpack_prefixes(announced.prefixes, 0, plan.superblock.prefix_count)[0]):
            yield f"  {number} {_name(prefix.base_index, prefix.infix, ())}"


def _said(record: AlgorithmRecord | InodeRecord, names: Iterable[str]) -> str:
    """Return the named fields of a record that are not zero."""
    return ", ".join(f"{name} {value}" for name in names if (value := getattr(record, name)))


def _sections(plan: Plan) -> Iterator[str]:
    block = plan.inodes.profile.block_size
    yield f"sections, blocks of {block} bytes"
    for offset, what in (
        (0, "superblock and records"),
        (plan.front, "contents"),
        (plan.data_end, "directories and long symlinks"),
        (plan.xattr_start, f"shared attributes, {plan.shared_size} bytes"),
        (plan.meta_start + plan.positions[plan.order[0]], f"inodes, numbered from {plan.meta_start:#x}"),
        (plan.end, "end"),
    ):
        yield f"  {offset:#x} {what}"


def _shared(plan: Plan) -> Iterator[str]:
    if plan.shared_size:
        yield f"shared attributes at {plan.xattr_start:#x}"
    for packed, number in plan.inodes.attributes.shared.items():
        entry, _ = unpack_entry(packed, 0)
        yield f"  {number} {_attribute(plan, entry)}"


def _name(index: int, suffix: bytes, prefixes: Sequence[LongPrefix]) -> str:
    """Return an attribute's name; where no listing shows the attribute, the part of its name that is stored."""
    name = full_name(index, suffix, prefixes)
    return f"hidden {printable(suffix)}" if name is None else printable(name)


def _attribute(plan: Plan, entry: XattrEntry) -> str:
    profile = plan.inodes.profile
    name = _name(entry.index, entry.suffix, profile.prefixes)
    if (entry.index, entry.suffix) == profile.fingerprint_entry:
        return f"{name} {profile.encoding.digest} {entry.value[-DIGEST_SIZE:][:4].hex()}"
    return f"{name} {len(entry.value)} bytes"


def _paths(plan: Plan) -> list[list[bytes]]:
    """Return all paths of each inode; of one that the tree does not name, none."""
    nodes = plan.inodes.nodes
    paths: list[list[bytes]] = [[] for _ in nodes]
    paths[0].append(b"/")
    # Folders stand before what they hold.
    for node in nodes:
        for name, number in node.children:
            paths[number].append(paths[node.number][0].rstrip(b"/") + b"/" + name)
    return paths


def _inode(plan: Plan, number: int, paths: list[bytes]) -> Iterator[str]:
    node = plan.inodes.nodes[number]
    record = plan.record(number)
    head = plan.inodes.heads[number]
    end = plan.offset(number) + head
    called = " ".join(map(printable, paths)) or "(no name)"
    yield f"nid {plan.nid(number)} at {plan.offset(number):#x}, inode {number}: {called}"
    form = "extended" if record.extended else "compact"
    flag = ", flag" if record.flag else ""
    kind = _type(file_type(record.mode))
    yield f"  {kind} {record.mode & 0o7777:04o}, {form}{flag}, {_layout(record.layout)}, head {head} bytes"
    names = (EXTENDED_FORM if record.extended else COMPACT_FORM).names
    yield f"  {_said(record, [name for name in names if name not in _SHOWN_APART])}"
    yield from _attributes(plan, number)
    if node.is_dir:
        for entry in plan.entries(number):
            yield f"  entry {printable(entry.name)} nid {entry.nid} {_type(entry.type)}"
    placed = plan.placed[number]
    if placed is not None and placed.spans is not None:
        yield from _index(placed, placed.spans, end)
        return
    for run in data_runs(plan, number):
        what = "tail" if run.offset == end else "data"
        yield f"  {what} [{run.start}, {run.start + run.length}) at {run.offset:#x}"


def _type(kind: int) -> str:
    return FileType(kind).name.lower()


def _layout(layout: int) -> str:
    return Layout(layout).name.lower().replace("_", " ")


def _attributes(plan: Plan, number: int) -> Iterator[str]:
    area = plan.attributes(number)
    if not area:
        return
    header, first = unpack_header(area)
    shared = f", shared {' '.join(map(str, header.shared))}" if header.shared else ""
    yield f"  attributes {len(area)} bytes, filter {header.filter:#010x}{shared}"
    for entry in iter_entries(area, first):
        yield f"    {_attribute(plan, entry)}"


def _index(placed: Placed, spans: Spans, at: int) -> Iterator[str]:
    """Yield a compressed file's index and its spans; ``at`` is where inode and attributes end."""
    places = index_places(placed, at)
    record = f", records of {places.record} bytes" if places.record else ""
    form = placed.key.encoding.index.value
    yield f"  index {form} at {places.header:#x}, {places.end - places.header} bytes{record}"
    start = 0
    for length, stored, kind, address in zip(spans.lengths, spans.stored, spans.kinds, placed.addresses, strict=True):
        where = f" at {address:#x}, {stored} bytes" if stored else ""
        yield f"  span [{start}, {start + length}) {_KINDS[kind]}{where}"
        start += length
