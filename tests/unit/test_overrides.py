"""Any field of an image by its address: where it is, what it may become, and that nothing else changes."""

from __future__ import annotations

import functools
import os
import struct
from array import array
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given as given_by
from hypothesis import settings
from hypothesis import strategies as st

from fixtures.contents import stream, words
from fixtures.dumps import CASES, FILES, LINKS
from mkfs_erofs_py.errors import CorruptError, ImageError, OutOfBoundsError, UnsupportedError, UsageError
from mkfs_erofs_py.ondisk import dirent as dirent_module
from mkfs_erofs_py.ondisk import extent as extent_module
from mkfs_erofs_py.ondisk import inode as inode_module
from mkfs_erofs_py.ondisk import lcluster as lcluster_module
from mkfs_erofs_py.ondisk import superblock as superblock_module
from mkfs_erofs_py.ondisk import xattr as xattr_module
from mkfs_erofs_py.ondisk.constants import Algorithm
from mkfs_erofs_py.ondisk.dirent import DIRENT_FORM
from mkfs_erofs_py.ondisk.extent import EXTENT_FORMS, START_FORM
from mkfs_erofs_py.ondisk.inode import COMPACT_FORM, EXTENDED_FORM
from mkfs_erofs_py.ondisk.lcluster import BASE_FORM, D0_CBLKCNT, HEAD_FORM, HEADER_FORM, LCLUSTER_NONHEAD, NONHEAD_FORM
from mkfs_erofs_py.ondisk.structure import Structure
from mkfs_erofs_py.ondisk.superblock import LENGTH_FORM, PREFIX_FORM, RECORD_FORMS, SUPERBLOCK_FORM
from mkfs_erofs_py.ondisk.superblock import checksum as checksum_of
from mkfs_erofs_py.ondisk.xattr import ENTRY_FORM
from mkfs_erofs_py.ondisk.xattr import HEADER_FORM as XATTR_FORM
from mkfs_erofs_py.read import Image
from mkfs_erofs_py.write import BuildOptions
from mkfs_erofs_py.write.address import ALIASES
from mkfs_erofs_py.write.build import build_from
from mkfs_erofs_py.write.locate import Place, locate
from mkfs_erofs_py.write.override import Override, Value
from mkfs_erofs_py.write.plan import Plan
from tests.support.feeding import given
from tests.support.planned import Planned, planned

NAMES = {"a.b": b"dots", "x[1]": b"brackets", "at@7": b"at", "back\\slash": b"backslash", "new\nline": b"line"}


@functools.cache
def image_of(name: str) -> Planned:
    """Return the image ``name`` of the small tree that has dumps too; tests change copies."""
    case = CASES[name]
    # Where encodings go by suffix, every file has one.
    files = FILES if name == "several" else {**FILES, **NAMES}
    return planned(given(files, LINKS), BuildOptions(workers=1, **case.options), case.policy)


def read_number(data: bytes, place: Place) -> int:
    number = int.from_bytes(data[place.offset : place.offset + place.width], "little")
    return number >> place.shift & (1 << place.bits) - 1


def changed(one: bytes, other: bytes) -> set[int]:
    """Return the offsets at which two images differ, the checksum's apart."""
    assert len(one) == len(other)
    return {at for at, (a, b) in enumerate(zip(one, other, strict=True)) if a != b} - set(range(1028, 1032))


def use(data: bytes) -> None:
    """Read everything; raise the first error."""
    with Image.open(memoryview(data)) as image:
        image.check()
        assert image.prefixes is not None
        for _, inode in image.walk():
            image.xattrs(inode)
            if inode.is_symlink:
                image.readlink(inode)
            for _ in image.pieces(inode):
                pass


# -- every kind of address -------------------------------------------------------------------------

Shown = Callable[[Image], object]
Refused = tuple[type[ImageError], str]


def inode(path: str, field: str) -> Shown:
    return lambda image: getattr(image.lookup(path, follow=False), field)


def superblock(field: str) -> Shown:
    return lambda image: getattr(image.superblock, field)


def entry(path: str, field: str) -> Shown:
    folder, name = os.path.split(path)
    return lambda image: {e.name: getattr(e, field) for e in image.readdir(folder)}[name.encode()]


