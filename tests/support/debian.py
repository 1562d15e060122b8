"""Packages of other Debian suites, fetched with apt beside the machine's own package state.

The address comes from the machine's own Debian source (or ``DEBIAN_MIRROR``); lists, archives and the
(empty) installation state are private to a folder, and packages are only unpacked, never installed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.support.requirements import UnavailableError

__all__ = ["Archive", "mirror"]

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SOURCES = Path("/etc/apt")


def mirror(folder: Path = SOURCES, *, archive: str = "debian") -> str:
    """Return the address of the machine's Debian archive, or of another, as ``debian-security``.

    Understands both of apt's formats, ``*.sources`` and ``*.list``; ``DEBIAN_MIRROR`` overrides the first.
    Raises UnavailableError where there is no such source.
    """
    if archive == "debian" and (override := os.environ.get("DEBIAN_MIRROR")):
        return override.rstrip("/")
    files = [folder / "sources.list", *sorted(folder.glob("sources.list.d/*"))]
    for file in files:
        if not file.is_file() or file.suffix not in {".list", ".sources"}:
            continue
        text = file.read_text(errors="replace")
        if file.suffix == ".sources":
            found = re.findall(r"^URIs:\s*(\S+)", text, re.MULTILINE)
        else:
            found = re.findall(r"^deb\s+(?:\[[^]]*\]\s+)?(\S+)", text, re.MULTILINE)
        for address in found:
            if address.rstrip("/").endswith(f"/{archive}"):
                return str(address).rstrip("/")
    raise UnavailableError(f"no source of {archive} in /etc/apt; set DEBIAN_MIRROR to the address of a Debian mirror")


class Archive:
    """Debian suites seen through a private apt state in ``folder``."""

    def __init__(self, folder: Path, suites: Sequence[str]) -> None:
        for tool in ("apt-get", "apt-cache", "dpkg-deb"):
            if shutil.which(tool) is None:
                raise UnavailableError(f"{tool} is missing: packages can only be fetched on Debian and its kin")
        if not KEYRING.is_file():
            raise UnavailableError(f"{KEYRING} is missing: install debian-archive-keyring")
        self.folder = folder
        address = mirror()
        for sub in ("lists/partial", "archives/partial"):
            (folder / sub).mkdir(parents=True, exist_ok=True)
        (folder / "status").touch()
        (folder / "sources.list").write_text(
            "".join(f"deb [signed-by={KEYRING}] {address} {suite} main\n" for suite in suites)
        )

    def update(self) -> None:
        """Fetch the package lists."""
        self._run("apt-get", "update")

    def newest(self, pattern: str) -> str:
        """Return the package with the greatest version-sorted name that matches ``pattern`` as a whole."""
        names = self._run("apt-cache", "pkgnames").split()
        found = [name for name in names if re.fullmatch(pattern, name)]
        if not found:
            raise UnavailableError(f"the archive holds no package named {pattern}")
        return max(found, key=lambda name: [int(part) for part in re.findall(r"\d+", name)])

    def fetch(self, packages: Iterable[str], *, dependencies: bool) -> list[Path]:
        """Download packages (with all they depend on, if asked); return the archives."""
        archives = self.folder / "archives"
        if dependencies:
            self._run("apt-get", "install", "--yes", "--download-only", "--no-install-recommends", *packages)
            return sorted(archives.glob("*.deb"))
        self._run("apt-get", "download", *packages, cwd=archives)
        return sorted(path for name in packages for path in archives.glob(f"{name}_*.deb"))

    def unpack(self, archives: Iterable[Path], into: Path) -> None:
        """Unpack archives over each other, without running anything of theirs."""
        into.mkdir(parents=True, exist_ok=True)
        for archive in archives:
            subprocess.run(["dpkg-deb", "-x", archive, into], check=True)

    def _run(self, *command: str, cwd: Path | None = None) -> str:
        options = {
            "Dir::Etc::SourceList": self.folder / "sources.list",
            "Dir::Etc::SourceParts": "-",
            "Dir::State::Lists": self.folder / "lists",
            "Dir::State::Status": self.folder / "status",
            "Dir::Cache::Archives": self.folder / "archives",
            "Dir::Cache::PkgCache": "",
            "Dir::Cache::SrcPkgCache": "",
            "Debug::NoLocking": "1",
            "Acquire::Languages": "none",
            "APT::Sandbox::User": "",  # the folder may lie where apt's own user cannot reach
            "APT::Keep-Downloaded-Packages": "1",
        }
        argv = [command[0], "-qq", *(f"-o{key}={value}" for key, value in options.items()), *command[1:]]
        done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise UnavailableError(f"{' '.join(command[:2])} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout
