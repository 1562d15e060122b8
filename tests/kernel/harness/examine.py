"""Read files in every way a program can, and compare the ways with each other and with the source."""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import hashlib
import os
import random
import stat
import struct
from collections.abc import Iterator

from tests.kernel.harness.mapping import mapping
from tests.support.trees import Snapshot

__all__ = ["examine_files"]

FIEMAP = 0xC020660B
FIEMAP_LAST = 1


def examine_files(point: str, expected: Snapshot, seed: int) -> list[str]:
    """Return what is wrong with the files under ``point``, beyond what a walk sees.

    Reads come in an order that no read-ahead foresees and from a cold cache first, then from front to back,
    then through a mapping, whose last page must be zero after the end of the file. Holes and extents as
    SEEK_HOLE and FIEMAP report them must agree with the content. Directories must give the types that the
    inodes have, and must not find names that are not there.
    """
    rng = random.Random(seed)
    root = os.fsencode(point)
    problems = []
    for path, entry in sorted(expected.items()):
        full = os.path.join(root, path)
        if entry.kind == "file" and path == entry.links[0]:
            fd = os.open(full, os.O_RDONLY)
            try:
                found = _file(fd, entry.size or 0, str(entry.content), rng)
                problems += [f"{path!r}: {line}" for line in found]
            except OSError as error:
                problems.append(f"{path!r}: {error}")
            finally:
                os.close(fd)
        elif entry.kind == "directory":
            problems += [f"{path!r}: {line}" for line in _directory(full)]
    return problems


def _file(fd: int, size: int, sha256: str, rng: random.Random) -> Iterator[str]:
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    places = [(rng.randrange(size), rng.randint(1, 20_000)) for _ in range(4 if size else 0)]
    places += [(max(size - 5, 0), 100), (size, 10), (size + 5000, 10)]
    pieces = [(at, length, os.pread(fd, length, at)) for at, length in places]
    content = b"".join(iter(lambda: os.read(fd, 1 << 20), b""))
    if len(content) != size or hashlib.sha256(content).hexdigest() != sha256:
        yield "content differs when read from front to back"
        return
    for at, length, piece in pieces:
        if piece != content[at : at + length]:
            yield f"reading {length} bytes at {at} from a cold cache gives other bytes"
    if not size:
        return
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    with mapping(fd) as (address, length):
        mapped = ctypes.string_at(address, length)
    if mapped[:size] != content:
        yield "content differs when mapped"
    if mapped[size:].strip(b"\0"):
        yield "the mapping shows bytes after the end of the file"
    yield from _holes(fd, content)
    yield from _extents(fd, content)


def _holes(fd: int, content: bytes) -> Iterator[str]:
    """Check that what SEEK_DATA skips is zero, and that a file ends with a hole."""
    at = 0
    while at < len(content):
        try:
            data = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            data = len(content)
        if content[at:data].strip(b"\0"):
            yield f"SEEK_DATA skips data between {at} and {data}"
        if data == len(content):
            return
        at = os.lseek(fd, data, os.SEEK_HOLE)
        if not data < at <= len(content):
            yield f"SEEK_HOLE from {data} gives {at}"
            return


def _extents(fd: int, content: bytes, most: int = 8192) -> Iterator[str]:
    """Check that FIEMAP's extents are in order and cover everything that is not zero."""
    request = array.array("B", struct.pack("<QQIIII", 0, len(content), 0, 0, most, 0) + bytes(56 * most))
    try:
        fcntl.ioctl(fd, FIEMAP, request)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return
        raise
    (count,) = struct.unpack_from("<I", request, 20)
    end = flags = 0
    for number in range(count):
        start, _, length, flags = struct.unpack_from("<QQQ16xI", request, 32 + 56 * number)
        if start < end:
            yield f"FIEMAP's extent at {start} overlaps the one before, which ends at {end}"
        if content[end:start].strip(b"\0"):
            yield f"FIEMAP shows a hole from {end} to {start} where there is data"
        end = start + length
    if count == most:
        return
    if content[end:].strip(b"\0"):
        yield f"FIEMAP ends at {end} before the data does"
    if count and not flags & FIEMAP_LAST:
        yield "FIEMAP marks no last extent"


def _directory(path: bytes) -> Iterator[str]:
    names = set()
    with os.scandir(path) as entries:
        for entry in entries:
            names.add(entry.name)
            mode = os.lstat(entry.path).st_mode
            kinds = (entry.is_dir(follow_symlinks=False), entry.is_file(follow_symlinks=False), entry.is_symlink())
            if kinds != (stat.S_ISDIR(mode), stat.S_ISREG(mode), stat.S_ISLNK(mode)):
                yield f"readdir gives {entry.name!r} another type than its inode"
            if entry.inode() != os.lstat(entry.path).st_ino:
                yield f"readdir gives {entry.name!r} another inode number than lookup"
    # Just before, beside and after names that are there, where a search that goes astray would end.
    near = sorted(names)[:: max(len(names) // 50, 1)]
    absent = {b"\x01", b"~", b"\xff" * 255, *(n[:-1] for n in near), *(n[:254] + b"!" for n in near)}
    for name in absent - names - {b"", b".", b".."}:
        if os.path.lexists(os.path.join(path, name)):
            yield f"lookup finds {name!r}, which is not there"
