"""What makes a worker ready, and how long a run may last."""

from supervisord_lite.core import events
from supervisord_lite.core.actions import SendSignal
from supervisord_lite.core.states import (
    Backoff,
    Exited,
    Probing,
    Running,
    Starting,
    Stopping,
    Tripped,
)
from supervisord_lite.core.step import next_deadline_s
from tests.support.core import TERM, OneWorker, a_policy, after_a_crash


def said(slot: OneWorker, at_s: float) -> None:
    slot.tell(events.ReadySaid(slot.worker.run), at_s)


def test_one_that_says_so_itself_is_ready_when_it_says_so() -> None:
    """Age does not make it ready; the word does, once."""
    slot = OneWorker(a_policy(ready_by="said", start_timeout_s=60.0))
    slot.start(0.0)
    slot.spawned(0.5)
    slot.wake(30.0)
    slot.expect(Starting)

    said(slot, 31.0)

    assert slot.expect(Running) == Running(1, 4001, 0.5, 31.0)
    assert slot.said("worker.ready")["after_s"] == 30.5
    said(slot, 32.0)
    assert slot.expect(Running).ready_at_s == 31.0
    assert next_deadline_s(slot.worker) is None


def test_a_word_that_overtakes_the_answer_to_the_spawn_is_not_lost() -> None:
    """A fast worker may speak before the keeper has told that it lives, also across a crash."""
    slot = OneWorker(a_policy(ready_by="said"))
    slot.start(0.0)

    said(slot, 0.25)
    slot.expect(Starting)
    slot.worker = after_a_crash(slot.worker)
    slot.spawned(0.5)

    assert slot.expect(Running).ready_at_s == 0.5


def test_no_word_in_time_is_a_failure_and_a_late_one_is_too_late() -> None:
    """A timeout is a failure, never success."""
    slot = OneWorker(a_policy(ready_by="said", start_timeout_s=60.0))
    slot.start(0.0)
    slot.spawned(0.0)

    said(slot, 60.5)  # and nobody had looked at 60.0

    assert slot.expect(Stopping).reason == "not ready after 60s"
    slot.exits(signal=TERM, at_s=61.0)
    assert slot.worker.failures == (61.0,)


def test_a_word_means_nothing_where_age_or_the_end_decides() -> None:
    """Only whoever waits for the word takes it."""
    for ready_by in ("alive", "exit"):
        slot = OneWorker(a_policy(ready_by=ready_by, ready_after_s=5.0))
        slot.start(0.0)
        slot.spawned(0.0)
        before = slot.worker
        said(slot, 1.0)
        assert slot.worker is before


def test_a_one_shot_is_ready_when_it_has_ended_well() -> None:
    """It is starting for as long as it works: only its own limit ends it."""
    slot = OneWorker(a_policy(ready_by="exit", start_timeout_s=60.0, run_timeout_s=900.0))
    slot.start(0.0)
    slot.spawned(0.0)

    slot.wake(899.0)
    slot.expect(Starting)
    slot.exits(0, 899.5)

    slot.expect(Exited)
    assert slot.worker.failures == ()


def test_a_one_shot_without_a_limit_waits_for_nothing_but_its_end() -> None:
    """No deadline is armed that would never change anything."""
    slot = OneWorker(a_policy(ready_by="exit"))
    slot.start(0.0)
    slot.spawned(0.0)
    assert next_deadline_s(slot.worker) is None


def test_a_one_shot_that_fails_is_tried_again_until_its_breaker_trips() -> None:
    """Under "on-failure" an exit that is not ok is a failure like any other."""
    slot = OneWorker(a_policy(ready_by="exit", max_restarts=3)).trip()
    assert slot.worker.run == 3


def test_a_run_that_lasts_too_long_is_stopped_and_counts_as_a_failure() -> None:
    """The stop ladder ends it, however it then exits, and the reason is the limit."""
    slot = OneWorker(a_policy(run_timeout_s=90.0)).up()
    assert next_deadline_s(slot.worker) == 90.0
    assert slot.wake(89.9) == ()

    assert slot.wake() == (SendSignal(1, TERM, "leader"),)
    slot.exits(0, 91.0)

    slot.expect(Backoff)
    assert slot.worker.last_exit is not None
    assert slot.worker.last_exit.reason == "still running after 90s"
    assert slot.worker.failures == (91.0,)


def test_a_limit_shorter_than_the_start_counts_first() -> None:
    """Whatever is due first is the reason."""
    slot = OneWorker(a_policy(ready_after_s=50.0, run_timeout_s=20.0))
    slot.start(0.0)
    slot.spawned(0.0)
    slot.wake()
    assert slot.expect(Stopping).reason == "still running after 20s"


def test_a_longer_limit_given_to_a_live_run_counts_at_once() -> None:
    """A changed limit holds for the run that is there."""
    slot = OneWorker(a_policy(run_timeout_s=90.0)).up()
    slot.tell(events.PolicyChanged(a_policy(run_timeout_s=200.0)), 80.0)
    slot.wake(100.0)
    slot.expect(Running)
    assert next_deadline_s(slot.worker) == 200.0


