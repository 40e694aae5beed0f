"""A supervisor may die between any two of its messages; the next one goes on as if it had not."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisord_lite.config.spec import MAX_START_BYTES, Spec
from supervisord_lite.core import events
from supervisord_lite.core.states import (
    Backoff,
    Exited,
    Running,
    Starting,
    Stopped,
    Stopping,
    Tripped,
)
from supervisord_lite.supervisor.outbox import Slot
from supervisord_lite.wire import channel
from tests.support.supervisor import Daemon, a_spec

FOR_EVER_S = 1e9
BIG = {"environment": (("V", "x" * (channel.MAX_MESSAGE_BYTES // 3)),)}
FAILED = {"stage": "exec", "reason": "/x: no such file", "missing": False, "hopeless": False}


@contextmanager
def a_daemon(*specs: Spec) -> Iterator[Daemon]:
    daemon = Daemon(*specs)
    try:
        yield daemon
    finally:
        daemon.close()


def stubborn(pool: str, size: int = 1, **policy: Any) -> Spec:
    """Return a spec that restarts for ever and never forgets a failure.

    A spawn request is large, so that one flush takes several messages.
    """
    return a_spec(
        pool, size, launch=BIG, restart="always", max_restarts=10**6,
        circuit_window_s=FOR_EVER_S, stable_run_period_s=FOR_EVER_S, **policy,
    )  # fmt: skip


OPS = st.lists(
    st.one_of(
        st.tuples(st.just("end"), st.integers(0, 9), st.sampled_from([0, 1])),
        st.tuples(st.just("leave behind"), st.integers(0, 9), st.just(1)),
        st.tuples(st.just("empty"), st.integers(0, 9), st.just(0)),
        st.tuples(st.just("spawn fails"), st.just(0), st.just(0)),
        st.tuples(st.just("time"), st.sampled_from([1, 2, 40, 400]), st.just(0)),
        st.tuples(st.just("turn"), st.just(0), st.just(0)),
        st.tuples(st.just("die"), st.integers(0, 5), st.just(0)),
        st.tuples(st.just("die at once"), st.just(0), st.just(0)),
    ),
    max_size=40,
)


def do(daemon: Daemon, op: tuple[str, int, int]) -> None:
    word, number, code = op
    keeper = daemon.keeper
    left = [run for run in keeper.table.runs.values() if run.ended and not run.emptied]
    match word:
        case "end" | "leave behind" if live := keeper.live():
            keeper.end(live[number % len(live)], code, emptied=word == "end")
        case "empty" if left:
            keeper.empty(left[number % len(left)])
        case "spawn fails":
            keeper.failing.append(FAILED)
        case "time":
            daemon.pass_s(float(number))
        case "turn":
            daemon.turn()
        case "die":
            daemon.turn(dies_after=number)
        case "die at once":
            daemon.replace()
        case _:
            pass  # nobody is there whom it could happen to


def failures_told(daemon: Daemon) -> dict[Slot, int]:
    """Return slot -> failures, counted from the keeper's facts alone."""
    counts = dict.fromkeys(daemon.workers, 0)
    for fact in daemon.keeper.table.log:
        if fact["fact"] == "spawn_failed" or (fact["fact"] == "exited" and fact["code"] != 0):
            counts[fact["pool"], fact["index"]] += 1
    return counts


@settings(max_examples=120, deadline=None)
@given(OPS)
def test_failures_are_counted_once_whenever_the_supervisor_dies(
    ops: list[tuple[str, int, int]],
) -> None:
    """Each end that the keeper saw counts exactly once, and each run was started exactly once."""
    with a_daemon(stubborn("web", 3), stubborn("db")) as daemon:
        for op in ops:
            do(daemon, op)
        keeper = daemon.keeper
        for run in list(keeper.table.runs.values()):
            if run.ended and not run.emptied:
                keeper.empty(run)
        daemon.settle()

        expected = failures_told(daemon)
        assert {slot: worker.attempt for slot, worker in daemon.workers.items()} == expected
        assert {s: len(worker.failures) for s, worker in daemon.workers.items()} == expected
        for slot, worker in daemon.workers.items():
            runs = [key[2] for key in keeper.started if key[:2] == slot]
            assert runs == list(range(1, worker.run + 1))
            live = [run for run in keeper.live() if run.key[:2] == slot]
            if live:
                assert isinstance(worker.state, Starting | Running)
                assert (worker.state.run, worker.state.pid) == (live[0].key[2], live[0].pid)
            else:
                assert isinstance(worker.state, Backoff)
            assert len(live) <= 1


@pytest.mark.parametrize("dies_after", range(8))
def test_a_boot_that_was_cut_short_is_finished(dies_after: int) -> None:
    """Every worker that starts by itself is started once, whichever message was the last."""
    with a_daemon(stubborn("web", 6), a_spec("hand", autostart=False)) as daemon:
        daemon.turn(dies_after=dies_after)
        daemon.settle()

        assert sorted(daemon.keeper.started) == [("web", index, 1) for index in range(1, 7)]
        assert daemon.workers["hand", 1].state == Stopped()


