"""Every malformed image is refused with a typed error where a reader meets the fault: the checklist, line by line.

Each case builds the smallest image that shows one fault. Whatever it does, the reader may only raise an `ImageError`
of the kind given, whose message names the fault.
"""

from __future__ import annotations

import functools
import struct
import zlib
from collections.abc import Callable
from stat import S_IFDIR, S_IFLNK, S_IFREG
from typing import Any

import lz4.block
import pytest

from mkfs_erofs_py.check.inode import check
from mkfs_erofs_py.errors import CorruptError, ImageError, OutOfBoundsError, UnsupportedError
from mkfs_erofs_py.ondisk.chunk import HOLE, ChunkFormat, pack_chunks
from mkfs_erofs_py.ondisk.constants import Algorithm, Compat, Incompat, Layout
from mkfs_erofs_py.ondisk.device import DeviceSlot
from mkfs_erofs_py.ondisk.dirent import Dirent, pack_directory
from mkfs_erofs_py.ondisk.extent import ExtentRecord, pack_extents
from mkfs_erofs_py.ondisk.lcluster import Advise, MapHeader
from mkfs_erofs_py.ondisk.superblock import AlgorithmRecord
from mkfs_erofs_py.ondisk.xattr import XattrEntry, filter_word, pack_area
from mkfs_erofs_py.read import Image
from mkfs_erofs_py.write import BuildOptions
from mkfs_erofs_py.write.override import Value
from tests.support.feeding import given
from tests.support.handmade import Handmade
from tests.support.planned import Planned, planned

FILE, LINK, FOLDER = S_IFREG | 0o644, S_IFLNK | 0o777, S_IFDIR | 0o755
PLAIN, HEAD1, NONHEAD, HEAD2 = range(4)
LZ4 = AlgorithmRecord(algorithm=Algorithm.LZ4, max_distance=65535, max_pcluster=16)
TEXT = b"".join(b"line %d of a text that compresses well\n" % i for i in range(900))
STREAM = lz4.block.compress(TEXT[:8192], store_size=False)
BLOCK = STREAM.rjust(4096, b"\0")
#: The superblock's fields start here; the tests patch them where they lie.
SB = 1024

Rejected = tuple[type[ImageError], str]


def use(data: bytes, **options: Any) -> None:
    """Do everything that a reader can do with an image; raise the first error."""
    with Image.open(memoryview(data), **options) as image:
        assert image.prefixes is not None
        for path, inode in image.walk():
            findings = check(image, path, inode).findings
            image.xattrs(inode)
            if inode.is_symlink:
                image.readlink(inode)
            for _ in image.pieces(inode):
                pass
            assert not [one for one in findings if one.kind == "corrupt"]


def rejected(data: bytes, kind: type[ImageError], words: str, **options: Any) -> None:
    """Check that using ``data`` raises ``kind`` with a message that holds ``words`` and names an offset."""
    with pytest.raises(kind) as caught:
        use(data, **options)
    assert words in caught.value.what
    assert caught.value.offset is not None


def good(**fields: Any) -> bytearray:
    made = Handmade()
    return bytearray(made.finish({b"file": made.file(b"hello")}, **fields))


@functools.cache
def built(compressor: str | None = None) -> Planned:
    """Return an image that is sound but for what a test overrides."""
    return planned(given({"file": TEXT}), BuildOptions(compressor=compressor, pcluster=65536, workers=1))


# -- superblock ------------------------------------------------------------------------------------

SUPERBLOCK: dict[str, tuple[str, Value, type[ImageError], str]] = {
    "magic": ("sb.magic", 0xE0F5E1E3, CorruptError, "not an EROFS image"),
    "checksum": ("sb.checksum", 1, CorruptError, "checksum"),
    "block size 256": ("sb.block_bits", 8, UnsupportedError, "block size"),
    "block size 128 KiB": ("sb.block_bits", 17, UnsupportedError, "block size"),
    "directory blocks": ("sb.dirblkbits", 1, UnsupportedError, "directory block bits"),
    "incompatible feature": ("sb.incompat", "+0x200", UnsupportedError, "unknown incompatible features"),
    "extension slots": ("sb.ext_slots", 255, CorruptError, "extension slots"),
    "root beyond the end": ("sb.root_nid", 0xFFFF, OutOfBoundsError, "past the image's end"),
    "metadata beyond the end": ("sb.meta_blkaddr", 0xFFFFFFFF, OutOfBoundsError, "past the image's end"),
}


@pytest.mark.parametrize("name", SUPERBLOCK)
def test_superblock_field(name: str) -> None:
    address, value, kind, words = SUPERBLOCK[name]
    rejected(built().with_value(address, value), kind, words)


def test_an_image_cut_off_inside_its_superblock() -> None:
    for length in (0, 1023, 1024, 1024 + 127, 2000):
        with pytest.raises(ImageError):
            use(bytes(good()[:length]))


