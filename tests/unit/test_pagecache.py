"""The shared page cache: what is shared, by whom, and what is accounted."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable

import blake3
import pytest

from mkfs_erofs_py.errors import CacheFullError, OutOfBoundsError, SourceError, UnreadableError, UsageError
from mkfs_erofs_py.pagecache import PAGE, Advice, CachedFile, PageCache, Tenant, page_round

FP = b"blake3:" + bytes(32)


class Memory:
    """A fetcher over bytes that counts what it is asked for."""

    def __init__(self, data: bytes, hook: Callable[[], None] = lambda: None) -> None:
        self.data = data
        self.size = len(data)
        self.asked: list[tuple[int, int]] = []
        self.hook = hook

    def readinto(self, offset: int, buffer: memoryview) -> int:
        self.asked.append((offset, len(buffer)))
        self.hook()
        piece = self.data[offset : offset + len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)


def fail() -> None:
    raise SourceError("disk", "broke")


def content(pages: int, tail: int = 0) -> bytes:
    return b"".join(bytes([n % 251]) * PAGE for n in range(pages)) + b"t" * tail


def two(cache: PageCache, *domains: bytes | None) -> tuple[Tenant, Tenant]:
    first, second = domains or (b"", b"")
    return cache.attach("a", first), cache.attach("b", second)


@pytest.mark.parametrize(
    ("size", "rounded"), [(0, 0), (1, PAGE), (PAGE, PAGE), (PAGE + 1, 2 * PAGE), (1 << 40, 1 << 40)]
)
def test_accounting_is_in_whole_pages(size: int, rounded: int) -> None:
    assert page_round(size) == rounded


def test_equal_fingerprints_share_one_copy_and_one_fill() -> None:
    cache, data = PageCache(), content(3, 5)
    a, b = two(cache)
    from_a, from_b = Memory(data), Memory(data)
    left, right = a.open(1, from_a, FP), b.open(2, from_b, FP)
    assert left.read(0, 1 << 20) == right.read(0, 1 << 20) == data
    assert from_b.asked == []
    total = cache.counters()
    assert (total.fills, total.misses, total.hits) == (4, 4, 4)
    assert total.resident_bytes == total.shared_bytes == 4 * PAGE
    assert a.counters().resident_bytes == b.counters().resident_bytes == 4 * PAGE
    assert (a.counters().fills, b.counters().fills, b.counters().hits) == (4, 0, 4)


@pytest.mark.parametrize(
    ("domains", "prints"),
    [
        pytest.param((b"x", b"y"), (FP, FP), id="different domains"),
        pytest.param((None, None), (FP, FP), id="no domain"),
        pytest.param((b"", b""), (FP, FP[:-1] + b"x"), id="different fingerprints"),
        pytest.param((b"", b""), (None, None), id="no fingerprint"),
        pytest.param((b"", b""), (b"", b""), id="empty fingerprint"),
    ],
)
def test_nothing_else_shares(domains: tuple[bytes | None, ...], prints: tuple[bytes | None, ...]) -> None:
    cache, data = PageCache(), content(2)
    a, b = two(cache, *domains)
    a.open(1, Memory(data), prints[0]).read(0, 9)
    b.open(1, Memory(data), prints[1]).read(0, 9)
    assert cache.counters().fills == 4
    assert cache.counters().shared_bytes == 0
    assert cache.counters().resident_bytes == 4 * PAGE


def test_files_of_one_image_share_too_and_a_reopened_file_is_the_same() -> None:
    cache = PageCache()
    a = cache.attach("a")
    for ident in (1, 2, 1):
        with a.open(ident, Memory(content(2)), FP) as file:
            assert file.shared
            file.read(0, 1)
    with a.open(7, Memory(content(1))) as private:
        assert not private.shared
        private.read(0, 1)
    with a.open(7, Memory(b"never asked" * 1000)) as again:
        assert again.read(0, PAGE) == content(1)
    assert a.counters().fills == 3


def test_a_different_size_is_refused_sharing_with_a_warning() -> None:
    warnings: list[str] = []
    cache = PageCache(warn=warnings.append)
    a, b = two(cache)
    long, short = a.open(1, Memory(b"aa"), FP), b.open(1, Memory(b"b"), FP)
    assert (long.read(0, 9), short.read(0, 9)) == (b"aa", b"b")
    assert (long.shared, short.shared) == (True, False)
    assert len(warnings) == 1
    assert "b: not sharing inode 1 of 1 bytes" in warnings[0]


def test_unmounting_the_image_that_filled_leaves_the_others_working() -> None:
    cache, data = PageCache(), content(40)
    a, b = two(cache)
    left, right = a.open(1, Memory(data), FP), b.open(1, Memory(data), FP)
    right.advise(Advice.RANDOM)
    left.advise(Advice.RANDOM)
    left.read(0, 10 * PAGE)
    b_first = right.read(0, PAGE)
    a.detach()
    a.detach()
    assert right.read(0, len(data)) == data
    assert b_first == data[:PAGE]
    assert b.counters().fills == 30
    with pytest.raises(UnreadableError, match="a: is no longer mounted"):
        left.read(0, 1)
    with pytest.raises(UnreadableError):
        a.open(2, Memory(data), FP)
    assert cache.counters().fills == 40
    b.detach()
    assert cache.counters().resident_bytes == 0
    assert cache.counters().drops == 40


def test_views_are_the_very_same_memory_and_stay_valid() -> None:
    cache, data = PageCache(), content(3, 7)
    a, b = two(cache)
    [left] = a.open(1, Memory(data), FP).views(0, len(data))
    [right] = b.open(1, Memory(data), FP).views(PAGE, 1 << 30)
    assert left.obj is right.obj
    assert left.readonly
    a.detach()
    b.detach()
    assert left == data
    assert right == data[PAGE:]
    assert cache.counters().resident_bytes == 4 * PAGE, "held memory stays accounted"
    slices = left[5:6]
    left.release()
    right.release()
    assert cache.counters().resident_bytes == 4 * PAGE, "a slice holds as well"
    slices.release()
    assert cache.counters().resident_bytes == 0


def test_views_cover_exactly_the_range_across_extents() -> None:
    data = content(700, 3)
    file = PageCache().attach("a").open(1, Memory(data))
    views = file.views(PAGE - 1, len(data))
    assert len(views) > 1
    assert b"".join(views) == data[PAGE - 1 :]
    assert file.views(len(data), 5) == []
    assert file.views(3, 0) == []


def test_the_budget_evicts_what_was_used_longest_ago() -> None:
    cache = PageCache(8 * PAGE)
    a = cache.attach("a")
    file = a.open(1, Memory(content(20)))
    file.advise(Advice.RANDOM)
    for page in range(8):
        file.read(page * PAGE, 1)
    file.read(0, 1)
    file.read(8 * PAGE, 1)
    assert [n for n in range(20) if file.resident_pages() >> n & 1] == [0, 2, 3, 4, 5, 6, 7, 8]
    assert cache.counters().evictions == a.counters().evictions == 1
    assert cache.counters().resident_bytes == 8 * PAGE


def test_pinned_pages_are_not_evicted_and_the_budget_holds() -> None:
    cache = PageCache(2 * PAGE)
    data = content(9)
    file = cache.attach("a").open(1, Memory(data))
    held = file.views(0, 2 * PAGE)
    assert file.read(5 * PAGE, 3 * PAGE) == data[5 * PAGE : 8 * PAGE], "a copying read goes around"
    assert cache.counters().bypasses == 3
    with pytest.raises(CacheFullError, match="8192 bytes are pinned"):
        file.views(5 * PAGE, 1)
    assert b"".join(held) == data[: 2 * PAGE]
    assert cache.counters().resident_bytes == 2 * PAGE
    held.clear()
    assert b"".join(file.views(5 * PAGE, 1)) == data[5 * PAGE : 5 * PAGE + 1]
    assert cache.counters().resident_bytes <= 2 * PAGE


def test_a_large_read_passes_through_a_small_budget() -> None:
    cache = PageCache(3 * PAGE)
    data = content(1000, 1)
    file = cache.attach("a").open(1, Memory(data))
    assert file.read(0, len(data)) == data
    assert cache.counters().bypasses == 0
    assert cache.counters().fills == 1001


@pytest.mark.parametrize("budget", [-1, 0, PAGE - 1])
def test_a_budget_below_a_page_is_refused(budget: int) -> None:
    with pytest.raises(UsageError):
        PageCache(budget)


def test_willneed_and_dontneed_act_on_the_shared_pages() -> None:
    cache, data = PageCache(), content(300)
    a, b = two(cache)
    left, right = a.open(1, Memory(data), FP), b.open(1, Memory(data), FP)
    left.advise(Advice.WILLNEED, 10 * PAGE, 280 * PAGE)
    assert right.resident_pages() == ((1 << 280) - 1) << 10
    assert right.read(12 * PAGE, PAGE) == data[12 * PAGE : 13 * PAGE]
    assert b.counters().misses == 0
    right.advise(Advice.DONTNEED, 20 * PAGE - 1, 5 * PAGE)
    assert left.resident_pages() == ((1 << 280) - 1) << 10 & ~(0b1111 << 20), "only whole pages go"
    assert left.read(0, len(data)) == data
    held = left.views(0, 1)
    right.advise(Advice.DONTNEED)
    assert 0 < cache.counters().resident_bytes < len(data)
    held.clear()
    right.advise(Advice.DONTNEED)
    assert cache.counters().resident_bytes == 0


def test_willneed_that_fails_is_silent_and_the_read_tells() -> None:
    file = PageCache().attach("a").open(1, Memory(content(2), fail))
    file.advise(Advice.WILLNEED)
    with pytest.raises(SourceError, match="broke"):
        file.read(0, 1)


@pytest.mark.parametrize(
    ("advice", "reads", "filled"),
    [
        (Advice.RANDOM, [0], 1),
        (Advice.RANDOM, [0, 1], 2),
        (Advice.NORMAL, [0], 16),
        (Advice.NORMAL, [5], 1),
        (Advice.NORMAL, [5, 6], 17),
        (Advice.NORMAL, [5, 9], 2),
        (Advice.SEQUENTIAL, [0], 256),
        (Advice.SEQUENTIAL, [7], 256),
    ],
)
def test_read_ahead_follows_the_access_pattern(advice: Advice, reads: list[int], filled: int) -> None:
    cache = PageCache()
    file = cache.attach("a").open(1, Memory(content(1000)))
    file.advise(advice)
    for page in reads:
        file.read(page * PAGE, PAGE)
    assert cache.counters().fills == filled


def test_a_sequential_reader_asks_the_image_seldom() -> None:
    data = content(1024)
    memory = Memory(data)
    file = PageCache().attach("a").open(1, memory)
    assert b"".join(file.read(at, PAGE) for at in range(0, len(data), PAGE)) == data
    assert len(memory.asked) < 12


def test_ten_threads_that_miss_together_fill_once() -> None:
    cache, data = PageCache(), content(4)
    started = threading.Barrier(10)
    memory = Memory(data)
    tenants = [cache.attach(str(n)) for n in range(10)]
    files = [tenant.open(1, memory, FP) for tenant in tenants]
    results: list[bytes] = []

    def read(file: CachedFile) -> None:
        started.wait()
        results.append(file.read(0, len(data)))

    run_all([lambda file=file: read(file) for file in files])  # type: ignore[misc]
    assert results == [data] * 10
    assert len(memory.asked) == 1
    assert cache.counters().fills == 4
    assert cache.counters().hits + cache.counters().misses == 40


def test_a_failing_fill_wakes_all_with_the_error_and_poisons_nothing() -> None:
    cache = PageCache(64 * PAGE)
    begun, go = threading.Event(), threading.Event()
    broken = True

    def hook() -> None:
        begun.set()
        assert go.wait(20)
        if broken:
            fail()

    memory = Memory(content(4), hook)
    file = cache.attach("a").open(1, memory, FP)
    errors: list[SourceError] = []

    def read() -> None:
        with pytest.raises(SourceError) as caught:
            file.read(0, 1)
        errors.append(caught.value)

    run_all([read] * 4, when(begun, go.set))
    assert len(errors) == 4
    assert cache.counters().resident_bytes == cache.counters().fills == 0
    broken = False
    assert file.read(0, 9) == content(4)[:9]
    assert file.read(0, 64 * PAGE) == content(4)


def test_a_damaged_image_does_not_harm_who_waited_for_it() -> None:
    cache, data = PageCache(), content(4)
    begun, go = threading.Event(), threading.Event()

    def hook() -> None:
        begun.set()
        assert go.wait(20)
        fail()

    a, b = two(cache)
    bad, good = a.open(1, Memory(data, hook), FP), b.open(1, Memory(data), FP)
    got: list[bytes] = []

    def read_bad() -> None:
        with pytest.raises(SourceError):
            bad.read(0, 1)

    def read_good() -> None:
        assert begun.wait(20)
        got.append(good.read(0, len(data)))

    run_all([read_bad, read_good], when(begun, go.set))
    assert got == [data]
    assert bad.read(0, len(data)) == data, "and its pages serve the damaged image too"


def test_detaching_while_filling_leaves_no_page_behind() -> None:
    cache = PageCache()
    begun, go = threading.Event(), threading.Event()

    def hook() -> None:
        begun.set()
        assert go.wait(20)

    a, b = two(cache)
    left, right = a.open(1, Memory(content(4), hook), FP), b.open(1, Memory(content(4)), FP)

    def read() -> None:
        with pytest.raises(UnreadableError):
            left.read(0, 1)

    run_all([read], when(begun, a.detach, go.set))
    assert cache.counters().resident_bytes == 0
    assert right.read(0, 1 << 20) == content(4)


def test_a_file_that_ends_early_is_an_error() -> None:
    memory = Memory(b"short")
    memory.size = 10
    with pytest.raises(OutOfBoundsError, match="ends after 5 of 10 bytes"):
        PageCache().attach("a").open(1, memory).read(0, 10)


def test_reading_wrongly_is_the_callers_fault() -> None:
    file = PageCache().attach("a").open(1, Memory(b"x"))
    for offset, length in ((-1, 1), (0, -1)):
        with pytest.raises(UsageError):
            file.read(offset, length)
    assert file.read(1, 1) == file.read(99, 1) == b""
    file.close()
    file.close()
    with pytest.raises(UsageError, match="closed"):
        file.read(0, 1)


@pytest.mark.parametrize("size", [1, PAGE, 200_000, 3_000_000])
@pytest.mark.parametrize("algorithm", [b"sha256", b"blake3"])
def test_strict_shares_what_was_proved(size: int, algorithm: bytes) -> None:
    data = (content(251) * 3)[:size]
    digest = hashlib.sha256(data).digest() if algorithm == b"sha256" else blake3.blake3(data).digest()
    warnings: list[str] = []
    cache = PageCache(strict=True, warn=warnings.append)
    a, b = two(cache)
    left, right = (t.open(1, Memory(data), algorithm + b":" + digest) for t in (a, b))
    assert left.read(0, size) == right.read(0, size) == data
    assert cache.counters().fills == -(-size // PAGE)
    assert left.shared
    assert right.shared
    right.advise(Advice.DONTNEED)
    right.advise(Advice.RANDOM)
    assert right.read(size // 2, size) == data[size // 2 :], "a partial refill is held against the proof"
    assert warnings == []


@pytest.mark.parametrize("size", [100, 200_000, 3_000_000])
@pytest.mark.parametrize("liar_first", [True, False])
def test_strict_keeps_a_lying_image_to_itself(size: int, liar_first: bool) -> None:
    truth, lie = b"t" * size, b"l" * size
    claim = b"blake3:" + blake3.blake3(truth).digest()
    warnings: list[str] = []
    cache = PageCache(strict=True, warn=warnings.append)
    a, b = two(cache)
    liar, honest = a.open(1, Memory(lie), claim), b.open(1, Memory(truth), claim)
    files = [(liar, lie), (honest, truth)]
    for file, holds in files if liar_first else files[::-1]:
        assert file.read(0, size) == holds
    assert not liar.shared
    assert liar.pages_key != honest.pages_key
    honest.advise(Advice.DONTNEED)
    assert [liar.read(0, size), honest.read(0, size)] == [lie, truth]
    assert warnings == ["a: not sharing inode 1: its content is not what its fingerprint says"]


def test_strict_lets_nobody_read_what_his_file_does_not_hold() -> None:
    """Who knows a fingerprint need not know the content: a claim alone must not open another image's pages."""
    secret = b"s" * 100_000
    cache = PageCache(strict=True, warn=lambda _: None)
    a, b = two(cache)
    owner = a.open(1, Memory(secret), claim := b"blake3:" + blake3.blake3(secret).digest())
    assert owner.read(0, 10) == secret[:10]
    curious = b.open(1, Memory(bytes(len(secret))), claim)
    assert not any(any(view) for view in curious.views(0, len(secret)))
    curious.advise(Advice.WILLNEED)
    assert not any(curious.read(50_000, 50_000))