@pytest.mark.parametrize("dies_after", range(4))
def test_a_job_that_is_done_is_not_done_again_by_a_boot_cut_short(dies_after: int) -> None:
    """One that had its start before the supervisor died, and finished, stays finished."""
    once = [a_spec(f"job{n}", launch=BIG, restart="never") for n in range(6)]
    with a_daemon(*once) as daemon:

        def finish() -> None:
            for run in daemon.keeper.live():
                daemon.keeper.end(run, 0)

        daemon.turn(dies_after=dies_after, meanwhile=finish)
        daemon.settle()
        finish()
        daemon.settle()

        assert sorted(key[0] for key in daemon.keeper.started) == [f"job{n}" for n in range(6)]
        assert all(isinstance(worker.state, Exited) for worker in daemon.workers.values())


@pytest.mark.parametrize("dies_after", range(8))
@pytest.mark.parametrize("by_signal", [True, False])
def test_a_stop_that_was_cut_short_goes_on(dies_after: int, by_signal: bool) -> None:
    """Never half a stop: the next supervisor stops the others as well, and says it is over."""
    with a_daemon(stubborn("web", 6)) as daemon:
        daemon.settle()
        if by_signal:
            daemon.keeper.table.fact("signalled", daemon.clock.s, signal="SIGTERM")
        else:
            daemon.supervisor._daemon.begin_stop("shutdown by a client")
        daemon.turn(dies_after=dies_after)
        daemon.settle()
        if not by_signal and dies_after == 0:
            return  # nobody had heard of it but the client, whose connection broke
        told = {request["index"] for request in daemon.keeper.signalled}
        assert told == set(range(1, 7))
        for run in daemon.keeper.live():
            daemon.keeper.end(run, 0)
        daemon.settle()

        assert daemon.supervisor._daemon.is_over(daemon.clock.s)
        assert "STOPPING=1" in daemon.notified
        assert all(request["signal"] == 15 for request in daemon.keeper.signalled)


def test_a_signal_is_obeyed_once() -> None:
    """A SIGTERM told again after a crash is not the second one, which kills."""
    with a_daemon(a_spec("web")) as daemon:
        daemon.settle()
        daemon.keeper.table.fact("signalled", daemon.clock.s, signal="SIGTERM")
        daemon.turn(dies_after=1)  # the stop is saved, "applied" is not said
        daemon.settle()

        assert daemon.supervisor._daemon.is_stopping
        assert not daemon.supervisor._daemon.at_once
        assert "kill" not in {request["do"] for request in daemon.keeper.signalled}


def test_a_fact_that_a_record_contains_is_skipped() -> None:
    """Saved with its effect, but not yet said to be applied: it is told again, and ignored."""
    with a_daemon(a_spec("web", ready_after_s=0.0)) as daemon:
        daemon.settle()
        fleet = daemon.supervisor._fleet
        before = fleet.workers["web", 1]
        fact: dict[str, object] = {
            "n": 1, "fact": "exited", "at_s": daemon.clock.s, "pool": "web", "index": 1, "run": 1,
            "code": 1, "signal": None, "emptied": True,
        }  # fmt: skip

        fleet.take_fact(fact)
        assert fleet.workers["web", 1] is before
        fleet.take_fact({**fact, "n": 2})
        assert isinstance(fleet.workers["web", 1].state, Backoff)
        fleet.take_fact({**fact, "n": 3, "pool": "gone"})  # of a pool that is no more


def test_a_spawn_that_never_arrived_is_asked_for_again() -> None:
    """Saved as starting, but the keeper has never heard of the run."""
    with a_daemon(a_spec("web")) as daemon:
        daemon.settle()
        # A save without its request: only a fault of ours could do that; it heals all the same.
        fleet = daemon.supervisor._fleet
        daemon.keeper.end(daemon.keeper.live()[0], 1)
        daemon.turn()
        daemon.clock.s += 1.0
        fleet.fire_due(daemon.clock.s)
        fleet.outbox._requests["web", 1].clear()
        daemon.turn()
        assert isinstance(daemon.workers["web", 1].state, Starting)
        assert daemon.keeper.live() == []

        daemon.replace()
        daemon.settle()

        assert [run.key for run in daemon.keeper.live()] == [("web", 1, 2)]


def test_a_run_of_which_nothing_is_known_counts_as_ended() -> None:
    """It was running, says the record; the keeper knows nothing of it: that is a failure."""
    with a_daemon(a_spec("web", ready_after_s=0.0)) as daemon:
        daemon.settle()
        (run,) = daemon.keeper.live()
        daemon.keeper.table.note_reaped(run)
        del daemon.keeper.table.runs[run.key]

        daemon.replace()
        daemon.settle()

        worker = daemon.workers["web", 1]
        assert isinstance(worker.state, Backoff)
        assert worker.last_exit is not None
        assert worker.last_exit.reason == "unknown"