RECORDS: dict[str, tuple[AlgorithmRecord, Rejected]] = {
    "LZ4 clusters over 1 MiB": (
        AlgorithmRecord(algorithm=Algorithm.LZ4, max_pcluster=257),
        (CorruptError, "exceed 1 MiB"),
    ),
    "LZMA dictionary of 0": (AlgorithmRecord(algorithm=Algorithm.LZMA), (CorruptError, "LZMA dictionary")),
    "LZMA dictionary over 8 MiB": (
        AlgorithmRecord(algorithm=Algorithm.LZMA, dict_size=(8 << 20) + 1),
        (CorruptError, "LZMA dictionary"),
    ),
    "DEFLATE window": (AlgorithmRecord(algorithm=Algorithm.DEFLATE, window_bits=16), (CorruptError, "DEFLATE window")),
    "Zstandard window": (AlgorithmRecord(algorithm=Algorithm.ZSTD, window_bits=21), (CorruptError, "ZSTD window")),
}


@pytest.mark.parametrize("name", RECORDS)
def test_algorithm_record_out_of_range(name: str) -> None:
    record, (kind, words) = RECORDS[name]
    rejected(bytes(good(records=[record])), kind, words)


@pytest.mark.parametrize("length", [0, 13])
def test_algorithm_record_too_short(length: int) -> None:
    rejected(built("lz4").with_value("alg[lz4].len", length), CorruptError, "too short")


def test_algorithm_unknown() -> None:
    rejected(built("lz4").with_value("sb.algorithms", 0x11), UnsupportedError, "unknown compression algorithms")


@pytest.mark.parametrize("length", [0, 257])
def test_prefix_length(length: int) -> None:
    rejected(built().with_value("prefix[0].len", length), CorruptError, "xattr prefix 0 has length")


def test_prefix_table_past_the_end() -> None:
    rejected(built().with_value("sb.prefix_table", 1 << 31), OutOfBoundsError, "")


def test_image_share_prefix_that_is_not_there() -> None:
    fields = {"compat": Compat.SB_CHKSUM | Compat.ISHARE_XATTRS, "ishare_prefix": 0}
    rejected(bytes(good(**fields)), CorruptError, "image-share prefix 0 of 0")


NIDS: dict[str, tuple[dict[str, Any], Rejected]] = {
    "packed inode in the metabox": (
        {"incompat": Incompat.FRAGMENTS, "packed_nid": 1 << 63},
        (CorruptError, "packed inode claims"),
    ),
    "metabox in itself": (
        {"incompat": Incompat.METABOX, "ext_slots": 1, "metabox_nid": 1 << 63},
        (CorruptError, "metabox claims"),
    ),
    "metabox without the extension that names it": ({"incompat": Incompat.METABOX}, (CorruptError, "extension")),
    "packed inode past the end": (
        {"incompat": Incompat.FRAGMENTS, "packed_nid": 1 << 40},
        (OutOfBoundsError, "past the image's end"),
    ),
    "root in a metabox that is not there": (
        {"incompat": Incompat.BIT48, "root": 1 << 63},
        (CorruptError, "metabox that the image does not have"),
    ),
}


@pytest.mark.parametrize("name", NIDS)
def test_special_inode(name: str) -> None:
    fields, (kind, words) = NIDS[name]
    rejected(bytes(good(**fields)), kind, words)


def test_packed_inode_that_is_no_file() -> None:
    made = Handmade()
    folder = made.directory({})
    data = made.finish({}, root=folder, incompat=Incompat.FRAGMENTS, packed_nid=folder)
    rejected(data, CorruptError, "packed inode 1 is not a regular file")


def test_root_that_is_no_directory() -> None:
    made = Handmade()
    rejected(made.finish({}, root=made.file(b"x")), CorruptError, "is not a directory")


def test_device_table_past_the_end() -> None:
    fields: dict[str, Any] = {"incompat": Incompat.DEVICE_TABLE, "devices": 9, "device_table": 0xFFFF}
    rejected(bytes(good(**fields)), OutOfBoundsError, "table of 9 devices")


def test_block_and_inode_counts_are_not_trusted() -> None:
    use(bytes(good(blocks=0xFFFFFFFF, inodes=1 << 62)))
    use(bytes(good(blocks=0, inodes=0)))


# -- inodes ----------------------------------------------------------------------------------------

INODES: dict[str, tuple[dict[str, Any], Rejected]] = {
    "layout 5": ({"layout": 5}, (UnsupportedError, "unknown format")),
    "layout 7": ({"layout": 7}, (UnsupportedError, "unknown format")),
    "no type": ({"mode": 0o644}, (CorruptError, "impossible mode")),
    "type 0o030000": ({"mode": 0o030644}, (CorruptError, "impossible mode")),
    "negative size": ({"extended": True, "size": 1 << 63}, (CorruptError, "negative size")),
    "chunk format": ({"layout": Layout.CHUNK_BASED, "u": 0x80, "size": 1}, (UnsupportedError, "unknown chunk format")),
    "data past the end": ({"size": 10, "u": 1 << 30}, (OutOfBoundsError, "past the end of the image")),
    "size past the end": ({"size": 0xFFFFFFFF, "u": 1}, (OutOfBoundsError, "past the end of the image")),
    "huge size past the end": ({"extended": True, "size": (1 << 63) - 1, "u": 1}, (OutOfBoundsError, "past the end")),
    "inline data across blocks": (
        {"layout": Layout.FLAT_INLINE, "size": 4096},
        (CorruptError, "crosses a block"),
    ),
    "xattrs past the end": ({"xattr_icount": 0xFFFF, "size": 0}, (OutOfBoundsError, "past the image's end")),
    "xattrs of a bare header": ({"xattr_icount": 1, "size": 0}, (CorruptError, "too short")),
    "compressed index past the end": (
        {"layout": Layout.COMPRESSED_FULL, "size": 0xFFFFFFFF},
        (OutOfBoundsError, "reaches past the end"),
    ),
    "chunk map past the end": (
        {"layout": Layout.CHUNK_BASED, "size": 0xFFFFFFFF},
        (OutOfBoundsError, "reaches past the end"),
    ),
}


