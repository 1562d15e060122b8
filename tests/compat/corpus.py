"""Images of the reference tool over its options.

``CASES`` maps a name, which is the options' own, to what ``mkfs.erofs`` is given; `make_image` runs it.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support import reference

__all__ = ["CASES", "Case", "make_image"]


@dataclass(frozen=True)
class Case:
    """Options of one image; ``blob`` adds an external device; ``tar`` feeds a tarball (full or index mode)."""

    options: tuple[str, ...]
    blob: bool = False
    tar: str = ""


def _cases() -> dict[str, Case]:
    found: dict[str, Case] = {}

    def add(options: str, *, blob: bool = False, tar: str = "") -> None:
        name = options.replace("--", "").strip("-") or "plain"
        if tar:
            name = f"tar={tar} {name}"
        if blob:
            name += " blobdev"
        found[name.replace(" ", "_").replace("/", "")] = Case(tuple(options.split()), blob, tar)

    for options in (
        "",
        "-Enoinline_data",
        "-Eforce-inode-extended",
        "-Eforce-inode-compact --all-root",
        "-Enosbcrc",
        "-Exattr-name-filter",
        "-E48bit",
        "-E48bit,dot-omitted",
        "-x1",
        "-x0",
        "-x-1",
        "--xattr-prefix=user.number-",
        "-x1 --xattr-prefix=user.number- -Eplain-xattr-prefixes",
        "--xattr-prefix=user.number- -zlz4 -Efragments",
        "--xattr-prefix=user.number- -zlz4 -Efragments,plain-xattr-prefixes",
        "--xattr-inode-digest",
        "--xattr-inode-digest=trusted.erofs.fingerprint -zlz4",
        "-b512",
        "-b1024",
        "-b4096 -T0 --all-root",
        "-b512 -zlz4hc -C4096",
        "-b1024 -zzstd",
        "--chunksize=4096",
        "--chunksize=65536",
        "--chunksize=4096 -Eforce-chunk-indexes",
        "--chunksize=65536 -Eforce-inode-blockmap",
        "--chunksize=4096 -E48bit",
    ):
        add(options)
    for codec in ("lz4", "lz4hc,12", "lzma", "deflate", "libdeflate", "zstd,level=9"):
        add(f"-z{codec}")
        add(f"-z{codec} -C65536")
        add(f"-z{codec} -Elegacy-compress")
        add(f"-z{codec} -C16384 -Eztailpacking")
        add(f"-z{codec} -C32768 -Efragments")
        add(f"-z{codec} -C65536 -Eall-fragments")
        add(f"-z{codec} -C65536 -E48bit")
    for options in (
        "-zlz4hc -C1048576",
        "-zzstd -C1048576 -Elegacy-compress",
        "-zlz4 -C65536 -Elegacy-compress",
        "-zlz4 -Eztailpacking,legacy-compress",
        "-zlz4 -C65536 -Efragments,legacy-compress",
        "-zlz4 -C16384 -Eztailpacking,fragments",
        "-zlz4 -Ededupe",
        "-zzstd -C65536 -Ededupe",
        "-zlz4hc -C65536 -Ededupe,fragments",
        "-zlz4hc -C65536 -Ededupe,all-fragments,ztailpacking",
        "-zlzma -C262144 -Eall-fragments,dedupe",
        "-zlz4hc -C65536 -Ededupe,legacy-compress",
        "-zlz4hc -C65536 -Efragdedupe=inode",
        "-zlz4 -E48bit,ztailpacking",
        "-zlz4 -C16384 -E48bit,fragments",
        "-zzstd -C65536 -E48bit,dedupe,fragments",
        "-zdeflate -C65536 -E48bit,all-fragments",
        "-zlz4 -E48bit,dot-omitted --max-extent-bytes=8192",
        "-zzstd -C65536 --max-extent-bytes=131072",
        "-zlz4 --zD",
        "-zzstd -C65536 -E48bit --zD",
        "--MZ -E48bit",
        "--MZ -m4096:zstd -E48bit",
        "-zlz4hc -C65536 -m65536:lz4hc --MZ -E48bit",
        "-zzstd -m4096 --MZ=i -E48bit",
        "-zlz4 -C16384 -m16384 --MZ=id -E48bit,dot-omitted --xattr-prefix=user.number-",
        "-zlz4 -C16384 -m16384 --MZ=id -E48bit,plain-xattr-prefixes --xattr-prefix=user.number- --xattr-inode-digest",
        "-zlz4 -m4096 --MZ -E48bit,all-fragments -x1",
        "-zlz4:zstd,level=3:deflate",
        "--dsunit=16",
        "--fsalignblks=256 -zlz4",
    ):
        add(options)
    for chunk in ("4096", "65536"):
        add(f"--chunksize={chunk}", blob=True)
    add("--chunksize=4096 -E48bit", blob=True)
    add("", tar="f")
    add("-zlz4hc -C65536", tar="f")
    add("", tar="i")
    add("-b512", tar="i")
    return found


CASES = _cases()


def make_image(case: Case, tree: Path, image: Path) -> list[Path]:
    """Build ``image`` from ``tree`` as ``case`` says; return the extra devices' paths, in order.

    Raises ``UnavailableError`` without the reference tool and ``CalledProcessError`` where it fails.
    """
    command: list[str | Path] = [
        reference.find("mkfs.erofs"),
        "--quiet",
        "-U",
        "00000000-0000-0000-0000-000000000001",
        *case.options,
    ]
    devices: list[Path] = []
    source = tree
    if case.blob:
        devices.append(image.with_suffix(".blob"))
        command.append(f"--blobdev={devices[0]}")
    if case.tar:
        source = image.with_suffix(".tar")
        tar = ["tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "--format=pax", "--sort=name"]
        subprocess.run([*tar, "-cf", str(source), "-C", str(tree), "."], check=True, capture_output=True)
        command.append(f"--tar={case.tar}")
        if case.tar == "i":
            devices.append(source)
    subprocess.run([*command, image, source], capture_output=True, check=True)
    return devices