#: Image, address, value -> what the reader shows of it, or how it refuses the image.
TABLE: list[tuple[str, str, Value, tuple[Shown, object] | Refused]] = [
    ("none", "sb.inodes", 7, (superblock("inodes"), 7)),
    ("none", "sb.blocks", "eof", (superblock("blocks"), 64)),
    ("none", "sb.epoch", -5, (superblock("epoch"), -5)),
    ("none", "sb.label", b"broken", (superblock("label"), b"broken".ljust(16, b"\0"))),
    ("none", "sb.uuid", "max", (superblock("uuid"), b"\xff" * 16)),
    ("none", "sb.magic", "^1", (CorruptError, "not an EROFS image")),
    ("none", "sb.block_bits", 8, (UnsupportedError, "block size")),
    ("none", "sb.root_nid", "nid:/one.plain", (CorruptError, "is not a directory")),
    ("none", "sb.root_nid", "eof", (OutOfBoundsError, "past the image's end")),
    ("none-48bit-dot-omitted", "sb.root_nid", "nid:/folder", (lambda image: image.root.nid, "nid:/folder")),
    ("none", "sb.incompat", 0x80000000, (UnsupportedError, "unknown incompatible features")),
    ("none", "sb.prefix_count", 3, (CorruptError, "xattr prefix 1 has length 0")),
    ("none", "prefix[0].len", 0, (CorruptError, "has length 0")),
    ("none", "prefix[0].base_index", 1, (lambda image: image.prefixes[0].base_index, 1)),
    ("none", "prefix[0].infix", b"E", (lambda image: image.prefixes[0].infix, b"Erofs.fingerprint")),
    ("lz4-64k-full", "alg[lz4].len", 0, (CorruptError, "too short")),
    ("lz4-64k-full", "alg[lz4].max_pcluster", 4, (lambda image: image.algorithms[0].max_pcluster, 4)),
    ("zstd-extents", "alg[zstd].window_bits_less_10", 5, (lambda image: image.algorithms[0].window_bits, 15)),
    ("none", "inode:/.mode", "^0x2", (inode("/", "mode"), 0o40757)),
    ("none", "inode:/one.plain.size", "+1", (inode("/one.plain", "size"), 2)),
    ("none", "inode:/one.plain.size", "-1", (inode("/one.plain", "size"), 0)),
    ("none", "inode:/one.plain.layout", 7, (UnsupportedError, "unknown format")),
    ("none", "inode:/one.plain.extended", 1, (inode("/one.plain", "extended"), True)),
    ("none", "inode:/one.plain.format", "+0x20", (UnsupportedError, "unknown format")),
    ("none", "inode:/one.plain.icount", 1, (CorruptError, "too short")),
    ("none", "inode:/blocks.plain.blkaddr", "eof", (OutOfBoundsError, "past the end")),
    ("none", "inode:/copy.full.size", 2**63, (CorruptError, "negative size")),
    ("none", "inode:/copy.full.mtime", -3, (inode("/copy.full", "mtime"), -3)),
    ("none", "inode:/folder/\N{EURO SIGN}.size", 0, (inode("/folder/\N{EURO SIGN}", "size"), 0)),
    ("none", "inode:/folder/hard.uid", 3, (inode("/one.plain", "uid"), 3)),
    ("none", "inode:/a.b.gid", 4, (inode("/a.b", "gid"), 4)),
    ("none", "inode:/x[1].gid", 4, (inode("/x[1]", "gid"), 4)),
    ("none", "inode:/\\x78\\x5b1].gid", 4, (inode("/x[1]", "gid"), 4)),
    ("none", "inode:/back\\slash.gid", 4, (inode("/back\\slash", "gid"), 4)),
    ("none", "inode:/new\\x0aline.gid", 4, (inode("/new\nline", "gid"), 4)),
    ("none", "xattr:/one.plain.shared_count", 255, (CorruptError, "cannot hold 255 shared entries")),
    ("none", "xattr:/one.plain.filter", 0, (inode("/one.plain", "size"), 1)),
    ("none", "xattr:/one.plain.shared[0]", "max", (OutOfBoundsError, "past the image's end")),
    ("none", "xattr:/one.plain.shared[0]", "eof", (OutOfBoundsError, "past the image's end")),
    ("none", "xattr:/one.plain[0].vallen", 65000, (CorruptError, "does not fit")),
    ("none", "xattr:/one.plain[0].name", b"N", (lambda i: i.xattrs("/one.plain")[b"user.Note"], b"text")),
    ("none", "xattr:/one.plain[0].value", b"T", (lambda i: i.xattrs("/one.plain")[b"user.note"], b"Text")),
    ("none", "xattr:/one.plain[0].index", 0x85, (CorruptError, "long prefix 5 of 1")),
    ("none", "xattr:/one.plain[2].value", b"T", (lambda i: i.xattrs("/tail.plain")[b"user.shared"][:4], b"The ")),
    ("none", "xattr:/x\\x5b1][0].vallen", 65000, (CorruptError, "does not fit")),
    ("none", "dirent:/many.nid", "nid:/folder", (entry("/many", "nid"), "nid:/folder")),
    ("none", "dirent:/many.type", 9, (CorruptError, "unknown type 9")),
    ("none", "dirent:/folder/hard.name", b"Hard", (lambda image: image.xattrs("/folder/Hard")[b"user.note"], b"text")),
    ("none", "dirent:/folder/...nid", "nid:/many", (entry("/folder/..", "nid"), "nid:/many")),
    ("none", "dirent:/folder/..nid", "nid:/many", (CorruptError, "has '.' lead to inode")),
    ("none", "dirblock:/[0].nameoff[0]", 0, (CorruptError, "first name offset 0")),
    ("none", "dirblock:/many[0].nameoff[2]", 4104, (CorruptError, "length 3827")),
    ("none", "dirblock:/many[1].nid[0]", "+1", (CorruptError, "impossible mode")),
    ("several", "zheader:/words.lz4.algorithms", 4, (UnsupportedError, "unknown algorithms")),
    ("several", "zheader:/words.full.cluster_bits", 7, (CorruptError, "malformed LZ4 block")),
    ("several", "lcluster:/words.full[0].clusterofs", 5000, (CorruptError, "leads back by 1, to no head")),
    ("several", "lcluster:/words.full[0].type", 2, (CorruptError, "leads back by 3, to no head")),
    ("several", "lcluster:/words.full[0].block", "max", (OutOfBoundsError, "past the end")),
    ("several", "lcluster:/words.full[1].d0", 0x800, (CorruptError, "block count out of place")),
    ("several", "lcluster:/words.full[2].d0", 0, (CorruptError, "leads back by 0")),
    ("several", "lcluster:/words.full[2].d1", 1000, (CorruptError, "leads on by 1000")),
    ("several", "lcluster:/words.lz4[0].type", 2, (CorruptError, "to no head")),
    ("several", "lcluster:/words.lz4[2].clusterofs", 1, (CorruptError, "8192 bytes, 8193 expected")),
    ("several", "lcluster:/words.lz4[4].d0", 9, (CorruptError, "leads back by 9")),
    ("several", "lcluster:/words.lz4[3].d1", 900, (CorruptError, "leads on by 900")),
    ("several", "pack:/words.lz4[0].base", "max", (OutOfBoundsError, "past the end")),
    ("lz4-extents", "extent:/words.full[1].plen", "max", (UnsupportedError, "exceeds 1 MiB")),
    ("lz4-extents", "extent:/words.full[1].format", 15, (UnsupportedError, "unknown algorithm 14")),
    ("lz4-extents", "extent:/words.full[1].length", 0, (CorruptError, "malformed")),
    ("lz4-extents", "extent:/words.full.start", 1 << 62, (OutOfBoundsError, "past the end")),
    ("none-b512-no-fingerprint", "dirblock:/many[9].nameoff[0]", 13, (CorruptError, "first name offset 13")),
    ("none-b512-no-fingerprint", "dirblock:/many[10].type[1]", 0, (entry("/many/fifo", "type"), 5)),
    ("none-b512-no-fingerprint", "data:/tail.plain@4999", b"!", (lambda i: i.read("/tail.plain")[-1:], b"!")),
    ("none", "data:/one.plain@0", b"!", (lambda image: image.read("/one.plain"), b"!")),
    ("none", "data:/blocks.plain@4096", 0x21, (lambda image: image.read("/blocks.plain")[4096], 0x21)),
    ("none", "data:/tail.plain@4999", b"!", (lambda image: image.read("/tail.plain")[-1:], b"!")),
    ("none", "data:/folder/\N{EURO SIGN}@0", b"N", (lambda i: i.readlink("/folder/\N{EURO SIGN}"), b"Not ASCII")),
    ("none", "data:/folder/long@4091", b"dirty", (inode("/folder/long", "size"), 4090)),
    ("none", "data:/at@7@1", b"T", (lambda image: image.read("/at@7"), b"aT")),
    ("several", "data:/words.full@28000", b"\xff" * 300, (CorruptError, "malformed LZ4 block")),
    ("none", "bytes@0x400", b"\0", (CorruptError, "not an EROFS image")),
    ("none", "bytes@0", "max", (inode("/", "size"), None)),
]