@pytest.mark.parametrize("name", INODES)
def test_inode(name: str) -> None:
    fields, (kind, words) = INODES[name]
    made = Handmade()
    fields = {"mode": FILE, "layout": Layout.FLAT_PLAIN, "size": 0} | fields
    file = made.inode(fields.pop("mode"), fields.pop("layout"), **fields)
    made.modes[file] = FILE
    # The last inode of the image, so that what follows it is outside.
    root = made.directory({b"file": file})
    data = bytearray(made.finish({}, root=root, incompat=Incompat.LZ4_0PADDING))
    rejected(bytes(data), kind, words)


def test_inode_format_bits() -> None:
    rejected(built().with_value("inode:/file.format", 0x20), UnsupportedError, "unknown format")


def test_inode_past_the_end() -> None:
    rejected(built().with_value("dirent:/file.nid", 1 << 50), OutOfBoundsError, "past the image's end")


def test_compressed_inode_in_a_plain_image() -> None:
    made = Handmade()
    file = made.inode(FILE, Layout.COMPRESSED_FULL, size=5, body=bytes(24), align=8)
    rejected(made.finish({b"file": file}, incompat=Incompat.CHUNKED_FILE), CorruptError, "without compression")


@pytest.mark.parametrize(
    ("size", "body", "words"), [(0, b"", "has 0 bytes"), (3, b"a\0b", "holds a NUL"), (1 << 20, b"", "bytes")]
)
def test_symlink(size: int, body: bytes, words: str) -> None:
    made = Handmade()
    layout = Layout.FLAT_INLINE if body else Layout.FLAT_PLAIN
    link = made.inode(LINK, layout, size=size, body=body, u=0xFFFFFFFF if size > 100 else 0)
    rejected(made.finish({b"link": link}), CorruptError, words)


# -- extended attributes ---------------------------------------------------------------------------

ENTRY = XattrEntry(1, b"name", b"value").pack()
XATTRS: dict[str, tuple[bytes, Rejected]] = {
    "more shared ids than room": (
        struct.pack("<IB7x", 0, 200) + bytes(8),
        (CorruptError, "cannot hold 200 shared entries"),
    ),
    "entry past its area": (pack_area([ENTRY])[:-4], (CorruptError, "does not fit")),
    "name past its area": (pack_area([struct.pack("<BBH", 255, 1, 0)]), (CorruptError, "does not fit")),
    "value past its area": (pack_area([struct.pack("<BBH", 0, 1, 0xFFFF)]), (CorruptError, "does not fit")),
    "long prefix that is not there": (
        pack_area([XattrEntry(0x85, b"x", b"").pack()]),
        (CorruptError, "long prefix 5 of 0"),
    ),
    "NUL in a name": (pack_area([XattrEntry(1, b"a\0b", b"").pack()]), (CorruptError, "holds a NUL")),
    "shared id past the end": (pack_area([], shared=[0xFFFFFFFF]), (OutOfBoundsError, "past the image's end")),
    "shared entry across the end": (pack_area([], shared=[5 * 1024 - 1]), (OutOfBoundsError, "past the image's end")),
}


@pytest.mark.parametrize("name", XATTRS)
def test_xattrs(name: str) -> None:
    area, (kind, words) = XATTRS[name]
    made = Handmade()
    file = made.inode(FILE, Layout.FLAT_PLAIN, size=0, xattrs=area)
    data = bytearray(made.finish({b"file": file}))
    data[-4:] = struct.pack("<BBH", 200, 1, 0xFFFF)
    with pytest.raises(kind) as caught:
        use(bytes(data))
    assert words in caught.value.what


def test_a_name_filter_that_denies_what_is_there() -> None:
    entry = XattrEntry(1, b"name", b"value")
    for word, denied in ((filter_word([entry]), []), (0, []), (0xFFFFFFFF, [b"user.name"])):
        made = Handmade()
        area = pack_area([entry.pack()], filter_bits=word)
        file = made.inode(FILE, Layout.FLAT_PLAIN, size=0, xattrs=area)
        data = made.finish({b"file": file}, compat=Compat.SB_CHKSUM | Compat.XATTR_FILTER)
        with Image.open(memoryview(data)) as image:
            inode = image.lookup("file")
            assert image.attributes(inode).denied == denied
            findings = check(image, b"/file", inode).findings
            assert ["name filter denies" in one.what for one in findings] == [True] * len(denied)


# -- directories -----------------------------------------------------------------------------------


def listing(*entries: tuple[int, int, int], names: bytes) -> bytes:
    """Return a directory block of (nid, name offset, type) entries and what follows them."""
    return b"".join(struct.pack("<QHBB", *entry, 0) for entry in entries) + names


ME = 1
DIRECTORIES: dict[str, tuple[bytes, str]] = {
    "first name at 0": (listing((ME, 0, 2), (ME, 25, 2), names=b"..."), "first name offset 0"),
    "first name past the block": (listing((ME, 0xFFFC, 2), names=b"."), "first name offset"),
    "first name not a multiple of 12": (listing((ME, 13, 2), names=b".."), "first name offset 13"),
    "names not in order": (listing((ME, 24, 2), (ME, 20, 2), names=b"..."), "name offset"),
    "name past the data": (listing((ME, 24, 2), (ME, 90, 2), names=b"..."), "name offset"),
    "name of no bytes": (listing((ME, 24, 2), (ME, 24, 2), names=b"..."), "length 0"),
    "name of 256 bytes": (listing((ME, 12, 2), names=b"x" * 256), "length 256"),
    "slash": (listing((ME, 36, 2), (ME, 37, 2), (ME, 39, 2), names=b"...a/b"), "slash"),
    "NUL": (listing((ME, 36, 2), (ME, 39, 2), (ME, 40, 2), names=b"a\0b..."), "slash or NUL"),
    "duplicate names": (listing((ME, 36, 2), (ME, 37, 2), (ME, 39, 2), names=b"....."), "behind"),
    "names that do not ascend": (listing((ME, 24, 2), (ME, 26, 2), names=b"..."), "behind"),
    "type 8": (listing((ME, 36, 2), (ME, 37, 2), (ME, 39, 8), names=b"...x"), "unknown type 8"),
    "no .": (listing((ME, 12, 2), names=b".."), "lacks '.'"),
    "no ..": (listing((ME, 12, 2), names=b"."), "lacks '..'"),
    ". that leads elsewhere": (listing((9, 24, 2), (ME, 25, 2), names=b"..."), "has '.' lead to inode 9"),
    ".. that leads elsewhere": (listing((ME, 24, 2), (9, 25, 2), names=b"..."), "has '..' lead to 9"),
    "cycle": (listing((ME, 36, 2), (ME, 37, 2), (ME, 39, 2), names=b"...x"), "reached a second time"),
    "a block of one byte": (b"x", "too short"),
    "zeros": (bytes(100), "first name offset 0"),
}


@pytest.mark.parametrize("name", DIRECTORIES)
def test_directory(name: str) -> None:
    body, words = DIRECTORIES[name]
    made = Handmade()
    root = made.inode(FOLDER, Layout.FLAT_INLINE, size=len(body), body=body, nb=2)
    assert root == ME
    rejected(made.finish({}, root=root), CorruptError, words)


def test_directory_reached_from_two_parents() -> None:
    made = Handmade()
    # Both claim the same child, whose .. can be right for one of them only; and its own parent names it twice.
    child = made.directory({}, parent=made.next_nid() + 3)
    rejected(made.finish({b"a": child, b"b": child}), CorruptError, "")


def test_entry_of_another_type_than_its_inode() -> None:
    rejected(built().with_value("dirent:/file.type", 2), CorruptError, "gives b'file' the type 2")


def test_names_that_ascend_in_blocks_but_not_across_them() -> None:
    made = Handmade(block_bits=9)
    nid = made.next_nid()
    first = pack_directory([Dirent(b".", nid, 2), Dirent(b"..", nid, 2), Dirent(b"x" * 200, nid, 1)], 512).ljust(
        512, b"\0"
    )
    second = pack_directory([Dirent(b"a", nid, 1)], 512)
    root = made.inode(FOLDER, Layout.FLAT_PLAIN, size=512 + len(second), u=made.block(first + second), nb=2)
    data = made.finish({}, root=root)
    with Image.open(memoryview(data)) as image, pytest.raises(CorruptError, match="behind"):
        list(image.readdir("/"))


def test_deep_directories_need_no_recursion() -> None:
    made = Handmade()
    # 3000 levels, each in the metadata of a larger image.
    blocks = bytearray()
    levels, first = 3000, AT << 12 >> 5
    for level in range(levels):
        nid, parent = level * 4 + first, max(level * 4 - 4, 0) + first
        names = [Dirent(b".", nid, 2), Dirent(b"..", parent, 2)]
        if level < levels - 1:
            names.append(Dirent(b"d", nid + 4, 2))
        body = pack_directory(names, 4096)
        inode = struct.pack("<HHHHIIIIHHI", Layout.FLAT_INLINE << 1, 0, FOLDER, 2, len(body), 0, 0, 0, 0, 0, 0)
        blocks += (inode + body).ljust(128, b"\0")
    assert made.block(bytes(blocks)) == AT
    data = made.finish({}, root=first, meta_blkaddr=0)
    with Image.open(memoryview(data)) as image:
        assert sum(1 for _ in image.walk()) == levels


# -- chunks and devices ----------------------------------------------------------------------------

CHUNKS: dict[str, tuple[ChunkFormat, int, tuple[int, int], dict[str, Any], Rejected]] = {
    "device of an image without": (ChunkFormat(0, True), 100, (1, 5), {}, (OutOfBoundsError, "")),
    "block past the end": (ChunkFormat(0), 100, (0, 1 << 30), {}, (OutOfBoundsError, "past the end")),
    "48-bit block past the end": (
        ChunkFormat(0, True, True),
        100,
        (0, 1 << 47),
        {},
        (OutOfBoundsError, "past the end"),
    ),
    "chunk across the end": (ChunkFormat(3), 30_000, (0, 4), {}, (OutOfBoundsError, "past the end")),
}


