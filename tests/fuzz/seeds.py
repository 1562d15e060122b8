"""Small good images, one for each way in which an image can hold data: where mutation begins."""

from __future__ import annotations

import struct
import zlib
from stat import S_IFLNK, S_IFREG
from typing import Any

import lz4.block

from mkfs_erofs_py.ondisk.chunk import HOLE, ChunkFormat, pack_chunks
from mkfs_erofs_py.ondisk.constants import Algorithm, Compat, Incompat, Layout
from mkfs_erofs_py.ondisk.extent import ExtentRecord, pack_extents, pack_lengths, plen_word
from mkfs_erofs_py.ondisk.inode import InodeRecord
from mkfs_erofs_py.ondisk.lcluster import Advise, MapHeader, Pcluster, pack_compact
from mkfs_erofs_py.ondisk.superblock import AlgorithmRecord, LongPrefix, pack_prefixes
from mkfs_erofs_py.ondisk.xattr import XattrEntry, pack_area
from tests.support.handmade import Handmade

__all__ = ["SEEDS"]

FILE = S_IFREG | 0o644
TEXT = b"".join(b"line %d of a text that compresses well\n" % i for i in range(400))
LZ4 = AlgorithmRecord(algorithm=Algorithm.LZ4, max_distance=65535, max_pcluster=4)
DEFLATE = AlgorithmRecord(algorithm=Algorithm.DEFLATE, window_bits=15)


def _squeeze(data: bytes) -> bytes:
    stream: bytes = lz4.block.compress(data, store_size=False)
    return stream


def _plain() -> bytes:
    made = Handmade(block_bits=9)
    area = pack_area([XattrEntry(1, b"name", b"value").pack(), XattrEntry(0x80, b"x", b"y").pack()])
    table = made.block(pack_prefixes([LongPrefix(1, b"long.")]))
    names = {
        b"inline": made.inode(FILE, Layout.FLAT_INLINE, size=5, body=b"hello", xattrs=area),
        b"blocks": made.inode(FILE, Layout.FLAT_PLAIN, size=700, u=made.block(TEXT[:700])),
        b"link": made.inode(S_IFLNK | 0o777, Layout.FLAT_INLINE, size=6, body=b"inline"),
    }
    # The folder's parent is the root, whose number must be known first: each gets a place of its own.
    folder, root = 20, 32
    made.meta += bytes(folder * 32 - len(made.meta))
    names[b"folder"] = made.directory({b"again": names[b"inline"]}, parent=root)
    made.meta += bytes(root * 32 - len(made.meta))
    assert (names[b"folder"], made.directory(names)) == (folder, root)
    return made.finish({}, root=root, prefix_count=1, prefix_table=table << 7, incompat=Incompat.XATTR_PREFIXES)


def _chunks() -> bytes:
    made = Handmade(block_bits=9)
    first = made.block(TEXT[:2048])
    names = {}
    for name, form in ((b"map", ChunkFormat(1)), (b"index", ChunkFormat(0, True, True))):
        size = 1800
        count = -(-size >> 9 + form.chunk_bits)
        body = pack_chunks(form, [(0, first), (0, HOLE), (0, first + 1), (0, first + 2)][:count])
        names[name] = made.inode(FILE, Layout.CHUNK_BASED, size=size, u=form.pack(), body=body, align=8)
    return made.finish(names, incompat=Incompat.CHUNKED_FILE)


