"""When processes are looked at, and what follows: one question at a time, and none without need."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from supervisord_lite.base.record import replace
from supervisord_lite.config.spec import Spec
from supervisord_lite.core.recycle import Recycle
from supervisord_lite.core.states import Running, Stopping
from supervisord_lite.wire import channel
from tests.support.by_hand import HeldSampling
from tests.support.supervisor import Daemon, a_spec

WEB, WEB_2, WEB_3 = ("web", 1), ("web", 2), ("web", 3)
MIB = 1 << 20
Run = Callable[..., Daemon]


@pytest.fixture
def run() -> Iterator[Run]:
    """Return what makes a daemon whose workers have limits, and have been ready since 101 s."""
    with ExitStack() as stack:

        def make(size: int = 1, *more: Spec, **limits: Any) -> Daemon:
            spec = a_spec("web", size, launch={"notify": True})
            daemon = Daemon(replace(spec, recycle=Recycle(**limits)), *more)
            stack.callback(daemon.close)
            daemon.settle()
            daemon.pass_s(1.0)
            assert isinstance(daemon.workers[WEB].state, Running)
            return daemon

        yield make


def used(mib: int, **changed: Any) -> list[Any]:
    """Return a child's answer about one tree."""
    charged = changed.get("charged")
    return [2 * mib * MIB, changed.get("pss", mib * MIB), 1.0, 9, 1, 1, charged, 77, 60.0]


def at(daemon: Daemon, at_s: float) -> None:
    daemon.clock.s = at_s
    daemon.turn()


def due_s(daemon: Daemon) -> float | None:
    return daemon.supervisor._recycling.deadline_s


def child_due_s(daemon: Daemon) -> float | None:
    return daemon.supervisor._samples.deadline_s


def asked(daemon: Daemon) -> list[int]:
    """Return of whom the child was asked last."""
    child: HeldSampling = daemon.samplings[-1]
    return [tree["index"] for tree in child.questions[-1]["trees"]]


def hear(daemon: Daemon) -> None:
    """Let what a child has said arrive."""
    daemon.supervisor._poller.wait(0.0)
    daemon.turn()


def answer(daemon: Daemon, *answers: list[Any] | None) -> None:
    daemon.samplings[-1].says(*answers)
    hear(daemon)


def recycled(daemon: Daemon) -> list[tuple[str, str]]:
    """Return who was recycled and why."""
    return [
        (event["name"], event["reason"])
        for event in daemon.keeper.journal
        if event["event"] == "worker.recycled"
    ]


def going(daemon: Daemon) -> list[int]:
    return [i for (_, i), each in daemon.workers.items() if isinstance(each.state, Stopping)]


def end(daemon: Daemon, index: int) -> None:
    """Let the run of one end as it was told to, and the next one become ready."""
    (run,) = [run for run in daemon.keeper.live() if run.key[1] == index]
    daemon.keeper.end(run, 0)
    daemon.settle()
    daemon.pass_s(1.0)


def test_nobody_is_looked_at_who_has_no_limit_of_memory(run: Run) -> None:
    """An idle daemon sleeps."""
    daemon = run()
    assert due_s(daemon) is None
    at(daemon, 100000.0)
    assert daemon.samplings == []


def test_the_sooner_the_nearer_to_the_limit(run: Run) -> None:
    """Two seconds after the start, then every half minute, and every 3 s when it is near."""
    daemon = run(memory_bytes=100 * MIB)
    assert due_s(daemon) == 102.0
    at(daemon, 102.0)
    assert asked(daemon) == [1]
    answer(daemon, used(10))
    assert due_s(daemon) == 132.0
    at(daemon, 132.0)
    answer(daemon, used(60))
    assert due_s(daemon) == 142.0
    at(daemon, 142.0)
    answer(daemon, used(99))
    assert due_s(daemon) == 145.0
    assert going(daemon) == []
    at(daemon, 145.0)
    answer(daemon, used(100))
    assert going(daemon) == [1]
    end(daemon, 1)
    assert recycled(daemon) == [("web", "memory 100M of 100M")]
    assert daemon.workers[WEB].recycles == 1


def test_what_is_charged_counts_before_pss_and_pss_before_rss(run: Run) -> None:
    """Shared pages do not recycle healthy workers."""
    daemon = run(3, memory_bytes=100 * MIB)
    at(daemon, 102.0)
    assert asked(daemon) == [1, 2, 3]
    answer(daemon, used(90), used(90, charged=101 * MIB), used(60, pss=None))
    assert going(daemon) == [2]  # one at a time: the third waits for its turn
    end(daemon, 2)
    assert going(daemon) == [3]
    end(daemon, 3)
    assert recycled(daemon) == [
        ("web-2", "memory 101M of 100M"), ("web-3", "memory 120M of 100M"),
    ]  # fmt: skip


def test_looks_that_are_due_together_are_one(run: Run) -> None:
    """And what has ended meanwhile is nobody's."""
    daemon = run(2, memory_bytes=100 * MIB)
    at(daemon, 102.0)
    (child,) = daemon.samplings
    assert len(child.questions) == 1
    (first, _) = daemon.keeper.live()
    daemon.keeper.end(first, 1)
    daemon.settle()
    answer(daemon, used(500), None)
    assert going(daemon) == []
    assert recycled(daemon) == []


