"""What options resolve to: the one profile that holds every choice of layout which does not depend on the tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..compress import COMPRESSORS, CompressorSpec, parse_compressor, require_encoder
from ..encode.encoding import Encoding, IndexForm
from ..errors import UsageError
from ..fingerprint import ALGORITHMS
from ..kernels import Feature, Kernel, Requirements
from ..ondisk.constants import (
    BLOCK_BITS_RANGE,
    FINGERPRINT_NAME,
    LZ4_MAX_BLOCKS,
    MAX_ENCODED,
    Algorithm,
)
from ..ondisk.lcluster import COMPACT_MAX_BITS, D0_CBLKCNT
from ..ondisk.superblock import LongPrefix
from ..ondisk.xattr import LONG_PREFIX_FLAG, NAMESPACES
from .options import BuildOptions
from .times import TimePolicy, times

__all__ = ["Profile", "admit", "first_sharing_kernel", "resolve"]

#: Encoded extents: bytes of content a piece holds where ``-C`` does not say, and the least it may say.
#: Smaller pieces cost more in lost context than the index saves.
_EXTENT_PIECE, _EXTENT_PIECE_MIN = 65536, 8192
#: The latest time of modification, in seconds since 1970, that a file system's signed 64 bits can hold.
_LATEST = (1 << 63) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The layout that options resolve to; see `resolve`.

    ``stamp``, in seconds since 1970, and ``time_policy`` say what becomes of files' times.
    ``encoding`` is what a content gets where no policy says otherwise, ``wide`` tells of the 48-bit layout,
    ``fingerprint_entry`` is the (index, suffix) under which fingerprints are stored, ``ishare`` whether the superblock
    announces them.
    """

    stamp: int | None
    time_policy: TimePolicy
    encoding: Encoding
    wide: bool
    fingerprint_entry: tuple[int, bytes] | None
    prefixes: tuple[LongPrefix, ...]
    ishare: bool
    least_kernel: Kernel

    @property
    def block_bits(self) -> int:
        """Log2 of the block size."""
        return self.encoding.block_bits

    @property
    def block_size(self) -> int:
        """Bytes in a block."""
        return self.encoding.block_size


def resolve(options: BuildOptions) -> Profile:
    """Decide the layout. Raises `UsageError` naming the option that is wrong or that the kernel lacks."""
    needs = Requirements(Kernel.parse(options.kernel) if options.kernel is not None else None)
    block_bits = _block_bits(options, needs)
    stamp, time_policy = times(
        options.timestamp,
        all_time=options.all_time,
        ignore_mtime=options.ignore_mtime,
        source_date_epoch=options.source_date_epoch,
    )
    if stamp is not None and not 0 <= stamp <= _LATEST:
        raise UsageError(f"-T{stamp}: not a time since 1970")
    if len(options.label) > 15:
        raise UsageError(f"-L: the label takes {len(options.label)} bytes; at most 15 fit")
    if options.inode_form not in ("auto", "compact", "extended"):
        raise UsageError(f"inode form {options.inode_form!r}: not auto, compact or extended")
    compressor = None if _is_plain(options) else parse_compressor(options.compressor or "")
    wide = _wide(options, needs)
    index = _index(options, compressor, block_bits, wide, needs)
    pcluster = _pcluster(options, index, block_bits, compressor, needs)
    prefixes, entry = _prefixes(options, needs)
    ishare = bool(prefixes) and entry is not None and bool(entry[0] & LONG_PREFIX_FLAG)
    return Profile(
        stamp=stamp,
        time_policy=time_policy,
        encoding=Encoding(
            block_bits=block_bits,
            index=index,
            compressor=compressor,
            pcluster=pcluster,
            digest="blake3" if options.fingerprint == "none" else options.fingerprint,
        ),
        wide=wide,
        fingerprint_entry=entry,
        prefixes=prefixes,
        ishare=ishare,
        least_kernel=needs.least,
    )


