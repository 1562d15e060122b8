"""Checking one image on all cores: the main process walks the directories, workers read the files."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..errors import AnyPath, ImageError, NotDirectoryError, UnreadableError, UsageError
from ..files.read_at import PathOrFile
from ..fingerprint import ALGORITHMS
from ..progress import Progress, silent
from ..read import Image, ImageSource, opened
from ..units import amount, expect
from ..workers.team import available_cores, run
from .inode import Finding, check
from .manifest import Digests, check_digests, read_manifest
from .tree import SourceFile, compare_metadata, paths_below

__all__ = ["VerifyReport", "verify_image"]

#: Images below this size are checked in one process: forking would cost more than it brings.
_SMALL = 4 << 20
#: A batch of inodes ends with this many, with this many bytes of paths, or with this many of data.
_BATCH, _BATCH_PATHS, _BATCH_BYTES = 64, 16384, 4 << 20

_Item = tuple[int, bytes, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What checking an image showed.

    ``inodes`` counts the names in the image, ``files`` its regular files (a hard link once), ``size`` their bytes, and
    ``proven`` those of them whose content is what their fingerprint says. ``findings`` are in order of paths.
    ``digests`` holds (path, algorithm, digest in hex) of every regular file, where digests were asked for.
    """

    inodes: int = 0
    files: int = 0
    size: int = 0
    proven: int = 0
    findings: tuple[Finding, ...] = ()
    digests: tuple[tuple[bytes, str, str], ...] = ()

    @property
    def faults(self) -> tuple[Finding, ...]:
        """The findings that make an image unsound."""
        return tuple(one for one in self.findings if one.kind != "unproven")

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong: a file without a fingerprint is noted, and is no fault."""
        return not self.faults

    def as_dict(self) -> dict[str, Any]:
        """Return the report ready for JSON, ``digests`` left out."""
        return {
            "status": "sound" if self.sound else "unsound",
            "inodes": self.inodes,
            "files": self.files,
            "bytes": self.size,
            "fingerprints": self.proven,
            "findings": [one.as_dict() for one in self.findings],
        }


def verify_image(
    image: ImageSource,
    *,
    devices: Sequence[PathOrFile] = (),
    tree: AnyPath | None = None,
    manifest: AnyPath | Digests | None = None,
    digest: str | None = None,
    workers: int = 0,
    progress: Progress | None = None,
) -> VerifyReport:
    """Check an image: checksum, structure, that every byte decodes, that every file is what its fingerprint says.

    ``image`` is a path, a binary file or an open `Image`; ``devices`` are its extra devices in their order.
    With ``tree`` everything is compared with the directory of that path, with ``manifest`` every file's digest with
    a list: a file that `read_manifest` reads, or what it returns. ``digest`` names an algorithm (``blake3``,
    ``sha256``) by which to compute a digest of every file. ``workers`` is a number of processes, 0 for what suits the
    image. ``progress`` hears of inodes.

    An image that is malformed, however badly, is a report that is not ``sound``. Raises `UnreadableError` for an
    image or tree that cannot be read at all, `SourceError` for a manifest or a file of the tree, `UsageError`.
    """
    amount("workers", workers)
    wanted = _wanted(tree, manifest, digest)
    try:
        with opened(image, devices) as one:
            return _verify(one, wanted, workers, progress or silent)
    except ImageError as error:
        return VerifyReport(findings=(Finding.of(b"", error),))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What to compare with: a tree, digests by path, a digest of every file."""

    tree: bytes | None = None
    manifest: Digests | None = None
    digest: str | None = None


def _wanted(tree: AnyPath | None, manifest: AnyPath | Digests | None, digest: str | None) -> _Wanted:
    if digest is not None and digest not in ALGORITHMS:
        raise UsageError(f"digest {digest!r}: not one of {', '.join(ALGORITHMS)}")
    if tree is not None:
        _judge_tree(expect("tree", tree, (str, bytes, os.PathLike), "a path"))
    if isinstance(manifest, (str, bytes, os.PathLike)):
        manifest = read_manifest(manifest)
    elif manifest is not None:
        check_digests(manifest)
    return _Wanted(os.fsencode(tree).rstrip(b"/") if tree is not None else None, manifest, digest)


def _judge_tree(tree: AnyPath) -> None:
    try:
        mode = os.stat(tree).st_mode
    except OSError as error:
        raise UnreadableError.of(tree, error) from error
    if not stat.S_ISDIR(mode):
        raise NotDirectoryError(tree, "not a directory")


@dataclass(slots=True)
class _Tally:
    """What was found so far, or what one worker found."""

    inodes: int = 0
    files: int = 0
    size: int = 0
    proven: int = 0
    findings: list[Finding] = field(default_factory=list)
    digests: list[tuple[bytes, str, str]] = field(default_factory=list)

    def add(self, other: _Tally) -> None:
        """Take in what a worker found."""
        self.files += other.files
        self.size += other.size
        self.proven += other.proven
        self.findings += other.findings
        self.digests += other.digests

    def report(self) -> VerifyReport:
        """Return all of it, findings in order of paths."""
        return VerifyReport(
            inodes=self.inodes,
            files=self.files,
            size=self.size,
            proven=self.proven,
            findings=tuple(sorted(self.findings, key=lambda one: (one.path, one.what))),
            digests=tuple(self.digests),
        )