@pytest.mark.parametrize("name", CHUNKS)
def test_chunk(name: str) -> None:
    form, size, entry, fields, (kind, words) = CHUNKS[name]
    made = Handmade()
    body = pack_chunks(form, [entry])
    file = made.inode(FILE, Layout.CHUNK_BASED, size=size, u=form.pack(), body=body, align=8)
    data = made.finish({b"file": file}, incompat=Incompat.CHUNKED_FILE, **fields)
    if name.startswith("device"):
        # Device ids are masked by the number of devices: of an image without any, all bits go.
        with Image.open(memoryview(data)) as image:
            assert all(extent.device == 0 for extent in image.spans("file"))
        return
    rejected(data, kind, words)


def test_chunk_on_a_device_beyond_the_last() -> None:
    made = Handmade()
    table = made.block(DeviceSlot(b"1", 1, 0).pack() + DeviceSlot(b"2", 1, 0).pack())
    form = ChunkFormat(0, True)
    body = pack_chunks(form, [(3, 0)])
    file = made.inode(FILE, Layout.CHUNK_BASED, size=10, u=form.pack(), body=body, align=8)
    fields: dict[str, Any] = {"devices": 2, "device_table": table << 5}
    fields["incompat"] = Incompat.CHUNKED_FILE | Incompat.DEVICE_TABLE
    rejected(made.finish({b"file": file}, **fields), CorruptError, "data on device 3, the image has 2")


def test_chunks_of_the_largest_size_are_no_trap() -> None:
    made = Handmade()
    form = ChunkFormat(31)
    body = pack_chunks(form, [(0, HOLE)])
    file = made.inode(FILE, Layout.CHUNK_BASED, size=1 << 42, extended=True, nb=0, u=form.pack(), body=body, align=8)
    with Image.open(memoryview(made.finish({b"file": file}, incompat=Incompat.CHUNKED_FILE))) as image:
        assert image.pread("file", 10, (1 << 42) - 5) == bytes(5)
        assert list(image.pieces("file")) == []


def test_a_device_that_ends_early() -> None:
    made = Handmade()
    table = made.block(DeviceSlot(b"1", 4, 100).pack())
    form = ChunkFormat(0, True)
    body = pack_chunks(form, [(1, 1)])
    file = made.inode(FILE, Layout.CHUNK_BASED, size=10, u=form.pack(), body=body, align=8)
    fields: dict[str, Any] = {"devices": 1, "device_table": table << 5}
    fields["incompat"] = Incompat.CHUNKED_FILE | Incompat.DEVICE_TABLE
    data = made.finish({b"file": file}, **fields)
    rejected(data, OutOfBoundsError, "past the end of device 1", devices=[memoryview(bytes(4096))])


# -- compressed files ------------------------------------------------------------------------------


def nonhead(d0: int, d1: int = 1) -> tuple[int, int, int]:
    return NONHEAD, 0, d0 | d1 << 16


AT = 5  # the first data block of a handmade image