@pytest.mark.parametrize(("name", "address", "value", "expected"), TABLE, ids=[f"{a}={v!r}" for _, a, v, _ in TABLE])
def test_an_override_changes_what_it_names_and_nothing_else(
    name: str, address: str, value: Value, expected: tuple[Any, Any]
) -> None:
    base = image_of(name)
    place = locate(base.plan, address)
    width = len(value) if isinstance(value, bytes) else place.width
    data = base.with_value(address, value)
    assert changed(base.data, data) <= set(range(place.offset, place.offset + width))
    assert data != base.data or read_number(data, place) == read_number(base.data, place)
    first, second = expected
    if isinstance(first, type):
        with pytest.raises(first, match=second):
            use(data)
        return
    if isinstance(second, str):
        with Image.open(memoryview(base.data)) as image:
            second = image.lookup(second.removeprefix("nid:")).nid
    with Image.open(memoryview(data)) as image:
        shown = first(image)
    assert second is None or shown == second


def test_building_with_overrides_gives_the_same_bytes() -> None:
    base = image_of("none")
    overrides = [Override("inode:/one.plain.size", 3), Override("sb.inodes", "+1"), Override("sb.checksum", "^1")]
    case = CASES["none"]
    built = planned(given({**FILES, **NAMES}, LINKS), BuildOptions(workers=1, **case.options), case.policy, *overrides)
    assert built.data == base.override(*overrides) != base.data