def _verify(image: Image, wanted: _Wanted, workers: int, progress: Progress) -> VerifyReport:
    tally = _Tally()
    walker = _Walker(image, wanted, tally)
    count = 1 if image.bound else workers or (1 if image.size < _SMALL else available_cores())
    expected = image.superblock.inodes
    with contextlib.closing(run(walker.batches(), partial(_check_batch, image, wanted), count)) as parts:
        for number, part in enumerate(parts, 1):
            tally.add(part)
            progress("verifying", min(number * _BATCH, expected), expected)
    walker.finish()
    return tally.report()


class _Walker:
    """Names the work, and keeps what only the walk as a whole can tell."""

    def __init__(self, image: Image, wanted: _Wanted, tally: _Tally) -> None:
        self._image = image
        self._wanted = wanted
        self._tally = tally
        self._paths: set[bytes] = set()
        self._links: dict[int, list[bytes]] = {}

    def batches(self) -> Iterator[list[_Item]]:
        """Yield inodes to check, each once (but once a path where a tree is compared with)."""
        wanted, tally = self._wanted, self._tally
        items: list[_Item] = []
        room = paths = 0
        packed = self._image.packed
        if packed is not None:
            items.append((packed.nid, b"(packed inode)", ()))
        for path, inode in self._image.walk(on_error=self._fault):
            tally.inodes += 1
            if wanted.tree is not None:
                self._paths.add(path)
            algorithms = self._algorithms(path) if inode.is_file else ()
            if inode.nlink > 1 and not inode.is_dir:
                self._links.setdefault(inode.nid, []).append(path)
                if len(self._links[inode.nid]) > 1 and wanted.tree is None:
                    continue
            items.append((inode.nid, path, algorithms))
            room += inode.size
            paths += len(path)
            if len(items) >= _BATCH or room > _BATCH_BYTES or paths > _BATCH_PATHS:
                yield items
                items = []
                room = paths = 0
        if items:
            yield items

    def _algorithms(self, path: bytes) -> tuple[str, ...]:
        found = {self._wanted.digest} if self._wanted.digest else set()
        if self._wanted.manifest and path in self._wanted.manifest:
            found.add(self._wanted.manifest[path][0])
        return tuple(sorted(found))

    def _fault(self, path: bytes, error: ImageError) -> None:
        self._tally.findings.append(Finding.of(path, error))

    def finish(self) -> None:
        """Add what is known only at the end: other names of hard links, what the image lacks."""
        wanted, tally = self._wanted, self._tally
        if wanted.digest or wanted.manifest is not None:
            self._spread_links()
        if wanted.tree is not None:
            missing = (path for path in paths_below(wanted.tree) if path not in self._paths)
            tally.findings += [Finding("differs", path, "is not in the image") for path in missing]
        if wanted.manifest is not None:
            self._compare_manifest(wanted.manifest)

    def _spread_links(self) -> None:
        others = {paths[0]: paths[1:] for paths in self._links.values() if len(paths) > 1}
        known = set(self._tally.digests)
        for path, algorithm, digest in list(self._tally.digests):
            for other in others.get(path, ()):
                if (other, algorithm, digest) not in known:
                    self._tally.digests.append((other, algorithm, digest))

    def _compare_manifest(self, manifest: Digests) -> None:
        tally = self._tally
        found: dict[bytes, dict[str, str]] = {}
        for path, algorithm, digest in tally.digests:
            found.setdefault(path, {})[algorithm] = digest
        for path, (algorithm, digest) in manifest.items():
            got = found.pop(path, None)
            if got is None:
                tally.findings.append(Finding("differs", path, "is in the manifest but no file of the image"))
            elif got.get(algorithm) != digest:
                what = "content is not what the manifest says"
                have = f"{algorithm}:{got[algorithm]}" if algorithm in got else None
                tally.findings.append(Finding("differs", path, what, f"{algorithm}:{digest}", have))
        tally.findings += [Finding("differs", path, "is not in the manifest") for path in found]


def _check_batch(image: Image, wanted: _Wanted, batch: list[_Item]) -> _Tally:
    tally = _Tally()
    for nid, path, algorithms in batch:
        inode = image.inode(nid)
        source = None
        if wanted.tree is not None and path.startswith(b"/"):
            full = wanted.tree + path
            tally.findings += compare_metadata(image, path, inode, full)
            if inode.is_file and os.path.isfile(full) and not os.path.islink(full):
                source = SourceFile(full)
        try:
            done = check(image, path, inode, algorithms, source)
        finally:
            if source is not None:
                source.close()
        if source is not None and source.differs_at is not None:
            what = f"content is not that of the tree, from byte {source.differs_at}"
            tally.findings.append(Finding("differs", path, what))
        if not path.startswith(b"/"):  # the packed inode carries no fingerprint
            done.findings = [one for one in done.findings if one.kind != "unproven"]
        tally.findings += done.findings
        if inode.is_file and path.startswith(b"/"):
            tally.files += 1
            tally.size += inode.size
            tally.proven += done.proven
            if wanted.digest or wanted.manifest is not None:
                tally.digests += [(path, name, digest) for name, digest in done.digests.items()]
    return tally
