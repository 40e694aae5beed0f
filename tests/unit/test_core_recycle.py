"""A run that has had its share gives way: no failure, no restart, and only while it lives."""

from typing import Any

import pytest

from supervisord_lite.core import events, recycle
from supervisord_lite.core.actions import Announce, SendSignal, Spawn
from supervisord_lite.core.recycle import Recycle
from supervisord_lite.core.roll import Roll, go_on, joined, with_recycle
from supervisord_lite.core.states import Backoff, Exited, Running, Starting, Stopped, Stopping
from tests.support.core import KILL, TERM, OneWorker, a_policy, after_a_crash
from tests.support.core_fleet import Company, a_company, a_pool

DUE = events.RecycleRequested(1, "age 24h")
OOM = "2.0G of 2.0G (cgroup oom_kill +1)"


# -- one worker ------------------------------------------------------------------------------------


def test_a_recycle_goes_down_the_ladder_and_comes_up_again_counted_apart() -> None:
    """Whatever its exit code is, it is no failure."""
    slot = OneWorker(a_policy(stop_scope="tree")).up()
    assert slot.tell(DUE, 50.0) == (SendSignal(1, TERM, "tree"),)
    stopping = slot.expect(Stopping)
    assert (stopping.outcome, stopping.reason) == ("restart", "recycle: age 24h")
    assert after_a_crash(slot.worker) == slot.worker
    assert slot.exits(3, 51.0) == (Spawn(2),)
    worker = slot.worker
    assert (worker.recycles, worker.restarts, worker.failures, worker.attempt) == (1, 0, (), 0)
    told = slot.said("worker.recycled")
    assert (told["run"], told["code"], told["reason"], told["next"]) == (1, 3, "age 24h", "restart")
    assert worker.last_exit is not None
    assert worker.last_exit.asked


def test_a_recycle_of_a_run_that_is_over_changes_nothing() -> None:
    """It was meant for that one."""
    slot = OneWorker().up()
    slot.exits(1, 40.0)
    slot.wake()
    before = slot.worker
    assert slot.tell(DUE) == ()
    assert slot.worker is before


@pytest.mark.parametrize(
    ("order", "ends"), [(events.StopRequested(), Stopped), (events.ShutdownRequested(), Stopped)]
)
def test_a_stop_meanwhile_wins_and_counts_no_recycle(order: Any, ends: type[Any]) -> None:
    """Nobody is started again who was stopped by hand."""
    slot = OneWorker().up()
    slot.tell(DUE, 50.0)
    slot.tell(order, 50.5)
    assert slot.exits(0, 51.0) == ()
    slot.expect(ends)
    assert slot.worker.recycles == 0


def test_a_start_after_a_stop_after_a_recycle_is_a_start() -> None:
    """What a person asked for last is what it is."""
    slot = OneWorker().up()
    slot.tell(DUE, 50.0)
    slot.stop(50.2)
    slot.start(50.4)
    slot.exits(0, 51.0)
    slot.expect(Starting)
    assert slot.worker.recycles == 0
    assert slot.said("worker.stopped")["asked"] == "restart"


def test_an_old_record_knows_no_recycles() -> None:
    """What an earlier version has saved is read."""
    from supervisord_lite.core.records import from_record, to_record

    slot = OneWorker().up()
    record = to_record(slot.worker)
    del record["recycles"]
    assert from_record(record, slot.worker.policy) == slot.worker


# -- out of memory ---------------------------------------------------------------------------------


def test_a_kill_for_memory_is_told_as_such_and_is_a_failure() -> None:
    """First why, then what follows."""
    slot = OneWorker().up()
    slot.tell(events.Exited(1, None, KILL, emptied=True, oom=OOM), 60.0)
    slot.expect(Backoff)
    assert [each.event for each in slot.heard][-2:] == ["worker.oom", "worker.failed"]
    assert slot.said("worker.oom") == {"run": 1, "pid": 4001, "reason": OOM}
    assert slot.said("worker.failed")["reason"] == f"out of memory, {OOM}"
    assert slot.worker.last_exit is not None
    assert slot.worker.last_exit.reason == f"out of memory, {OOM}"


def test_a_kill_of_ours_is_not_the_kernels() -> None:
    """At the end of the ladder there is nothing to explain, whatever has been counted before."""
    slot = OneWorker().up()
    slot.stop(50.0)
    slot.wake()
    slot.tell(events.Exited(1, None, KILL, emptied=True, oom=OOM), 61.0)
    assert slot.worker.last_exit is not None
    assert slot.worker.last_exit.reason == "SIGKILL"
    assert all(each.event != "worker.oom" for each in slot.heard)


def test_a_kill_for_memory_during_a_stop_is_told_and_counts_nothing() -> None:
    """While stopping on demand every end is clean."""
    slot = OneWorker().up()
    slot.stop(50.0)
    slot.tell(events.Exited(1, None, KILL, emptied=True, oom=OOM), 51.0)
    slot.expect(Stopped)
    assert slot.said("worker.oom")["reason"] == OOM
    assert slot.worker.failures == ()


# -- when ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("jitter", "part", "due_s"),
    [(False, 0.9, 110.0), (True, 0.0, 110.0), (True, 0.5, 115.0), (30.0, 0.5, 125.0)],
)
def test_an_age_counts_from_the_spawn_and_jitter_adds_to_it(
    jitter: bool | float, part: float, due_s: float
) -> None:
    """Never earlier than was asked for."""
    limits = Recycle(age_s=100.0, jitter=jitter)
    assert recycle.age_due_s(limits, 10.0, part) == due_s
    assert recycle.why_old(limits, 10.0, part, due_s - 0.001) == ""
    assert recycle.why_old(limits, 10.0, part, due_s) == "age 1m40s"
    assert recycle.age_due_s(Recycle(), 10.0, part) is None


def test_a_part_is_the_same_whoever_asks_and_another_for_the_next_run() -> None:
    """A pool that started in one moment is spread; a successor finds the same times."""
    parts = [recycle.part_of("web", index, run) for index in range(1, 51) for run in (1, 2)]
    assert parts == [recycle.part_of("web", i, run) for i in range(1, 51) for run in (1, 2)]
    assert all(0 <= part < 1 for part in parts)
    assert len(set(parts)) == len(parts)
    assert min(parts) < 0.1
    assert max(parts) > 0.9


def test_work_and_memory_are_due_at_their_limit() -> None:
    """With the figures that people want to see."""
    assert recycle.why_worn(Recycle(runs=100), 99, 0.5) == ""
    assert recycle.why_worn(Recycle(runs=100), 100, 0.5) == "runs 100 of 100"
    assert recycle.why_worn(Recycle(runs=100, jitter=True), 104, 0.5) == ""
    assert recycle.why_worn(Recycle(runs=100, jitter=True), 105, 0.5) == "runs 105 of 100"
    assert recycle.why_worn(Recycle(), 10**9, 0.5) == ""
    limits = Recycle(memory_bytes=900 << 20)
    assert recycle.why_large(limits, (900 << 20) - 1) == ""
    assert recycle.why_large(limits, 912 << 20) == "memory 912M of 900M"
    assert [recycle.look_again_s(limits, mib << 20) for mib in (0, 449, 450, 719, 721, 2000)] == [
        30.0, 30.0, 10.0, 10.0, 3.0, 3.0,
    ]  # fmt: skip


# -- several: through the roll ---------------------------------------------------------------------


