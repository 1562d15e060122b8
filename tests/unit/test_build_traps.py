"""Each way in which an image passes ``fsck.erofs`` and still fails in a kernel, or on some kernel: ours does not.

Judged on the image's bytes. Features we never write (fragments, chunk maps, a metabox, a second algorithm) bring
their own traps; that their bits stay clear is tested here, too.
"""

from __future__ import annotations

import lzma
import os
import stat
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import xxhash
import zstandard

from mkfs_erofs_py.errors import SourceError
from mkfs_erofs_py.ondisk.constants import Algorithm, Compat, Incompat, Layout
from mkfs_erofs_py.ondisk.dirent import Dirent, unpack_block
from mkfs_erofs_py.ondisk.inode import COMPACT, EXTENDED
from mkfs_erofs_py.ondisk.lcluster import Advise, MapHeader, unpack_full
from mkfs_erofs_py.ondisk.superblock import checksum, checksum_end
from mkfs_erofs_py.ondisk.xattr import iter_entries, unpack_header
from mkfs_erofs_py.read import Image, Inode, Kind, Span
from tests.support.images import WHEN, Spec, build, make, mixed, noise, text

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount or set trusted attributes")

FORMS: dict[str, dict[str, Any]] = {
    "none": {"compressor": None},
    "none, tails in blocks": {"compressor": None, "inline_data": False},
    "none, 48-bit": {"compressor": None, "encoded_extents": True},
    "lz4": {"compressor": "lz4", "legacy_index": True},
    "lz4, compact": {"compressor": "lz4"},
    "lz4, large clusters": {"compressor": "lz4", "pcluster": 1 << 20},
    "lz4, large clusters, full": {"compressor": "lz4", "pcluster": 65536, "legacy_index": True},
    "lz4, extents": {"compressor": "lz4", "encoded_extents": True},
    "lz4, small blocks": {"compressor": "lz4", "block_size": 512, "pcluster": 131072, "legacy_index": True},
    "lz4hc, extents without dots": {"compressor": "lz4hc", "dot_omitted": True},
    "zstd": {"compressor": "zstd,1", "pcluster": 65536},
    "zstd, small window": {"compressor": "zstd,19,dictsize=4096", "pcluster": 65536},
    "zstd, small blocks": {"compressor": "zstd,1", "block_size": 512, "pcluster": 16384},
    "zstd, extents": {"compressor": "zstd", "encoded_extents": True},
    "lzma": {"compressor": "lzma,1,dictsize=4096", "pcluster": 16384},
    "deflate": {"compressor": "deflate", "pcluster": 16384},
    "deflate, 48-bit": {"compressor": "deflate,1", "encoded_extents": True, "pcluster": 16384},
    "for 5.4": {"compressor": "lz4", "kernel": "5.4"},
}
COMPRESSED = [name for name, options in FORMS.items() if options["compressor"]]
WIDE = [name for name, options in FORMS.items() if options.get("encoded_extents") or options.get("dot_omitted")]
CLASSIC = [name for name in FORMS if name not in WIDE]

BLOCKS = 300_000
SPEC: Spec = {
    "text": text(BLOCKS),
    "far": noise(40_000, 1) + text(9000) + noise(40_000, 1),
    "noise": noise(BLOCKS + 4000, 2),
    "noise-short": noise(700, 3),
    "noise-block": noise(8192, 4),
    "mixed": mixed(700_000, 5, 20_000),
    "mixed-finely": mixed(300_000, 6, 3000),
    "zeros": bytes(3_000_000),
    "noise-then-text": noise(4000, 7) + text(3000),
    "tiny": b"x",
    "nothing": b"",
    "copy": text(BLOCKS),
    **{f"link-{n}": "t" * n for n in (1, 60, 900, 3900, 4031, 4095)},
    **dict.fromkeys(("!x", "#", "-a", ".-", "...", "..b", ".a", "0"), b"dots and their neighbours"),
    **{f"many/name-{n}-{'x' * (n % 30)}": b"" for n in range(700)},
    # A directory and a file whose tails fit a block, but not together with their inodes.
    **{f"tail/{'y' * 101}-{n}": b"" for n in range(35)},
    "noise-tail": noise(8150, 9),
    "a/b/c/d": None,
}


