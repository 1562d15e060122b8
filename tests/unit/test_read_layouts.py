"""Layouts that this project's builder does not write, put together by hand from the format's rules."""

from __future__ import annotations

import io
import os
import struct
import threading
import tracemalloc
import zlib
from pathlib import Path
from stat import S_IFCHR, S_IFLNK, S_IFREG
from typing import Any

import lz4.block
import pytest

from mkfs_erofs_py.errors import CorruptError, OutOfBoundsError, UnreadableError, UsageError
from mkfs_erofs_py.ondisk.chunk import HOLE, ChunkFormat, pack_chunks
from mkfs_erofs_py.ondisk.constants import Algorithm, Compat, Incompat, Layout
from mkfs_erofs_py.ondisk.device import DeviceSlot
from mkfs_erofs_py.ondisk.extent import ExtentRecord, pack_extents, pack_lengths, plen_word
from mkfs_erofs_py.ondisk.inode import InodeRecord, encode_rdev
from mkfs_erofs_py.ondisk.lcluster import HOLE_FLAG, PARTIAL_REF, Advise, MapHeader
from mkfs_erofs_py.ondisk.superblock import AlgorithmRecord, LongPrefix, pack_prefixes
from mkfs_erofs_py.ondisk.xattr import XattrEntry, pack_area
from mkfs_erofs_py.read import Image, Kind
from tests.support.handmade import Handmade, with_checksum

LZ4_RECORD = AlgorithmRecord(algorithm=Algorithm.LZ4, max_distance=65535, max_pcluster=16)
DEFLATE_RECORD = AlgorithmRecord(algorithm=Algorithm.DEFLATE, window_bits=15)
FILE = S_IFREG | 0o644
TEXT = b"".join(b"line %d of a text that compresses well\n" % i for i in range(900))
PLAIN, HEAD1, NONHEAD, HEAD2 = range(4)


def squeeze(data: bytes) -> bytes:
    stream: bytes = lz4.block.compress(data, store_size=False)
    return stream


def deflated(data: bytes) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    return stream.compress(data) + stream.flush()


