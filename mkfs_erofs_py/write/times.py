"""Which time each file gets: what ``-T`` and its companions ask for, combined as ``mkfs.erofs`` combines them."""

from __future__ import annotations

import enum

from ..errors import UsageError

__all__ = ["TimePolicy", "times"]


class TimePolicy(enum.Enum):
    """What happens to a file's modification time."""

    #: Nothing.
    KEEP = "keep"
    #: What is later than the timestamp becomes the timestamp.
    CLAMP = "clamp"
    #: It becomes the timestamp.
    FIX = "fix"


def times(
    stamp: int | None = None,
    *,
    all_time: bool | None = None,
    ignore_mtime: bool = False,
    source_date_epoch: int | None = None,
) -> tuple[int | None, TimePolicy]:
    """Decide on the timestamp, and what it is for -> timestamp, policy. All times are seconds since 1970.

    ``stamp`` is a time for all files, or, if ``all_time`` is False, for none of them (it is then the image's own
    alone). ``source_date_epoch``, the environment variable of that name to the command line, takes its place, and
    clamps: files that are older keep their times. ``ignore_mtime`` gives all files whichever of the two there is.

    With no argument at all, files keep their times. Raises `UsageError` for ``ignore_mtime`` without any time.
    """
    policy = TimePolicy.KEEP if stamp is None or all_time is False else TimePolicy.FIX
    if source_date_epoch is not None:
        policy, stamp = TimePolicy.CLAMP, source_date_epoch
    if ignore_mtime:
        if stamp is None:
            raise UsageError("--ignore-mtime: needs a time to use instead; give -T or SOURCE_DATE_EPOCH")
        policy = TimePolicy.FIX
    return stamp, policy
