"""The team of worker processes: order, errors, sizes, memory, ways to start and to die."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import mkfs_erofs_py.workers.team as team_module
from mkfs_erofs_py.errors import CorruptError, ErofsError, SourceError, WorkerDiedError
from mkfs_erofs_py.workers.team import Slot, Team, run
from tests.support import tasks
from tests.support.processes import children, members
from tests.support.requirements import ROOT
from tests.support.waiting import until

# What other tests have loaded into this process may keep idle threads, of which Python 3.12 warns.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


@pytest.fixture(autouse=True)
def _no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team_module, "is_threaded", lambda: False)


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team_module, "is_threaded", lambda: True)


@pytest.fixture(params=["forked", "fresh"])
def way(request: pytest.FixtureRequest) -> str:
    """Have workers started by a fork, or, as where threads are, by a fresh interpreter."""
    if request.param == "fresh":
        request.getfixturevalue("threads")
    return str(request.param)


def slot_of(team: Team[Any, Any]) -> Slot:
    slot = team.slot()
    assert slot is not None
    return slot


def answers(team: Team[Any, Any], given: list[Any]) -> list[Any]:
    """Give tasks and take their answers, an answer wherever one must come first."""
    found = []
    for task in given:
        while (slot := team.slot()) is None:
            with team.take() as (answer, _):
                found.append(answer)
        team.give(slot, task)
    team.finish()
    while team.left:
        with team.take() as (answer, _):
            found.append(answer)
    return found


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_answers_come_in_the_order_of_tasks(way: str, workers: int) -> None:
    given = [(n,) * (1 + 5000 * (n % 3)) for n in range(200)]
    with Team(tasks.plain, workers) as team:
        assert answers(team, given) == [task + task for task in given]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_run_yields_in_the_order_of_tasks(way: str, workers: int) -> None:
    assert list(run(iter(range(3000)), str, workers)) == [str(n) for n in range(3000)]
    assert list(run(iter(()), str, workers)) == []


def test_tasks_and_answers_may_be_larger_than_any_pipe() -> None:
    given = [os.urandom(3_000_000 + n) for n in range(7)]
    with Team(tasks.plain, 2) as team:
        found = answers(team, given)
    assert found == [task + task for task in given]
    assert {type(answer) for answer in found} == {bytes}


def test_memory_is_shared(way: str) -> None:
    with Team(tasks.doubler, 3, tasks.MAP) as team:
        for n in range(30):
            given = []
            while (slot := team.slot()) is not None:
                data = bytes([n, slot.worker, slot.number]) * 300
                slot.input[: len(data)] = data
                team.give(slot, len(data))
                given.append(data)
            assert len(given) == 3 * tasks.MAP.slots
            for data in given:
                with team.take() as ((start, end), memory):
                    assert memory[start:end] == data + data


def test_a_slot_with_memory_is_free_when_its_answer_was_dealt_with() -> None:
    with Team(tasks.doubler, 1, tasks.MAP) as team:
        for _ in range(2):
            team.give(slot_of(team), 0)
        with team.take():
            assert team.slot() is None
        assert team.slot() is not None


def test_the_least_busy_worker_is_next() -> None:
    with Team(tasks.doubler, 3, tasks.MAP) as team:
        order = []
        for _ in range(6):
            slot = slot_of(team)
            order.append(slot.worker)
            team.give(slot, 0)
        assert order[:3] == [0, 1, 2]
        assert sorted(order[3:]) == [0, 1, 2]


def test_a_long_task_does_not_keep_others_waiting(tmp_path: Path) -> None:
    # The first task ends only when the last one was done, long after all slots were taken.
    signs = [str(tmp_path / "last"), *[str(tmp_path / f"{n}") for n in range(50)]]
    given = [("await", signs[0]), *[("make", sign) for sign in signs[1:]], ("make", signs[0])]
    assert list(run(iter(given), tasks.sign, 2)) == [sign for _, sign in given]


FAILURES: dict[str, tuple[type[ErofsError], str]] = {
    "source": (SourceError, r"a\x0ab: changed"),
    "corrupt": (CorruptError, "/file: nonsense (at offset 4096)"),
    "unforeseen": (WorkerDiedError, "a worker process failed: ValueError: one\nof those"),
    "memory": (WorkerDiedError, "a worker process failed: out of memory"),
}


@pytest.mark.parametrize("how", FAILURES)
def test_an_error_comes_back_as_itself_and_the_team_goes_on(how: str, way: str) -> None:
    kind, said = FAILURES[how]
    with Team(tasks.failing, 2) as team:
        for task in ("before", how, "after"):
            team.give(slot_of(team), task)
        with team.take() as (answer, _):
            assert answer == "before"
        with pytest.raises(kind) as raised, team.take():
            pass
        assert type(raised.value) is kind
        assert str(raised.value) == said
        with team.take() as (answer, _):
            assert answer == "after"


def test_an_answer_that_does_not_pickle_is_an_error() -> None:
    with Team(tasks.failing, 1) as team:
        team.give(slot_of(team), "answer")
        with pytest.raises(WorkerDiedError, match=r"a worker process failed: .*pickle"), team.take():
            pass


def test_an_error_carries_its_facts(way: str) -> None:
    with Team(tasks.failing, 1) as team:
        team.give(slot_of(team), "corrupt")
        with pytest.raises(CorruptError) as raised, team.take():
            pass
    assert (raised.value.what, raised.value.offset, raised.value.path) == ("nonsense", 4096, b"/file")


def test_work_that_cannot_begin_says_so(way: str) -> None:
    with Team[int, int](tasks.fails_to_begin, 2) as team:
        team.give(slot_of(team), 0)
        with pytest.raises(SourceError, match=r"^dictionary: cannot be read$"), team.take():
            pass


DEATHS = {
    ("killed", "forked"): "it was killed, as Linux does where memory runs out",
    ("killed", "fresh"): "it ended before its work was done",
    ("exit", "forked"): "it ended before its work was done",
    ("exit", "fresh"): "it ended before its work was done",
}


@pytest.mark.parametrize("how", ["killed", "exit"])
def test_a_worker_that_dies_is_noticed(how: str, way: str) -> None:
    with Team(tasks.failing, 2) as team:
        team.give(slot_of(team), how)
        with pytest.raises(WorkerDiedError, match=f"^a worker process failed: {DEATHS[how, way]}$"), team.take():
            pass


def test_a_worker_that_dies_idle_is_noticed() -> None:
    with Team(tasks.failing, 2) as team:
        team.give(slot_of(team), "done")
        with team.take():
            pass
        os.kill(children(os.getpid())[0], signal.SIGKILL)
        with pytest.raises(WorkerDiedError, match="it was killed"):
            until(lambda: team.slot() is None)


def test_signals_are_left_to_the_main_process(way: str) -> None:
    with Team(tasks.failing, 1) as team:
        for task in ("interrupted", "after"):
            team.give(slot_of(team), task)
        for expected in ("interrupted", "after"):
            with team.take() as (answer, _):
                assert answer == expected


def test_a_stopped_worker_does_not_keep_the_team_from_ending(way: str) -> None:
    with Team(tasks.failing, 2) as team:
        team.give(slot_of(team), "stopped")
        team.give(slot_of(team), "done")
    assert children(os.getpid()) == []


def test_no_process_starts_before_there_is_work_for_it() -> None:
    with Team(tasks.doubler, 3, tasks.MAP) as team:
        for started in range(3):
            slot = slot_of(team)
            assert len(children(os.getpid())) == started
            team.give(slot, 0)
            assert len(children(os.getpid())) == started + 1
    assert children(os.getpid()) == []
    team.close()  # harmless when repeated


def test_a_fresh_interpreter_starts_all_workers_at_once(threads: None) -> None:
    with Team(tasks.doubler, 3, tasks.MAP) as team:
        for _ in range(3):
            team.give(slot_of(team), 0)
            assert len(children(os.getpid())) == 1


def test_a_thread_may_start_between_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    with Team(tasks.reader, 3, tasks.MAP) as team:
        team.give(slot_of(team), "pid")
        monkeypatch.setattr(team_module, "is_threaded", lambda: True)
        assert len({pid for (pid,) in answers(team, ["pid"] * 2)}) == 3


def test_workers_end_when_there_is_no_more_work() -> None:
    with Team(tasks.reader, 3, tasks.MAP) as team:
        assert len({pid for (pid,) in answers(team, ["pid"] * 10)}) == 3
        until(lambda: children(os.getpid()) == [])


def test_a_worker_holds_its_own_pipes_only(way: str) -> None:
    with Team(tasks.reader, 4, tasks.MAP) as team:
        found = answers(team, ["pipes"] * 4)
    # What all have is from elsewhere: standard streams, and where a fresh interpreter was told what to do.
    common = set.intersection(*map(set, found))
    held = [set(pipes) - common for pipes in found]
    assert [len(pipes) for pipes in held] == [3] * 4
    assert len(set.union(*held)) == 12


def test_work_that_cannot_be_told_to_others_is_done_here(threads: None) -> None:
    with Team[int, tuple[int, int]](lambda _: lambda _, task: (os.getpid(), task), 3) as team:
        assert answers(team, [1, 2, 3]) == [(os.getpid(), n) for n in (1, 2, 3)]
    with Team(lambda memory: tasks.doubler(memory), 2, tasks.MAP) as with_memory:
        slot = slot_of(with_memory)
        slot.input[:3] = b"abc"
        with_memory.give(slot, 3)
        with with_memory.take() as ((start, end), memory):
            assert bytes(memory[start:end]) == b"abcabc"


def test_work_that_can_be_told_is_done_elsewhere(way: str) -> None:
    with Team(tasks.reader, 2, tasks.MAP) as team:
        found = answers(team, ["pid"] * 8)
    assert len({pid for (pid,) in found}) == 2
    assert [str(os.getpid())] not in found


def test_an_iterator_that_is_left_ends_the_workers() -> None:
    numbers = run(itertools.count(), str, 2)
    assert next(numbers) == "0"
    assert len(children(os.getpid())) in (1, 2)
    numbers.close()
    assert children(os.getpid()) == []


def test_an_error_of_whoever_names_the_tasks_ends_the_workers() -> None:
    def broken() -> Iterator[int]:
        yield from range(10)
        raise SourceError(b"list", "ends in the middle")

    with pytest.raises(SourceError, match="ends in the middle"):
        list(run(broken(), partial(pow, 2), 2))
    assert children(os.getpid()) == []


@pytest.mark.parametrize("threaded", [False, True], ids=["forked", "fresh"])
def test_busy_workers_end_when_the_main_process_is_killed(threaded: bool, tmp_path: Path) -> None:
    program = f"""
import threading, time
from mkfs_erofs_py.workers.team import Team
from tests.support import tasks

if {threaded}:
    threading.Thread(target=time.sleep, args=(60,)).start()
with Team(tasks.busy, 2) as team:
    for name in ("one", "two"):
        team.give(team.slot(), {str(tmp_path)!r} + "/" + name)
    with team.take():
        pass
"""
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, start_new_session=True)
    until(lambda: len(os.listdir(tmp_path)) == 2)
    assert len(children(process.pid)) == (1 if threaded else 2)  # a fresh interpreter has the workers
    process.kill()
    process.wait()
    until(lambda: not members(process.pid))