def admit(profile: Profile, kernel: str | None, encodings: Sequence[Encoding]) -> Profile:
    """Check the encodings that contents may get -> the profile with the oldest kernel that reads all of them.

    ``kernel`` is the release that must mount the image, as in the options. Raises `UsageError` naming what is wrong
    with an encoding, or what the kernel lacks.
    """
    needs = Requirements(Kernel.parse(kernel) if kernel is not None else None)
    if not encodings:
        raise UsageError("a policy gives one encoding at least")
    for encoding in encodings:
        if (encoding.block_bits, encoding.digest) != (profile.block_bits, profile.encoding.digest):
            raise UsageError(
                f"an encoding has blocks of {encoding.block_size} bytes and {encoding.digest} digests, "
                f"the image {profile.block_size} and {profile.encoding.digest}"
            )
        if encoding.compressor is None:
            continue
        name = f"-z{encoding.compressor.name}"
        needs.require(name, COMPRESSORS[encoding.compressor.name].feature)
        if encoding.block_size < 4096:
            needs.require(name, Feature.SUBPAGE_COMPRESSED)
        if encoding.big:
            needs.require(f"{name} -C{encoding.pcluster}", Feature.BIG_PCLUSTER)
        if encoding.unaligned and not profile.wide:
            raise UsageError(f"{name}: encoded extents are part of the 48-bit layout, which this image does not have")
        require_encoder(encoding.compressor)
    return replace(profile, least_kernel=max(profile.least_kernel, needs.least))


def _is_plain(options: BuildOptions) -> bool:
    return options.compressor in (None, "", "none")


def _block_bits(options: BuildOptions, needs: Requirements) -> int:
    size = options.block_size
    low, high = BLOCK_BITS_RANGE
    bits = max(size, 1).bit_length() - 1
    if size != 1 << bits or not low <= bits <= high:
        raise UsageError(f"-b{size}: the block size is a power of two from {1 << low} to {1 << high}")
    if size < 4096:
        # Smaller than any page.
        needs.require(f"-b{size}", Feature.SUBPAGE_PLAIN if _is_plain(options) else Feature.SUBPAGE_COMPRESSED)
    return bits


def _wide(options: BuildOptions, needs: Requirements) -> bool:
    """Whether the image uses the 48-bit layout: asked for, or known to the named kernel."""
    if options.dot_omitted:
        needs.require("-Edot-omitted", Feature.BIT48)
        if options.encoded_extents is False:
            raise UsageError("-Edot-omitted: is part of the 48-bit layout, which -E^48bit turns off")
    if options.encoded_extents:
        needs.require("-E48bit", Feature.BIT48)
    wide = (
        options.dot_omitted or needs.allow(Feature.BIT48)
        if options.encoded_extents is None
        else options.encoded_extents
    )
    if wide:
        needs.require("the 48-bit layout", Feature.BIT48)
    return wide


def _index(
    options: BuildOptions, compressor: CompressorSpec | None, block_bits: int, wide: bool, needs: Requirements
) -> IndexForm:
    if compressor is None:
        return IndexForm.NONE
    algorithm = Algorithm(compressor.algorithm)
    needs.require(f"-z{options.compressor}", COMPRESSORS[compressor.name].feature)
    if options.legacy_index:
        if options.encoded_extents:
            raise UsageError("-Elegacy-compress: contradicts -E48bit")
        return IndexForm.FULL
    if wide and algorithm is not Algorithm.DEFLATE:
        # Linux (6.18 still) fails to decode a DEFLATE stream of which only the end mark lies in its last page,
        # and byte-packed streams end anywhere; block-aligned ones fill their last page.
        return IndexForm.EXTENTS
    return IndexForm.COMPACT if block_bits <= COMPACT_MAX_BITS else IndexForm.FULL