def test_a_run_that_the_replay_begins_and_stops_again_is_not_forgotten() -> None:
    """An exit and a SIGTERM while no supervisor lived: the new run is started, and stopped."""
    spec = a_spec("web", restart="always", stable_run_period_s=0.0, ready_after_s=0.0)
    with a_daemon(spec) as daemon:
        daemon.settle()
        daemon.keeper.end(daemon.keeper.live()[0], 0)
        daemon.keeper.table.fact("signalled", daemon.clock.s, signal="SIGTERM")

        daemon.replace()
        daemon.settle()

        (run,) = daemon.keeper.live()
        assert [request["do"] for request in daemon.keeper.signalled] == ["signal"]
        assert not daemon.supervisor._daemon.is_over(daemon.clock.s)
        daemon.keeper.end(run, 0)
        daemon.settle()
        assert daemon.supervisor._daemon.is_over(daemon.clock.s)


def test_a_stop_during_which_the_supervisor_dies_keeps_its_ladder() -> None:
    """Its deadline and its rung are saved; the signal is not sent twice."""
    with a_daemon(a_spec("web")) as daemon:
        daemon.settle()
        daemon.supervisor._fleet.feed(("web", 1), events.StopRequested())
        daemon.turn()
        assert len(daemon.keeper.signalled) == 1

        daemon.replace()
        daemon.settle()
        assert len(daemon.keeper.signalled) == 1
        daemon.pass_s(10.0)

        assert [request["do"] for request in daemon.keeper.signalled] == ["signal", "kill"]
        state = daemon.workers["web", 1].state
        assert isinstance(state, Stopping)
        daemon.keeper.end(daemon.keeper.live()[0], 0)
        daemon.settle()
        assert daemon.workers["web", 1].state == Stopped(by_hand=True)


def test_an_open_breaker_stays_open() -> None:
    """Adoption is no reset."""
    with a_daemon(a_spec("web", max_restarts=1)) as daemon:
        daemon.settle()
        daemon.keeper.end(daemon.keeper.live()[0], 1)
        daemon.settle()
        daemon.replace()
        daemon.settle()

        assert isinstance(daemon.workers["web", 1].state, Tripped)
        assert len(daemon.keeper.started) == 1


def test_a_record_stays_small_however_many_failures_there_were() -> None:
    """A large `max_restarts` does not make a message that nobody can send."""
    with a_daemon(stubborn("web")) as daemon:
        daemon.settle()
        slot = ("web", 1)
        fleet = daemon.supervisor._fleet
        for _ in range(3000):
            daemon.clock.s += 0.123456789
            run = fleet.workers[slot].run
            fleet.feed(slot, events.SpawnFailed(run, "exec", "no such file"))
            fleet.feed(slot, events.StartRequested())
        fleet.outbox._requests[slot].clear()  # nobody could start them so fast
        daemon.turn()
        assert len(fleet.workers[slot].failures) == 3000

        daemon.replace()

        assert len(daemon.workers[slot].failures) == 1000


def test_a_command_too_large_for_a_message_fails_and_says_so() -> None:
    """Nobody is killed by it, now or after a crash; a person must change it."""
    huge = a_spec("huge", launch={"environment": (("V", "x" * 200_000),)})
    with a_daemon(huge, a_spec("web")) as daemon:
        daemon.settle()
        daemon.replace()
        daemon.settle()

        worker = daemon.workers["huge", 1]
        assert isinstance(worker.state, Tripped)
        assert worker.last_exit is not None
        assert f"{MAX_START_BYTES // 1024} KiB" in worker.last_exit.reason
        assert isinstance(daemon.workers["web", 1].state, Starting)


def test_one_worker_whose_step_has_a_fault_does_not_keep_the_others_from_starting() -> None:
    """Not at the boot, not at an adoption, not at the end: there it would come ten times.

    What no loaded configuration has, a word that is no text, makes each start of it fail.
    """
    with a_daemon(a_spec("bad", 2, launch={"argv": (7,)}), a_spec("web")) as daemon:
        daemon.settle()
        assert daemon.keeper.started == [("web", 1, 1)]
        daemon.replace()
        daemon.settle()
        assert daemon.keeper.started == [("web", 1, 1)]
        daemon.pass_s(1.0)
        assert isinstance(daemon.workers["web", 1].state, Running)


def test_a_roll_with_a_fault_in_one_step_ends_nobody() -> None:
    """The fault is told once for each time that something moves, and not for ever."""
    with a_daemon(a_spec("web", 3)) as daemon:
        daemon.settle()
        daemon.pass_s(1.0)
        fleet, faults = daemon.supervisor._fleet, list[tuple[Slot, str]]()
        fleet.on_fault = lambda slot, error: faults.append((slot, str(error)))

        def stumble(*_: object) -> None:
            message = "a fault of ours"
            raise ValueError(message)

        fleet.listen(stumble)
        daemon.supervisor._rolls.begin("web", [1, 2, 3])
        assert faults == [(("web", 1), "a fault of ours")]
        daemon.turn()
        daemon.replace()
        daemon.settle()
        assert [each["index"] for each in daemon.keeper.signalled] == [1]