def padded(stream: bytes, size: int = 4096) -> bytes:
    return stream.rjust(-(-len(stream) // size) * size, b"\0")


def full_index(header: MapHeader, records: list[tuple[int, int, int]]) -> bytes:
    return header.pack() + bytes(8) + b"".join(struct.pack("<HHI", *record) for record in records)


def nonhead(d0: int, d1: int) -> tuple[int, int, int]:
    return NONHEAD, 0, d0 | d1 << 16


def content(data: bytes, path: str = "file", **options: object) -> bytes:
    """Return a file's content, having read it whole, in pieces and by parts, all of which must agree."""
    with Image.open(memoryview(data), **options) as image:  # type: ignore[arg-type]
        whole = image.read(path)
        pieces = bytearray(len(whole))
        for offset, piece in image.pieces(path):
            pieces[offset : offset + len(piece)] = piece
        assert pieces == whole
        for offset in range(0, len(whole), 1111):
            assert image.pread(path, 777, offset) == whole[offset : offset + 777]
        end = 0
        for span in image.spans(path):
            assert span.start == end
            end = span.end
        assert end == len(whole)
        return whole


def compressed(made: Handmade, data: bytes, header: MapHeader, records: list[tuple[int, int, int]]) -> int:
    body = full_index(header, records)
    return made.inode(FILE, Layout.COMPRESSED_FULL, size=len(data), body=body, align=8)


def test_lz4_without_padding_as_the_first_tools_wrote_it() -> None:
    made = Handmade()
    data = TEXT[:8192]
    block = made.block(squeeze(data))
    file = compressed(made, data, MapHeader(), [(HEAD1, 0, block), nonhead(1, 1)])
    image = made.finish({b"file": file}, compat=Compat(0))
    assert content(image) == data


def test_two_algorithms_in_one_file() -> None:
    made = Handmade()
    data = TEXT[:16384]
    first, second = made.block(padded(squeeze(data[:8192]))), made.block(padded(deflated(data[8192:])))
    records = [(HEAD1, 0, first), nonhead(1, 1), (HEAD2, 0, second), nonhead(1, 1)]
    file = compressed(made, data, MapHeader(algorithms=Algorithm.DEFLATE << 4 | Algorithm.LZ4), records)
    image = made.finish(
        {b"file": file}, records=[LZ4_RECORD, DEFLATE_RECORD], incompat=Incompat.LZ4_0PADDING | Incompat.COMPR_HEAD2
    )
    assert content(image) == data


def test_logical_clusters_larger_than_blocks() -> None:
    made = Handmade(block_bits=9)
    data = TEXT[:5000]
    pieces = [data[:2048], data[2048:4096], data[4096:]]
    blocks = [made.block(padded(squeeze(piece), 512)) for piece in pieces]
    header = MapHeader(cluster_bits=2)
    file = compressed(made, data, header, [(HEAD1, 0, block) for block in blocks])
    assert content(made.finish({b"file": file}, incompat=Incompat.LZ4_0PADDING)) == data


@pytest.mark.parametrize("interlaced", [False, True])
def test_plain_extents_shifted_and_interlaced(interlaced: bool) -> None:
    made = Handmade()
    data = TEXT[:5000] + os.urandom(4000)
    plain = data[5000:]
    if interlaced:
        # Each byte lies in the block where it lies in its logical cluster: the last 808 come first.
        plain = plain[3192:].ljust(904, b"\0") + plain[:3192]
    first, second = made.block(padded(squeeze(data[:5000]))), made.block(plain)
    header = MapHeader(advise=Advise.INTERLACED if interlaced else 0)
    file = compressed(made, data, header, [(HEAD1, 0, first), (PLAIN, 904, second), (PLAIN, 808, 0)])
    assert content(made.finish({b"file": file}, incompat=Incompat.LZ4_0PADDING)) == data


@pytest.mark.parametrize("record", [4, 8, 16, 32])
def test_encoded_extents_of_every_record_size(record: int) -> None:
    made = Handmade()
    data = TEXT[:12288] + os.urandom(4096) + TEXT[:3000]
    pieces = [data[i : i + 4096] for i in range(0, len(data), 4096)]
    streams = [piece if i == 3 else squeeze(piece) for i, piece in enumerate(pieces)]
    base = made.block(b"".join(streams)) << 12
    extents = []
    at = base
    for i, (piece, stream) in enumerate(zip(pieces, streams, strict=True)):
        extents.append(ExtentRecord(i * 4096, at, len(stream), None if i == 3 else Algorithm.LZ4))
        at += len(stream)
        assert len(piece) <= 4096
    advise = Advise.EXTENTS | (record.bit_length() - 3) << Advise.EXTENT_SIZE_SHIFT
    union = len(extents) if record > 8 else 0
    nid = made.next_nid()
    head = made.meta_start + nid * 32 + 32 + 8
    if record == 4:
        records = pack_lengths(base, [plen_word(extent.length, extent.algorithm) for extent in extents])
    else:
        records = pack_extents(extents, record)
    body = MapHeader(advise=advise, union=union).pack() + bytes(-head % record) + records
    file = made.inode(FILE, Layout.COMPRESSED_FULL, size=len(data), body=body, align=8)
    assert file == nid
    image = made.finish({b"file": file}, records=[LZ4_RECORD], incompat=Incompat.LZ4_0PADDING | Incompat.BIT48)
    assert content(image) == data
    with Image.open(memoryview(image)) as opened:
        assert [extent.kind for extent in opened.spans("file")] == [Kind.LZ4] * 3 + [Kind.RAW, Kind.LZ4]
        assert opened.pread("file", 10, 4096 * 4 + 5) == data[4096 * 4 + 5 :][:10]


def test_partial_references_and_holes_in_an_index() -> None:
    made = Handmade()
    whole = TEXT[:12288]
    block = made.block(padded(squeeze(whole)))
    data = whole[:8192] + bytes(4096) + whole[:100]
    records = [
        (HEAD1 | PARTIAL_REF, 0, block),
        nonhead(1, 1),
        (HEAD1 | HOLE_FLAG, 0, 7),
        (HEAD1 | PARTIAL_REF, 0, block),
    ]
    file = compressed(made, data, MapHeader(), records)
    image = made.finish({b"file": file}, incompat=Incompat.LZ4_0PADDING)
    assert content(image) == data


def test_an_inline_tail_follows_the_index() -> None:
    made = Handmade()
    data = TEXT[:10000]
    block = made.block(padded(squeeze(data[:8192])))
    stream = squeeze(data[8192:])
    header = MapHeader(advise=Advise.INLINE_PCLUSTER, union=len(stream) << 16)
    body = full_index(header, [(HEAD1, 0, block), nonhead(1, 1), (HEAD1, 0, 0)]) + stream
    file = made.inode(FILE, Layout.COMPRESSED_FULL, size=len(data), body=body, align=8)
    image = made.finish({b"file": file}, incompat=Incompat.LZ4_0PADDING | Incompat.ZTAILPACKING)
    assert content(image) == data


@pytest.mark.parametrize("whole", [False, True])
def test_fragments_of_the_packed_inode(whole: bool) -> None:
    made = Handmade()
    tail = b"the packed inode's own bytes"
    packed_data = os.urandom(5000) + tail
    packed = made.inode(FILE, Layout.FLAT_PLAIN, size=len(packed_data), u=made.block(packed_data))
    if whole:
        data = tail
        body = struct.pack("<Q", 1 << 63 | 5000) + bytes(8)
        file = made.inode(FILE, Layout.COMPRESSED_FULL, size=len(data), body=body, align=8)
    else:
        data = TEXT[:8192] + tail
        block = made.block(padded(squeeze(data[:8192])))
        header = MapHeader(advise=Advise.FRAGMENT, union=5000)
        file = compressed(made, data, header, [(HEAD1, 0, block), nonhead(1, 1), (HEAD1, 0, 0)])
    image = made.finish(
        {b"file": file}, incompat=Incompat.LZ4_0PADDING | Incompat.FRAGMENTS, packed_nid=packed, compat=Compat.SB_CHKSUM
    )
    assert content(image) == data


@pytest.mark.parametrize("indexes", [False, True])
def test_chunks_may_be_holes_and_lie_in_any_order(indexes: bool) -> None:
    made = Handmade()
    a, b = made.block(b"a" * 8192), made.block(b"b" * 8192)
    form = ChunkFormat(1, indexes)
    data = b"b" * 8192 + bytes(8192) + b"a" * 8192 + b"b" * 100
    body = pack_chunks(form, [(0, b), (0, HOLE), (0, a), (0, b)])
    file = made.inode(FILE, Layout.CHUNK_BASED, size=len(data), u=form.pack(), body=body, align=8)
    image = made.finish({b"file": file}, incompat=Incompat.CHUNKED_FILE)
    assert content(image) == data


def two_device_image() -> tuple[bytes, bytes, bytes]:
    """Return an image, its second device and what its file holds; the device's blocks start at 40."""
    made = Handmade()
    made.block(b"first" * 800)
    table = made.block(DeviceSlot(b"tag", 2, 40).pack())
    form = ChunkFormat(0, indexes=True)
    body = pack_chunks(form, [(1, 1), (0, 40), (1, 0)])
    file = made.inode(FILE, Layout.CHUNK_BASED, size=10000, u=form.pack(), body=body, align=8)
    device = b"x" * 4096 + b"y" * 4096
    image = made.finish(
        {b"file": file},
        incompat=Incompat.CHUNKED_FILE | Incompat.DEVICE_TABLE,
        devices=1,
        device_table=table * 4096 // 128,
    )
    return image, device, b"y" * 4096 + b"x" * (4096 + 1808)


def test_an_extra_device_holds_data_by_number_and_by_address() -> None:
    image, device, data = two_device_image()
    assert content(image, devices=[memoryview(device)]) == data


def test_without_its_device_an_image_is_one_flat_space() -> None:
    image, device, data = two_device_image()
    with Image.open(memoryview(image)) as opened, pytest.raises(OutOfBoundsError, match="extra device"):
        opened.read("file")
    assert content(image.ljust(40 * 4096, b"\0") + device) == data


def test_a_wrong_number_of_devices_is_refused() -> None:
    image, device, _ = two_device_image()
    with pytest.raises(UsageError, match="1 extra devices, 2 were given"):
        Image.open(memoryview(image), devices=[memoryview(device)] * 2)


def test_inodes_in_a_metabox() -> None:
    made = Handmade()
    inner = bytearray()
    inner += InodeRecord(layout=Layout.FLAT_INLINE, extended=True, mode=FILE, size=5).pack() + b"inner"
    box = made.inode(FILE, Layout.FLAT_PLAIN, size=len(inner), u=made.block(bytes(inner)))
    made.modes[1 << 63] = FILE
    image = made.finish({b"file": 1 << 63}, incompat=Incompat.METABOX | Incompat.BIT48, ext_slots=1, metabox_nid=box)
    assert content(image) == b"inner"


def test_a_file_that_is_one_hole() -> None:
    made = Handmade()
    file = made.inode(FILE, Layout.FLAT_PLAIN, size=100_000, u=0xFFFF_FFFF)
    assert content(made.finish({b"file": file})) == bytes(100_000)


PREFIXES = [LongPrefix(1, b"long."), LongPrefix(0, b"hidden.fingerprint")]


@pytest.mark.parametrize("place", ["device", "packed", "metabox", "device in spite of both"])
def test_long_prefixes_in_each_of_their_places(place: str) -> None:
    made = Handmade()
    table = pack_prefixes(PREFIXES)
    noise = pack_prefixes([LongPrefix(1, b"wrong"), LongPrefix(4, b"wrong")])
    fields: dict[str, Any] = {"incompat": Incompat.XATTR_PREFIXES, "compat": Compat.SB_CHKSUM | Compat.ISHARE_XATTRS}
    on_device = made.block(table if place.startswith("device") else noise) << 12
    start = on_device // 4
    if place in ("packed", "metabox", "device in spite of both"):
        inode = made.inode(FILE, Layout.FLAT_PLAIN, size=on_device + 4096, u=0xFFFF_FFFF)
        other = made.inode(FILE, Layout.FLAT_INLINE, size=len(table) + 8, body=bytes(8) + table)
        assert inode != other
        start = start if place.startswith("device") else 2
        fields["packed_nid" if place == "packed" else "metabox_nid"] = other
        if place == "packed":
            fields["incompat"] = Incompat.XATTR_PREFIXES | Incompat.FRAGMENTS
        else:
            fields["incompat"] = Incompat.XATTR_PREFIXES | Incompat.METABOX | Incompat.BIT48
            fields["ext_slots"] = 1
    if place == "device in spite of both":
        fields["compat"] = Compat.SB_CHKSUM | Compat.ISHARE_XATTRS | Compat.PLAIN_XATTR_PFX
    entries = [XattrEntry(0x80, b"name", b"value"), XattrEntry(0x81, b"", b"sha256:" + bytes(32))]
    area = pack_area([entry.pack() for entry in entries])
    file = made.inode(FILE, Layout.FLAT_INLINE, size=1, body=b"x", xattrs=area)
    data = made.finish({b"file": file}, prefix_count=2, prefix_table=start, ishare_prefix=1, **fields)
    with Image.open(memoryview(data)) as image:
        assert image.xattrs("file") == {b"user.long.name": b"value"}
        assert image.fingerprint("file") == b"sha256:" + bytes(32)
        assert [path for path, _, value in image.fingerprints() if value] == [b"/file"]


def test_shared_attributes_may_lie_in_the_metabox() -> None:
    made = Handmade()
    entry = XattrEntry(1, b"shared", b"value").pack()
    box = made.inode(FILE, Layout.FLAT_INLINE, size=8 + len(entry), body=bytes(8) + entry)
    file = made.inode(FILE, Layout.FLAT_INLINE, size=1, body=b"x", xattrs=pack_area([], shared=[2]))
    data = made.finish(
        {b"file": file},
        incompat=Incompat.METABOX | Incompat.BIT48,
        compat=Compat.SB_CHKSUM | Compat.SHARED_EA_IN_METABOX,
        ext_slots=1,
        metabox_nid=box,
    )
    with Image.open(memoryview(data)) as image:
        assert image.xattrs("file") == {b"user.shared": b"value"}


def test_metadata_of_every_inode_form() -> None:
    made = Handmade()
    wide = made.inode(
        FILE, Layout.FLAT_PLAIN, size=0, extended=True, uid=70_000, gid=80_000, mtime=-5, nsec=7, nlink=3, nb=0
    )
    short = made.inode(FILE, Layout.FLAT_PLAIN, size=0, mtime=9, flag=True, nb=1)
    null = made.inode(S_IFCHR | 0o666, Layout.FLAT_PLAIN, size=0, u=encode_rdev(259, 70_000))
    link = made.inode(S_IFLNK | 0o777, Layout.FLAT_INLINE, size=4, body=b"wide")
    data = made.finish(
        {b"wide": wide, b"short": short, b"null": null, b"link": link}, epoch=100, fixed_nsec=5, incompat=Incompat.BIT48
    )
    with Image.open(memoryview(data)) as image:
        st = image.stat("link")
        assert (st.st_uid, st.st_gid, st.st_nlink, st.st_mtime_ns) == (70_000, 80_000, 3, -5_000_000_000 + 7)
        assert image.stat("short").st_mtime_ns == 109_000_000_005
        assert image.stat("short").st_nlink == 1
        assert image.lookup("null").rdev == (259, 70_000)
        assert image.readlink("link") == b"wide"
        assert image.stat("link", follow=False).st_ino == link


def test_a_dot_may_be_left_out() -> None:
    made = Handmade()
    root = made.directory({b"file": made.file(b"x")}, dots=False, flag=True)
    data = made.finish({}, root=root, incompat=Incompat.BIT48)
    with Image.open(memoryview(data)) as image:
        assert [path for path, _ in image.walk()] == [b"/", b"/file"]


def test_lookups_follow_links_inside_the_image_and_no_further() -> None:
    made = Handmade()
    file = made.file(b"here")

    def link(target: bytes) -> int:
        return made.inode(S_IFLNK | 0o777, Layout.FLAT_INLINE, size=len(target), body=target)

    names = {
        b"file": file,
        b"up": link(b"../../../file"),
        b"abs": link(b"/file"),
        b"loop": link(b"loop"),
        b"gone": link(b"no"),
    }
    with Image.open(memoryview(made.finish(names))) as image:
        assert image.read("up") == image.read("/abs") == image.read(b"./../file") == b"here"
        for path, what in (("loop", "too many"), ("gone", "no such"), ("file/x", "not a directory")):
            with pytest.raises(UnreadableError, match=what):
                image.lookup(path)
        assert image.lookup("loop", follow=False).is_symlink


def test_a_file_object_behaves_like_one() -> None:
    made = Handmade()
    block = made.block(padded(squeeze(TEXT[:8192])))
    file = compressed(made, TEXT[:8192], MapHeader(), [(HEAD1, 0, block), nonhead(1, 1)])
    with (
        Image.open(memoryview(made.finish({b"file": file}, incompat=Incompat.LZ4_0PADDING))) as image,
        image.open_file("file") as raw,
    ):
        assert raw.readable()
        assert raw.seekable()
        assert not raw.writable()
        assert raw.seek(-10, os.SEEK_END) == 8182
        assert raw.read() == TEXT[8182:8192]
        assert raw.read(5) == b""
        buffer = bytearray(20)
        raw.seek(4090)
        assert raw.readinto(buffer) == 20
        assert buffer == TEXT[4090:4110]
        assert raw.tell() == 4110
        assert raw.pread(3, 0) == TEXT[:3]
        with pytest.raises(UsageError):
            raw.seek(-1)
        raw.seek(0)
        assert io.BufferedReader(raw).readline() == TEXT.split(b"\n")[0] + b"\n"
    with pytest.raises(UsageError):
        image.open_file("/")


def test_many_threads_read_one_image() -> None:
    made = Handmade()
    data = TEXT[:32768]
    records = []
    for i in range(0, len(data), 8192):
        records += [(HEAD1, 0, made.block(padded(squeeze(data[i : i + 8192])))), nonhead(1, 1)]
    file = compressed(made, data, MapHeader(), records)
    wrong: list[int] = []
    with Image.open(
        memoryview(made.finish({b"file": file}, incompat=Incompat.LZ4_0PADDING)), cache_bytes=10_000
    ) as image:

        def work(seed: int) -> None:
            for i in range(200):
                offset = (i * 7919 + seed * 104729) % len(data)
                if image.pread("file", 3000, offset) != data[offset : offset + 3000]:
                    wrong.append(offset)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


@pytest.mark.parametrize("how", ["path", "bytes path", "file object", "file of Python's"])
def test_an_image_opens_from_anything_that_can_seek(how: str, tmp_path: object) -> None:
    made = Handmade()
    data = made.finish({b"file": made.file(b"hello")})
    path = os.path.join(str(tmp_path), "image")
    with open(path, "wb") as out:
        out.write(data)
    with open(path, "rb") as file:
        sources: dict[str, Any] = {"path": path, "bytes path": path.encode(), "file object": io.BytesIO(data)}
        source = sources.get(how, file)
        with Image.open(source) as image:
            assert image.read("file") == b"hello"
            assert [path for path, _ in image.walk()] == [b"/", b"/file"]


@pytest.mark.parametrize("what", ["missing", "directory", "fifo", "empty", "short"])
def test_what_is_no_image_says_so(what: str, tmp_path: object) -> None:
    path = os.path.join(str(tmp_path), "image")
    if what == "directory":
        os.mkdir(path)
    elif what == "fifo":
        os.mkfifo(path)
    elif what != "missing":
        with open(path, "wb") as out:
            out.write(b"" if what == "empty" else bytes(1100))
    with pytest.raises(OutOfBoundsError if what in ("empty", "short") else UnreadableError):
        Image.open(path)


def test_a_wrong_parent_and_a_wrong_checksum_are_seen() -> None:
    made = Handmade()
    data = bytearray(made.finish({b"folder": made.directory({}, parent=7)}))
    with pytest.raises(CorruptError, match="lead to"), Image.open(memoryview(data)) as image:
        list(image.walk())
    data[1024 + 0x40] ^= 1
    with pytest.raises(CorruptError, match="checksum"):
        Image.open(memoryview(data))
    assert with_checksum(data) != data


def test_a_closed_image_lets_go_of_its_file_but_not_of_pieces(tmp_path: Path) -> None:
    made = Handmade()
    data = b"seen through a view" * 300
    file = made.inode(FILE, Layout.FLAT_PLAIN, size=len(data), u=made.block(data))
    (tmp_path / "image").write_bytes(made.finish({b"file": file}))

    def held() -> bool:
        opened = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
        return str(tmp_path / "image") in opened

    image = Image.open(tmp_path / "image")
    assert held()
    assert str(tmp_path / "image") not in Path("/proc/self/maps").read_text(), "whoever cuts it short would kill us"
    pieces = list(image.pieces("file"))
    image.close()
    image.close()
    assert not held()
    assert b"".join(piece for _, piece in pieces) == data
    with pytest.raises(UsageError, match="image: was closed"):
        image.read("file")


def test_memory_does_not_grow_with_what_is_read(tmp_path: Path) -> None:
    made = Handmade()
    size = 256 << 20
    file = made.inode(FILE, Layout.FLAT_PLAIN, size=size, u=(start := made.block(b"x")))
    path = tmp_path / "image"
    path.write_bytes(made.finish({b"file": file}))
    os.truncate(path, start * 4096 + size)
    buffer = memoryview(bytearray(1 << 20))
    with Image.open(path) as image:
        tracemalloc.start()
        assert sum(len(piece) for _, piece in image.pieces("/file")) == size
        assert sum(image.preadinto("/file", buffer, offset) for offset in range(0, size, len(buffer))) == size
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < 2 << 20