COMPRESSED: dict[str, tuple[MapHeader, int, list[tuple[int, int, int]], Rejected]] = {
    "head past its cluster": (MapHeader(), 8192, [(HEAD1, 0, AT), (HEAD1, 4096, AT)], (CorruptError, "begins at 4096")),
    "no head at the start": (MapHeader(), 8192, [nonhead(1), (HEAD1, 0, AT)], (CorruptError, "to no head")),
    "first head not at 0": (MapHeader(), 8192, [(HEAD1, 5, AT), nonhead(1)], (CorruptError, "to no head")),
    "distance of 0": (MapHeader(), 8192, [(HEAD1, 0, AT), nonhead(0)], (CorruptError, "leads back by 0")),
    "distance past the start": (MapHeader(), 8192, [(HEAD1, 0, AT), nonhead(2)], (CorruptError, "leads back by 2")),
    "distance past the head": (
        MapHeader(),
        16384,
        [(HEAD1, 0, AT), nonhead(1), (HEAD1, 0, AT), nonhead(2)],
        (CorruptError, "leads back by 2"),
    ),
    "next head past the end": (MapHeader(), 8192, [(HEAD1, 0, AT), nonhead(1, 9)], (CorruptError, "leads on by 9")),
    "block count without the flag": (
        MapHeader(),
        8192,
        [(HEAD1, 0, AT), nonhead(0x801)],
        (CorruptError, "block count out of place"),
    ),
    "block count of 0": (
        MapHeader(advise=Advise.BIG_PCLUSTER_1),
        8192,
        [(HEAD1, 0, AT), nonhead(0x800)],
        (CorruptError, "block count out of place"),
    ),
    "block count not behind a head": (
        MapHeader(advise=Advise.BIG_PCLUSTER_1),
        12288,
        [(HEAD1, 0, AT), nonhead(0x801, 2), nonhead(0x801)],
        (CorruptError, "block count out of place"),
    ),
    "no block count": (
        MapHeader(advise=Advise.BIG_PCLUSTER_1),
        8192,
        [(HEAD1, 0, AT), nonhead(1)],
        (CorruptError, "should hold a block count"),
    ),
    "cluster over 1 MiB": (
        MapHeader(advise=Advise.BIG_PCLUSTER_1),
        8192,
        [(HEAD1, 0, AT), nonhead(0x800 | 257)],
        (UnsupportedError, "exceeds 1 MiB"),
    ),
    "algorithm 4": (
        MapHeader(algorithms=4),
        8192,
        [(HEAD1, 0, AT), nonhead(1)],
        (UnsupportedError, "unknown algorithms"),
    ),
    "second algorithm 4, unused": (
        MapHeader(algorithms=0x40),
        8192,
        [(HEAD1, 0, AT), nonhead(1)],
        (UnsupportedError, "unknown algorithms"),
    ),
    "algorithm that is not announced": (
        MapHeader(algorithms=3),
        8192,
        [(HEAD1, 0, AT), nonhead(1)],
        (CorruptError, "algorithm 3, which the superblock does not announce"),
    ),
    "plain cluster shorter than its extent": (
        MapHeader(),
        8192,
        [(PLAIN, 0, AT), nonhead(1)],
        (CorruptError, "stores 4096 of 8192 bytes"),
    ),
    "cluster past the end": (MapHeader(), 8192, [(HEAD1, 0, 1 << 31), nonhead(1)], (OutOfBoundsError, "past the end")),
    "cluster of zeros": (MapHeader(), 8192, [(HEAD1, 0, AT + 1), nonhead(1)], (CorruptError, "no stream")),
    "stream too short for its extent": (
        MapHeader(),
        12288,
        [(HEAD1, 0, AT), nonhead(1, 2), nonhead(2)],
        (CorruptError, ""),
    ),
    "stream longer than its extent": (MapHeader(), 8191, [(HEAD1, 0, AT), nonhead(1)], (CorruptError, "")),
    "junk behind the stream": (MapHeader(), 8192, [(HEAD1, 0, AT + 2), nonhead(1)], (CorruptError, "")),
    "a whole block of zeros in front": (
        MapHeader(advise=Advise.BIG_PCLUSTER_1),
        8192,
        [(HEAD1, 0, AT + 3), nonhead(0x802)],
        (CorruptError, "no stream in its first block"),
    ),
    "inline tail of 0": (
        MapHeader(advise=Advise.INLINE_PCLUSTER),
        8192,
        [(HEAD1, 0, AT), nonhead(1)],
        (CorruptError, "inline tail of 0"),
    ),
    "inline tail over a block": (
        MapHeader(advise=Advise.INLINE_PCLUSTER, union=4097 << 16),
        8192,
        [(HEAD1, 0, AT), nonhead(1)],
        (CorruptError, "inline tail of 4097"),
    ),
    "inline tail across blocks": (
        MapHeader(advise=Advise.INLINE_PCLUSTER, union=4096 << 16),
        8192,
        [(HEAD1, 0, AT), nonhead(1)],
        (CorruptError, "crosses a block"),
    ),
    "fragment without a packed inode": (
        MapHeader(advise=Advise.FRAGMENT),
        8192,
        [(HEAD1, 0, AT), nonhead(1)],
        (CorruptError, "packed inode that the image does not have"),
    ),
    "interlaced cluster of two blocks": (
        MapHeader(advise=Advise.INTERLACED | Advise.BIG_PCLUSTER_2),
        8192,
        [(PLAIN, 0, AT), nonhead(0x802)],
        (CorruptError, "interlaced cluster of 8192"),
    ),
}


def cluster_image(made: Handmade, header: MapHeader, size: int, records: list[tuple[int, int, int]]) -> bytes:
    made.block(BLOCK)
    made.block(bytes(4096))
    made.block((STREAM + b"junk").rjust(4096, b"\0"))
    made.block(bytes(4096) + BLOCK)
    body = header.pack() + bytes(8) + b"".join(struct.pack("<HHI", *record) for record in records)
    file = made.inode(FILE, Layout.COMPRESSED_FULL, size=size, body=body, align=8)
    return made.finish({b"file": file}, records=[LZ4], incompat=Incompat.LZ4_0PADDING)


@pytest.mark.parametrize("name", COMPRESSED)
def test_compressed(name: str) -> None:
    header, size, records, (kind, words) = COMPRESSED[name]
    rejected(cluster_image(Handmade(), header, size, records), kind, words)


def test_a_read_in_the_middle_is_not_led_back_over_a_head() -> None:
    """From the front the last record is at fault; a read that begins there must not end in another extent."""
    records = [(HEAD1, 0, AT), (HEAD1, 0, AT), nonhead(2)]
    with Image.open(memoryview(cluster_image(Handmade(), MapHeader(), 12288, records))) as image:
        reads: list[Callable[[int], object]] = [
            lambda at: image.pread("file", 10, at),
            lambda at: image.preadinto("file", memoryview(bytearray(10)), at),
            lambda at: list(image.spans("file", at)),
        ]
        for read in reads:
            with pytest.raises(CorruptError, match="leads back over"):
                read(8200)


def test_the_same_index_made_right_is_read() -> None:
    use(cluster_image(Handmade(), MapHeader(), 8192, [(HEAD1, 0, AT), nonhead(1)]))


def test_an_index_of_old_tools_without_next_distances_is_read_in_bounded_time() -> None:
    use(cluster_image(Handmade(), MapHeader(), 8192, [(HEAD1, 0, AT), nonhead(1, 0)]))