def test_one_that_is_judged_to_fail_is_ended_and_counts() -> None:
    """A missed heartbeat or a failed health check is a failure; of an older run it is nothing."""
    slot = OneWorker(a_policy()).up()
    slot.tell(events.JudgedFailed(slot.worker.run - 1, "no heartbeat for 30s"), 40.0)
    slot.expect(Running)

    slot.tell(events.JudgedFailed(slot.worker.run, "no heartbeat for 30s"), 40.0)
    assert slot.expect(Stopping).outcome == "failed"
    slot.exits(signal=TERM, at_s=41.0)

    slot.expect(Backoff)
    assert slot.said("worker.failed")["reason"] == "no heartbeat for 30s"


def test_a_start_on_trial_that_says_it_is_ready_must_still_last() -> None:
    """Ready is not proved: the breaker closes after the stable period."""
    policy = a_policy(ready_by="said", circuit_cooldown_s=60.0, max_restarts=1)
    slot = OneWorker(policy).trip()
    slot.wake()
    slot.spawned(100.0)
    said(slot, 105.0)
    assert slot.expect(Probing).ready_at_s == 105.0

    slot.wake()

    assert slot.now_s == 130.0
    slot.expect(Running)
    assert slot.worker.failures == ()


def test_a_one_shot_on_trial_closes_its_breaker_by_ending_well() -> None:
    """The trial of a one-shot is its work."""
    slot = OneWorker(a_policy(ready_by="exit", circuit_cooldown_s=60.0, max_restarts=1)).trip()
    slot.wake()
    slot.spawned(100.0)
    assert next_deadline_s(slot.worker) is None
    slot.exits(0, 500.0)
    slot.expect(Exited)
    assert slot.worker.failures == ()


def test_a_start_on_trial_that_lasts_too_long_opens_the_breaker_again() -> None:
    """Every failure on trial does."""
    policy = a_policy(circuit_cooldown_s=60.0, max_restarts=1, run_timeout_s=10.0)
    slot = OneWorker(policy).trip()
    slot.wake()
    slot.spawned(100.0)
    slot.wake(101.0)
    slot.wake()
    assert slot.now_s == 110.0
    slot.exits(0, 111.0)
    assert slot.expect(Tripped).probe_at_s == 171.0


# -- more time -----------------------------------------------------------------------------------


def extended(slot: OneWorker, until_s: float, at_s: float) -> None:
    slot.tell(events.Extended(slot.worker.run, until_s), at_s)


def test_a_start_that_asks_for_more_time_gets_it_and_no_more() -> None:
    """As often as it asks; the failure says how long it really had."""
    slot = OneWorker(a_policy(ready_by="said", start_timeout_s=60.0))
    slot.start(0.0)
    extended(slot, 10.0, 0.1)
    slot.spawned(0.5)
    assert next_deadline_s(slot.worker) == 60.5
    extended(slot, 90.0, 50.0)
    extended(slot, 80.0, 51.0)
    assert next_deadline_s(slot.worker) == 90.0
    slot.wake(89.0)
    slot.expect(Starting)
    extended(slot, 120.5, 89.5)

    slot.wake(120.5)

    assert slot.expect(Stopping).reason == "not ready after 120s"


def test_a_stop_that_asks_for_more_time_is_signalled_later() -> None:
    """Never earlier; and what it asked for its start does not count there."""
    slot = OneWorker().up()
    slot.stop(100.0)
    due_s = next_deadline_s(slot.worker)
    assert due_s is not None
    extended(slot, 100.5, 100.1)
    assert next_deadline_s(slot.worker) == due_s
    extended(slot, due_s + 30.0, due_s - 1.0)
    slot.wake(due_s)
    assert next_deadline_s(slot.worker) == due_s + 30.0
    slot.wake(due_s + 30.0)
    assert slot.expect(Stopping).deadline_s is None  # killed


def test_one_that_is_ready_has_nothing_to_ask_time_for() -> None:
    """Also on trial; and a word of an older run changes nothing."""
    slot = OneWorker(a_policy()).up()
    before = slot.worker
    extended(slot, 1e9, 40.0)
    slot.tell(events.Extended(slot.worker.run - 1, 1e9), 40.0)
    assert slot.worker is before


def test_only_the_word_that_the_policy_waits_for_makes_it_ready() -> None:
    """A worker with a heartbeat may say READY=1 while a probe decides, and the other way round."""
    for ready_by, other in (("said", "health"), ("health", "said")):
        slot = OneWorker(a_policy(ready_by=ready_by))
        slot.tell(events.StartRequested(), 0.0)
        slot.tell(events.Spawned(1, 4123), 0.1)
        slot.tell(events.ReadySaid(1, other), 0.2)  # type: ignore[arg-type]  # one of two
        assert isinstance(slot.worker.state, Starting)
        slot.tell(events.ReadySaid(1, ready_by), 0.3)  # type: ignore[arg-type]
        assert isinstance(slot.worker.state, Running)
