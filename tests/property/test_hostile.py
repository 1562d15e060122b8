"""Images mutated at random never do harm: every error is an `ImageError`, in bounded time and memory."""

from __future__ import annotations

import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.exercise import exercise, mended
from tests.fuzz.seeds import SEEDS

#: Values that lie at the edges of what fields hold, beside those drawn at random.
EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FF, 0x800, 0x801, 0x7FFF, 0xFFFF, 1 << 31, (1 << 32) - 1, 1 << 63, (1 << 64) - 1)


@pytest.mark.parametrize("name", SEEDS)
def test_the_images_that_mutation_begins_with_are_sound(name: str) -> None:
    assert exercise(SEEDS[name]) == []


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """Draw a good image, overwrite up to four fields near its structures, perhaps cut it, mend its checksum."""
    data = bytearray(draw(st.sampled_from(sorted(SEEDS.values()))))
    used = [i for i in range(1024, len(data)) if data[i]] or [1024]
    for _ in range(draw(st.integers(1, 4))):
        form = draw(st.sampled_from("BHIQ"))
        size = struct.calcsize(form)
        at = used[draw(st.integers(0, len(used) - 1))] + draw(st.integers(-3, 3))
        at = max(0, min(at, len(data) - size))
        value = draw(st.one_of(st.sampled_from(EDGES), st.integers(0, (1 << 8 * size) - 1)))
        struct.pack_into(f"<{form}", data, at, value & (1 << 8 * size) - 1)
    if draw(st.integers(0, 9)) == 0:
        del data[draw(st.integers(0, len(data))) :]
    return mended(bytes(data))


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(mutations())
def test_a_mutated_image_raises_nothing_but_image_errors(data: bytes) -> None:
    exercise(data)
