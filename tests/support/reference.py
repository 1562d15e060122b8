"""The reference tools (erofs-utils 1.9 or newer): where they are, and how to bring them here.

``python -m tests.support.reference`` fetches Debian sid's erofs-utils with its own libraries into the
cache folder; nothing is installed. Tests look in ``$EROFS_UTILS``, there, and in ``PATH``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from tests.support.debian import Archive
from tests.support.requirements import CACHE, UnavailableError

__all__ = ["OLDEST", "TOOLS", "fetch", "find"]

TOOLS = ("mkfs.erofs", "fsck.erofs", "dump.erofs", "erofsfuse")

OLDEST = (1, 9)
"""The first version that writes and checks fingerprints, and every layout the tests compare."""

FETCHED = CACHE / "reference" / "bin"


@cache
def find(name: str) -> Path:
    """Return the path of the reference tool ``name``; raise UnavailableError where none is new enough."""
    passed = []
    for folder in (os.environ.get("EROFS_UTILS"), FETCHED, *os.environ.get("PATH", "").split(os.pathsep)):
        path = Path(folder or "/nonexistent", name)
        if not os.access(path, os.X_OK):
            continue
        version = version_of(path)
        if version >= OLDEST:
            return path
        passed.append(f"{path} is {'.'.join(map(str, version))}")
    why = f" ({'; '.join(passed)})" if passed else ""
    raise UnavailableError(f"no {name} of erofs-utils 1.9 here{why}: run `make reference` or set EROFS_UTILS")


def version_of(path: Path) -> tuple[int, ...]:
    """Return the version a tool of erofs-utils reports, () where it does not."""
    done = subprocess.run([path, "--version"], capture_output=True, text=True, errors="replace")
    found = re.search(r"\b\d+(?:\.\d+)+", done.stdout + done.stderr)
    return tuple(map(int, found[0].split("."))) if found else ()


def fetch() -> None:
    """Bring the tools into the cache folder, with the libraries and the loader they were linked for."""
    home = FETCHED.parent
    archive = Archive(home / "apt", ["sid"])
    archive.update()
    root = home / "root"
    shutil.rmtree(root, ignore_errors=True)
    archive.unpack(archive.fetch(["erofs-utils", "erofsfuse"], dependencies=True), root)
    loader = next((path for path in sorted(root.rglob("ld-linux-*.so.*")) if path.is_file()), None)
    if loader is None:
        raise UnavailableError("the fetched packages hold no dynamic loader")
    FETCHED.mkdir(parents=True, exist_ok=True)
    for name in TOOLS:
        program = next(path for path in sorted(root.rglob(name)) if path.is_file())
        # Debian's programs want sid's C library, so they start through the loader fetched with them.
        wrapper = FETCHED / name
        wrapper.write_text(
            "#!/bin/sh\n"
            'root=$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")/root\n'
            f'libraries="$root/{loader.parent.relative_to(root)}"\n'
            f'exec "$root/{loader.relative_to(root)}" --library-path "$libraries" '
            f'"$root/{program.relative_to(root)}" "$@"\n'
        )
        wrapper.chmod(0o755)
    shutil.rmtree(home / "apt")
    find.cache_clear()


def main() -> int:
    """Fetch the tools unless they are here; say where they are."""
    try:
        if not all(os.access(FETCHED / name, os.X_OK) for name in TOOLS):
            fetch()
        print(f"{find('mkfs.erofs')}: erofs-utils {'.'.join(map(str, version_of(find('mkfs.erofs'))))}")
    except UnavailableError as error:
        print(f"reference tools: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
