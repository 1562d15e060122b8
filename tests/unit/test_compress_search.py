"""Filling an output by search, over compressors that are mere functions from length to size."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkfs_erofs_py.compress.search import FillSearch

PCLUSTER = 4096


class Model:
    """Says that ``length`` bytes compress to ``size(length)``, and writes both down for the test."""

    def __init__(self, size: Callable[[int], int]) -> None:
        self.size = size
        self.tries: list[int] = []

    def __call__(self, dst: int, room: int, src: int, length: int) -> int:
        size = self.size(length)
        assert length >= 1
        self.tries.append(length)
        if size > room:
            return (1 << 64) - 70  # as Zstandard reports errors
        ctypes.memmove(dst, length.to_bytes(4, "little"), min(4, size))
        return size


def fill(search: FillSearch, src_len: int, dst_len: int = PCLUSTER) -> tuple[int, int]:
    """Fill and check that what is in the output is the stream of what is said to be consumed."""
    target = ctypes.create_string_buffer(dst_len)
    consumed, produced = search.fill(0, src_len, ctypes.addressof(target), dst_len)
    if produced >= 4:
        assert int.from_bytes(target.raw[:4], "little") == consumed
    return consumed, produced


# what the data is like -> sizes, and how many tries a fill may take from the second on
STEADY: dict[str, tuple[Callable[[int], int], int]] = {
    "compresses to a third": (lambda n: 20 + n // 3, 2),
    "compresses to a fiftieth": (lambda n: 20 + n // 50, 2),
    "compresses to nine tenths": (lambda n: 20 + n * 9 // 10, 2),
    "compresses better with length": (lambda n: 20 + int(n**0.9), 2),
}


@pytest.mark.parametrize("name", STEADY)
def test_steady_data_takes_few_tries(name: str) -> None:
    size, most = STEADY[name]
    model = Model(size)
    search = FillSearch(model, PCLUSTER)
    fill(search, 10 << 20)
    model.tries.clear()
    consumed, produced = fill(search, 10 << 20)
    assert len(model.tries) <= most
    assert produced == size(consumed) >= 0.97 * PCLUSTER


@given(
    costs=st.lists(st.sampled_from([0.01, 0.2, 0.4, 0.9, 1.1]), min_size=1, max_size=40),
    src_len=st.integers(1, 200_000),
)
@settings(deadline=None)
def test_any_data_takes_a_bounded_number_of_tries(costs: list[float], src_len: int) -> None:
    ends = list(itertools.accumulate(costs))

    def size(length: int) -> int:
        whole, rest = divmod(length, 5000)
        whole %= len(costs)
        return 10 + int(5000 * (ends[whole - 1] if whole else 0) + rest * costs[whole])

    model = Model(size)
    consumed, produced = fill(FillSearch(model, PCLUSTER), src_len)
    assert 1 <= consumed <= src_len
    assert produced == size(consumed) <= PCLUSTER or produced == 0
    assert len(model.tries) <= 25


def test_noise_is_given_up_after_one_try_and_skipped_by_its_length() -> None:
    model = Model(lambda n: n + 12)
    consumed, produced = fill(FillSearch(model, PCLUSTER), 1 << 20)
    assert (consumed, produced) == (model.tries[0], 0)
    assert len(model.tries) == 1
    assert consumed > PCLUSTER


def test_a_short_source_is_taken_whole_in_one_try() -> None:
    model = Model(lambda n: 20 + n // 2)
    assert fill(FillSearch(model, PCLUSTER), 5000) == (5000, 2520)
    assert model.tries == [5000]


def test_forgetting_makes_the_next_fill_as_the_first() -> None:
    model = Model(lambda n: 20 + n // 7)
    search = FillSearch(model, PCLUSTER)
    fill(search, 1 << 20)
    first, model.tries = model.tries, []
    fill(search, 1 << 20)
    assert model.tries != first
    search.forget()
    model.tries = []
    fill(search, 1 << 20)
    assert model.tries == first
