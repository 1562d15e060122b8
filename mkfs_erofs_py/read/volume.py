"""The ground an image stands on: its superblock, its devices, and bytes at addresses.

Everything that is judged once for a whole image is judged here, each rule named where it is checked.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import CorruptError, OutOfBoundsError, UnsupportedError, UsageError
from ..files.read_at import Buffer, ReadAt
from ..files.windows import WINDOW, WINDOW_BITS, Windows
from ..ondisk.constants import BLOCK_BITS_RANGE, SUPERBLOCK_OFFSET, Algorithm, Compat, Incompat
from ..ondisk.device import SLOT_SIZE, DeviceSlot
from ..ondisk.superblock import (
    AlgorithmRecord,
    Superblock,
    checksum,
    checksum_end,
    unpack_algorithms,
)
from .span import METABOX

__all__ = ["Volume"]

_KNOWN_INCOMPAT = 0x1FF
_KNOWN_ALGORITHMS = 0xF
#: The superblock and its extension must lie in one page of the smallest kernel (4 KiB).
_SUPERBLOCK_ROOM = 4096 - SUPERBLOCK_OFFSET
_LZMA_DICT_RANGE = (4096, 8 << 20)
_MAX_WINDOW_BITS = {Algorithm.DEFLATE: 15, Algorithm.ZSTD: 20}
_NID_METABOX = 1 << 63
#: More than an algorithm record table can take: four records of 65535 bytes with their lengths.
_RECORDS_ROOM = 4 * 65540
_WITHIN = WINDOW - 1
#: Data shorter than this is taken out of a window that is there anyway: mostly it is the tail of a file or a
#: directory, behind its inode.
_SMALL = 4096


class Volume:
    """Superblock, algorithm records, device slots and the readers behind them.

    Holds no position and never changes after construction (but for ``metabox``, set once), so threads share it.
    Metadata is read through windows, since one inode lies beside the next; data is read by itself.
    """

    def __init__(self, image: ReadAt, devices: Sequence[ReadAt] = ()) -> None:
        self.image = image
        self.devices = tuple(devices)
        room = min(image.size, SUPERBLOCK_OFFSET + _SUPERBLOCK_ROOM)
        head = bytes(image.read_at(0, room))
        sb = self.superblock = Superblock.unpack(head)
        _judge(sb)
        self.block_bits = sb.block_bits
        self.block_size = 1 << sb.block_bits
        self.meta_start = sb.meta_blkaddr << sb.block_bits
        self.xattr_start = sb.xattr_blkaddr << sb.block_bits
        self.epoch = sb.epoch
        self.fixed_nsec = sb.fixed_nsec
        self.incompat = int(sb.incompat)
        if sb.compat & Compat.SB_CHKSUM:
            self._judge_checksum()
        self.records = self._records()
        self.algorithms = self._algorithms()
        #: LZ4 streams of images without the bit stand in front of their padding, not behind it.
        self.padding_in_front = bool(self.incompat & Incompat.LZ4_0PADDING)
        self.slots = self._slots()
        self._id_mask = (1 << len(self.slots).bit_length()) - 1
        #: Up to where an address is simply an offset in the image: nowhere, if it can mean another device.
        self._plain_size = image.size if not self.slots else 0
        self._size = image.size
        self._near = Windows(image)
        self._windows = self._near.whole
        self._box: tuple[ReadAt, Windows] | None = None

    # -- what is judged once -----------------------------------------------------------------------

    def _judge_checksum(self) -> None:
        sb = self.superblock
        end = checksum_end(self.block_size)
        found = checksum(self.image.read_at(SUPERBLOCK_OFFSET, end - SUPERBLOCK_OFFSET))
        if found != sb.checksum:
            raise CorruptError(
                f"superblock checksum is {sb.checksum:#010x}, its bytes give {found:#010x}", SUPERBLOCK_OFFSET + 4
            )

    def _records(self) -> list[AlgorithmRecord]:
        sb = self.superblock
        if not self.incompat & Incompat.COMPR_CFGS:
            return []
        if sb.algorithms & ~_KNOWN_ALGORITHMS:
            raise UnsupportedError(f"unknown compression algorithms {sb.algorithms:#x}", SUPERBLOCK_OFFSET + 0x54)
        start = sb.algorithms_offset
        data = self.image.read_at(0, min(self.image.size, start + _RECORDS_ROOM))
        records, _ = unpack_algorithms(data, start, sb.algorithms)
        for record in records:
            _judge_record(record, self.block_size, start)
        return records

    def _algorithms(self) -> frozenset[int]:
        """Which algorithms files may use.

        Without records it is LZ4 alone, told by its maximum distance or by the padding bit. The first
        erofs-utils wrote neither, so an image without any incompatible feature may hold LZ4 too: newer kernels
        refuse to read such files, older ones and we do not.
        """
        if self.incompat & Incompat.COMPR_CFGS:
            return frozenset(int(record.algorithm) for record in self.records)
        if self.superblock.algorithms or self.incompat & Incompat.LZ4_0PADDING or not self.incompat:
            return frozenset({int(Algorithm.LZ4)})
        return frozenset()

    def _slots(self) -> list[DeviceSlot]:
        sb = self.superblock
        count = sb.devices if self.incompat & Incompat.DEVICE_TABLE else 0
        if self.devices and len(self.devices) != count:
            raise UsageError(f"the image has {count} extra devices, {len(self.devices)} were given")
        if not count:
            return []
        start = sb.device_table * SLOT_SIZE
        if start + count * SLOT_SIZE > self.image.size:
            raise OutOfBoundsError(f"table of {count} devices lies outside the image", start)
        data = self.image.read_at(start, count * SLOT_SIZE)
        slots = [DeviceSlot.unpack(data, i * SLOT_SIZE)[0] for i in range(count)]
        if not self.incompat & Incompat.BIT48:
            low = 0xFFFF_FFFF
            slots = [DeviceSlot(slot.tag, slot.blocks & low, slot.uniaddr & low) for slot in slots]
        return slots

    @property
    def metabox(self) -> ReadAt | None:
        """The metabox's data; set by `Image`, which can read files."""
        return self._box and self._box[0]

    @metabox.setter
    def metabox(self, reader: ReadAt) -> None:
        self._box = reader, Windows(reader)

    def release(self) -> None:
        """Close the readers; nothing can be read any more."""
        self._near.clear()
        if self._box is not None:
            self._box[1].clear()
        self.image.close()
        for device in self.devices:
            device.close()

    # -- bytes at addresses ------------------------------------------------------------------------

    def meta(self, in_metabox: bool, offset: int, length: int) -> tuple[Buffer, int]:
        """Return ``(buffer, at)`` such that ``buffer[at:at+length]`` is metadata from ``offset``.

        The buffer may be much larger: a window, which nearly always is there already. Raises ``OutOfBoundsError``,
        ``UnreadableError``.
        """
        if not in_metabox:
            # `Windows.view` at its most frequent: this is called several times for every inode.
            held = self._windows.get(offset >> WINDOW_BITS)
            at = offset & _WITHIN
            if held is not None and at + length <= WINDOW:
                return held, at
            if offset + length > self._size:
                raise OutOfBoundsError(f"{length} bytes of metadata reach past the image's end", offset)
            return self._near.view(offset, length)
        box = self._box
        if box is None:
            raise CorruptError("metadata lies in a metabox that the image does not have", offset)
        return box[1].view(offset, length)

    def meta_size(self, in_metabox: bool) -> int:
        """How many bytes of metadata there can be."""
        if not in_metabox:
            return self.image.size
        return self._box[0].size if self._box is not None else 0

    def raw(self, device: int, address: int, length: int) -> Buffer:
        """Return ``length`` stored bytes from byte ``address`` of a device (0: the unified address space).

        Without ``devices`` all addresses lie in the image, id k's relocated by its slot; with them, a unified
        address in a slot's range goes to that slot's device. Raises ``OutOfBoundsError``, ``CorruptError``.
        """
        reader, at = self._reach(device, address, length)
        return reader.read_at(at, length)

    def _reach(self, device: int, address: int, length: int) -> tuple[ReadAt, int]:
        reader, at = self.locate(device, address)
        if at + length > reader.size:
            what = "the image" if reader is self.image else f"device {self.devices.index(reader) + 1}"
            if reader is self.image and self.slots and not self.devices:
                raise OutOfBoundsError("data lies on an extra device, none was given", address)
            raise OutOfBoundsError(f"{length} bytes of data reach past the end of {what}", address)
        return reader, at

    def stored(self, device: int, address: int, length: int) -> Buffer:
        """Return ``length`` bytes of a span from ``address``: like `raw`, or of the metabox (`METABOX`)."""
        if not device and address + length <= self._plain_size:
            if length < _SMALL:
                held = self._windows.get(address >> WINDOW_BITS)
                at = address & _WITHIN
                if held is not None and at + length <= WINDOW:
                    return held[at : at + length]
            return self.image.read_at(address, length)
        if device == METABOX:
            data, at = self.meta(True, address, length)
            return data[at : at + length]
        return self.raw(device, address, length)

    def stored_into(self, device: int, address: int, buffer: memoryview) -> None:
        """Like `stored`, into ``buffer``."""
        if device == METABOX or len(buffer) < _SMALL:
            buffer[:] = self.stored(device, address, len(buffer))
        else:
            reader, at = self._reach(device, address, len(buffer))
            reader.read_into(at, buffer)

    def locate(self, device: int, address: int) -> tuple[ReadAt, int]:
        """Return the reader that holds byte ``address`` of ``device``, and the offset in it."""
        if not self.slots:
            if device:
                raise CorruptError(f"data on device {device} of an image without extra devices", address)
            return self.image, address
        if device:
            if device > len(self.slots):
                raise CorruptError(f"data on device {device}, the image has {len(self.slots)}", address)
            if self.devices:
                return self.devices[device - 1], address
            start = self.slots[device - 1].uniaddr << self.block_bits
            return self.image, start + address
        if self.devices:
            for slot, reader in zip(self.slots, self.devices, strict=True):
                start = slot.uniaddr << self.block_bits
                if slot.uniaddr and start <= address < start + (slot.blocks << self.block_bits):
                    return reader, address - start
        return self.image, address

    def device_id(self, raw: int) -> int:
        """Mask a chunk index's device id to the bits that the number of devices needs."""
        return raw & self._id_mask


def _judge(sb: Superblock) -> None:
    low, high = BLOCK_BITS_RANGE
    if not low <= sb.block_bits <= high:
        raise UnsupportedError(f"block size 2**{sb.block_bits} is not one of 512 to 65536", SUPERBLOCK_OFFSET + 0x0C)
    unknown = int(sb.incompat) & ~_KNOWN_INCOMPAT
    if unknown:
        raise UnsupportedError(f"unknown incompatible features {unknown:#x}", SUPERBLOCK_OFFSET + 0x50)
    if sb.dirblkbits:
        raise UnsupportedError(f"directory block bits {sb.dirblkbits} are not 0", SUPERBLOCK_OFFSET + 0x5A)
    if sb.size > _SUPERBLOCK_ROOM:
        raise CorruptError(f"{sb.ext_slots} superblock extension slots do not fit a page", SUPERBLOCK_OFFSET + 0x0D)
    if sb.packed_nid & _NID_METABOX:
        raise CorruptError("the packed inode claims to lie in the metabox", SUPERBLOCK_OFFSET + 0x60)
    if sb.incompat & Incompat.METABOX:
        if not sb.ext_slots:
            raise CorruptError("metabox feature without the superblock extension that names it", SUPERBLOCK_OFFSET)
        if sb.metabox_nid & _NID_METABOX:
            raise CorruptError("the metabox claims to lie in itself", SUPERBLOCK_OFFSET + 0x80)
    if sb.compat & Compat.ISHARE_XATTRS and sb.ishare_prefix >= sb.prefix_count:
        raise CorruptError(
            f"image-share prefix {sb.ishare_prefix} of {sb.prefix_count} long prefixes", SUPERBLOCK_OFFSET + 0x69
        )


def _judge_record(record: AlgorithmRecord, block_size: int, offset: int) -> None:
    algorithm = record.algorithm
    if algorithm is Algorithm.LZ4 and record.max_pcluster * block_size > 1 << 20:
        raise CorruptError(f"LZ4 physical clusters of {record.max_pcluster} blocks exceed 1 MiB", offset)
    low, high = _LZMA_DICT_RANGE
    if algorithm is Algorithm.LZMA and not low <= record.dict_size <= high:
        raise CorruptError(f"LZMA dictionary of {record.dict_size} bytes is not 4 KiB to 8 MiB", offset)
    if record.window_bits > _MAX_WINDOW_BITS.get(algorithm, 255):
        raise CorruptError(f"{algorithm.name} window of 2**{record.window_bits} bytes is too large", offset)
