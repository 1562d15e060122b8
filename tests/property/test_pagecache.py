"""The cache against a model: whatever happens, a file reads as its own bytes and the budget holds."""

from __future__ import annotations

import random
import threading

import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from mkfs_erofs_py.errors import CacheFullError, UnreadableError
from mkfs_erofs_py.pagecache import PAGE, Advice, CachedFile, PageCache, Tenant

CONTENTS = [random.Random(n).randbytes(size) for n, size in enumerate([0, 1, 5000, 9 * PAGE, 40 * PAGE + 17])]
PRINTS = [b"blake3:" + blake3.blake3(data).digest() for data in CONTENTS]


class Bytes:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)

    def readinto(self, offset: int, buffer: memoryview) -> int:
        piece = self.data[offset : offset + len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)


OPERATIONS = st.tuples(
    st.sampled_from(["read", "read", "view", "release", "advise", "reopen", "detach"]),
    st.integers(0, 2),  # which image
    st.integers(0, len(CONTENTS) - 1),  # which file
    st.integers(0, 42 * PAGE),  # offset
    st.integers(0, 42 * PAGE),  # length
    st.sampled_from(Advice),
)


@settings(max_examples=150, deadline=None)
@given(
    budget=st.none() | st.integers(1, 60).map(lambda pages: pages * PAGE),
    strict=st.booleans(),
    operations=st.lists(OPERATIONS, max_size=40),
)
def test_any_sequence_of_operations(  # noqa: C901 - a list of cases
    budget: int | None, strict: bool, operations: list[tuple[str, int, int, int, int, Advice]]
) -> None:
    cache = PageCache(budget, strict=strict)
    tenants: dict[int, Tenant] = {}
    files: dict[tuple[int, int], CachedFile] = {}
    held: list[tuple[list[memoryview], bytes]] = []
    for what, image, number, offset, length, advice in operations:
        if image not in tenants:
            tenants[image] = cache.attach(str(image), b"one" if image < 2 else b"other")
        data = CONTENTS[number]
        if (image, number) not in files:
            files[image, number] = tenants[image].open(number, Bytes(data), PRINTS[number])
        file = files[image, number]
        wanted = data[offset : offset + length]
        match what:
            case "read":
                assert file.read(offset, length) == wanted
            case "view":
                try:
                    held.append((file.views(offset, length), wanted))
                except CacheFullError:
                    spanned = (offset + length - 1) // PAGE - offset // PAGE + 1
                    assert held or (budget and spanned * PAGE > budget // 2), "only views can fill a cache"
            case "release" if held:
                held.pop(number % len(held))
            case "advise":
                file.advise(advice, offset, length)
            case "reopen":
                files.pop((image, number)).close()
            case "detach":
                tenants.pop(image).detach()
                for key in [key for key in files if key[0] == image]:
                    try:
                        files.pop(key).read(0, 1)
                    except UnreadableError:
                        continue
                    assert not CONTENTS[key[1]]
        assert all(b"".join(views) == expected for views, expected in held)
        total = cache.counters()
        assert budget is None or total.resident_bytes <= budget
        assert total.shared_bytes <= total.resident_bytes
        if not held:
            assert (total.fills - total.evictions - total.drops) * PAGE == total.resident_bytes
    held.clear()
    for tenant in tenants.values():
        tenant.detach()
    assert cache.counters().resident_bytes == 0


def test_many_threads_over_a_small_budget() -> None:
    budget = 30 * PAGE
    cache = PageCache(budget, strict=True)
    tenants = [cache.attach(str(n)) for n in range(3)]
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        pick = random.Random(seed)
        try:
            for _ in range(250):
                number = pick.randrange(len(CONTENTS))
                data, tenant = CONTENTS[number], tenants[pick.randrange(3)]
                with tenant.open(number, Bytes(data), PRINTS[number]) as file:
                    offset, length = pick.randrange(42 * PAGE), pick.randrange(42 * PAGE)
                    file.advise(pick.choice(list(Advice)), offset, length)
                    assert file.read(offset, length) == data[offset : offset + length]
                    try:
                        views = file.views(offset, length % (5 * PAGE))
                    except CacheFullError:
                        continue
                    assert b"".join(views) == data[offset : offset + length % (5 * PAGE)]
                    assert cache.counters().resident_bytes <= budget
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert failures == []
    for tenant in tenants:
        tenant.detach()
    total = cache.counters()
    assert total.resident_bytes == 0
    assert total.fills == total.evictions + total.drops