def _full() -> bytes:
    made = Handmade(block_bits=9)
    records = []
    for kind, start in ((1, 0), (3, 2048)):
        piece = TEXT[start : start + 2048]
        if kind == 1:
            stream = _squeeze(piece)
        else:
            coder = zlib.compressobj(9, zlib.DEFLATED, -15)
            stream = coder.compress(piece) + coder.flush()
        blocks = -(-len(stream) // 512)
        block = made.block(stream.rjust(blocks * 512, b"\0"))
        records += [struct.pack("<HHI", kind, 0, block), struct.pack("<HHHH", 2, 0, 0x800 | blocks, 3)]
        records += [struct.pack("<HHHH", 2, 0, d0, 4 - d0) for d0 in (2, 3)]
    packed = made.inode(FILE, Layout.FLAT_PLAIN, size=600, u=made.block(TEXT[:600]))
    advise = Advise.BIG_PCLUSTER_1 | Advise.BIG_PCLUSTER_2 | Advise.FRAGMENT
    header = MapHeader(advise, algorithms=Algorithm.DEFLATE << 4, union=100)
    body = header.pack() + bytes(8) + b"".join(records) + struct.pack("<HHI", 1, 0, 0)
    file = made.inode(FILE, Layout.COMPRESSED_FULL, size=4500, body=body, align=8)
    whole = made.inode(FILE, Layout.COMPRESSED_FULL, size=90, body=struct.pack("<QQ", 1 << 63 | 9, 0), align=8)
    fields: dict[str, Any] = {"packed_nid": packed, "incompat": Incompat.LZ4_0PADDING | Incompat.FRAGMENTS}
    return made.finish({b"file": file, b"whole": whole}, records=[LZ4, DEFLATE], **fields)


def _compact() -> bytes:
    made = Handmade(block_bits=9)
    extents = []
    for start in range(0, 10240, 1024):
        stream = _squeeze(TEXT[start : start + 1024])
        assert len(stream) <= 512
        extents.append(Pcluster(1024, 1, made.block(stream.rjust(512, b"\0")), 1))
    base = (made.meta_start + made.next_nid() * 32 + 32 + 7 & ~7) + 8
    body = pack_compact(MapHeader(Advise.COMPACTED_2B), extents, 10240, 9, base)
    file = made.inode(FILE, Layout.COMPRESSED_COMPACT, size=10240, body=body, align=8)
    return made.finish({b"file": file}, incompat=Incompat.LZ4_0PADDING)


def _extents() -> bytes:
    made = Handmade(block_bits=9)
    names = {}
    streams = [_squeeze(TEXT[i : i + 512]) for i in range(0, 2048, 512)]
    base = made.block(b"".join(streams)) << 9
    places = [base + sum(map(len, streams[:i])) for i in range(4)]
    listed = [
        ExtentRecord(i * 512, at, len(stream), Algorithm.LZ4)
        for i, (at, stream) in enumerate(zip(places, streams, strict=True))
    ]
    for size in (4, 8, 16, 32):
        advise = Advise.EXTENTS | (size.bit_length() - 3) << Advise.EXTENT_SIZE_SHIFT
        at = made.meta_start + made.next_nid() * 32 + 40
        if size == 4:
            records = pack_lengths(base, [plen_word(one.length, one.algorithm) for one in listed])
        else:
            records = pack_extents(listed, size)
        body = MapHeader(advise, union=4 if size > 8 else 0).pack() + bytes(-at % size) + records
        names[b"%d" % size] = made.inode(FILE, Layout.COMPRESSED_FULL, size=2048, body=body, align=8)
    return made.finish(names, records=[LZ4], incompat=Incompat.LZ4_0PADDING | Incompat.BIT48)


def _metabox() -> bytes:
    made = Handmade(block_bits=9)
    inner = InodeRecord(layout=Layout.FLAT_INLINE, extended=True, mode=FILE, size=5).pack() + b"inner"
    inner = inner.ljust(96, b"\0") + XattrEntry(1, b"shared", b"value").pack()
    box = made.inode(FILE, Layout.FLAT_PLAIN, size=len(inner), u=made.block(inner))
    made.modes[1 << 63] = FILE
    shared = made.inode(FILE, Layout.FLAT_PLAIN, size=0, xattrs=pack_area([], shared=[24]))
    return made.finish(
        {b"inner": 1 << 63, b"shared": shared},
        incompat=Incompat.METABOX | Incompat.BIT48,
        compat=Compat.SB_CHKSUM | Compat.SHARED_EA_IN_METABOX,
        ext_slots=1,
        metabox_nid=box,
    )


#: Name to image.
SEEDS: dict[str, bytes] = {
    build.__name__.strip("_"): build() for build in (_plain, _chunks, _full, _compact, _extents, _metabox)
}