def test_big_clusters_that_the_superblock_does_not_announce() -> None:
    made = Handmade()
    body = MapHeader(advise=Advise.BIG_PCLUSTER_1).pack() + bytes(8) + struct.pack("<HHI", HEAD1, 0, AT)
    file = made.inode(FILE, Layout.COMPRESSED_FULL, size=100, body=body, align=8)
    made.block(BLOCK)
    rejected(made.finish({b"file": file}, incompat=Incompat.LZ4_0PADDING), CorruptError, "does not announce")


COMPACT: dict[str, tuple[MapHeader, Rejected]] = {
    "clusters of 32 KiB": (MapHeader(cluster_bits=3), (UnsupportedError, "2**15-byte clusters")),
    "2-byte packs of 8 KiB clusters": (
        MapHeader(advise=Advise.COMPACTED_2B, cluster_bits=1),
        (UnsupportedError, "2-byte indexes"),
    ),
    "big clusters of one kind": (MapHeader(advise=Advise.BIG_PCLUSTER_1), (CorruptError, "one kind of head only")),
}


@pytest.mark.parametrize("name", COMPACT)
def test_compact_index(name: str) -> None:
    header, (kind, words) = COMPACT[name]
    made = Handmade()
    made.block(BLOCK)
    file = made.inode(FILE, Layout.COMPRESSED_COMPACT, size=8192, body=header.pack() + bytes(64), align=8)
    rejected(made.finish({b"file": file}, records=[LZ4], incompat=Incompat.LZ4_0PADDING), kind, words)


def test_an_extent_of_over_12_mib() -> None:
    made = Handmade(block_bits=16)
    made.block(BLOCK)
    count = 300
    records = [(HEAD1, 0, AT), *(nonhead(d0, min(count - d0, 2047)) for d0 in range(1, count))]
    body = MapHeader().pack() + bytes(8) + b"".join(struct.pack("<HHI", *record) for record in records)
    file = made.inode(FILE, Layout.COMPRESSED_FULL, size=count << 16, body=body, align=8)
    data = made.finish({b"file": file}, incompat=Incompat.LZ4_0PADDING)
    rejected(data, ImageError, "12 MiB")
    with Image.open(memoryview(data)) as image, pytest.raises(ImageError, match="12 MiB"):
        image.pread("file", 1, (count << 16) - 1)


EXTENTS: dict[str, tuple[list[ExtentRecord], int, Rejected]] = {
    "not sorted": (
        [ExtentRecord(0, AT << 12, 4096, 0), ExtentRecord(0, AT << 12, 4096, 0)],
        8192,
        (CorruptError, "out of order"),
    ),
    "past the end of the file": (
        [ExtentRecord(0, AT << 12, 4096, 0), ExtentRecord(9000, AT << 12, 4096, 0)],
        8192,
        (CorruptError, "past the end"),
    ),
    "algorithm 4": ([ExtentRecord(0, AT << 12, 4096, 4)], 8192, (UnsupportedError, "unknown algorithm 4")),
    "algorithm not announced": ([ExtentRecord(0, AT << 12, 4096, 2)], 8192, (CorruptError, "does not announce")),
    "over 1 MiB": ([ExtentRecord(0, AT << 12, (1 << 20) + 1, 0)], 8192, (UnsupportedError, "exceeds 1 MiB")),
    "over 12 MiB": ([ExtentRecord(0, AT << 12, 4096, 0)], (12 << 20) + 1, (UnsupportedError, "exceeds 12 MiB")),
    "plain and short": ([ExtentRecord(0, AT << 12, 100)], 8192, (CorruptError, "stores 100 of 8192")),
    "address past the end": ([ExtentRecord(0, 1 << 47, 4096, 0)], 8192, (OutOfBoundsError, "past the end")),
    "address plus length past 2**64": (
        [ExtentRecord(0, (1 << 64) - 1, 4096, 0)],
        8192,
        (OutOfBoundsError, "past the end"),
    ),
}


@pytest.mark.parametrize("name", EXTENTS)
def test_encoded_extents(name: str) -> None:
    extents, size, (kind, words) = EXTENTS[name]
    rejected(extent_image(extents, size, len(extents)), kind, words)


def extent_image(extents: list[ExtentRecord], size: int, count: int) -> bytes:
    made = Handmade()
    made.block(BLOCK)
    advise = Advise.EXTENTS | 2 << Advise.EXTENT_SIZE_SHIFT
    high = count >> 32
    header = MapHeader(advise, high & 0xFF, high >> 8, count & 0xFFFFFFFF)
    body = header.pack()
    body += bytes(-(made.meta_start + 32 * made.next_nid() + 32 + len(body)) % 16) + pack_extents(extents, 16)
    file = made.inode(FILE, Layout.COMPRESSED_FULL, size=size, body=body, align=8)
    return made.finish({b"file": file}, records=[LZ4], incompat=Incompat.LZ4_0PADDING | Incompat.BIT48)


@pytest.mark.parametrize("count", [1000, 1 << 32, (1 << 48) - 1])
def test_more_extents_than_the_image_holds(count: int) -> None:
    rejected(extent_image([ExtentRecord(0, AT << 12, 4096, 0)], 8192, count), ImageError, "")