# -- every field of every structure ----------------------------------------------------------------

#: Image, address but for the field, structure.
STRUCTURES: list[tuple[str, str, Structure]] = [
    ("none", "sb", SUPERBLOCK_FORM),
    ("none", "inode:/", COMPACT_FORM),
    ("none", "inode:/copy.full", EXTENDED_FORM),
    ("none", "xattr:/one.plain", XATTR_FORM),
    ("none", "xattr:/one.plain[0]", ENTRY_FORM),
    ("none", "xattr:/one.plain[2]", ENTRY_FORM),
    ("none", "dirent:/many", DIRENT_FORM),
    ("none", "prefix[0]", PREFIX_FORM),
    ("lz4-64k-full", "alg[lz4]", LENGTH_FORM),
    ("lz4-64k-full", "alg[lz4]", RECORD_FORMS[Algorithm.LZ4]),
    ("zstd-extents", "alg[zstd]", RECORD_FORMS[Algorithm.ZSTD]),
    ("deflate", "alg[deflate]", RECORD_FORMS[Algorithm.DEFLATE]),
    ("lzma", "alg[lzma]", RECORD_FORMS[Algorithm.LZMA]),
    ("several", "zheader:/words.lz4", HEADER_FORM),
    ("several", "zheader:/words.full", HEADER_FORM),
    ("lz4-extents", "zheader:/words.full", HEADER_FORM),
    ("several", "lcluster:/words.full[0]", HEAD_FORM),
    ("several", "lcluster:/words.full[1]", NONHEAD_FORM),
    ("several", "pack:/words.lz4[0]", BASE_FORM),
    ("lz4-extents", "extent:/words.full", START_FORM),
    ("lz4-extents", "extent:/words.full[12]", EXTENT_FORMS[4]),
    ("many extents", "extent:/large[48]", EXTENT_FORMS[8]),
    ("extents far away", "extent:/large[48]", EXTENT_FORMS[16]),
    ("extents of a giant", "extent:/large[48]", EXTENT_FORMS[32]),
]


