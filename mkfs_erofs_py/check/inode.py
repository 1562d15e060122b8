"""Proof that an image is what it says: every structure sound, every byte decodable, every fingerprint true.

Pure over `Image`: nothing is printed, nothing else is read. Whoever has several cores calls `check` for several
inodes in several processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import CorruptError, CutShortError, ImageError, printable
from ..files.read_at import Buffer
from ..fingerprint import new_hasher, parse
from ..ondisk.constants import Layout
from ..read.image import Image
from ..read.inode import Inode
from ..read.whole import filled
from ..units import text

__all__ = ["Checked", "Finding", "check"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    ``kind``: ``corrupt`` (structure or data), ``differs`` (what was ``expected`` is not what was ``found``) or
    ``unproven`` (a non-empty file without a fingerprint: a note, no fault). ``path`` is absolute inside the image, or
    empty where the image as a whole is at fault; ``what`` says in words what is wrong. ``expected`` and ``found`` are
    text, ``None`` where there is nothing to compare. ``offset`` is the byte of the image where the structure at fault
    lies, ``None`` where there is none.
    """

    kind: str
    path: bytes
    what: str
    expected: str | None = None
    found: str | None = None
    offset: int | None = None

    @classmethod
    def of(cls, path: bytes, error: ImageError) -> Finding:
        """Return the finding for an error that reading ``path`` raised."""
        return cls("corrupt", path, error.what, offset=error.offset)

    def as_dict(self) -> dict[str, Any]:
        """Return all fields, ready for JSON."""
        return asdict(self) | {"path": text(self.path)}


@dataclass(slots=True)
class Checked:
    """What checking one inode showed; ``digests`` by algorithm, in hex."""

    nid: int
    size: int
    findings: list[Finding] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    proven: bool = False


def check(
    image: Image,
    path: bytes,
    inode: Inode,
    algorithms: Iterable[str] = (),
    compare: Callable[[Buffer], None] | None = None,
) -> Checked:
    """Check one inode: its xattrs, every byte of its data, its fingerprint.

    ``algorithms`` are digests to compute in any case; ``compare`` is given a regular file's bytes in order.
    """
    done = Checked(inode.nid, inode.size)
    try:
        _, stored, denied = image.attributes(inode)
        for name in denied:
            what = f"name filter denies attribute {printable(name)}: kernels since 6.6 do not find it"
            done.findings.append(Finding("corrupt", path, what, offset=inode.offset))
        if inode.is_symlink:
            image.readlink(inode)
        if inode.is_file:
            _check_file(image, path, inode, stored if inode.size else None, algorithms, compare, done)
        if inode.is_file or inode.is_dir:
            _check_padding(image, inode)
    except CutShortError:
        raise  # of the rest of the image nothing can be said either
    except ImageError as error:
        done.findings.append(Finding.of(path, error))
    return done


def _check_file(
    image: Image,
    path: bytes,
    inode: Inode,
    stored: bytes | None,
    algorithms: Iterable[str],
    compare: Callable[[Buffer], None] | None,
    done: Checked,
) -> None:
    hashers = {algorithm: new_hasher(algorithm) for algorithm in algorithms}
    claim = digest = None
    if stored is not None:
        claim, digest = parse(stored)
        hashers.setdefault(claim, new_hasher(claim))
    if hashers or compare is not None:
        takers = [hasher.update for hasher in hashers.values()]
        for data in filled(image, inode):
            for take in takers:
                take(data)
            if compare is not None:
                compare(data)
    else:
        for _ in image.pieces(inode):
            pass
    done.digests = {algorithm: hasher.digest().hex() for algorithm, hasher in hashers.items()}
    if claim is None or digest is None:
        if inode.size:
            done.findings.append(Finding("unproven", path, "has no fingerprint"))
    elif done.digests[claim] != digest.hex():
        what = "content is not what its fingerprint says"
        done.findings.append(
            Finding("differs", path, what, f"{claim}:{digest.hex()}", f"{claim}:{done.digests[claim]}")
        )
    else:
        done.proven = True


def _check_padding(image: Image, inode: Inode) -> None:
    """Bytes behind the end of flat data in its last block must be zero: a mapping of the file shows them."""
    if inode.layout != Layout.FLAT_PLAIN or not inode.size % image.block_size or inode.start_block is None:
        return
    rest = image.block_size - inode.size % image.block_size
    end = inode.start_block * image.block_size + inode.size
    if any(image.raw(end, rest)):
        raise CorruptError(f"bytes behind the end of inode {inode.nid} are not zero", end)
