"""Writing a tree below a folder, safely and on all cores.

Safety rests on three things. The folder is new or empty, so nothing on the way was planted before. Names come out of
directories that refuse slashes, NULs, duplicates, and ``.`` and ``..`` anywhere but in their places, so each path is
made of components that this process created. Every file is created with O_EXCL in its directory's descriptor, which
is opened without following symbolic links. Everything is created for its owner alone and gets its mode when it is
complete, so that the umask, which all threads of a process have in common, is neither changed nor of any effect.

The main process walks, makes directories and everything small; workers write regular files, a directory's worth at a
time. Times, modes and attributes of directories come last, from the bottom up.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence

from ..errors import AnyPath, ErofsError, OutputError
from ..files.read_at import PathOrFile
from ..progress import Progress, silent
from ..read import Image, ImageSource, Inode, opened
from ..units import amount
from ..workers.team import available_cores, run
from .extracted import Extracted, Extracting
from .select import selected

__all__ = ["extract_image"]

#: Images below this size are extracted by one process.
_SMALL = 2 << 20
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


def extract_image(
    image: ImageSource,
    folder: AnyPath,
    *,
    paths: Sequence[str | bytes] | None = None,
    devices: Sequence[PathOrFile] = (),
    workers: int = 0,
    progress: Progress | None = None,
) -> Extracted:
    """Write what is in an image, or only what is at ``paths`` in it, below ``folder``, which must be new or empty.

    ``image`` is a path, a binary file or an open `Image`; ``devices`` are its extra devices in their order.
    ``workers`` is a number of processes, 0 for what suits the image. ``progress`` hears of inodes. As root everything
    is written as the image has it; anybody else gets no owners, devices and privileged attributes, which are counted.

    Raises `OutputError` for what cannot be written, `NotFoundError` for a path that the image does not have,
    `UnreadableError`, and `ImageError` for what is malformed. What was written before stays.
    """
    amount("workers", workers)
    with opened(image, devices) as one:
        return _extract(one, paths, os.fsencode(folder), workers, progress or silent)


def _extract(
    image: Image, paths: Sequence[str | bytes] | None, folder: bytes, workers: int, progress: Progress
) -> Extracted:
    count = 1 if image.bound else workers or (1 if image.size < _SMALL else available_cores())
    total = image.superblock.inodes if paths is None else None
    top = _new_folder(folder)
    try:
        writer = _Writer(image, top, folder)
        tally = writer.done

        def report() -> None:
            progress("extracting", tally.inodes if total is None else min(tally.inodes, total), total)

        with contextlib.closing(run(writer.batches(selected(image, paths)), writer.write_files, count)) as parts:
            for part in parts:
                tally.add(part)
                report()
        writer.finish()
        report()
        return tally.extracted()
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
    except ErofsError:
        raise
    except OSError as error:
        raise OutputError.of(folder, error) from error


class _Writer:
    def __init__(self, image: Image, top: int, folder: bytes) -> None:
        self._image = image
        self._top = top
        self._folder = folder
        self._root = os.geteuid() == 0
        self._owner = os.geteuid(), os.getegid()
        self.done = Extracting()
        self._directories: list[tuple[bytes, Inode]] = []
        self._first: dict[int, bytes] = {}
        self._links: list[tuple[bytes, bytes]] = []
        self._absent: set[bytes] = set()
        self._open: tuple[bytes, int] | None = None

    def __reduce__(self) -> tuple[object, ...]:
        """Have a worker that was not forked open the folder again: a descriptor's number means nothing elsewhere."""
        return _reopened, (self._image, b"/proc/%d/fd/%d" % (os.getpid(), self._top), self._folder)

    # -- in the main process -----------------------------------------------------------------------

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
                raise OutputError.of(self._folder + path, error) from error
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

    # -- in the main process and in workers --------------------------------------------------------

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
            raise OutputError.of(os.path.join(self._folder, path), error) from error
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
            raise OutputError.of(self._folder + path, error) from error

    # -- in workers --------------------------------------------------------------------------------

    def write_files(self, batch: _Batch) -> Extracting:
        """Write regular files."""
        done = Extracting()
        for folder, files in batch:
            fd = self._directory(folder)
            prefix = b"/" + folder + b"/" if folder else b"/"
            for name, nid in files:
                inode = self._image.inode(nid)
                try:
                    self._write_file(prefix + name, name, inode, fd, done)
                except ErofsError:  # a device that fails is not the output's fault, though its error is an OSError, too
                    raise
                except OSError as error:
                    raise OutputError.of(self._folder + prefix + name, error) from error
                done.files += 1
                done.size += inode.size
        done.inodes = done.files
        return done

    def _write_file(self, path: bytes, name: bytes, inode: Inode, folder: int, done: Extracting) -> None:
        fd = os.open(name, _NEW_FILE, 0o600, dir_fd=folder)
        try:
            self._write_data(fd, inode)
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

    def _set_metadata(self, path: bytes, inode: Inode, done: Extracting, fd: int, name: bytes | None = None) -> None:
        """Set owner, mode, attributes and time, in the order in which none undoes another.

        ``fd`` is the file's own descriptor, or, for what cannot be opened, that of the directory that holds ``name``.
        """
        try:
            self._set_owner_and_mode(inode, done, fd, name)
            if inode.xattr_size:
                self._set_xattrs(inode, done, fd, name)
            self._set_time(inode, done, fd, name)
        except ErofsError:
            raise
        except OSError as error:
            raise OutputError.of(self._folder + path, error) from error

    def _set_time(self, inode: Inode, done: Extracting, fd: int, name: bytes | None) -> None:
        times = inode.mtime_ns, inode.mtime_ns
        try:
            if name is None:
                os.utime(fd, ns=times)
            else:
                os.utime(name, ns=times, dir_fd=fd, follow_symlinks=False)
        except OverflowError:
            done.left_out["times that this system cannot hold"] += 1

    def _set_owner_and_mode(self, inode: Inode, done: Extracting, fd: int, name: bytes | None) -> None:
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

    def _set_xattrs(self, inode: Inode, done: Extracting, fd: int, name: bytes | None) -> None:
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


def _reopened(image: Image, top: bytes, folder: bytes) -> _Writer:
    try:
        return _Writer(image, os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), folder)
    except OSError as error:
        raise OutputError.of(folder, error) from error


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