@dataclass(frozen=True)
class Built:
    """An image, as bytes and as our reader understands it."""

    image: Image
    raw: bytes
    tree: Path

    @property
    def block(self) -> int:
        return self.image.block_size

    def inodes(self) -> Iterator[tuple[bytes, Inode]]:
        return self.image.inodes()

    def extents(self) -> Iterator[tuple[bytes, Inode, list[Span]]]:
        """Yield the extents of every compressed inode."""
        for path, inode in self.inodes():
            if inode.is_compressed:
                yield path, inode, list(self.image.spans(inode))

    def streams(self) -> Iterator[tuple[bytes, Inode, Span, bytes]]:
        """Yield every compressed extent with its stored bytes."""
        for path, inode, extents in self.extents():
            for extent in extents:
                if extent.kind <= Kind.ZSTD:
                    yield path, inode, extent, self.raw[extent.address : extent.address + extent.stored]

    def header(self, inode: Inode) -> MapHeader:
        return MapHeader.unpack(self.raw, -(-inode.body // 8) * 8)[0]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make(tmp_path_factory.mktemp("traps") / "tree", SPEC)
    os.link(root / "text", root / "a" / "hard")
    os.utime(root / "tiny", ns=(5, 5))
    os.utime(root / "noise-short", (WHEN + (1 << 32), WHEN + (1 << 32)))
    for path in ("tiny", "text", "many", "noise"):
        os.setxattr(root / path, "user.common", b"the same on several")
    os.setxattr(root / "tiny", "user.odd", b"12345")
    return root


@pytest.fixture(scope="module")
def built(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Built]:
    """Return a function from a form's name to its image, each built once."""
    folder = tmp_path_factory.mktemp("images")

    @cache
    def one(form: str) -> Built:
        path = folder / form
        build(path, tree, **FORMS[form])
        return Built(Image.open(path), path.read_bytes(), tree)

    return one


every_form = pytest.mark.parametrize("form", FORMS)
compressed_forms = pytest.mark.parametrize("form", COMPRESSED)


# -- the superblock ------------------------------------------------------------------------------------


@every_form
def test_blocks_and_checksum_are_those_of_the_finished_image(form: str, built: Callable[[str], Built]) -> None:
    one = built(form)
    sb = one.image.superblock
    assert len(one.raw) % one.block == 0
    assert sb.blocks * one.block == len(one.raw)
    assert sb.inodes == sum(1 for _ in one.inodes())
    assert sb.checksum == checksum(one.raw[1024 : checksum_end(one.block)])
    assert sb.compat & Compat.SB_CHKSUM


@every_form
def test_unused_fields_are_zero(form: str, built: Callable[[str], Built]) -> None:
    raw = built(form).raw
    sb = built(form).image.superblock
    assert raw[:1024] == bytes(1024)
    assert raw[1024 + 0x6A : 1024 + 0x6C] == bytes(2)
    assert raw[1024 + 0x78 : 1024 + 0x80] == bytes(8)
    assert (sb.ext_slots, sb.devices, sb.dirblkbits, sb.filter_reserved, sb.packed_nid) == (0, 0, 0, 0, 0)


@every_form
def test_no_bit_announces_what_is_not_there(form: str, built: Callable[[str], Built]) -> None:
    incompat = built(form).image.superblock.incompat
    never = Incompat.CHUNKED_FILE | Incompat.DEVICE_TABLE | Incompat.ZTAILPACKING | Incompat.FRAGMENTS
    assert not incompat & (never | Incompat.METABOX)
    assert bool(incompat & Incompat.BIT48) == (form in WIDE)


@every_form
def test_prefixes_and_their_bit_come_together_and_lie_on_the_device(form: str, built: Callable[[str], Built]) -> None:
    sb = built(form).image.superblock
    assert (sb.prefix_count > 0) == (form != "for 5.4")
    assert bool(sb.incompat & Incompat.XATTR_PREFIXES) == (sb.prefix_count > 0)
    # Kernels that know no PLAIN flag look into a packed inode if there is one: there is none.
    assert bool(sb.compat & Compat.PLAIN_XATTR_PFX) == (sb.prefix_count > 0)
    assert bool(sb.compat & Compat.ISHARE_XATTRS) == (sb.prefix_count > 0)
    if sb.prefix_count:
        assert sb.ishare_prefix < sb.prefix_count
        at = 4 * sb.prefix_table
        size = 1 + len(b"erofs.fingerprint")
        assert built(form).raw[at : at + 2 + size] == struct.pack("<HB", size, 4) + b"erofs.fingerprint"


@every_form
def test_fingerprints_are_raw_bytes_of_a_prefix_without_suffix(form: str, built: Callable[[str], Built]) -> None:
    one = built(form)
    found = 0
    for path, inode, value in one.image.fingerprints():
        assert value is not None, path
        assert value[:7] == b"blake3:", path
        assert len(value) == 7 + 32, path
        area = one.raw[inode.body - inode.xattr_size : inode.body]
        entries = list(iter_entries(area, unpack_header(area)[1]))
        if form != "for 5.4":
            assert (0x80, b"", value) in {(e.index, e.suffix, e.value) for e in entries}, path
        found += 1
    assert found == sum(1 for _, inode in one.inodes() if inode.is_file and inode.size)


@compressed_forms
def test_compressed_inodes_come_with_what_old_and_new_kernels_ask_for(form: str, built: Callable[[str], Built]) -> None:
    one = built(form)
    sb = one.image.superblock
    assert any(True for _ in one.extents())
    assert sb.incompat & Incompat.LZ4_0PADDING
    assert sb.algorithms != 0
    for path, inode, _ in one.extents():
        nibbles = one.header(inode).algorithms
        if inode.layout == Layout.COMPRESSED_FULL and one.header(inode).advise & Advise.EXTENTS:
            continue  # extents name their algorithms themselves
        assert nibbles & 15 < 4, path
        assert nibbles >> 4 < 4, path
        if sb.incompat & Incompat.COMPR_CFGS:
            assert sb.algorithms >> (nibbles & 15) & 1, path


@pytest.mark.parametrize("form", ["none", "none, 48-bit", "none, tails in blocks"])
def test_plain_images_claim_no_compression(form: str, built: Callable[[str], Built]) -> None:
    sb = built(form).image.superblock
    assert not sb.incompat & (Incompat.LZ4_0PADDING | Incompat.COMPR_CFGS)
    assert sb.algorithms == 0


def test_a_tree_in_which_nothing_compresses_claims_no_compression(tmp_path: Path) -> None:
    tree = make(tmp_path / "tree", {"noise": noise(100_000), "folder": None})
    for options in ({"compressor": "lz4"}, {"compressor": "zstd", "pcluster": 65536, "legacy_index": True}):
        build(tmp_path / "image", tree, **options)
        with Image.open(tmp_path / "image") as image:
            assert not image.superblock.incompat & (Incompat.LZ4_0PADDING | Incompat.COMPR_CFGS)
            assert image.superblock.algorithms == 0
            assert image.lookup("noise").layout in (Layout.FLAT_PLAIN, Layout.FLAT_INLINE)


@pytest.mark.parametrize("form", [name for name in COMPRESSED if FORMS[name]["compressor"].startswith("lz4")])
def test_lz4_declares_clusters_and_distances_large_enough(form: str, built: Callable[[str], Built]) -> None:
    one = built(form)
    (record,) = one.image.algorithms or (None,)
    if record is None or not one.image.superblock.incompat & Incompat.COMPR_CFGS:
        assert one.image.superblock.algorithms == 65535
        most = 1
    else:
        assert record.max_distance == 65535
        most = record.max_pcluster
    # Kernels count the blocks of 1 MiB before they know how large a block is.
    assert most <= 256
    assert most * one.block <= 1 << 20
    for path, _, extent, _ in one.streams():
        first, last = extent.address // one.block, (extent.address + extent.stored - 1) // one.block
        assert last - first + 1 <= most, path


@needs_root
def test_the_root_stays_within_16_bits_behind_megabytes_of_shared_attributes(tmp_path: Path) -> None:
    folder = tmp_path / "tmpfs"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
    try:
        tree = make(folder / "tree", {f"file-{n}": b"content" for n in range(3)})
        for number in range(36):
            for path in tree.iterdir():
                os.setxattr(path, f"trusted.number-{number}", noise(65_000, number))
        for options in ({}, {"encoded_extents": True}):
            build(tmp_path / "image", tree, **options)
            with Image.open(tmp_path / "image") as image:
                assert image.superblock.root_nid <= 65535
                assert image.root.is_dir
                for path in tree.iterdir():
                    attributes = image.xattrs(path.name)
                    assert attributes[b"trusted.number-35"] == noise(65_000, 35)
                    assert len(attributes) == 37
    finally:
        subprocess.run(["umount", folder], check=True)


# -- inodes --------------------------------------------------------------------------------------------


def raw_inode(one: Built, inode: Inode) -> tuple[int, ...]:
    return (EXTENDED if inode.extended else COMPACT).unpack_from(one.raw, inode.offset)


@pytest.mark.parametrize("form", CLASSIC)
def test_fields_that_newer_kernels_read_anew_are_zero(form: str, built: Callable[[str], Built]) -> None:
    one = built(form)
    kinds = set()
    for path, inode in one.inodes():
        fields = raw_inode(one, inode)
        if inode.extended:
            assert fields[3] == 0, path  # since 6.15 the high bits of an address
        else:
            assert fields[5] == 0, path  # since 6.15 added to the time
        kinds.add(inode.extended)
    assert kinds == {False, True}


@pytest.mark.parametrize("form", WIDE)
def test_times_that_do_not_fit_32_bits_are_in_extended_inodes(form: str, built: Callable[[str], Built]) -> None:
    one = built(form)
    for path, inode in one.inodes():
        st = os.lstat(one.tree / os.fsdecode(path[1:]))
        assert inode.mtime_ns == st.st_mtime_ns, path
    assert one.image.lookup("noise-short").extended
    assert not one.image.lookup("text").extended


@every_form
def test_inodes_are_compact_wherever_they_may(form: str, built: Callable[[str], Built]) -> None:
    one = built(form)
    sb = one.image.superblock
    for path, inode in one.inodes():
        reach = 0xFFFF_FFFF if form in WIDE else 0
        fits = inode.nsec == sb.fixed_nsec and 0 <= inode.mtime - sb.epoch <= reach
        fits = fits and max(inode.uid, inode.gid, inode.nlink) <= 0xFFFF and inode.size < 1 << 32
        assert inode.extended != fits, path


@every_form
def test_flat_data_ends_in_zeros_or_inline(form: str, built: Callable[[str], Built]) -> None:
    one = built(form)
    padded = set()
    for path, inode in one.inodes():
        tail = inode.size % one.block
        if inode.layout == Layout.FLAT_PLAIN and inode.size:
            assert inode.start_block is not None
            end = inode.start_block * one.block + inode.size
            assert one.raw[end : end + -inode.size % one.block].count(0) == -inode.size % one.block, path
            if tail:
                padded.add(stat.S_IFMT(inode.mode))
        elif inode.layout == Layout.FLAT_INLINE:
            assert tail, f"{path!r}: block-multiple sizes have no tail"
            assert inode.body // one.block == (inode.body + tail - 1) // one.block, path
    if form in ("none", "none, tails in blocks"):
        assert padded >= {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}, "nothing was tested"


@every_form
def test_symlinks_stay_in_their_inodes_block(form: str, built: Callable[[str], Built]) -> None:
    one = built(form)
    inline = 0
    for path, inode in one.inodes():
        if inode.is_symlink and inode.layout == Layout.FLAT_INLINE:
            assert inode.offset // one.block == (inode.body + inode.size - 1) // one.block, path
            inline += 1
    assert inline


@every_form
def test_inodes_count_links_and_never_overlap(form: str, built: Callable[[str], Built]) -> None:
    one = built(form)
    end = 0
    for inode in sorted((inode for _, inode in one.inodes()), key=lambda inode: inode.offset):
        assert inode.offset % 32 == 0
        assert inode.offset >= end
        end = inode.body
        if inode.is_dir:
            entries = [e for e in one.image.readdir(inode) if e.name not in (b".", b"..")]
            assert inode.nlink == 2 + sum(e.type == 2 for e in entries)
    assert one.image.lookup("text").nlink == 2
    assert one.image.lookup("text") == one.image.lookup("a/hard")


# -- directories ---------------------------------------------------------------------------------------


def entries(one: Built, inode: Inode) -> list[Dirent]:
    data = one.image.pread(inode, inode.size, 0)
    found = []
    for at in range(0, len(data), one.block):
        found += unpack_block(data[at : at + one.block])
    return found


@every_form
def test_names_ascend_over_the_whole_directory_dots_in_their_place(form: str, built: Callable[[str], Built]) -> None:
    one = built(form)
    for path, inode in one.inodes():
        if not inode.is_dir:
            continue
        names = [entry.name for entry in entries(one, inode)]
        assert names == sorted(set(names)), path
        assert b".." in names, path
        assert (b"." in names) != inode.flag, path
        assert inode.flag == bool(FORMS[form].get("dot_omitted")), path
        if path != b"/":
            continue
        dots = [name for name in names if name in (b"!x", b"#", b"-a", b".", b".-", b"..", b"...", b"..b", b".a", b"0")]
        assert dots == [b"!x", b"#", b"-a", *([] if inode.flag else [b"."]), b".-", b"..", b"...", b"..b", b".a", b"0"]


@every_form
def test_directories_end_at_their_last_name_and_blocks_are_filled_with_zeros(
    form: str, built: Callable[[str], Built]
) -> None:
    one = built(form)
    for path, inode in one.inodes():
        if not inode.is_dir:
            continue
        data = one.image.pread(inode, inode.size, 0)
        for at in range(0, len(data), one.block):
            block = data[at : at + one.block]
            found = unpack_block(block)
            used = sum(12 + len(entry.name) for entry in found)
            assert block[used:] == bytes(len(block) - used), path
            if at + one.block >= len(data):
                assert used == len(block), path


# -- attributes ----------------------------------------------------------------------------------------


@every_form
def test_attribute_areas_hold_something_and_are_tiled(form: str, built: Callable[[str], Built]) -> None:
    one = built(form)
    shared = 0
    for path, inode in one.inodes():
        icount = raw_inode(one, inode)[1]
        assert icount != 1, path
        if icount:
            area = one.raw[inode.body - inode.xattr_size : inode.body]
            header, at = unpack_header(area)
            assert sum(len(entry.pack()) for entry in iter_entries(area, at)) == len(area) - at, path
            assert area[5:12] == bytes(7), path
            shared += len(header.shared)
    assert shared == 4, "an attribute on four files is stored once"


SEED = 0x25BBE08F
#: Name, and the bit of the filter that says that it may be there.
FILTER_BITS = {
    b"system.posix_acl_access": 30,
    b"system.posix_acl_default": 21,
    b"user.common": xxhash.xxh32_intdigest(b"common", SEED + 1) & 31,
    b"trusted.erofs.fingerprint": xxhash.xxh32_intdigest(b"erofs.fingerprint", SEED + 4) & 31,
}


def test_the_filter_tells_of_every_name_and_of_nothing_else(tmp_path: Path) -> None:
    tree = make(tmp_path / "tree", {"file": b"content", "folder": None})
    acl = struct.pack("<I", 2) + b"".join(
        struct.pack("<HHi", *entry) for entry in ((1, 7, -1), (4, 5, -1), (8, 7, 4321), (16, 7, -1), (32, 5, -1))
    )
    try:
        for kind in ("access", "default"):
            os.setxattr(tree / "folder", f"system.posix_acl_{kind}", acl)
    except OSError as error:
        pytest.skip(f"no ACLs here: {error}")
    os.setxattr(tree / "file", "user.common", b"value")
    build(tmp_path / "image", tree)
    raw = (tmp_path / "image").read_bytes()
    with Image.open(tmp_path / "image") as image:
        for path in ("file", "folder"):
            inode = image.lookup(path)
            header, _ = unpack_header(raw[inode.body - inode.xattr_size : inode.body])
            present = {FILTER_BITS[name] for name in image.xattrs(inode)}
            assert len(present) == 2
            assert header.filter == ~sum(1 << bit for bit in present) & 0xFFFF_FFFF


@needs_root
@pytest.mark.parametrize("target", ["file", "folder", "link", "."])
def test_attributes_that_do_not_fit_are_refused_by_path(target: str, tmp_path: Path) -> None:
    folder = tmp_path / "tmpfs"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
    try:
        tree = make(folder / "tree", {"file": b"content", "folder": None, "link": "file"})
        # One byte more than 16 bits count, which would wrap to 0.
        os.setxattr(tree / target, "trusted.large", bytes(65536), follow_symlinks=False)
        with pytest.raises(SourceError, match=r"trusted\.large.*65536 bytes") as refused:
            build(tmp_path / "image", tree)
        named = "." if target == "." else f"/{target}"
        assert str(refused.value).startswith(f"{named}: ")
        os.removexattr(tree / target, "trusted.large", follow_symlinks=False)
        for number in range(5):
            os.setxattr(tree / target, f"trusted.{number}", noise(60_000, number), follow_symlinks=False)
        with pytest.raises(SourceError, match="at most 262148") as refused:
            build(tmp_path / "image", tree)
        assert str(refused.value).startswith(f"{named}: ")
        assert not (tmp_path / "image").exists()
    finally:
        subprocess.run(["umount", folder], check=True)


# -- compressed data -----------------------------------------------------------------------------------


@compressed_forms
def test_streams_stand_at_the_end_behind_less_than_a_block_of_zeros(form: str, built: Callable[[str], Built]) -> None:
    one = built(form)
    streams = 0
    for path, _, extent, data in one.streams():
        zeros = len(data) - len(data.lstrip(b"\0"))
        assert zeros < min(one.block, len(data)), (path, extent)
        if "extents" in form:
            assert zeros == 0, (path, extent)
        else:
            assert extent.address % one.block == 0, (path, extent)
        streams += 1
    assert streams > 5


@compressed_forms
def test_extents_that_are_not_last_decode_to_what_they_take_at_least(form: str, built: Callable[[str], Built]) -> None:
    one = built(form)
    kinds = set()
    for path, inode, extents in one.extents():
        for extent in extents[:-1]:
            assert extent.kind == Kind.HOLE or extent.length >= extent.stored, (path, extent)
        kinds |= {extent.kind for extent in extents}
        assert sum(extent.length for extent in extents) == inode.size, path
        for extent in extents:
            assert extent.stored <= 1 << 20, (path, extent)
            assert extent.length <= 12 << 20, (path, extent)
    if FORMS[form].get("pcluster", 4096) <= 16384:
        assert Kind.RAW in kinds, "no plain extent was tested"


@compressed_forms
def test_a_place_in_the_image_has_one_meaning(form: str, built: Callable[[str], Built]) -> None:
    one = built(form)
    places: dict[int, tuple[int, int, int]] = {}
    for path, _, extents in one.extents():
        for extent in extents:
            if extent.kind != Kind.HOLE:
                meaning = extent.kind, extent.stored, extent.length
                assert places.setdefault(extent.address, meaning) == meaning, path
    end = 0
    for address in sorted(places):
        assert address >= end
        end = address + places[address][1]


def test_files_alike_share_their_extents(built: Callable[[str], Built]) -> None:
    image = built("lz4, compact").image
    assert list(image.spans("text")) == list(image.spans("copy"))


def test_deflate_streams_end_with_their_last_page(built: Callable[[str], Built]) -> None:
    # A kernel fails where the data is complete before the last page, which then holds the end mark alone.
    for form in ("deflate", "deflate, 48-bit"):
        one = built(form)
        for path, _, extent, _ in one.streams():
            assert (extent.address + extent.stored) % one.block == 0, (path, extent)


@pytest.mark.parametrize("form", [name for name in COMPRESSED if name.startswith("zstd")])
def test_zstd_windows_are_no_larger_than_declared(form: str, built: Callable[[str], Built]) -> None:
    one = built(form)
    (record,) = one.image.algorithms
    assert record.algorithm == Algorithm.ZSTD
    assert record.window_bits <= 20
    for path, _, extent, data in one.streams():
        frame = zstandard.get_frame_parameters(data.lstrip(b"\0"))
        assert frame.window_size <= 1 << record.window_bits, (path, extent)


def test_lzma_looks_no_further_back_than_declared(built: Callable[[str], Built]) -> None:
    one = built("lzma")
    (record,) = one.image.algorithms
    assert record.dict_size == 4096
    longest = 0
    for path, inode, extent, data in one.streams():
        stream = data.lstrip(b"\0")
        header = struct.pack("<BIQ", ~stream[0] & 0xFF, record.dict_size, extent.length)
        decoder = lzma.LZMADecompressor(lzma.FORMAT_ALONE)
        decoded = decoder.decompress(header + b"\0" + stream[1:])
        assert decoded == one.image.pread(inode, extent.length, extent.start), path
        longest = max(longest, extent.length)
    assert longest > 2 * record.dict_size, "no extent is longer than the dictionary"


@pytest.mark.parametrize("compressor", ["deflate", "deflate,9", "zstd,1", "lz4"])
def test_streams_of_what_hardly_compresses_begin_with_no_zero(compressor: str, tmp_path: Path) -> None:
    # A stored block in front, which deflate chooses for noise, would begin with a zero byte.
    spec = {f"file-{n}": noise(3000 + 37 * n, n) + bytes(n * 60) + text(900, n) for n in range(60)}
    tree = make(tmp_path / "tree", spec)
    build(tmp_path / "image", tree, compressor=compressor, pcluster=16384)
    with Image.open(tmp_path / "image") as image:
        for path, data in spec.items():
            assert image.read(path) == data


@pytest.mark.parametrize("form", [name for name in COMPRESSED if FORMS[name].get("legacy_index")])
def test_distances_and_block_counts_fit_their_fields(form: str, built: Callable[[str], Built]) -> None:
    one = built(form)
    longest, most = 0, 0
    for path, inode, _ in one.extents():
        begin = -(-inode.body // 8) * 8 + 16
        records = unpack_full(one.raw[begin : begin + 8 * -(-inode.size // one.block)])
        big = one.header(inode).advise & Advise.BIG_PCLUSTER_1
        since = 0
        for number, (word, first, second) in enumerate(records):
            if word & 3 != 2:
                since = 0
                assert first < one.block, path
                continue
            since += 1
            longest = max(longest, since)
            if since == 1 and big:
                assert first & 0x800, (path, number)
                most = max(most, first & 0x7FF)
            else:
                # 2048 and more would read as a count of blocks.
                assert first == min(since, 2047), (path, number)
            assert 1 <= second <= 2047 or number == len(records) - 1, (path, number)
    if form == "lz4, small blocks":
        assert longest > 2048
        assert most > 0


def test_large_counts_of_blocks_read_back(tmp_path: Path) -> None:
    # Noise with a little text behind it: one cluster of almost as many blocks as the records can count.
    spec = {"file": noise(1_030_000) + text(60_000)}
    tree = make(tmp_path / "tree", spec)
    # Not with LZ4: kernels mount no more than 256 blocks of it.
    for index in ({}, {"legacy_index": True}):
        build(tmp_path / "image", tree, compressor="zstd,1", block_size=512, pcluster=2047 * 512, **index)
        with Image.open(tmp_path / "image") as image:
            assert 2000 * 512 < max(extent.stored for extent in image.spans("file")) <= 2047 * 512
            assert image.read("file") == spec["file"]


def test_no_extent_decodes_to_more_than_12_mib(tmp_path: Path) -> None:
    tree = make(tmp_path / "tree", {"zeros": b""})
    os.truncate(tree / "zeros", 50 << 20)
    for options in ({"pcluster": 1 << 20}, {"compressor": "zstd,1", "pcluster": 65536}):
        build(tmp_path / "image", tree, **options)
        with Image.open(tmp_path / "image") as image:
            lengths = [extent.length for extent in image.spans("zeros")]
            assert sum(lengths) == 50 << 20
            assert max(lengths) <= 12 << 20


@pytest.mark.parametrize("year", [1500, 1902, 2262, 2300, 9999])
def test_a_file_of_any_time_is_built(year: int, tmp_path: Path) -> None:
    """Nanoseconds since 1970 leave 64 bits in 2262."""
    when = (year - 1970) * 31_556_952
    tree = make(tmp_path / "tree", {"file": b"content"})
    os.utime(tree / "file", (when, when))
    if round((tree / "file").stat().st_mtime) != when:
        pytest.skip(f"this file system keeps no times of {year}")
    build(tmp_path / "image", tree)
    with Image.open(tmp_path / "image") as image:
        assert image.lookup("/file").mtime == when