STREAMS: dict[int, bytes] = {
    Algorithm.LZ4: b"\xff" * 200,
    Algorithm.LZMA: b"\xff" * 200,
    Algorithm.DEFLATE: zlib.compressobj(9, zlib.DEFLATED, -15).compress(b"x") + b"\xff" * 50,
    Algorithm.ZSTD: b"\x28\xb5\x2f\xfd" + b"\xff" * 200,
}


@pytest.mark.parametrize("algorithm", STREAMS)
def test_a_stream_that_is_none(algorithm: int) -> None:
    made = Handmade()
    made.block(STREAMS[algorithm].rjust(4096, b"\0"))
    body = MapHeader(algorithms=algorithm).pack() + bytes(8)
    body += struct.pack("<HHI", HEAD1, 0, AT) + struct.pack("<HHHH", NONHEAD, 0, 1, 1)
    file = made.inode(FILE, Layout.COMPRESSED_FULL, size=8192, body=body, align=8)
    records = [
        AlgorithmRecord(algorithm=Algorithm.LZ4, max_pcluster=1),
        AlgorithmRecord(algorithm=Algorithm.LZMA, dict_size=65536),
        AlgorithmRecord(algorithm=Algorithm.DEFLATE, window_bits=15),
        AlgorithmRecord(algorithm=Algorithm.ZSTD, window_bits=16),
    ]
    rejected(made.finish({b"file": file}, records=records, incompat=Incompat.LZ4_0PADDING), CorruptError, "")


# -- fragments -------------------------------------------------------------------------------------


def whole_fragment(made: Handmade, size: int, offset: int) -> int:
    body = struct.pack("<Q", 1 << 63 | offset) + bytes(8)
    return made.inode(FILE, Layout.COMPRESSED_FULL, size=size, extended=True, nb=0, body=body, align=8)


@pytest.mark.parametrize(("size", "offset"), [(101, 0), (1, 100), (50, 51), (1, (1 << 63) - 1), ((1 << 62), 1 << 62)])
def test_fragment_past_the_packed_inode(size: int, offset: int) -> None:
    made = Handmade()
    packed = made.inode(FILE, Layout.FLAT_INLINE, size=100, body=bytes(100))
    file = whole_fragment(made, size, offset)
    fields: dict[str, Any] = {"incompat": Incompat.LZ4_0PADDING | Incompat.FRAGMENTS, "packed_nid": packed}
    rejected(made.finish({b"file": file}, **fields), OutOfBoundsError, "packed inode")


def test_packed_inode_with_a_fragment_of_itself() -> None:
    made = Handmade()
    packed = whole_fragment(made, 100, 0)
    file = whole_fragment(made, 100, 0)
    fields: dict[str, Any] = {"incompat": Incompat.LZ4_0PADDING | Incompat.FRAGMENTS, "packed_nid": packed}
    rejected(made.finish({b"file": file}, **fields), CorruptError, "itself has a fragment")


def test_metabox_that_leads_round_in_a_circle() -> None:
    made = Handmade()
    packed = whole_fragment(made, 4096, 0)
    box = whole_fragment(made, 4096, 0)
    fields: dict[str, Any] = {
        "incompat": Incompat.LZ4_0PADDING | Incompat.FRAGMENTS | Incompat.METABOX | Incompat.BIT48,
        "packed_nid": packed,
        "metabox_nid": box,
        "ext_slots": 1,
    }
    rejected(made.finish({b"file": 1 << 63}, **fields), CorruptError, "itself has a fragment")


# -- resources -------------------------------------------------------------------------------------


def test_a_hole_of_exabytes_costs_nothing_to_open_and_is_not_hashed() -> None:
    made = Handmade()
    area = pack_area([XattrEntry(4, b"erofs.fingerprint", b"sha256:" + bytes(32)).pack()])
    fields: dict[str, Any] = {"extended": True, "nb": 0xFFFF, "u": 0xFFFFFFFF, "xattrs": area}
    file = made.inode(FILE, Layout.FLAT_PLAIN, size=(1 << 63) - 1, **fields)
    data = made.finish({b"file": file})
    with Image.open(memoryview(data)) as image:
        assert image.pread("file", 3, 1 << 62) == bytes(3)
        (finding,) = check(image, b"/file", image.lookup("file")).findings
    assert "too many to read" in finding.what


def test_entries_that_directories_share_are_visited_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mkfs_erofs_py.read.tree._FREE_VISITS", 0)
    made = Handmade()
    file = made.inode(FILE, Layout.FLAT_PLAIN, size=0)
    # The root is about to get this number; all its subdirectories show the same 250 entries.
    folders = [file + 1 + i for i in range(150)]
    root = folders[-1] + 1
    entries = [Dirent(b"..", root, 2), *(Dirent(b"%03d" % i, file, 1) for i in range(250))]
    body = pack_directory(entries, 4096)
    start = made.block(body)
    for _ in folders:
        made.inode(FOLDER, Layout.FLAT_PLAIN, size=len(body), u=start, nb=2, flag=True)
    top = pack_directory(
        [
            Dirent(b".", root, 2),
            Dirent(b"..", root, 2),
            *(Dirent(b"%03d" % i, nid, 2) for i, nid in enumerate(folders)),
        ],
        4096,
    )
    assert made.inode(FOLDER, Layout.FLAT_PLAIN, size=len(top), u=made.block(top), nb=2) == root
    rejected(made.finish({}, root=root, incompat=Incompat.BIT48), CorruptError, "more entries than")