def _pcluster(
    options: BuildOptions, index: IndexForm, block_bits: int, compressor: CompressorSpec | None, needs: Requirements
) -> int:
    block = 1 << block_bits
    if options.pcluster is None:
        return max(_EXTENT_PIECE, block) if index is IndexForm.EXTENTS else block
    size = options.pcluster
    if not block <= size <= MAX_ENCODED or size % block:
        raise UsageError(f"-C{size}: a physical cluster is a multiple of {block} up to {MAX_ENCODED} bytes")
    if index is IndexForm.EXTENTS:
        # Pieces are a power of two, so that a record is found by its number.
        size = 1 << (max(size, _EXTENT_PIECE_MIN, block).bit_length() - 1)
    elif size >> block_bits >= D0_CBLKCNT:
        raise UsageError(f"-C{size}: an index cannot count {size >> block_bits} blocks of {block}")
    if compressor is not None and compressor.algorithm == Algorithm.LZ4 and size >> block_bits > LZ4_MAX_BLOCKS:
        raise UsageError(f"-C{size}: Linux mounts LZ4 clusters of {LZ4_MAX_BLOCKS} blocks at most, here of {block}")
    if index is IndexForm.EXTENTS:
        return size
    if compressor is not None and size > block:
        needs.require(f"-C{size}", Feature.BIG_PCLUSTER)
    return size


def _prefixes(options: BuildOptions, needs: Requirements) -> tuple[tuple[LongPrefix, ...], tuple[int, bytes] | None]:
    """Choose the long prefixes -> the table, and (index, suffix) of the fingerprint's entries.

    The fingerprint's whole name is the first prefix, which the superblock names for sharing. A
    kernel that lacks prefixes gets it as an ordinary attribute, and cannot share.
    """
    prefixes = []
    entry = None
    if options.fingerprint == "none":
        if options.fingerprint_name != FINGERPRINT_NAME:
            raise UsageError("--xattr-inode-digest: contradicts --fingerprint=none")
    else:
        if options.fingerprint not in ALGORITHMS:
            raise UsageError(f"--fingerprint={options.fingerprint}: not one of {', '.join(ALGORITHMS)}, none")
        base, infix = _namespace(options.fingerprint_name, "--xattr-inode-digest", hidden=True)
        if needs.allow(Feature.XATTR_PREFIXES):
            entry = LONG_PREFIX_FLAG, b""
            prefixes.append(LongPrefix(base, infix))
        elif base:
            entry = base, infix
        else:
            needs.require(
                f"--xattr-inode-digest={options.fingerprint_name.decode('utf-8', 'replace')}", Feature.XATTR_PREFIXES
            )
    for name in options.xattr_prefixes:
        needs.require(f"--xattr-prefix={name.decode('utf-8', 'replace')}", Feature.XATTR_PREFIXES)
        prefixes.append(LongPrefix(*_namespace(name, "--xattr-prefix", hidden=False)))
    if len(prefixes) > LONG_PREFIX_FLAG:
        raise UsageError(f"--xattr-prefix: at most {LONG_PREFIX_FLAG} prefixes fit")
    if prefixes:
        needs.require("the prefix table", Feature.XATTR_PREFIXES)
    return tuple(prefixes), entry


def _namespace(name: bytes, option: str, *, hidden: bool) -> tuple[int, bytes]:
    text = name.decode("utf-8", "replace")
    fits = [(i, n) for i, n in NAMESPACES.items() if n.endswith(b".") and name.startswith(n)]
    if not fits and not hidden:
        raise UsageError(f"{option}={text}: the name begins with user., trusted. or security.")
    index, namespace = fits[0] if fits else (0, b"")
    infix = name[len(namespace) :]
    if not 1 <= len(infix) <= 255:
        raise UsageError(f"{option}={text}: 1 to 255 bytes fit behind the namespace")
    return index, infix


def first_sharing_kernel() -> Kernel:
    """Return the release from which on images that announce fingerprints share page cache."""
    return Feature.ISHARE.first
