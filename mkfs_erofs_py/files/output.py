"""Files being written: without a name until they are complete and synced, then put in their place in one step."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from ..errors import AnyPath, OutputError

__all__ = ["Output", "create", "write_file"]

_IOV_MAX = 1024


class Output:
    """A file that is written from front to back; at the end, single places in it may be written again.

    ``position`` is where `append` puts the next part, in bytes.
    """

    def __init__(self, fd: int, path: bytes) -> None:
        self._fd = fd
        self._path = path
        self.position = 0
        self._written = 0
        self._parts: list[bytes | bytearray | memoryview] = []

    def append(self, *parts: bytes | bytearray | memoryview) -> None:
        """Take parts to be written one after the other; they must not change before the next `flush`."""
        self._parts.extend(parts)
        self.position += sum(map(len, parts))

    def flush(self) -> None:
        """Write what was appended. Raises `OutputError`."""
        parts, self._parts = self._parts, []
        with _translated(self._path):
            for start in range(0, len(parts), _IOV_MAX):
                chunk = parts[start : start + _IOV_MAX]
                total = sum(map(len, chunk))
                done = os.pwritev(self._fd, chunk, self._written)
                if done < total:
                    self._write(b"".join(chunk)[done:], self._written + done)
                self._written += total

    def rewind(self, position: int) -> None:
        """Go back to ``position``: what was appended behind it is to be overwritten."""
        self.flush()
        self.position = self._written = position

    def write_at(self, data: bytes, offset: int) -> None:
        """Write ``data`` at ``offset``, leaving ``position`` alone. Raises `OutputError`."""
        self.flush()  # or what was appended would be written over this later
        with _translated(self._path):
            self._write(data, offset)

    def read_at(self, size: int, offset: int) -> bytes:
        """Return ``size`` bytes that were written at ``offset``, fewer at the end. Raises `OutputError`."""
        self.flush()
        with _translated(self._path):
            return os.pread(self._fd, size, offset)

    def pad(self, unit: int) -> None:
        """Append zeros up to a multiple of ``unit``."""
        if short := -self.position % unit:
            self.append(bytes(short))

    def finish(self) -> None:
        """Write the rest, cut the file at ``position`` and bring it to the disk. Raises `OutputError`."""
        self.flush()
        with _translated(self._path):
            os.ftruncate(self._fd, self.position)
            os.fsync(self._fd)

    def _write(self, data: bytes, offset: int) -> None:
        view = memoryview(data)
        while view:
            done = os.pwrite(self._fd, view, offset)
            view, offset = view[done:], offset + done


@contextlib.contextmanager
def create(path: bytes) -> Iterator[Output]:
    """Open ``path`` for a new file; it appears, or replaces an older one, when the context ends well.

    Until then an older file stays untouched; after an error or interrupt nothing is left, nor after the process was
    killed where the file system knows files without a name. A symlink is followed: the file it names is replaced. An
    older file's mode and owner are kept. Raises `OutputError`.
    """
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    older = _older(path, target)
    with _translated(path):
        fd = _unnamed(folder)
    with contextlib.ExitStack() as stack:
        if fd is None:
            # The name is chosen before anything is opened: an interrupt may arrive between any two steps.
            temporary = _temporary(target)
            stack.callback(_discard, temporary)
            with _translated(path):
                fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            stack.callback(os.close, fd)
            yield from _written(fd, path, older)
            with _translated(path):
                os.replace(temporary, target)
        else:
            stack.callback(os.close, fd)
            yield from _written(fd, path, older)
            with _translated(path):
                _name(fd, target)
    _sync_folder(folder)


def write_file(path: AnyPath, data: bytes) -> None:
    """Write a whole file, or leave what was there; a pipe or terminal is written to. Raises `OutputError`."""
    name = os.fsencode(path)
    if os.path.exists(name) and not os.path.isfile(name) and not os.path.isdir(name):
        with _translated(name), open(name, "wb") as file:
            file.write(data)
        return
    with create(name) as output:
        output.append(data)


def _written(fd: int, path: bytes, older: os.stat_result | None) -> Iterator[Output]:
    """Have the file filled and bring it to the disk."""
    with _translated(path):
        if older is not None:
            _inherit(fd, older)
    output = Output(fd, path)
    yield output
    output.finish()


def _unnamed(folder: bytes) -> int | None:
    """Open a new file in ``folder`` that has no name, ``None`` where that, or naming it later, is impossible."""
    try:
        fd = os.open(folder, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            return None
        raise
    if not os.path.exists(_link_to(fd)):  # /proc is not mounted
        os.close(fd)
        return None
    return fd


def _link_to(fd: int) -> bytes:
    return b"/proc/self/fd/%d" % fd


def _name(fd: int, target: bytes) -> None:
    """Give a file without a name its place; what stands there is replaced. Raises `OSError`."""
    try:
        _link(fd, target)
    except FileExistsError:
        # A link cannot replace anything, but a new name can.
        temporary = _temporary(target)
        try:
            _link(fd, temporary)
            os.replace(temporary, target)
        except BaseException:
            _discard(temporary)
            raise


def _link(fd: int, name: bytes) -> None:
    # Python follows the link in /proc only if it is given a descriptor of a folder for the new name. That name is an
    # absolute path, so the descriptor is not used, and any will do.
    os.link(_link_to(fd), name, dst_dir_fd=fd, follow_symlinks=True)


def _temporary(target: bytes) -> bytes:
    name = b".mkfs-erofs-py-%s.tmp" % os.urandom(4).hex().encode()
    return os.path.join(os.path.dirname(target), name)


def _discard(temporary: bytes) -> None:
    with contextlib.suppress(OSError):
        os.unlink(temporary)


def _older(path: bytes, target: bytes) -> os.stat_result | None:
    """Return the status of the file to be replaced, ``None`` where there is none."""
    with _translated(path):
        try:
            older = os.stat(target)
        except FileNotFoundError:
            return None
    if stat.S_ISDIR(older.st_mode):
        raise OutputError(path, "is a directory; name the image file itself")
    if not stat.S_ISREG(older.st_mode):
        raise OutputError(path, "is not a regular file; build to a file and copy it there")
    return older


def _inherit(fd: int, older: os.stat_result) -> None:
    """Give the new file the older one's owner, as far as we may, and mode."""
    with contextlib.suppress(PermissionError):
        os.fchown(fd, older.st_uid, older.st_gid)
    os.fchmod(fd, stat.S_IMODE(older.st_mode))


@contextlib.contextmanager
def _translated(path: bytes) -> Iterator[None]:
    """Turn the system's errors into ours about ``path``."""
    try:
        yield
    except OSError as error:
        raise OutputError(path, f"cannot be written: {error.strerror}", error.errno) from None


def _sync_folder(folder: bytes) -> None:
    """Bring the new name to the disk; file systems that cannot sync folders need not."""
    with contextlib.suppress(OSError):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
