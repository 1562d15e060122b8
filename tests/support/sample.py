"""A sample source tree that holds one of everything an image must carry."""

from __future__ import annotations

import os
import random
import socket
import stat
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

__all__ = ["make_crowd", "make_tree"]

WHEN = 1_600_000_000_000_000_000
"""Nanoseconds since the epoch around which the sample's mtimes lie."""

ODD_TIMES = {"before-1970": -1_000_000_001, "after-2106": (1 << 32) * 1_000_000_000 + 5}
"""Modification times, in nanoseconds, that fit no unsigned 32-bit seconds."""

EDGES = (1, 511, 512, 513, 4095, 4096, 4097, 8191, 8192, 8193, 65535, 65536, 65537)
"""File sizes around the boundaries of blocks and clusters, in bytes."""


def make_tree(root: Path, *, seed: int = 0, entries: int = 600, depth: int = 80) -> list[str]:
    """Fill the new folder ``root``; return what this machine or user could not make, each as one line.

    The same seed gives the same tree, modification times included. ``entries`` is the size of the big
    directory and ``depth`` that of the nested ones.
    """
    rng = random.Random(seed)
    left_out: list[str] = []
    root.mkdir()
    _files(root / "files", rng)
    _names(root / "names")
    _symlinks(root / "symlinks")
    _hard_links(root / "links")
    _deep(root / "deep", depth)
    _many(root / "many", entries)
    (root / "empty").mkdir()
    _special(root / "special", left_out)
    _attributes(root / "xattrs", rng, left_out)
    _modes(root / "modes", left_out)
    for name in ODD_TIMES:
        _put(root / "files" / name, name.encode())
    _times(root)
    for name, when in ODD_TIMES.items():
        os.utime(root / "files" / name, ns=(when, when))
    return left_out


def make_crowd(root: Path, entries: int = 6_000) -> None:
    """Fill the new folder ``root`` with one big directory: names of all lengths, and mostly empty files."""
    root.mkdir()
    _many(root / "many", entries)
    _times(root)


