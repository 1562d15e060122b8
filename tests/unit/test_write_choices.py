"""What the builder's options mean together: whose time each file gets, and who owns it."""

from __future__ import annotations

from typing import Literal

import pytest

from mkfs_erofs_py.errors import UsageError
from mkfs_erofs_py.write import BuildOptions
from mkfs_erofs_py.write.owners import owners
from mkfs_erofs_py.write.profile import resolve
from mkfs_erofs_py.write.times import TimePolicy, times

KEEP, CLAMP, FIX = TimePolicy.KEEP, TimePolicy.CLAMP, TimePolicy.FIX


@pytest.mark.parametrize(
    ("stamp", "all_time", "ignore_mtime", "epoch", "expected"),
    [
        pytest.param(None, None, False, None, (None, KEEP), id="nothing asked: files keep their times"),
        pytest.param(7, None, False, None, (7, FIX), id="-T"),
        pytest.param(7, True, False, None, (7, FIX), id="-T --all-time"),
        pytest.param(7, False, False, None, (7, KEEP), id="-T --mkfs-time"),
        pytest.param(7, False, True, None, (7, FIX), id="-T --mkfs-time --ignore-mtime"),
        pytest.param(None, None, False, 9, (9, CLAMP), id="the environment clamps"),
        pytest.param(None, None, False, 0, (0, CLAMP), id="to 1970 as well"),
        pytest.param(7, True, False, 9, (9, CLAMP), id="the environment wins over -T"),
        pytest.param(7, None, True, 9, (9, FIX), id="--ignore-mtime fixes what the environment says"),
    ],
)
def test_times(
    stamp: int | None,
    all_time: bool | None,
    ignore_mtime: bool,
    epoch: int | None,
    expected: tuple[int | None, TimePolicy],
) -> None:
    assert times(stamp, all_time=all_time, ignore_mtime=ignore_mtime, source_date_epoch=epoch) == expected


def test_ignoring_times_needs_a_time() -> None:
    with pytest.raises(UsageError, match="--ignore-mtime"):
        times(ignore_mtime=True)


def test_the_default_is_that_of_the_builder() -> None:
    profile = resolve(BuildOptions())
    assert times() == (profile.stamp, profile.time_policy)
    assert owners(()) == (BuildOptions().force_uid, BuildOptions().force_gid)


Word = tuple[Literal["all-root", "force-uid", "force-gid"], int]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([("force-uid", 5)], (5, None)),
        ([("force-gid", 6)], (None, 6)),
        ([("all-root", 1)], (0, 0)),
        ([("all-root", 1), ("force-uid", 5)], (5, 0)),
        ([("force-uid", 5), ("force-gid", 6), ("all-root", 1)], (0, 0)),
        ([("force-uid", 5), ("force-uid", 7)], (7, None)),
    ],
)
def test_the_last_word_on_owners_counts(words: list[Word], expected: tuple[int | None, int | None]) -> None:
    assert owners(words) == expected