def test_a_child_that_cannot_be_started_or_ends_costs_a_look(run: Run) -> None:
    """It is asked again later; the worker lives."""
    daemon = run(memory_bytes=100 * MIB)
    daemon.disk = "no process"
    at(daemon, 102.0)
    assert due_s(daemon) == 112.0
    daemon.disk = "good"
    at(daemon, 112.0)
    daemon.samplings[-1].ends()
    hear(daemon)
    assert due_s(daemon) == 122.0
    at(daemon, 122.0)
    assert len(daemon.samplings) == 2
    answer(daemon, used(100))
    assert going(daemon) == [1]


def test_a_child_that_hangs_is_given_up_and_two_are_enough(run: Run) -> None:
    """No third one is started for it."""
    daemon = run(memory_bytes=100 * MIB)
    at(daemon, 102.0)
    daemon.samplings[-1].is_deaf = True
    at(daemon, 108.0)  # 5 s, and a little more
    assert due_s(daemon) == 118.0
    at(daemon, 118.0)
    assert len(daemon.samplings) == 2
    daemon.samplings[-1].is_deaf = True
    at(daemon, 124.0)
    at(daemon, 134.0)
    assert len(daemon.samplings) == 2
    for child in daemon.samplings:
        child.ends()
    hear(daemon)
    at(daemon, 144.0)
    assert len(daemon.samplings) == 3
    answer(daemon, used(1))


def test_the_child_goes_when_nobody_asks_any_more(run: Run) -> None:
    """Five seconds after the last answer it is told that nothing more comes."""
    daemon = run(memory_bytes=100 * MIB)
    at(daemon, 102.0)
    answer(daemon, used(1))
    (child,) = daemon.samplings
    child.is_deaf = True
    assert child_due_s(daemon) == 107.0
    at(daemon, 107.0)
    assert child.child.recv(1) == b"?"
    assert child.child.recv(1) == b""
    child.ends()
    hear(daemon)
    assert child_due_s(daemon) is None
    assert child.fileno() < 0


def test_an_age_is_due_once_and_again_when_the_roll_has_stopped(run: Run) -> None:
    """A failed run ends the roll; the others are still due, and go later."""
    daemon = run(3, age_s=60.0)
    assert due_s(daemon) == 160.0
    at(daemon, 160.0)
    assert going(daemon) == [1]
    assert due_s(daemon) == 170.0
    (first,) = [run for run in daemon.keeper.live() if run.key[1] == 1]
    daemon.keeper.end(first, 0)
    daemon.settle()
    (second,) = [run for run in daemon.keeper.live() if run.key[1] == 1]
    daemon.keeper.end(second, 1)  # the fresh one fails before it is ready
    daemon.settle()
    assert not daemon.supervisor._rolls.is_rolling("web")
    at(daemon, 170.0)
    daemon.pass_s(1.0)
    assert going(daemon) == [2]
    end(daemon, 2)
    assert going(daemon) == [3]
    end(daemon, 3)
    assert [name for name, _ in recycled(daemon)] == ["web-1", "web-2", "web-3"]


def test_whoever_takes_over_goes_on_with_the_reason(run: Run) -> None:
    """What waits for its turn is saved with why."""
    daemon = run(2, age_s=60.0)
    at(daemon, 160.0)
    assert going(daemon) == [1]
    daemon.replace()
    daemon.settle()
    end(daemon, 1)
    end(daemon, 2)
    assert recycled(daemon) == [("web-1", "age 1m"), ("web-2", "age 1m")]
    assert [worker.recycles for worker in daemon.workers.values()] == [1, 1]


def test_work_that_was_told_recycles(run: Run) -> None:
    """Counts of a run that is over mean nothing."""
    daemon = run(runs=10)
    for run_, words in ((7, {"runs": "99"}), (1, {"runs": "9", "status": "busy"})):
        daemon._channel.send(channel.encode({"words": ["web", 1, run_, words]}))
        daemon.turn()
        daemon.turn()
    assert going(daemon) == []
    daemon._channel.send(channel.encode({"words": ["web", 1, 1, {"runs": "12"}]}))
    daemon.turn()
    daemon.turn()
    assert going(daemon) == [1]
    end(daemon, 1)
    assert recycled(daemon) == [("web", "runs 12 of 10")]
    assert daemon.workers[WEB].run == 2
    at(daemon, 5000.0)
    assert going(daemon) == []


def test_a_fresh_run_that_fails_beside_the_old_one_is_not_begun_without_end(
    made: list[Daemon],
) -> None:
    """Neither for the age nor for the work done: not before backoff.max, for the old one works."""
    spec = replace(a_spec("web"), max_surge=1, recycle=Recycle(age_s=10.0, runs=5))
    daemon = Daemon(spec)
    made.append(daemon)
    daemon.settle()
    daemon.pass_s(1.0)

    def rejects(at_s: float) -> None:
        at(daemon, at_s)
        daemon.settle()
        new = daemon.keeper.live()[-1]
        daemon.keeper.end(new, 1)
        daemon.settle()

    rejects(110.0)
    assert [run for _, _, run in daemon.keeper.started] == [1, 2]
    for at_s in range(111, 400, 7):
        daemon.supervisor._words.take({"words": ["web", 1, 1, {"runs": str(at_s)}]})
        daemon.supervisor._recycling.take({"words": ["web", 1, 1, {"runs": str(at_s)}]})
        at(daemon, float(at_s))
        daemon.settle()
    assert [run for _, _, run in daemon.keeper.started] == [1, 2]
    rejects(410.0)
    assert [run for _, _, run in daemon.keeper.started] == [1, 2, 3]
    assert daemon.workers[WEB].run == 1
