"""Pack the initial RAM file system: a static shell, the modules wanted with all they depend on, and init.sh."""

from __future__ import annotations

import gzip
import lzma
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.kernel.harness.fetch import Kernel
from tests.support.requirements import UnavailableError

__all__ = ["pack"]

WANTED = ("virtio_pci", "virtio_blk", "9pnet_virtio", "9p", "loop", "erofs", "overlay")

INIT = Path(__file__).with_name("init.sh")


def pack(kernel: Kernel, into: Path) -> Path:
    """Write the compressed archive for ``kernel`` to ``into``, and return it."""
    modules = _with_dependencies(kernel.modules, WANTED)
    folders = ("bin", "modules", "proc", "sys", "dev", "host", "upper", "root")
    files: dict[str, tuple[int, bytes]] = dict.fromkeys(folders, (0o040755, b""))
    files["bin/busybox"] = (0o100755, kernel.busybox.read_bytes())
    files["init"] = (0o100755, INIT.read_bytes())
    files["modules/order"] = (0o100644, "".join(f"{name}\n" for name in modules).encode())
    for name, data in modules.items():
        files[f"modules/{name}.ko"] = (0o100644, data)
    into.write_bytes(gzip.compress(_cpio(files), 1))
    return into


def _with_dependencies(folder: Path, wanted: Iterable[str]) -> Mapping[str, bytes]:
    """Return the modules' contents by name, each after what it depends on.

    A module without a file is built into the kernel: nothing to load.
    """
    files = {path.name.split(".ko")[0].replace("-", "_"): path for path in folder.rglob("*.ko*")}
    loaded: dict[str, bytes] = {}

    def add(name: str) -> None:
        if name in loaded or name not in files:
            return
        data = _decompressed(files[name])
        # The .modinfo section holds NUL-terminated key=value strings; depmod reads the same.
        found = re.search(rb"\0depends=([^\0]*)\0", data)
        for other in (found[1].decode() if found else "").split(","):
            add(other.replace("-", "_"))
        loaded[name] = data

    for name in wanted:
        add(name)
    if "erofs" not in loaded:
        raise UnavailableError(f"{folder} holds no EROFS module")
    return loaded


def _decompressed(path: Path) -> bytes:
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    if path.suffix == ".zst":
        return subprocess.run(["zstd", "-dcq", path], check=True, capture_output=True).stdout
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes())
    return path.read_bytes()


def _cpio(files: Mapping[str, tuple[int, bytes]]) -> bytes:
    """Return a cpio archive in the "newc" format, which the kernel unpacks, of (mode, content) by path."""
    out = bytearray()
    for number, (name, (mode, data)) in enumerate([*files.items(), ("TRAILER!!!", (0, b""))], 1):
        path = name.encode() + b"\0"
        # inode, mode, uid, gid, links, mtime, size, device and rdevice (major, minor), name size, checksum
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + path
        out += bytes(-len(out) % 4) + data
        out += bytes(-len(out) % 4)
    return bytes(out)
