"""Everything a reader can do with bytes that may be anything: the property test and the fuzz target run this."""

from __future__ import annotations

from mkfs_erofs_py.check.inode import check
from mkfs_erofs_py.errors import ImageError, UnreadableError
from mkfs_erofs_py.ondisk.superblock import checksum_end
from mkfs_erofs_py.read import Image, Inode
from mkfs_erofs_py.read.map import image_map
from tests.support.handmade import with_checksum

__all__ = ["exercise", "mended"]

#: Inodes looked at and bytes read of one image, so that every case is quick.
MOST_INODES, MOST_BYTES = 300, 8 << 20


def mended(data: bytes) -> bytes:
    """Return ``data`` with a right checksum, if there is room for one: else every mutation would end there."""
    if len(data) < 2048 or not 9 <= data[1024 + 12] <= 16 or len(data) < checksum_end(1 << data[1024 + 12]):
        return data
    return with_checksum(data)


def exercise(data: bytes) -> list[ImageError]:
    """Open, walk, read, map and check ``data`` -> errors met. Anything raised is a defect."""
    errors: list[ImageError] = []
    try:
        with Image.open(memoryview(data)) as image:
            found = []
            for item in image.walk(on_error=lambda _, error: errors.append(error)):
                found.append(item)
                if len(found) >= MOST_INODES:
                    break
            for path, inode in found:
                _touch(image, path, inode, errors)
            if sum(inode.size for _, inode in found) < MOST_BYTES:
                _map(image)
    except ImageError as error:
        errors.append(error)
    return errors


def _map(image: Image) -> None:
    end = 0
    for region in image_map(image):
        assert region.start == end < region.end
        end = region.end
    assert end == image.size


def _touch(image: Image, path: bytes, inode: Inode, errors: list[ImageError]) -> None:
    image.stat(inode)
    if inode.size > MOST_BYTES:
        for offset in (0, inode.size // 2, inode.size - 10):
            try:
                image.pread(inode, 100, offset)
            except ImageError as error:
                errors.append(error)
        return
    done = check(image, path, inode)
    errors += [ImageError(one.what) for one in done.findings if one.kind == "corrupt"]
    try:
        if inode.is_file and inode.size:
            parts = [image.pread(inode, 5000, offset) for offset in range(0, inode.size, 5000)]
            assert sum(map(len, parts)) == inode.size
        image.fingerprint(inode)
        image.lookup(path, follow=False)
    except ImageError as error:
        errors.append(error)
    except UnreadableError:
        pass  # a damaged directory may show a name in its listing that bisection does not find
