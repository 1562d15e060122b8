"""Manifests: one line a regular file, ``algorithm:digest  /path``.

Paths are raw bytes; a line whose path holds a newline or backslash starts with a backslash and escapes both, as
coreutils do. Lines of ``sha256sum`` and ``b3sum`` are understood, too: bare digests, relative paths.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from ..errors import AnyPath, SourceError, UnreadableError, UsageError
from ..files.output import write_file
from ..fingerprint import ALGORITHMS
from ..units import absolute, expect

__all__ = ["Digests", "check_digests", "format_manifest", "read_manifest", "write_manifest"]

#: What is expected of each path inside an image: an algorithm's name, and the digest in hex.
Digests = Mapping[bytes, tuple[str, str]]

_LINE = re.compile(rb"(\\?)(?:(blake3|sha256):)?([0-9a-fA-F]{64}) [ *](.+)", re.DOTALL)
_ESCAPES = {b"\\\\": b"\\", b"\\n": b"\n", b"\\r": b"\r"}


def read_manifest(path: AnyPath) -> dict[bytes, tuple[str, str]]:
    """Read the manifest at ``path`` -> path inside the image to (algorithm, digest in hex).

    Raises ``SourceError``, naming the line at fault; for a file that cannot be read with the ``exit_code`` that an
    image which cannot be read has.
    """
    try:
        with open(path, "rb") as file:
            lines = file.read().split(b"\n")
    except OSError as error:
        unreadable = SourceError.of(path, error)
        unreadable.exit_code = UnreadableError.exit_code
        raise unreadable from error
    # A bare digest is SHA-256, unless the file's name says that b3sum wrote it.
    bare = "blake3" if re.search(rb"b(lake)?3", os.path.basename(os.fsencode(path))) else "sha256"
    found = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith(b"#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise SourceError(path, f"line {number} is not of the form 'algorithm:digest  /path'")
        escaped, algorithm, digest, name = match.groups()
        if escaped:
            name = re.sub(rb"\\[\\nr]", lambda one: _ESCAPES[one[0]], name)
        name = name.removeprefix(b"./")
        found[absolute(name)] = (algorithm.decode() if algorithm else bare, digest.decode().lower())
    return found


def check_digests(given: Digests) -> None:
    """Raise ``TypeError`` for what is no `Digests`, ``UsageError`` for one with an algorithm that nobody knows."""
    if not isinstance(given, Mapping):
        raise TypeError(f"a manifest is a path or a mapping of paths, not {type(given).__name__}")
    for path, entry in given.items():
        expect("a manifest's path", path, bytes, "bytes")
        match expect("a manifest's value", entry, tuple, "(algorithm, digest in hex)"):
            case (str() as algorithm, str()):
                if algorithm not in ALGORITHMS:
                    raise UsageError(f"a manifest's algorithm {algorithm!r:.80}: not one of {', '.join(ALGORITHMS)}")
            case _:
                raise TypeError("a manifest's value: two texts are wanted, algorithm and digest in hex")


def format_manifest(digests: Iterable[tuple[bytes, str, str]], algorithm: str) -> bytes:
    """Return the lines for (path, algorithm, hex) rows: those of one algorithm, each once, in order of paths."""
    out = bytearray()
    for name, _, digest in sorted({row for row in digests if row[1] == algorithm}):
        mark = b""
        if b"\n" in name or b"\\" in name or b"\r" in name:
            mark = b"\\"
            name = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
        out += mark + algorithm.encode() + b":" + digest.encode() + b"  " + name + b"\n"
    return bytes(out)


def write_manifest(
    path: AnyPath,
    digests: Iterable[tuple[bytes, str, str]],
    algorithm: str,
) -> None:
    """Write `format_manifest` to a file: of `VerifyReport.digests`, those by ``algorithm``. Raises ``OutputError``."""
    write_file(path, format_manifest(digests, algorithm))
