"""May a file share its pages? Decided here and nowhere else: for the cache, and for who foretells what it saves.

The rules are the kernel's (Linux 7.0 and later). Two files share iff their images do so in one domain and their keys
are equal. A key is the fingerprint, together with whether the file is compressed: the kernel keeps compressed files
apart from plain ones, which user space need not.

What a key cannot tell: where files of different sizes have one key, the first that is mapped wins, and those of
another size keep pages of their own. Who counts or maps files in some order has to do that.
"""

from __future__ import annotations

import enum

from .proof import can_prove

__all__ = ["Unshared", "sharing_key"]


class Unshared(enum.Enum):
    """Why a file shares with nobody, in words that follow the file's name."""

    UNANNOUNCED = "the image announces no fingerprints"
    NO_FINGERPRINT = "it has no fingerprint"
    EMPTY = "it is empty"
    UNCHECKABLE = "its fingerprint cannot be checked"


_FORMS = {True: b"c", False: b"p", None: b"*"}


def sharing_key(
    fingerprint: bytes | None,
    size: int,
    *,
    announced: bool,
    compressed: bool | None,
    strict: bool = False,
) -> bytes | Unshared:
    """Return what must be equal for a regular file to share, or the reason why it does not.

    ``fingerprint`` is the attribute's value as stored, ``size`` the file's in bytes, ``announced`` whether its
    image's superblock announces fingerprints. ``compressed`` is None where that is to make no difference. A strict
    cache checks fingerprints, so it shares only those that it can.
    """
    if not announced:
        return Unshared.UNANNOUNCED
    if not fingerprint:
        return Unshared.NO_FINGERPRINT
    if not size:
        return Unshared.EMPTY
    if strict and not can_prove(fingerprint):
        return Unshared.UNCHECKABLE
    return _FORMS[compressed] + fingerprint
