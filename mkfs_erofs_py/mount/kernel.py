"""Mounting with the kernel's own driver: page cache sharing where it has it, a clear word where it hasn't."""

from __future__ import annotations

import os
import platform
import stat
import subprocess
from collections.abc import Callable, Sequence

from ..errors import MountError, UsageError
from ..kernels import Feature, Kernel
from ..ondisk.constants import Compat
from ..pagecache import Unshared
from ..read import Image
from .points import OURS, MountPoint

__all__ = ["mount_all", "obstacle"]


def kernel_version() -> Kernel:
    """Return the running kernel's release."""
    return Kernel.parse(platform.release())


def obstacle() -> str | None:
    """Return why this process cannot mount with the kernel's driver, ``None`` if nothing is in the way."""
    if platform.system() != "Linux":
        return "only Linux has the driver"
    if os.geteuid() != 0:
        return "mounting with the kernel's driver needs root"
    if not _registered():
        subprocess.run(["modprobe", "-q", "erofs"], capture_output=True, check=False)
        if not _registered():
            return f"this kernel (Linux {platform.release()}) has no EROFS"
    return None


def _registered() -> bool:
    with open("/proc/filesystems") as lines:
        return any(line.split()[-1:] == ["erofs"] for line in lines)


def mount_all(places: Sequence[MountPoint], domain: str | None, say: Callable[[str], None] = lambda _: None) -> None:
    """Mount all images, or none: what was mounted before a failure is unmounted again.

    ``domain`` is the kernel's ``domain_id``, within which images share; with ``None`` they do not.
    Images that go into one folder get a small file system of their own there, to hold their folders:
    ``umount -R`` undoes it all. ``say`` is told, in a line each, which images are mounted without sharing, and why.

    Raises :class:`~mkfs_erofs_py.errors.MountError`, ``UsageError`` for a domain that cannot be passed on.
    """
    if domain is not None and (not domain or any(character in domain for character in ",\\\n")):
        raise UsageError(f"--domain {domain!r}: a name without commas and backslashes, not empty")
    hindrance = obstacle()
    if hindrance is not None:
        raise MountError(places[0].image, hindrance)
    done: list[str] = []
    try:
        for place in places:
            point = place.point
            if place.name is not None:
                if place.point not in done:
                    _mount(place.point, "-t", "tmpfs", "-o", "mode=755,size=1m", OURS, place.point)
                    done.append(place.point)
                point = os.path.join(place.point, place.name)
                os.mkdir(point)
            _mount_image(place.image, point, domain, say)
            done.append(point)
    except BaseException:
        for point in reversed(done):
            subprocess.run(["umount", point], capture_output=True, check=False)
        raise


def _mount_image(image: str, point: str, domain: str | None, say: Callable[[str], None]) -> None:
    if domain is None:
        _mount(image, *_arguments(image, point, ""))
        return
    with Image.open(image) as opened:
        announced = bool(opened.superblock.compat & Compat.ISHARE_XATTRS)
    without = None
    since = Feature.ISHARE.first
    if kernel_version() < since:
        without = f"Linux {platform.release()} does not share page cache between images ({since} and later do)"
    elif not announced:
        without = Unshared.UNANNOUNCED.value
    else:
        try:
            _mount(image, *_arguments(image, point, f",inode_share,domain_id={domain}"))
        except MountError:
            without = "this kernel was built without page cache sharing"
        else:
            return
    _mount(image, *_arguments(image, point, ""))
    say(f"{image}: mounted without sharing: {without}")


def _arguments(image: str, point: str, options: str) -> tuple[str, ...]:
    loop = "" if os.path.exists(image) and _is_block(image) else ",loop"
    return "-t", "erofs", "-o", f"ro{loop}{options}", image, point


def _is_block(path: str) -> bool:
    return stat.S_ISBLK(os.stat(path).st_mode)


def _mount(what: str, *arguments: str) -> None:
    try:
        done = subprocess.run(["mount", *arguments], capture_output=True, text=True, errors="replace")
    except FileNotFoundError:
        raise MountError(what, "cannot be mounted: there is no mount program") from None
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["no reason given"]
        raise MountError(what, f"the kernel refuses to mount it: {lines[0].removeprefix('mount: ')}")