def _put(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _text(rng: random.Random, size: int) -> bytes:
    """Return compressible bytes, of words in random order."""
    words = [rng.randbytes(rng.randint(2, 9)).hex().encode() for _ in range(60)]
    return b" ".join(rng.choices(words, k=size // 4 + 1))[:size]


def _files(folder: Path, rng: random.Random) -> None:
    folder.mkdir()
    _put(folder / "nothing", b"")
    for size in EDGES:
        _put(folder / f"text-{size}", _text(rng, size))
        _put(folder / f"noise-{size}", rng.randbytes(size))
    _put(folder / "text", _text(rng, 1_500_007))
    _put(folder / "noise", rng.randbytes(700_001))
    _put(folder / "zeros", bytes(1_000_003))
    # Compressible and incompressible stretches by turns, unaligned: clusters of every kind in one file.
    _put(
        folder / "mixed",
        b"".join(f(n) for n in (9_001, 70_001, 130_003) for f in (lambda n: _text(rng, n), rng.randbytes, bytes)),
    )
    for copy in ("same-1", "same-2"):
        _put(folder / copy, _text(random.Random(7), 200_001))
    for name, size, islands in (("sparse", 3_000_000, (0, 1_000_000)), ("hole", 1_234_567, ())):
        with open(folder / name, "wb") as file:
            for at in islands:
                file.seek(at)
                file.write(_text(rng, 10_000))
            file.truncate(size)


def _names(folder: Path) -> None:
    folder.mkdir()
    # Around "." and "..", which are sorted like any other name; beyond UTF-8; and the longest possible.
    names = [
        b"!x",
        b"#",
        b"-a",
        b".-",
        b"...",
        b"..b",
        b".a",
        b"0",
        b"a",
        b"a-",
        b"ab",
        b" ",
        b"new\nline",
        b"\x01",
        b"\xff\xfe",
        b"caf\xc3\xa9",
        b"\xe2\x82\xac",
        b"caf\xe9",
        b"n" * 255,
        b"\xff" * 255,
    ]
    for name in names:
        path = os.path.join(os.fsencode(folder), name)
        with open(path, "wb") as file:
            file.write(name)


def _symlinks(folder: Path) -> None:
    folder.mkdir()
    for length in (1, 59, 60, 255, 4031, 4032, 4094, 4095):
        os.symlink("t" * length, folder / f"length-{length}")
    os.symlink(b"\xff/\x80", os.fsencode(folder / "bytes"))
    os.symlink("../files/text", folder / "relative")


def _hard_links(folder: Path) -> None:
    folder.mkdir()
    (folder / "elsewhere").mkdir()
    first = _put(folder / "first", b"one file, several names\n")
    for name in ("second", "elsewhere/third"):
        os.link(first, folder / name)
    os.symlink("first", folder / "symlink")
    os.link(folder / "symlink", folder / "symlink-again", follow_symlinks=False)
    os.mkfifo(folder / "fifo")
    os.link(folder / "fifo", folder / "fifo-again")


def _deep(folder: Path, depth: int) -> None:
    folder.mkdir()
    for level in range(depth):
        folder = folder / f"level-{level}"
        folder.mkdir()
    _put(folder / "bottom", b"down here\n")


def _many(folder: Path, entries: int) -> None:
    folder.mkdir()
    for number in range(entries):
        _put(folder / f"entry-{number:06}-{'x' * (number % 40)}", b"%d" % number if number % 3 else b"")


def _special(folder: Path, left_out: list[str]) -> None:
    folder.mkdir()
    os.mkfifo(folder / "fifo")
    here = os.getcwd()
    os.chdir(folder)  # the address of a socket holds only 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket")
    finally:
        os.chdir(here)
    for name, kind, major, minor in (
        ("null", stat.S_IFCHR, 1, 3),
        ("disk", stat.S_IFBLK, 7, 0),
        ("large", stat.S_IFCHR, 4095, 1_048_575),  # the greatest numbers Linux has: 12 and 20 bits
        ("whiteout", stat.S_IFCHR, 0, 0),
    ):
        number = os.makedev(major, minor)
        _try(left_out, f"device {name}", partial(os.mknod, folder / name, kind | 0o640, number))


def _attributes(folder: Path, rng: random.Random, left_out: list[str]) -> None:
    folder.mkdir()
    (folder / "directory").mkdir()
    for name in ("user", "trusted", "security", "acl", "capability", "long", "many", "shared-1", "shared-2"):
        _put(folder / name, name.encode())
    os.symlink("user", folder / "symlink")

    def attach(path: str, name: str, value: bytes) -> None:
        setting = f"{name} on {path}"
        _try(left_out, setting, partial(os.setxattr, folder / path, name, value, follow_symlinks=False))

    attach("user", "user.note", b"text")
    attach("user", "user.empty", b"")
    attach("user", "user.binary", bytes(range(256)))
    attach("directory", "user.note", b"on a directory")
    attach("trusted", "trusted.note", b"for root alone")
    attach("trusted", "trusted.overlay.opaque", b"y")
    attach("symlink", "trusted.note", b"on a symlink")
    attach("security", "security.note", b"label\0")
    attach("capability", "security.capability", _capability(1 << 13))
    attach("acl", "system.posix_acl_access", _acl((1, 6, -1), (2, 4, 1234), (4, 4, -1), (16, 6, -1), (32, 4, -1)))
    for kind in ("access", "default"):
        attach(
            "directory",
            f"system.posix_acl_{kind}",
            _acl((1, 7, -1), (4, 5, -1), (8, 7, 4321), (16, 7, -1), (32, 5, -1)),
        )
    attach("long", f"user.{'n' * 250}", b"the longest name")
    attach("long", "user.big", rng.randbytes(2000))
    for number in range(40):
        attach("many", f"user.number-{number}", b"%d" % number)
    for path in ("shared-1", "shared-2"):
        attach(path, "user.shared", b"the same on both" * 8)


def _acl(*entries: tuple[int, int, int]) -> bytes:
    """Return a POSIX ACL as the kernel's attribute holds it, of (tag, permissions, id) entries."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)


def _capability(permitted: int) -> bytes:
    """Return a file capability (revision 2, effective) that permits the given bits."""
    return struct.pack("<5I", 0x02000001, permitted, 0, 0, 0)


def _modes(folder: Path, left_out: list[str]) -> None:
    folder.mkdir()
    for mode in (0o000, 0o111, 0o644, 0o755, 0o777, 0o4755, 0o2755, 0o1777, 0o7777):
        if mode & 0o400 or os.geteuid() == 0:
            path = _put(folder / f"file-{mode:04o}", b"%o" % mode)
            (folder / f"folder-{mode:04o}").mkdir()
            for entry in (path, folder / f"folder-{mode:04o}"):
                os.chmod(entry, mode)
        else:
            left_out.append(f"mode {mode:04o}: only root could read it")
    for uid, gid in ((1, 2), (65535, 65535), (65536, 7), (3_000_000_000, 4_000_000_000)):
        path = _put(folder / f"owner-{uid}-{gid}", b"owned")
        _try(left_out, f"owner {uid}:{gid}", partial(os.chown, path, uid, gid))


def _times(root: Path) -> None:
    """Give everything a modification time of its own, from the bottom up; most with nanoseconds."""
    # Not by rglob: Python 3.11.2's gives up at symbolic links as long as these.
    found = (Path(folder, name) for folder, folders, files in os.walk(root) for name in (*folders, *files))
    paths = sorted(found, key=os.fsencode, reverse=True)
    for number, path in enumerate([*paths, root]):
        when = WHEN + number * (1_000_000_007 if number % 5 else 1_000_000_000)
        os.utime(path, ns=(when, when), follow_symlinks=False)


def _try(left_out: list[str], what: str, make: Callable[[], object]) -> None:
    """Make something, or note that this machine or user cannot."""
    try:
        make()
    except OSError as error:
        left_out.append(f"{what}: {error.strerror}")