class Recycling:
    """A pool "web" that is up, and a roll that is driven as the shell does."""

    def __init__(self, size: int, most: int, **policy: Any) -> None:
        each = a_policy(ready_by="said", **policy)
        self.company: Company = a_company(a_pool("web"), sizes={"web": size}, policy=each)
        self.company.boot()
        self.company.ready()
        self.most = most
        self.roll: Roll | None = None

    def run(self, index: int) -> int:
        return self.company.fleet.workers["web", index].run

    def is_due(self, *indexes: int) -> None:
        for index in indexes:
            due = (index, self.run(index), "memory 912M of 900M")
            self.roll = with_recycle(self.roll, "web", due, self.most)
        self.go_on()

    def restart(self, *indexes: int) -> None:
        self.roll = joined(self.roll, "web", indexes, self.most)
        self.go_on()

    def go_on(self) -> None:
        while self.roll is not None:
            progress = go_on(self.roll, self.company.fleet.workers)
            self.roll = progress.roll
            if not progress.restart or progress.roll is None:
                return
            for index in progress.restart:
                why = progress.roll.why(index)
                event: events.Event = events.RestartRequested()
                if why:
                    event = events.RecycleRequested(self.run(index), why)
                self.company.feed(("web", index), event)

    def away(self) -> list[int]:
        workers = self.company.fleet.workers
        return [i for (_, i), each in workers.items() if not isinstance(each.state, Running)]

    def recycles(self) -> list[int]:
        return [each.recycles for each in self.company.fleet.workers.values()]

    def finish(self, name: str) -> None:
        self.company.exits(name, 0)
        self.go_on()
        self.company.ready(name)
        self.go_on()


def test_eight_that_are_due_in_one_minute_go_four_at_a_time() -> None:
    """A crash counts too: then only three."""
    pool = Recycling(8, 4)
    pool.company.exits("web-8", 1)
    pool.is_due(*range(1, 8))
    assert pool.away() == [1, 2, 3, 8]
    pool.company.wake("web-8")
    pool.company.ready("web-8")
    pool.go_on()
    assert pool.away() == [1, 2, 3, 4]
    for name in ("web", "web-2", "web-3", "web-4", "web-5", "web-6", "web-7"):
        pool.finish(name)
        assert len(pool.away()) <= 4
    assert pool.roll is None
    assert pool.recycles() == [1] * 7 + [0]


def test_who_ends_by_itself_before_its_turn_is_not_recycled_any_more() -> None:
    """A fresh run owes nothing for the one before, and one that has finished stays so."""
    pool = Recycling(4, 1, restart="on-failure")
    pool.is_due(1, 2, 3)
    pool.company.exits("web-2", 1)
    pool.company.exits("web-3", 0)
    assert isinstance(pool.company.state("web-3"), Exited)
    pool.company.ready("web-2")
    pool.finish("web")
    assert pool.roll is None
    assert pool.recycles() == [1, 0, 0, 0]
    assert isinstance(pool.company.state("web-3"), Exited)


def test_who_is_due_twice_goes_once() -> None:
    """Asking again, by whoever takes over, adds nothing."""
    pool = Recycling(3, 1)
    pool.is_due(1, 2)
    pool.is_due(1, 2)
    under_way = pool.roll
    assert under_way is not None
    assert (under_way.left, len(under_way.recycles)) == ((2,), 2)
    pool.finish("web")
    pool.finish("web-2")
    assert pool.roll is None
    assert pool.recycles() == [1, 1, 0]


def test_a_restart_by_a_person_takes_the_place_of_a_recycle_that_waits() -> None:
    """What somebody asked for is told as what somebody asked for."""
    pool = Recycling(3, 1)
    pool.is_due(1, 2)
    pool.restart(2, 3)
    pool.finish("web")
    pool.finish("web-2")
    pool.finish("web-3")
    assert pool.roll is None
    assert pool.recycles() == [1, 0, 0]
    assert [pool.run(index) for index in (1, 2, 3)] == [2, 2, 2]


def test_announcements_have_each_field_once() -> None:
    """Also of a run that nobody saw end."""
    slot = OneWorker().up()
    slot.tell(DUE, 50.0)
    slot.tell(events.Lost(1), 51.0)
    (told,) = [each for each in slot.heard if each.event == "worker.recycled"]
    assert isinstance(told, Announce)
    assert len(dict(told.fields)) == len(told.fields)
    slot.expect(Starting)
