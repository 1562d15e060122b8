"""Writing a tree below a folder, safely and on all cores.

Safety rests on three things. The folder is new or empty, so nothing on the way was planted before. Names come out of
directories that refuse slashes, NULs, duplicates, and ``.`` and ``..`` anywhere but in their places, so each path is
made of components that this process created. Every file is created with O_EXCL in its directory's descriptor, which
is opened without following symbolic links.

The parent walks, makes directories and everything small; children write regular files, a directory's worth at a
time. Times, modes and attributes of directories come last, from the bottom up.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from ..errors import OutputError
from ..read import Image, Inode
from ..workers.team import run

__all__ = ["Extracted", "extract_tree", "selected"]

#: A batch of files ends with this many or with this many bytes.
_BATCH, _BATCH_BYTES, _BATCH_NAMES = 128, 4 << 20, 16384
#: Pieces gathered into one write.
_GATHER_BYTES, _GATHER = 1 << 20, 256
#: Longest path given to the kernel at once; longer ones are opened step by step.
_PATH_STEP = 2048
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PRIVILEGED_SPACES = (b"trusted.", b"security.")

#: Directories, each with the files to write in it: (name, nid).
_Batch = list[tuple[bytes, list[tuple[bytes, int]]]]


@dataclass(slots=True)
class Extracted:
    """What was written; ``left_out`` counts, by kind, what this user may not make."""

    inodes: int = 0
    files: int = 0
    size: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, other: Extracted) -> None:
        """Take in what a worker wrote."""
        self.inodes += other.inodes
        self.files += other.files
        self.size += other.size
        self.left_out.update(other.left_out)


def selected(image: Image, tops: Sequence[bytes]) -> Iterator[tuple[bytes, Inode]]:
    """Yield (path, inode) of all at or below ``tops`` and of the directories that lead there, parents first."""
    given: set[bytes] = set()
    for top in sorted(set(tops)):
        if any(top == one or top.startswith(one.rstrip(b"/") + b"/") for one in tops if one != top):
            continue  # inside another
        here = b""
        for part in top.split(b"/")[1:-1] if top != b"/" else []:
            if (here or b"/") not in given:
                given.add(here or b"/")
                yield here or b"/", image.lookup(here or b"/", follow=False)
            here += b"/" + part
        if top != b"/" and (here or b"/") not in given:
            given.add(here or b"/")
            yield here or b"/", image.lookup(here or b"/", follow=False)
        yield from image.walk(image_path(image, top))


def image_path(image: Image, top: bytes) -> bytes:
    """Return ``top``; raises ``UnreadableError`` where the image has no such path."""
    image.lookup(top, follow=False)
    return top


def extract_tree(
    image: Image, tops: Sequence[bytes], folder: bytes, workers: int, progress: Callable[[int], None]
) -> Extracted:
    """Write what is at ``tops`` below ``folder``. Raises ``OutputError``, and ``ImageError`` for what is malformed."""
    top = _new_folder(folder)
    try:
        writer = _Writer(image, top, folder)
        done = Extracted()
        umask = os.umask(0)  # modes are the image's; the folder itself stays closed until the end
        try:
            for part in run(writer.batches(selected(image, tops)), writer.write_files, workers):
                done.add(part)
                progress(done.inodes)
            writer.finish()
        finally:
            os.umask(umask)
        done.add(writer.done)
        return done
    finally:
        os.close(top)


def _new_folder(folder: bytes) -> int:
    try:
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            if os.listdir(folder):
                raise OutputError(folder, "is not empty: extract into a new or empty folder") from None
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(folder, error.strerror or str(error)) from error


class _Writer:
    def __init__(self, image: Image, top: int, folder: bytes) -> None:
        self._image = image
        self._top = top
        self._folder = folder
        self._root = os.geteuid() == 0
        self._owner = os.geteuid(), os.getegid()
        self.done = Extracted()
        self._directories: list[tuple[bytes, Inode]] = []
        self._first: dict[int, bytes] = {}
        self._links: list[tuple[bytes, bytes]] = []
        self._absent: set[bytes] = set()
        self._open: tuple[bytes, int] | None = None

    # -- in the parent -----------------------------------------------------------------------------

    def batches(self, found: Iterator[tuple[bytes, Inode]]) -> Iterator[_Batch]:
        """Make everything but regular files, which are yielded in batches."""
        batch: _Batch = []
        count = size = names = 0
        for path, inode in found:
            folder, _, name = path.rpartition(b"/")
            folder = folder[1:]
            if count >= _BATCH or size > _BATCH_BYTES or names > _BATCH_NAMES:
                yield batch
                batch = []
                count = size = names = 0
            if inode.is_dir:
                self._directories.append((path[1:], inode))
                if name:
                    self._guard(path, os.mkdir, name, 0o700, dir_fd=self._directory(folder))
                self.done.inodes += 1
                continue
            if inode.nlink > 1:
                first = self._first.setdefault(inode.nid, path[1:])
                if first != path[1:]:
                    self._links.append((first, path[1:]))
                    continue
            if inode.is_file:
                if not batch or batch[-1][0] != folder:
                    batch.append((folder, []))
                    names += len(folder)
                batch[-1][1].append((name, inode.nid))
                count += 1
                size += inode.size
                names += len(name)
            else:
                self.done.inodes += 1
                self._make_special(path, folder, name, inode)
        if batch:
            yield batch

    def _make_special(self, path: bytes, folder: bytes, name: bytes, inode: Inode) -> None:
        fd = self._directory(folder)
        if inode.is_symlink:
            self._guard(path, os.symlink, self._image.readlink(inode), name, dir_fd=fd)
        else:
            if inode.is_device and not self._root:
                self.done.left_out["devices"] += 1
                self._absent.add(path[1:])
                return
            device = os.makedev(*inode.rdev)
            try:
                os.mknod(name, stat.S_IFMT(inode.mode) | 0o600, device, dir_fd=fd)
            except PermissionError:
                self.done.left_out["devices"] += 1
                self._absent.add(path[1:])
                return
            except OSError as error:
                raise OutputError(self._folder + path, error.strerror or str(error)) from error
        self._set_metadata(path, inode, self.done, fd, name)

    def finish(self) -> None:
        """Make hard links, then give directories their metadata, deepest first."""
        for first, path in self._links:
            folder, _, name = path.rpartition(b"/")
            source, _, source_name = first.rpartition(b"/")
            if first in self._absent:
                continue
            source_fd = os.dup(self._directory(source))
            try:
                target = self._directory(folder)
                self._guard(
                    b"/" + path, os.link, source_name, name, src_dir_fd=source_fd, dst_dir_fd=target,
                    follow_symlinks=False,
                )  # fmt: skip
            finally:
                os.close(source_fd)
            self.done.inodes += 1
        for path, inode in reversed(self._directories):
            self._set_metadata(b"/" + path, inode, self.done, self._directory(path))
        self._close()

    # -- in parent and children --------------------------------------------------------------------

    def _directory(self, path: bytes) -> int:
        """Return a descriptor of a directory made here; it stays open until another one is wanted."""
        if not path:
            return self._top
        if self._open is not None:
            if self._open[0] == path:
                return self._open[1]
            self._close()
        fd = self._top
        start = 0
        try:
            while start < len(path):
                stop = len(path)
                if stop - start > _PATH_STEP:
                    stop = path.rfind(b"/", start, start + _PATH_STEP)
                below = os.open(path[start:stop], _DIRECTORY, dir_fd=fd)
                if fd != self._top:
                    os.close(fd)
                fd = below
                start = stop + 1
        except OSError as error:
            raise OutputError(os.path.join(self._folder, path), error.strerror or str(error)) from error
        self._open = path, fd
        return fd

    def _close(self) -> None:
        if self._open is not None:
            os.close(self._open[1])
            self._open = None

    def _guard(self, path: bytes, call: Callable[..., object], /, *args: object, **more: object) -> None:
        try:
            call(*args, **more)
        except OSError as error:
            raise OutputError(self._folder + path, error.strerror or str(error)) from error

    # -- in children -------------------------------------------------------------------------------

    def write_files(self, batch: _Batch) -> Extracted:
        """Write regular files."""
        done = Extracted()
        for folder, files in batch:
            fd = self._directory(folder)
            prefix = b"/" + folder + b"/" if folder else b"/"
            for name, nid in files:
                inode = self._image.inode(nid)
                try:
                    self._write_file(prefix + name, name, inode, fd, done)
                except OSError as error:
                    if isinstance(error, OutputError):
                        raise
                    raise OutputError(self._folder + prefix + name, error.strerror or str(error)) from error
                done.files += 1
                done.size += inode.size
        done.inodes = done.files
        return done

    def _write_file(self, path: bytes, name: bytes, inode: Inode, folder: int, done: Extracted) -> None:
        plain = not inode.mode & 0o7000 and (not self._root or (inode.uid, inode.gid) == self._owner)
        fd = os.open(name, _NEW_FILE, inode.mode & 0o777 if plain else 0o600, dir_fd=folder)
        try:
            self._write_data(fd, inode)
            if plain and not inode.xattr_size and (self._root or (inode.uid, inode.gid) == self._owner):
                self._set_time(inode, done, fd, None)
            else:
                self._set_metadata(path, inode, done, fd)
        finally:
            os.close(fd)

    def _write_data(self, fd: int, inode: Inode) -> None:
        """Write a file's pieces, neighbours together; holes stay holes."""
        if not inode.size:
            return
        held: list[bytes | memoryview] = []
        start = end = 0
        for offset, data in self._image.pieces(inode):
            if held and (offset != end or end - start > _GATHER_BYTES or len(held) == _GATHER):
                _write_all(fd, held, start)
                held = []
            if not held:
                start = offset
            held.append(data)
            end = offset + len(data)
        if held:
            _write_all(fd, held, start)
        if end < inode.size:
            os.ftruncate(fd, inode.size)

    # -- metadata ----------------------------------------------------------------------------------

    def _set_metadata(self, path: bytes, inode: Inode, done: Extracted, fd: int, name: bytes | None = None) -> None:
        """Set owner, mode, attributes and time, in the order in which none undoes another.

        ``fd`` is the file's own descriptor, or, for what cannot be opened, that of the directory that holds ``name``.
        """
        try:
            self._set_owner_and_mode(inode, done, fd, name)
            if inode.xattr_size:
                self._set_xattrs(inode, done, fd, name)
            self._set_time(inode, done, fd, name)
        except OSError as error:
            raise OutputError(self._folder + path, error.strerror or str(error)) from error

    def _set_time(self, inode: Inode, done: Extracted, fd: int, name: bytes | None) -> None:
        times = inode.mtime_ns, inode.mtime_ns
        try:
            if name is None:
                os.utime(fd, ns=times)
            else:
                os.utime(name, ns=times, dir_fd=fd, follow_symlinks=False)
        except OverflowError:
            done.left_out["times that this system cannot hold"] += 1

    def _set_owner_and_mode(self, inode: Inode, done: Extracted, fd: int, name: bytes | None) -> None:
        mode = inode.mode & 0o7777
        if (inode.uid, inode.gid) != self._owner:
            if not self._root:
                done.left_out["owners"] += 1
                if mode & 0o6000:
                    # Set-id bits would now lend this user's rights, not the owner's.
                    done.left_out["set-id bits"] += 1
                    mode &= ~0o6000
            elif name is None:
                os.chown(fd, inode.uid, inode.gid)
            else:
                os.chown(name, inode.uid, inode.gid, dir_fd=fd, follow_symlinks=False)
        if name is None:
            os.chmod(fd, mode)
        elif not inode.is_symlink:
            os.chmod(name, mode, dir_fd=fd)

    def _set_xattrs(self, inode: Inode, done: Extracted, fd: int, name: bytes | None) -> None:
        # There is no setxattrat before Linux 6.13, so a name goes through /proc.
        place: int | bytes = fd if name is None else b"/proc/self/fd/%d/%s" % (fd, name)
        for key, value in self._image.xattrs(inode).items():
            space = key.partition(b".")[0].decode()
            if not self._root and key.startswith(_PRIVILEGED_SPACES):
                done.left_out[f"{space}.* attributes"] += 1
                continue
            try:
                os.setxattr(place, key, value, follow_symlinks=name is None)
            except OSError as error:
                if error.errno not in (errno.ENOTSUP, errno.EPERM, errno.ENOSPC, errno.E2BIG, errno.EINVAL):
                    raise
                done.left_out[f"{space}.* attributes ({error.strerror})"] += 1


def _write_all(fd: int, parts: list[bytes | memoryview], offset: int) -> None:
    length = sum(map(len, parts))
    written = os.pwritev(fd, parts, offset)
    while written < length:
        if len(parts) > 1:
            parts = [b"".join(parts)]
        more = os.pwrite(fd, memoryview(parts[0])[written:], offset + written)
        if not more:
            raise OSError(errno.EIO, "nothing was written")
        written += more