@functools.cache
def plan_of(name: str) -> Plan:
    """Return the plan of an image; of those with the largest addresses and sizes there is no more than a plan."""
    if name in CASES:
        return image_of(name).plan
    if name in ("deflate", "lzma"):
        return planned(given({"file": words(1, 9000)}), BuildOptions(compressor=name, workers=1)).plan
    options = BuildOptions(compressor="lz4", encoded_extents=True, pcluster=8192, workers=1)
    plan = planned(given({"large": words(1, 400_000)}), options).plan
    (number,) = (node.number for node in plan.inodes.nodes if node.is_regular)
    placed = plan.placed[number]
    assert placed is not None
    if name == "extents far away":
        placed = placed._replace(addresses=array("Q", [1 << 40] * len(placed.addresses)))
    elif name == "extents of a giant":
        placed = placed._replace(addresses=array("Q", [1 << 40] * len(placed.addresses)))
        placed = placed._replace(key=placed.key._replace(size=1 << 33))
    return replace(plan, placed=[*plan.placed[:number], placed])


@pytest.mark.parametrize(("name", "prefix", "structure"), STRUCTURES, ids=[f"{n}-{p}" for n, p, _ in STRUCTURES])
def test_every_field_of_a_structure_has_its_address(name: str, prefix: str, structure: Structure) -> None:
    places = {field: locate(plan_of(name), f"{prefix}.{field}") for field in structure.names}
    (base,) = {place.offset - structure.places[field][0] for field, place in places.items()}
    for field, place in places.items():
        offset, width = structure.places[field]
        assert place == Place(field, base + offset, width, 0, 8 * width)
    if name in CASES:
        found = structure.unpack(image_of(name).data, base)
        for field, place in places.items():
            if isinstance(found[field], int):
                assert read_number(image_of(name).data, place) == found[field] & (1 << place.bits) - 1


def test_every_structure_that_is_written_is_in_this_table() -> None:
    tested = {structure.names for _, _, structure in STRUCTURES}
    unwritten = {superblock_module.EXTENSION_FORM.names}
    for module in (superblock_module, inode_module, xattr_module, dirent_module, lcluster_module, extent_module):
        for found in vars(module).values():
            for structure in found.values() if isinstance(found, dict) else [found]:
                if isinstance(structure, Structure):
                    assert structure.names in tested | unwritten


@pytest.mark.parametrize(("kind", "short"), [(kind, short) for kind, names in ALIASES.items() for short in names])
def test_short_names(kind: str, short: str) -> None:
    name, prefix, index = {
        "sb": ("none", "sb", ""),
        "inode": ("none", "inode:/", ""),
        "xattr": ("none", "xattr:/one.plain[0]", ""),
        "dirent": ("none", "dirent:/many", ""),
        "dirblock": ("none", "dirblock:/many[0]", "[3]"),
        "extent": ("many extents", "extent:/large[1]", ""),
        "prefix": ("none", "prefix[0]", ""),
        "alg": ("lz4-64k-full", "alg[lz4]", ""),
    }[kind]
    if short == "lstart":
        name = "extents far away"
    plan = plan_of(name)
    assert locate(plan, f"{prefix}.{short}{index}") == locate(plan, f"{prefix}.{ALIASES[kind][short]}{index}")


COMPACT: dict[str, tuple[dict[str, Any], int]] = {
    "blocks of 4 KiB": ({"compressor": "lz4hc"}, 12),
    "large clusters": ({"compressor": "lz4", "pcluster": 8192}, 12),
    "blocks of 512 bytes": ({"compressor": "lz4", "block_size": 512}, 9),
    "large clusters of small blocks": ({"compressor": "lz4", "block_size": 512, "pcluster": 4096}, 9),
    "blocks of 16 KiB": ({"compressor": "lz4", "block_size": 16384}, 14),
}


