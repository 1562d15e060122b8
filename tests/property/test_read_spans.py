"""The reader's spans of compressed files: those that were packed, from whatever byte the walk begins."""

from __future__ import annotations

from stat import S_IFREG

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mkfs_erofs_py.ondisk.constants import Algorithm, Incompat, Layout
from mkfs_erofs_py.ondisk.lcluster import LCLUSTER_PLAIN, Advise, MapHeader, pack_compact, pack_full
from mkfs_erofs_py.ondisk.superblock import AlgorithmRecord
from mkfs_erofs_py.read import Image, Kind
from tests.property.test_index import File, files
from tests.support.handmade import META_BLOCKS, Handmade

LZ4 = AlgorithmRecord(algorithm=Algorithm.LZ4, max_distance=65535, max_pcluster=1)


def image_of(file: File, compact: bool, two_byte: bool) -> bytes:
    """Return an image that holds the index alone: none of the clusters it names."""
    made = Handmade(file.bits)
    advise = (Advise.BIG_PCLUSTER_1 | Advise.BIG_PCLUSTER_2) if file.big else 0
    if compact:
        header = MapHeader(advise | (Advise.COMPACTED_2B if two_byte else 0))
        base = made.meta_start + made.next_nid() * 32 + 64 + 8
        body = pack_compact(header, file.extents, file.size, file.bits, base)
    else:
        body = pack_full(MapHeader(advise), file.extents, file.size, file.bits, file.big)
    assume(len(body) + 256 < META_BLOCKS * made.block_size)
    layout = Layout.COMPRESSED_COMPACT if compact else Layout.COMPRESSED_FULL
    nid = made.inode(S_IFREG | 0o644, layout, size=file.size, extended=True, nb=0, body=body, align=8)
    return made.finish({b"file": nid}, records=[LZ4], incompat=Incompat.LZ4_0PADDING)


@pytest.mark.parametrize(("compact", "two_byte"), [(False, False), (True, False), (True, True)])
@settings(deadline=None, max_examples=60)
@given(file=files(), data=st.data())
def test_extents_read_as_they_were_packed(compact: bool, two_byte: bool, file: File, data: st.DataObject) -> None:
    assume(not (two_byte and file.bits > 12))
    block = 1 << file.bits
    # What the format allows and readers refuse: over 12 MiB decoded.
    assume(all(extent.length <= 12 << 20 for extent in file.extents))
    want = []
    for (start, kind, at, blocks), extent in zip(file.heads(), file.extents, strict=True):
        plain = kind == LCLUSTER_PLAIN
        stored = extent.length if plain else blocks * block
        want.append((start, extent.length, Kind.RAW if plain else Kind.LZ4, at * block, stored))
    with Image.open(memoryview(image_of(file, compact, two_byte))) as image:
        found = [(e.start, e.length, e.kind, e.address, e.stored) for e in image.spans("file")]
        assert found == want
        for _ in range(5):
            pos = data.draw(st.integers(0, file.size - 1))
            rest = [(e.start, e.length, e.kind, e.address, e.stored) for e in image.spans("file", pos)]
            assert rest == [one for one in want if one[0] + one[1] > pos]
