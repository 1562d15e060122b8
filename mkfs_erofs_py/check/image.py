"""Checking one image on all cores: the parent walks the directories, its children read the files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ..errors import ImageError
from ..read import Image
from ..workers.team import run
from .inode import Finding, check
from .tree import SourceFile, compare_metadata, paths_below

__all__ = ["Report", "Wanted", "check_image"]

#: A batch of inodes ends with this many, with this many bytes of paths, or with this many of data.
_BATCH, _BATCH_PATHS, _BATCH_BYTES = 64, 16384, 4 << 20

_Item = tuple[int, bytes, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to compare with: ``tree``, ``manifest`` (path to algorithm and digest), a digest of every file."""

    tree: bytes | None = None
    manifest: dict[bytes, tuple[str, str]] | None = None
    digest: str | None = None


@dataclass(slots=True)
class Report:
    """What checking an image showed. ``digests`` holds (path, algorithm, hex) where digests were wanted."""

    inodes: int = 0
    files: int = 0
    size: int = 0
    proven: int = 0
    findings: list[Finding] = field(default_factory=list)
    digests: list[tuple[bytes, str, str]] = field(default_factory=list)

    @property
    def faults(self) -> list[Finding]:
        """The findings that make an image unsound."""
        return [one for one in self.findings if one.kind != "unproven"]

    def add(self, other: Report) -> None:
        """Take in what a worker found."""
        self.files += other.files
        self.size += other.size
        self.proven += other.proven
        self.findings += other.findings
        self.digests += other.digests


def check_image(image: Image, wanted: Wanted, workers: int, progress: Callable[[int], None]) -> Report:
    """Check everything in ``image``; ``progress`` hears how many inodes are done."""
    report = Report()
    walker = _Walker(image, wanted, report)
    for number, part in enumerate(run(walker.batches(), lambda batch: _check_batch(image, wanted, batch), workers), 1):
        report.add(part)
        progress(number * _BATCH)
    walker.finish()
    report.findings.sort(key=lambda one: (one.path, one.what))
    return report


class _Walker:
    """Names the work, and keeps what only the walk as a whole can tell."""

    def __init__(self, image: Image, wanted: Wanted, report: Report) -> None:
        self._image = image
        self._wanted = wanted
        self._report = report
        self._paths: set[bytes] = set()
        self._links: dict[int, list[bytes]] = {}

    def batches(self) -> Iterator[list[_Item]]:
        """Yield inodes to check, each once (but once a path where a tree is compared with)."""
        wanted, report = self._wanted, self._report
        items: list[_Item] = []
        room = paths = 0
        packed = self._image.packed
        if packed is not None:
            items.append((packed.nid, b"(packed inode)", ()))
        for path, inode in self._image.walk(on_error=self._fault):
            report.inodes += 1
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
        self._report.findings.append(Finding.of(path, error))

    def finish(self) -> None:
        """Add what is known only at the end: other names of hard links, what the image lacks."""
        wanted, report = self._wanted, self._report
        if wanted.digest or wanted.manifest is not None:
            self._spread_links()
        if wanted.tree is not None:
            missing = (path for path in paths_below(wanted.tree) if path not in self._paths)
            report.findings += [Finding("differs", path, "is not in the image") for path in missing]
        if wanted.manifest is not None:
            self._compare_manifest(wanted.manifest)

    def _spread_links(self) -> None:
        others = {paths[0]: paths[1:] for paths in self._links.values() if len(paths) > 1}
        known = set(self._report.digests)
        for path, algorithm, digest in list(self._report.digests):
            for other in others.get(path, ()):
                if (other, algorithm, digest) not in known:
                    self._report.digests.append((other, algorithm, digest))

    def _compare_manifest(self, manifest: dict[bytes, tuple[str, str]]) -> None:
        report = self._report
        found: dict[bytes, dict[str, str]] = {}
        for path, algorithm, digest in report.digests:
            found.setdefault(path, {})[algorithm] = digest
        for path, (algorithm, digest) in manifest.items():
            got = found.pop(path, None)
            if got is None:
                report.findings.append(Finding("differs", path, "is in the manifest but no file of the image"))
            elif got.get(algorithm) != digest:
                what = "content is not what the manifest says"
                have = f"{algorithm}:{got[algorithm]}" if algorithm in got else None
                report.findings.append(Finding("differs", path, what, f"{algorithm}:{digest}", have))
        report.findings += [Finding("differs", path, "is not in the manifest") for path in found]


def _check_batch(image: Image, wanted: Wanted, batch: list[_Item]) -> Report:
    report = Report()
    for nid, path, algorithms in batch:
        inode = image.inode(nid)
        source = None
        if wanted.tree is not None and path.startswith(b"/"):
            full = wanted.tree + path
            report.findings += compare_metadata(image, path, inode, full)
            if inode.is_file and os.path.isfile(full) and not os.path.islink(full):
                source = SourceFile(full)
        try:
            done = check(image, path, inode, algorithms, source)
        finally:
            if source is not None:
                source.close()
        if source is not None and source.differs_at is not None:
            what = f"content is not that of the tree, from byte {source.differs_at}"
            report.findings.append(Finding("differs", path, what))
        if not path.startswith(b"/"):  # the packed inode carries no fingerprint
            done.findings = [one for one in done.findings if one.kind != "unproven"]
        report.findings += done.findings
        if inode.is_file and path.startswith(b"/"):
            report.files += 1
            report.size += inode.size
            report.proven += done.proven
            if wanted.digest or wanted.manifest is not None:
                report.digests += [(path, name, digest) for name, digest in done.digests.items()]
    return report