def test_strict_does_not_share_what_it_cannot_check() -> None:
    warnings: list[str] = []
    cache = PageCache(strict=True, warn=warnings.append)
    a, b = two(cache)
    for tenant in (a, b):
        with tenant.open(1, Memory(b"x"), b"md5:1234") as file:
            assert not file.shared
    assert warnings[0] == "a: not sharing inode 1: its fingerprint cannot be checked: md5:1234"


def test_trusting_is_the_default_as_in_the_kernel() -> None:
    a, b = two(PageCache())
    liar, honest = a.open(1, Memory(b"lie!"), FP), b.open(1, Memory(b"true"), FP)
    assert liar.read(0, 4) == honest.read(0, 4) == b"lie!"


def test_what_nobody_reads_any_more_is_forgotten() -> None:
    cache = PageCache(PAGE)
    a = cache.attach("a")
    for ident in range(50):
        with a.open(ident, Memory(b"x")) as file:
            file.read(0, 1)
    assert len(a._image.mappings) == 1


def run_all(work: list[Callable[[], None]], meanwhile: Callable[[], None] = lambda: None) -> None:
    """Run ``work`` in threads of its own and ``meanwhile`` in this one; errors anywhere fail the test."""
    errors: list[BaseException] = []

    def guarded(each: Callable[[], None]) -> None:
        try:
            each()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(each,)) for each in work]
    for thread in threads:
        thread.start()
    meanwhile()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def when(event: threading.Event, *then: Callable[[], None]) -> Callable[[], None]:
    """Return what waits for ``event`` and then calls each of ``then``."""

    def wait() -> None:
        assert event.wait(20)
        for each in then:
            each()

    return wait
