"""Whoever may not start or stop yet waits, and goes on from there when its turn has come."""

import pytest

from supervisord_lite.core import events
from supervisord_lite.core.actions import KillTree, SendSignal, Spawn
from supervisord_lite.core.gates import open_gate
from supervisord_lite.core.states import (
    Backoff,
    Probing,
    Running,
    Starting,
    Stopped,
    Stopping,
    Tripped,
    Waiting,
)
from supervisord_lite.core.step import next_deadline_s
from tests.support.core import TERM, OneWorker, a_policy, after_a_crash, shut_gate


def reopened(slot: OneWorker) -> OneWorker:
    slot.gate = open_gate
    return slot


def shut(slot: OneWorker) -> OneWorker:
    slot.gate = shut_gate
    return slot


def test_a_start_waits_for_its_turn_and_begins_no_run_until_then() -> None:
    """`waiting` says for what; nothing is spawned, and the run has no number yet."""
    slot = shut(OneWorker())

    assert slot.start(0.0) == ()
    assert slot.expect(Waiting) == Waiting("requires db")
    assert slot.said("worker.waiting") == {"for": "requires db"}
    assert slot.worker.run == 0
    assert next_deadline_s(slot.worker) is None
    waiting = slot.worker
    slot.tell(events.GateMoved(), 1.0)
    slot.start(1.0)
    assert slot.worker is waiting
    slot.worker = after_a_crash(slot.worker)

    assert reopened(slot).tell(events.GateMoved(), 2.0) == (Spawn(1),)
    assert slot.expect(Starting).asked_at_s == 2.0
    assert slot.worker.restarts == 0


def test_a_restart_after_a_failure_waits_and_still_counts_as_one() -> None:
    """What crashed because of its database does not burn its breaker while that is away."""
    slot = OneWorker().up()
    slot.exits(1, 50.0)
    shut(slot).wake()
    assert slot.expect(Waiting).then == "restart"
    assert (slot.worker.restarts, slot.worker.attempt) == (0, 1)

    reopened(slot).tell(events.GateMoved(), 99.0)

    slot.expect(Starting)
    assert (slot.worker.run, slot.worker.restarts, slot.worker.attempt) == (2, 1, 1)


def test_a_start_on_trial_waits_too_and_is_still_a_trial() -> None:
    """A tripped worker whose cooldown is over waits for its turn without a busy loop."""
    slot = OneWorker(a_policy(circuit_cooldown_s=60.0, max_restarts=1)).trip()
    shut(slot).wake()
    assert slot.expect(Waiting).then == "probe"
    assert next_deadline_s(slot.worker) is None
    slot.start()
    assert slot.expect(Waiting).then == "probe"

    reopened(slot).tell(events.GateMoved(), 200.0)
    slot.expect(Probing)

    assert [each.event for each in slot.heard].count("worker.probing") == 1


def test_a_reset_while_waiting_for_a_trial_makes_it_a_start_like_any_other() -> None:
    """The breaker is closed, and it still waits for its turn."""
    slot = OneWorker(a_policy(circuit_cooldown_s=60.0, max_restarts=1)).trip()
    shut(slot).wake()
    slot.tell(events.ResetRequested("changed"))
    assert slot.expect(Waiting).then == "start"
    assert slot.worker.failures == ()
    assert slot.said("worker.reset")["reason"] == "changed"
    reopened(slot).tell(events.GateMoved())
    slot.expect(Starting)


def test_a_reset_of_a_tripped_worker_that_must_wait_closes_the_breaker_at_once() -> None:
    """`reset` waits for the closed breaker, not for the start."""
    slot = shut(OneWorker().trip())
    slot.tell(events.ResetRequested())
    slot.expect(Waiting)
    assert slot.worker.failures == ()


@pytest.mark.parametrize(
    ("order", "by_hand"), [(events.StopRequested(), True), (events.ShutdownRequested(), False)]
)
def test_a_stop_ends_the_waiting(order: events.Event, by_hand: bool) -> None:
    """Whoever waits has nothing to stop."""
    slot = shut(OneWorker())
    slot.start()
    slot.tell(order)
    assert slot.expect(Stopped).by_hand is by_hand
    slot.tell(events.GateMoved())
    slot.expect(Stopped)


