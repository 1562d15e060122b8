"""Sources and policies for tests of the builder: contents that come once and in any order, encodings by file name."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mkfs_erofs_py.compress import parse_compressor
from mkfs_erofs_py.encode.encoding import Encoding, IndexForm
from mkfs_erofs_py.tree import Bytes, Facts, Reopen, Stream
from mkfs_erofs_py.write.build import Source
from mkfs_erofs_py.write.intake import Intake

__all__ = ["BySuffix", "Pipe", "facts_of", "given", "piped", "variant"]


class Pipe:
    """A content that is read once, a little at a time, and must be read whole before the next one comes."""

    open_pipes = 0

    def __init__(self, data: bytes, step: int = 70_000) -> None:
        self._data = data
        self._step = step
        self._at = 0
        assert Pipe.open_pipes == 0, "the content before was not read to its end"
        Pipe.open_pipes += bool(data)

    def readinto(self, view: memoryview) -> int:
        count = min(len(view), self._step, len(self._data) - self._at)
        view[:count] = self._data[self._at : self._at + count]
        self._at += count
        Pipe.open_pipes -= count > 0 and self._at == len(self._data)
        return count

    def skip_hole(self, size: int) -> bool:
        return False


def facts_of(path: Path) -> Facts:
    """Return what a directory source would tell of a file, its content apart."""
    st = os.lstat(path)
    names = sorted(os.listxattr(path, follow_symlinks=False))
    return Facts(
        st.st_mode,
        st.st_uid,
        st.st_gid,
        st.st_mtime_ns // 10**9,
        st.st_mtime_ns % 10**9,
        tuple((os.fsencode(name), os.getxattr(path, name, follow_symlinks=False)) for name in names),
        st.st_size if stat.S_ISREG(st.st_mode) else 0,
        None,
        os.readlink(os.fsencode(path)) if path.is_symlink() else b"",
        (os.major(st.st_rdev), os.minor(st.st_rdev))
        if stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode)
        else (0, 0),
    )


def given(files: Mapping[str, bytes | Facts], links: Mapping[str, str] | None = None) -> Source:
    """Return a source of files by path, where bytes stand for a plain regular file; ``links`` are more names.

    The path of the root is empty.
    """

    def feed(intake: Intake) -> None:
        tree = intake.tree
        for path, what in files.items():
            name = os.fsencode(path)
            facts = what
            if isinstance(facts, bytes):
                facts = Facts(stat.S_IFREG | 0o644, 0, 0, 0, 0, (), len(facts), Bytes(name, facts))
            if name:
                tree.put(tree.folder(os.path.dirname(name)), os.path.basename(name), facts)
            else:
                tree.describe_root(facts)
        for path, other in (links or {}).items():
            name = os.fsencode(path)
            draft = tree.find(os.fsencode(other))
            assert draft is not None
            tree.link(tree.folder(os.path.dirname(name)), os.path.basename(name), draft)

    return feed


def piped(
    root: Path,
    order: Callable[[list[Path]], Sequence[Path]] = list,
    once: Callable[[Path], bool] = lambda _: True,
) -> Source:
    """Return a source that tells of a tree as an archive would: by paths, in ``order``, with hard links to what came.

    Contents for which ``once`` holds come once; the others can be opened.
    """

    def feed(intake: Intake) -> None:
        tree = intake.tree
        tree.describe_root(facts_of(root))
        met: dict[tuple[int, int], bytes] = {}
        for path in order(sorted(root.rglob("*"))):
            name = os.fsencode(path.relative_to(root))
            folder = tree.folder(os.path.dirname(name))
            st = os.lstat(path)
            key = st.st_dev, st.st_ino
            if key in met and not stat.S_ISDIR(st.st_mode):
                first = tree.find(met[key])
                assert first is not None
                tree.link(folder, os.path.basename(name), first)
                continue
            met[key] = name
            facts = facts_of(path)
            if stat.S_ISREG(st.st_mode):
                data = path.read_bytes()
                if once(path):
                    facts = intake.take(name, facts._replace(content=Stream(name, Pipe(data))))
                else:
                    content: Reopen = Bytes(name, data)
                    facts = facts._replace(content=content)
            tree.put(folder, os.path.basename(name), facts)

    return feed


def variant(encoding: Encoding, compressor: str | None, pcluster: int = 4096, index: str = "compact") -> Encoding:
    """Return an encoding for the same image as another's, with another compressor."""
    return Encoding(
        block_bits=encoding.block_bits,
        digest=encoding.digest,
        index=IndexForm(index) if compressor else IndexForm.NONE,
        compressor=parse_compressor(compressor) if compressor else None,
        pcluster=pcluster,
    )


@dataclass(frozen=True)
class BySuffix:
    """Encodings by a file name's suffix; ``cuts`` by path."""

    by_suffix: Mapping[bytes, Encoding]
    cuts: Mapping[bytes, tuple[int, ...]]

    @property
    def encodings(self) -> tuple[Encoding, ...]:
        return tuple(self.by_suffix.values())

    def __call__(self, path: bytes, facts: Facts) -> Encoding:
        encoding = self.by_suffix[path.rpartition(b".")[2]]
        cuts = self.cuts.get(path)
        if cuts is None:
            return encoding
        return Encoding(
            block_bits=encoding.block_bits,
            digest=encoding.digest,
            index=encoding.index,
            compressor=encoding.compressor,
            pcluster=encoding.pcluster,
            cuts=cuts,
        )