@pytest.mark.parametrize("name", COMPACT)
def test_compact_records_have_their_bits(name: str) -> None:
    """What the addresses of all records of a compact index lead to is what the reader finds in them."""
    options, bits = COMPACT[name]
    content = words(1, 150_000) + stream(2, 30_000) + words(3, 70_001)
    base = planned(given({"file": content}), BuildOptions(workers=1, **options))
    with Image.open(memoryview(base.data)) as image:
        extents = list(image.spans("/file"))
    assert len(extents) > 5
    count = -(-len(content) >> bits)
    heads = {extent.start >> bits: extent for extent in extents}
    offsets = {lcn: extent.start & (1 << bits) - 1 for lcn, extent in heads.items()}
    # Where the data ends in a logical cluster without a head, one says how far it reaches.
    offsets.setdefault(len(content) >> bits, len(content) & (1 << bits) - 1)
    seen = set()
    for lcn in range(count):
        address = f"lcluster:/file[{lcn}]"
        fields = {
            field: read_number(base.data, locate(base.plan, f"{address}.{field}"))
            for field in names_at(base.plan, address)
        }
        seen |= set(fields)
        kind = fields.pop("type")
        assert (kind == LCLUSTER_NONHEAD) == (lcn not in offsets)
        head = max(number for number in heads if number <= lcn)
        if kind != LCLUSTER_NONHEAD:
            assert fields == {"clusterofs": offsets[lcn]}
        elif fields.get("d0", 0) & D0_CBLKCNT:
            assert lcn == head + 1
            assert fields == {"d0": D0_CBLKCNT | heads[head].stored >> bits}
        elif "d0" in fields:
            assert fields == {"d0": lcn - head}
        else:
            assert fields == {"d1": min([number for number in offsets if number > lcn], default=count) - lcn}
    assert seen == {"type", "clusterofs", "d0", "d1"}
    with pytest.raises(UsageError, match=f"none of the {count} logical clusters"):
        locate(base.plan, f"lcluster:/file[{count}].type")


def names_at(plan: Plan, address: str) -> list[str]:
    """Return the names of the fields at an address, from the message that lists them."""
    with pytest.raises(UsageError) as refused:
        locate(plan, f"{address}.?")
    return str(refused.value).rpartition("there are ")[2].split(", ")


# -- and back --------------------------------------------------------------------------------------

ADDRESSES = sorted(
    {(name, address) for name, address, *_ in TABLE}
    | {(name, f"{prefix}.{field}") for name, prefix, form in STRUCTURES if name in CASES for field in form.names}
)


@settings(deadline=None)
@given_by(at=st.sampled_from(ADDRESSES), number=st.integers(0, 2**128), relative=st.sampled_from("+^="))
def test_there_and_back_again(at: tuple[str, str], number: int, relative: str) -> None:
    name, address = at
    base = image_of(name)
    place = locate(base.plan, address)
    number &= (1 << min(place.bits, 60)) - 1
    there: Value
    back: Value
    if relative == "=":
        there, back = number, read_number(base.data, place)
    else:
        number >>= relative == "+"
        there = f"{relative}{number}"
        back = there.replace("+", "-")
    data = base.with_value(address, there)
    assert changed(base.data, data) <= set(range(place.offset, place.offset + place.width))
    # Bits beside the field, in the same bytes, stay.
    rest = place._replace(shift=0, bits=8 * place.width)
    mask = ~(((1 << place.bits) - 1) << place.shift)
    assert read_number(data, rest) & mask == read_number(base.data, rest) & mask
    assert Planned(base.plan, data).with_value(address, back) == base.data


# -- the checksum ----------------------------------------------------------------------------------


def sound(data: bytes) -> bool:
    return data[1028:1032] == struct.pack("<I", checksum_of(data[1024:4096]))


def test_the_checksum_is_mended_unless_it_is_to_be_kept() -> None:
    base = image_of("none")
    assert sound(base.override(Override("sb.inodes", 9)))
    assert sound(base.override(Override("sb.inodes", 9, checksum="mend")))
    kept = base.override(Override("sb.inodes", 9, checksum="keep"))
    assert not sound(kept)
    assert kept[1028:1032] == base.data[1028:1032]
    with pytest.raises(CorruptError, match="checksum"):
        use(kept)


def test_mended_and_kept_overrides_together() -> None:
    """The checksum covers the one and not the other, in whatever order they come."""
    base = image_of("none")
    both = [Override("sb.inodes", 9), Override("sb.fixed_nsec", 1, checksum="keep")]
    data = base.override(*both)
    assert data == base.override(*reversed(both))
    assert data[1028:1032] == base.override(both[0])[1028:1032]


@pytest.mark.parametrize("address", ["sb.checksum", "bytes@1030", "bytes@0x404"])
def test_the_checksum_itself_is_overridden_last(address: str) -> None:
    base = image_of("none")
    data = base.override(Override(address, "^1"), Override("sb.inodes", 9))
    right = base.override(Override("sb.inodes", 9))
    (at,) = (at for at, (a, b) in enumerate(zip(data, right, strict=True)) if a != b)
    assert at == locate(base.plan, address).offset