def test_a_restart_by_a_person_stops_first_and_then_waits() -> None:
    """The old run is gone before the new one has to wait."""
    slot = OneWorker().up()
    slot.gate = lambda ask: "" if ask == "stop" else "requires db"
    assert slot.tell(events.RestartRequested(), 5.0) == (SendSignal(1, TERM, "leader"),)
    slot.exits(0, 6.0)
    assert slot.expect(Waiting).then == "start"
    heard = [each.event for each in slot.heard]
    assert heard[-2:] == ["worker.stopped", "worker.waiting"]


def test_an_ordered_stop_waits_for_its_turn_without_a_signal() -> None:
    """It is stopping, and says for whom it waits; its whole ladder begins when its turn comes."""
    slot = shut(OneWorker().up())

    assert slot.stop(10.0) == ()
    assert slot.expect(Stopping).held_by == "web stops first"
    assert next_deadline_s(slot.worker) is None
    held = slot.worker
    slot.tell(events.GateMoved(), 11.0)
    slot.tell(events.DeadlinePassed(), 1e6)
    assert slot.worker is held
    slot.worker = after_a_crash(slot.worker)

    assert reopened(slot).tell(events.GateMoved(), 20.0) == (SendSignal(1, TERM, "leader"),)
    assert slot.expect(Stopping).deadline_s == 30.0
    assert slot.expect(Stopping).held_by == ""


def test_a_stop_that_waits_takes_every_end_as_a_clean_one() -> None:
    """While stopping every exit is clean, also before the first signal."""
    slot = shut(OneWorker().up())
    slot.stop(10.0)
    slot.exits(1, 11.0)
    slot.expect(Stopped)
    assert slot.worker.failures == ()


def test_a_turn_that_comes_after_the_end_of_the_leader_signals_nobody() -> None:
    """What it left behind is being killed; there is nobody left to be told."""
    slot = shut(OneWorker().up())
    slot.stop(10.0)
    slot.exits(1, 11.0, emptied=False)
    assert slot.expect(Stopping).held_by == ""
    assert reopened(slot).tell(events.GateMoved(), 12.0) == ()
    slot.emptied(13.0)
    slot.expect(Stopped)


def test_a_stop_in_the_middle_of_a_spawn_waits_as_well() -> None:
    """The gate is asked when there is somebody to signal."""
    slot = OneWorker()
    slot.start(0.0)
    shut(slot).stop(0.1)
    assert slot.spawned(0.2) == ()
    assert slot.expect(Stopping).held_by == "web stops first"
    assert reopened(slot).tell(events.GateMoved(), 1.0) == (SendSignal(1, TERM, "leader"),)


def test_the_end_at_once_waits_for_nobody() -> None:
    """The second signal kills every tree now."""
    slot = shut(OneWorker().up())
    slot.tell(events.ShutdownRequested(), 10.0)
    assert slot.tell(events.ShutdownRequested(at_once=True), 11.0) == (KillTree(1),)
    assert slot.expect(Stopping).held_by == ""


def test_later_rungs_and_failures_wait_for_nobody() -> None:
    """A stop that has begun goes on, and what has failed is ended."""
    slot = OneWorker(a_policy(run_timeout_s=20.0)).up()
    assert shut(slot).wake() == (SendSignal(1, TERM, "leader"),)
    assert slot.wake() == (KillTree(1),)


def test_who_must_not_wait_goes_through() -> None:
    """A gate that is open changes nothing: backoff, breaker and stop are as without one."""
    slot = OneWorker(a_policy(max_restarts=2))
    slot.gate = lambda _ask: ""
    slot.start()
    slot.crash()
    slot.expect(Backoff)
    slot.wake()
    slot.crash()
    slot.expect(Tripped)
    slot.tell(events.ResetRequested())
    slot.spawned()
    slot.wake()
    slot.expect(Running)
    slot.stop()
    slot.exits(0)
    slot.expect(Stopped)
