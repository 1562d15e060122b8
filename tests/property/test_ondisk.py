"""On-disk structures: what is packed unpacks to the same, at the offsets the format gives."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkfs_erofs_py.errors import CorruptError, OutOfBoundsError
from mkfs_erofs_py.ondisk.chunk import HOLE, ChunkFormat, pack_chunks, unpack_chunks
from mkfs_erofs_py.ondisk.constants import Algorithm, Compat, Incompat
from mkfs_erofs_py.ondisk.device import DeviceSlot
from mkfs_erofs_py.ondisk.dirent import Dirent, directory_size, pack_directory, unpack_block
from mkfs_erofs_py.ondisk.inode import InodeRecord, decode_rdev, encode_rdev
from mkfs_erofs_py.ondisk.structure import Structure
from mkfs_erofs_py.ondisk.superblock import (
    AlgorithmRecord,
    LongPrefix,
    Superblock,
    checksum,
    checksum_end,
    pack_algorithms,
    pack_prefixes,
    unpack_algorithms,
    unpack_prefixes,
)
from mkfs_erofs_py.ondisk.xattr import (
    XattrEntry,
    filter_word,
    full_name,
    iter_entries,
    pack_area,
    split_name,
    unpack_header,
)


def bits(number: int) -> st.SearchStrategy[int]:
    return st.integers(0, (1 << number) - 1)


# -- declaring structures ------------------------------------------------------------------------------


def test_a_structure_is_declared_at_the_offsets_it_has() -> None:
    pair = Structure(4, (0x00, "B", "first", ""), (0x01, "x", "", ""), (0x02, "H", "second", ""))
    assert pair.names == ("first", "second")
    assert pair.pack({"second": 0x0203, "first": 1, "other": 9}) == bytes([1, 0, 3, 2])
    assert pair.unpack(bytes([7, 1, 9, 3, 2]), 1) == {"first": 1, "second": 0x0203}


@pytest.mark.parametrize(
    ("size", "fields"),
    [
        pytest.param(4, [(0x00, "H", "first", ""), (0x03, "B", "second", "")], id="a gap"),
        pytest.param(4, [(0x00, "I", "first", ""), (0x02, "H", "second", "")], id="an overlap"),
        pytest.param(8, [(0x00, "I", "first", "")], id="too short"),
    ],
)
def test_a_structure_with_other_offsets_is_refused(size: int, fields: list[tuple[int, str, str, str]]) -> None:
    with pytest.raises(AssertionError):
        Structure(size, *fields)


# -- the superblock ------------------------------------------------------------------------------------

superblocks = st.builds(
    Superblock,
    block_bits=st.integers(9, 16),
    root_nid=bits(16),
    compat=bits(6).map(Compat),
    incompat=bits(9).map(lambda n: Incompat(n & ~0x80)),
    checksum=bits(32),
    inodes=bits(64),
    epoch=st.integers(-(1 << 63), (1 << 63) - 1),
    fixed_nsec=bits(32),
    blocks=bits(32),
    meta_blkaddr=bits(32),
    xattr_blkaddr=bits(32),
    uuid=st.binary(min_size=16, max_size=16),
    label=st.binary(min_size=16, max_size=16),
    algorithms=bits(16),
    devices=bits(16),
    device_table=bits(16),
    dirblkbits=bits(8),
    prefix_count=bits(8),
    prefix_table=bits(32),
    packed_nid=bits(64),
    filter_reserved=bits(8),
    ishare_prefix=bits(8),
    mkfs_time=bits(32),
)


@given(superblocks, st.integers(0, 50))
def test_a_superblock_reads_back(sb: Superblock, offset: int) -> None:
    packed = sb.pack()
    assert len(packed) == 128
    assert Superblock.unpack(bytes(offset) + packed, offset) == sb
    with pytest.raises(OutOfBoundsError):
        Superblock.unpack(packed[:-1], 0)
    with pytest.raises(CorruptError):
        Superblock.unpack(b"\0" + packed[1:], 0)


@given(superblocks, bits(48).filter(bool), bits(48), st.one_of(st.none(), bits(62)))
def test_wide_superblocks_and_extensions_read_back(sb: Superblock, root: int, blocks: int, metabox: int | None) -> None:
    sb = replace(sb, incompat=sb.incompat | Incompat.BIT48, root_nid=root, blocks=blocks)
    if metabox is not None:
        sb = replace(sb, ext_slots=1, metabox_nid=metabox)
    packed = sb.pack()
    assert len(packed) == sb.size == (128 if metabox is None else 144)
    assert struct.unpack_from("<H", packed, 0x0E) == (blocks >> 32,)
    assert struct.unpack_from("<Q", packed, 0x70) == (root,)
    assert Superblock.unpack(packed, 0) == sb


OFFSETS = {
    "block_bits": (0x0C, "B"),
    "ext_slots": (0x0D, "B"),
    "root_nid": (0x0E, "H"),
    "inodes": (0x10, "Q"),
    "epoch": (0x18, "q"),
    "fixed_nsec": (0x20, "I"),
    "blocks": (0x24, "I"),
    "meta_blkaddr": (0x28, "I"),
    "xattr_blkaddr": (0x2C, "I"),
    "uuid": (0x30, "16s"),
    "label": (0x40, "16s"),
    "incompat": (0x50, "I"),
    "algorithms": (0x54, "H"),
    "devices": (0x56, "H"),
    "device_table": (0x58, "H"),
    "dirblkbits": (0x5A, "B"),
    "prefix_count": (0x5B, "B"),
    "prefix_table": (0x5C, "I"),
    "packed_nid": (0x60, "Q"),
    "filter_reserved": (0x68, "B"),
    "ishare_prefix": (0x69, "B"),
    "mkfs_time": (0x6C, "I"),
}


@given(superblocks)
def test_a_superblocks_fields_stand_where_the_format_has_them(sb: Superblock) -> None:
    packed = sb.pack()
    assert packed[:4] == bytes.fromhex("e2e1f5e0")
    for name, (offset, form) in OFFSETS.items():
        assert struct.unpack_from("<" + form, packed, offset) == (getattr(sb, name),), name


def test_the_checksum_is_crc32c_without_its_last_inversion() -> None:
    # The magic and an empty checksum field, and nothing else.
    assert checksum(bytes.fromhex("e2e1f5e0 ffffffff")) == 0x5045B54A


@pytest.mark.parametrize(("block", "end"), [(512, 1536), (1024, 2048), (2048, 2048), (4096, 4096), (65536, 65536)])
def test_the_checksum_covers_the_rest_of_the_first_block(block: int, end: int) -> None:
    assert checksum_end(block) == end


records = st.fixed_dictionaries(
    {},
    optional={
        Algorithm.LZ4: st.builds(
            AlgorithmRecord, algorithm=st.just(Algorithm.LZ4), max_distance=bits(16), max_pcluster=st.integers(1, 65535)
        ),
        Algorithm.LZMA: st.builds(AlgorithmRecord, algorithm=st.just(Algorithm.LZMA), dict_size=bits(32)),
        Algorithm.DEFLATE: st.builds(AlgorithmRecord, algorithm=st.just(Algorithm.DEFLATE), window_bits=bits(8)),
        Algorithm.ZSTD: st.builds(AlgorithmRecord, algorithm=st.just(Algorithm.ZSTD), window_bits=st.integers(10, 20)),
    },
)


@given(records)
def test_algorithm_records_read_back_in_ascending_order(found: dict[Algorithm, AlgorithmRecord]) -> None:
    packed = pack_algorithms(reversed(list(found.values())))
    bitmap = sum(1 << algorithm for algorithm in found)
    expected = [found[algorithm] for algorithm in sorted(found)]
    assert unpack_algorithms(packed, 0, bitmap)[0] == expected
    if packed:
        with pytest.raises(OutOfBoundsError):
            unpack_algorithms(packed[:-4], 0, bitmap)


# -- inodes --------------------------------------------------------------------------------------------

compact_inodes = st.builds(
    InodeRecord,
    layout=st.integers(0, 4),
    extended=st.just(False),
    flag=st.booleans(),
    xattr_icount=bits(16),
    mode=bits(16).map(lambda mode: mode & 0o7777 | 0o100000),
    nb=bits(16),
    size=bits(32),
    u=bits(32),
    ino=bits(32),
    uid=bits(16),
    gid=bits(16),
    mtime=bits(32),
).map(lambda inode: replace(inode, nlink=1 if inode.flag else inode.nb))

extended_inodes = st.builds(
    InodeRecord,
    layout=st.integers(0, 4),
    extended=st.just(True),
    flag=st.booleans(),
    xattr_icount=bits(16),
    mode=bits(16),
    nb=bits(16),
    size=bits(64),
    u=bits(32),
    ino=bits(32),
    uid=bits(32),
    gid=bits(32),
    mtime=st.integers(-(1 << 63), (1 << 63) - 1),
    nsec=bits(32),
    nlink=bits(32),
)


@given(st.one_of(compact_inodes, extended_inodes), st.integers(0, 40))
def test_an_inode_reads_back(inode: InodeRecord, offset: int) -> None:
    packed = inode.pack()
    assert len(packed) == (64 if inode.extended else 32)
    found, word, end = InodeRecord.unpack(bytes(offset) + packed, offset)
    assert (found, end) == (inode, offset + len(packed))
    assert word == inode.extended | inode.layout << 1 | inode.flag << 4
    with pytest.raises(OutOfBoundsError):
        InodeRecord.unpack(packed[:-1], 0)


@given(bits(12), bits(20))
def test_device_numbers_read_back(major: int, minor: int) -> None:
    number = encode_rdev(major, minor)
    assert number == (minor & 0xFF) | (major << 8) | ((minor & ~0xFF) << 12)
    assert decode_rdev(number) == (major, minor)


# -- directories ---------------------------------------------------------------------------------------

names = st.binary(min_size=1, max_size=255).filter(lambda name: not set(name) & {0, 0x2F})


@given(st.sets(names, min_size=1, max_size=120), st.sampled_from([512, 4096, 65536]))
def test_directories_read_back(found: set[bytes], block: int) -> None:
    entries = [Dirent(name, number * 7, number % 8) for number, name in enumerate(sorted(found))]
    packed = pack_directory(entries, block)
    assert len(packed) == directory_size(map(len, sorted(found)), block)
    back: list[Dirent] = []
    for at in range(0, len(packed), block):
        one = unpack_block(packed[at : at + block], at)
        assert struct.unpack_from("<H", packed, at + 8) == (12 * len(one),)
        back += one
    assert back == entries


# -- attributes ----------------------------------------------------------------------------------------

suffixes = st.binary(min_size=1, max_size=255).filter(lambda name: 0 not in name)
attributes = st.one_of(
    st.tuples(st.sampled_from([b"user.", b"trusted.", b"security."]), suffixes).map(b"".join),
    st.sampled_from([b"system.posix_acl_access", b"system.posix_acl_default"]),
)
PREFIXES = (LongPrefix(4, b"erofs.fingerprint"), LongPrefix(1, b"a"), LongPrefix(1, b"ab"))


@given(st.dictionaries(attributes, st.binary(max_size=300), min_size=1), st.lists(bits(32), max_size=255))
def test_an_attribute_area_reads_back(found: dict[bytes, bytes], shared: list[int]) -> None:
    entries = [XattrEntry(*(split_name(name, PREFIXES) or (0, b"")), value) for name, value in found.items()]
    area = pack_area([entry.pack() for entry in entries], shared, 0x12345678)
    assert len(area) % 4 == 0
    header, at = unpack_header(area)
    assert (header.filter, list(header.shared)) == (0x12345678, shared)
    back = list(iter_entries(area, at))
    assert back == entries
    assert {full_name(entry.index, entry.suffix, PREFIXES): entry.value for entry in back} == found


@given(st.sets(attributes))
def test_prefixes_do_not_change_the_filter(found: set[bytes]) -> None:
    plain = [XattrEntry(*(split_name(name) or (0, b"")), b"") for name in found]
    prefixed = [XattrEntry(*(split_name(name, PREFIXES) or (0, b"")), b"") for name in found]
    assert filter_word(plain) == filter_word(prefixed, PREFIXES)
    for name in found:
        alone = filter_word([XattrEntry(*(split_name(name) or (0, b"")), b"")])
        assert (~alone & 0xFFFF_FFFF).bit_count() == 1
        assert filter_word(plain) & ~alone & 0xFFFF_FFFF == 0, "the bit of a name that is there is clear"


def test_bits_of_the_filter_that_kernels_are_known_to_use() -> None:
    assert filter_word([XattrEntry(2, b"", b"")]) == ~(1 << 30) & 0xFFFF_FFFF
    assert filter_word([XattrEntry(3, b"", b"")]) == ~(1 << 21) & 0xFFFF_FFFF
    assert filter_word([]) == 0xFFFF_FFFF


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        (b"user.x", (1, b"x")),
        (b"user.ax", (0x81, b"x")),
        (b"user.abx", (0x82, b"x")),
        (b"user.ab", (0x82, b"")),
        (b"trusted.erofs.fingerprint", (0x80, b"")),
        (b"trusted.erofs", (4, b"erofs")),
        (b"security.capability", (6, b"capability")),
        (b"system.posix_acl_access", (2, b"")),
        (b"system.posix_acl_accessory", None),
        (b"system.nfs4_acl", None),
        (b"userx", None),
    ],
)
def test_names_are_split_by_the_longest_prefix(name: bytes, parts: tuple[int, bytes] | None) -> None:
    assert split_name(name, PREFIXES) == parts


def test_an_inode_without_attributes_has_no_area() -> None:
    assert pack_area([]) == b""


@given(st.lists(st.builds(LongPrefix, bits(8), st.binary(max_size=255)), max_size=20))
def test_the_table_of_prefixes_reads_back(prefixes: list[LongPrefix]) -> None:
    packed = pack_prefixes(prefixes)
    assert unpack_prefixes(packed, 0, len(prefixes))[0] == prefixes


# -- chunks and devices --------------------------------------------------------------------------------


@given(
    st.integers(0, 31), st.booleans(), st.lists(st.tuples(bits(16), st.one_of(st.just(HOLE), bits(32))), max_size=50)
)
def test_chunk_maps_read_back(chunk_bits: int, wide: bool, chunks: list[tuple[int, int]]) -> None:
    indexes = ChunkFormat(chunk_bits, True, wide)
    assert ChunkFormat.unpack(indexes.pack()) == indexes
    chunks = [(device, HOLE if block == 0xFFFF_FFFF else block) for device, block in chunks]
    assert unpack_chunks(pack_chunks(indexes, chunks), indexes) == chunks
    plain = ChunkFormat(chunk_bits)
    assert unpack_chunks(pack_chunks(plain, chunks), plain) == [(0, block) for _, block in chunks]


@given(st.binary(min_size=64, max_size=64), bits(48), bits(48))
def test_device_slots_read_back(tag: bytes, blocks: int, start: int) -> None:
    slot = DeviceSlot(tag, blocks, start)
    assert DeviceSlot.unpack(slot.pack(), 0) == (slot, 128)