def test_the_checksum_follows_the_block_size_that_the_image_claims() -> None:
    base = image_of("none")
    data = base.override(Override("sb.block_bits", 11))
    assert struct.unpack_from("<I", data, 1028)[0] == checksum_of(data[1024:2048])


def test_an_image_without_a_checksum_gets_none() -> None:
    base = planned(given({"a": b"a"}), BuildOptions(compressor=None, checksum=False, workers=1))
    data = base.override(Override("sb.inodes", 9))
    assert data[1028:1032] == bytes(4)
    use(data)


# -- what is impossible ----------------------------------------------------------------------------

WRONG: list[tuple[str, str, Value, str]] = [
    ("none", "sb.nonsense", 1, "no field 'nonsense'; there are magic, checksum, compat, block_bits,"),
    ("none", "sb[0].magic", 1, "there is one superblock, which takes no index"),
    ("none", "sb.metabox_nid", 1, "no field 'metabox_nid'; there are magic"),
    ("none", "inode:/nowhere.size", 1, "/nowhere is not in the tree"),
    ("none", "inode:/one.plain/x.size", 1, "/one.plain/x is not in the tree"),
    ("none", "inode:one.plain.size", 1, "a path from / on is followed by a dot and a field"),
    ("none", "inode:/size", 1, "a path from / on is followed by a dot and a field"),
    ("none", "inode:/one.plain.", 1, "a path from / on is followed by a dot and a field"),
    ("none", "inode:/.sizes", 1, "no field 'sizes'; there are format, xattr_icount, mode, nb, size,"),
    ("none", "inode:/one.plain.size", 2**32, "4294967296 does not fit the field, which has 32 bits"),
    ("none", "inode:/one.plain.size", -(2**31) - 1, "-2147483649 does not fit the field, which has 32 bits"),
    ("none", "inode:/one.plain.size", "0x100000000", "'0x100000000' does not fit the field, which has 32 bits"),
    ("none", "inode:/one.plain.layout", 8, "8 does not fit the field, which has 3 bits"),
    ("none", "inode:/one.plain.layout", b"x", "the field has 3 bits, so its value is a number, not bytes"),
    ("none", "inode:/one.plain.size", b"12345", "5 bytes do not fit the field, which has 4"),
    ("none", "inode:/one.plain.size", b"", "0 bytes do not fit the field, which has 4"),
    (
        "none",
        "inode:/one.plain.size",
        "big",
        "'big' is no value; these are a number, +N, -N, ^N, nid:/path, eof or max",
    ),
    ("none", "inode:/one.plain.size", "nid:/nowhere", "nid:/nowhere: /nowhere is not in the tree"),
    ("none", "inode:/one.plain.mode", "eof", "'eof' does not fit the field, which has 16 bits"),
    ("none", "xattr:/blocks.plain[9].vallen", 1, "9 is none of the 2 attributes, counted from 0"),
    ("none", "xattr:/blocks.plain[x].vallen", 1, "x is none of the 2 attributes, counted from 0"),
    ("none", "xattr:/blocks.plain.vallen", 1, "no field 'vallen'; there are filter, shared_count, shared[0 to 0]"),
    ("none", "xattr:/many.filter", 1, "this inode has no attributes"),
    ("none", "dirent:/.nid", 1, "no directory entry names /"),
    ("none", "dirent:/many/nobody.nid", 1, "no directory entry names /many/nobody"),
    ("none", "dirent:/one.plain/...nid", 1, "no directory entry names /one.plain/.."),
    ("none-48bit-dot-omitted", "dirent:/many/..nid", 1, "no directory entry names /many/."),
    ("none", "dirblock:/one.plain[0].nid[0]", 1, "this inode is not a directory"),
    ("none", "dirblock:/many.nid[0]", 1, "an index in brackets is missing; there are 2 blocks, counted from 0"),
    ("none", "dirblock:/many[2].nid[0]", 1, "2 is none of the 2 blocks, counted from 0"),
    ("none", "dirblock:/folder[0].nid[9]", 1, "no field 'nid[9]'; there are nid[0 to 5], name_offset[0 to 5],"),
    ("none", "zheader:/words.lz4.advise", 1, "this inode is not compressed, so it has no index"),
    ("several", "pack:/words.full[0].base", 1, "this file's index has the form full, which has no such record"),
    ("several", "extent:/words.lz4[0].plen", 1, "this file's index has the form compact, which has no such record"),
    ("lz4-extents", "lcluster:/words.lz4[0].type", 1, "this file's index has the form extents, which has no such"),
    ("lz4-extents", "extent:/words.full[13].plen", 1, "13 is none of the 13 extents, counted from 0"),
    ("none", "chunk:/words.lz4[0].device", 1, "this builder writes no chunks yet, so there is no such field"),
    ("none", "prefix[1].len", 1, "1 is none of the 1 prefixes, counted from 0"),
    ("none", "alg[lz4].len", 1, "the image has records of no algorithm"),
    ("lz4-64k-full", "alg[zstd].len", 1, "the image has records of lz4"),
    ("none", "data:/tail.plain@5000", 1, "this inode stores 5000 bytes of data"),
    ("none", "data:/many/fifo@0", 1, "this inode stores 0 bytes of data"),
    ("none", "data:/tail.plain.0", 1, "a path from / on is followed by @ and the number of a byte"),
    ("none", "data:/tail.plain@x", 1, "'x' is not the number of a byte"),
    ("none", "data:/tail.plain@4995", b"123456", "6 bytes do not fit the field, which has 5"),
    ("none", "bytes@0x100000", 1, "the image has 262144 bytes"),
    ("none", "bytes.5", 1, "not an address; these are inode, xattr,"),
    ("none", "sb@5", 1, "not an address; these are inode, xattr,"),
    ("none", "root:/.size", 1, "not an address; these are inode, xattr,"),
    ("none", "", 1, "not an address; these are inode, xattr,"),
    ("none", "bytes@" + "9" * 5000, 1, "is not the number of a byte"),
]


@pytest.mark.parametrize(("name", "address", "value", "words"), WRONG, ids=[f"{a[:40]}={v!r}" for _, a, v, _ in WRONG])
def test_what_is_impossible_is_refused_with_what_would_be_right(
    name: str, address: str, value: Value, words: str
) -> None:
    with pytest.raises(UsageError) as refused:
        image_of(name).with_value(address, value)
    message = str(refused.value)
    assert message.startswith(f"{address}: ")
    assert words in message
    assert "\n" not in message


KINDS = ("inode", "xattr", "dirent", "dirblock", "zheader", "lcluster", "pack", "extent", "chunk", "data")
FRAGMENTS = [
    *(f"{kind}:/" for kind in KINDS),
    *("sb.", "prefix[", "alg[", "bytes@", "/", "one.plain", "many", "words.lz4", "words.full", "\\x2f", "\\x"),
    *("[", "0", "1", "]", "lz4", ".", "@", "0x", "nid", "len", "name", "filter", "base", "type", "advise"),
    *("\ud800", "\udcff", "\n"),
]


@given_by(st.lists(st.sampled_from(FRAGMENTS), max_size=9).map("".join) | st.text(max_size=20))
def test_any_text_is_an_address_or_refused_in_one_line(address: str) -> None:
    plan = image_of("several").plan
    try:
        place = locate(plan, address)
    except UsageError as error:
        refused = str(error)
    else:
        refused = ""
        assert 0 <= place.offset <= place.offset + place.width <= plan.end
    assert "\n" not in refused


@pytest.mark.parametrize("value", [None, 1.5, [1]])
def test_values_of_other_types(value: Any) -> None:
    with pytest.raises(UsageError, match="is no value; these are numbers, bytes and texts"):
        image_of("none").with_value("sb.inodes", value)


def test_a_checksum_that_is_neither_mended_nor_kept() -> None:
    with pytest.raises(UsageError, match="neither 'mend' nor 'keep'"):
        Override("sb.inodes", 1, checksum="ignore")  # type: ignore[arg-type]


def test_an_impossible_override_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        build_from(
            os.fsencode(tmp_path / "image"),
            b"given",
            given({"a": b"a"}),
            BuildOptions(compressor=None, workers=1),
            overrides=[Override("inode:/b.size", 1)],
        )
    assert os.listdir(tmp_path) == []
