"""When failures are too many: the sliding window, the open breaker, the start on trial."""

from typing import Any

import pytest

from supervisord_lite.core import events, states
from supervisord_lite.core.actions import Spawn
from supervisord_lite.core.breaker import count_failure, is_full
from supervisord_lite.core.step import next_deadline_s
from tests.support.core import SEGV, OneWorker, a_policy


def count(times: list[float], *, window_s: float = 600.0, most: int = 5) -> tuple[float, ...]:
    failures: tuple[float, ...] = ()
    for time_s in times:
        failures = count_failure(failures, time_s, window_s=window_s, max_restarts=most)
    return failures


def test_e2e_04_only_the_last_ten_minutes_count() -> None:
    """Failures at 0, 4, 8, 9.9 and 10.1 minutes are four inside ten minutes, not five."""
    failures = count([0.0, 240.0, 480.0, 594.0, 606.0])
    assert failures == (240.0, 480.0, 594.0, 606.0)
    assert not is_full(failures, max_restarts=5)
    assert is_full(count([20.0, 240.0, 480.0, 594.0, 606.0]), max_restarts=5)


def test_a_failure_is_forgotten_exactly_when_it_is_one_window_old() -> None:
    """The window of ten minutes does not reach the tenth minute itself."""
    assert count([0.0, 600.0]) == (600.0,)
    assert count([0.0, 599.9]) == (0.0, 599.9)


def test_failures_that_arrive_late_are_put_in_order() -> None:
    """A fact that waited in a queue counts at the time it happened."""
    assert count([10.0, 12.0, 11.0]) == (10.0, 11.0, 12.0)
    assert count([700.0, 10.0]) == (700.0,)


def test_no_more_failures_are_kept_than_can_trip() -> None:
    """What is remembered of a worker is bounded."""
    assert count([float(second) for second in range(100)], most=3) == (97.0, 98.0, 99.0)


@pytest.mark.parametrize("max_restarts", [1, 2, 5])
def test_gz_10_and_e2e_03_max_restarts_n_means_n_starts(max_restarts: int) -> None:
    """A worker that always crashes is started exactly max_restarts times."""
    slot = OneWorker(a_policy(max_restarts=max_restarts)).trip()

    assert slot.spawned_runs == list(range(1, max_restarts + 1))
    assert next_deadline_s(slot.worker) is None
    failed = slot.said("worker.failed")
    assert (failed["failure"], failed["of"]) == (max_restarts, max_restarts)
    assert failed["next"] == "reset"
    assert slot.said("worker.tripped")["failures"] == max_restarts


def test_gz_24_failures_spread_wider_than_the_window_do_not_trip() -> None:
    """A crash every four minutes for ever is never three inside six minutes and 40 seconds."""
    slot = OneWorker(a_policy(max_restarts=3, circuit_window_s=400.0)).up()
    for _ in range(20):
        slot.exits(1, slot.now_s + 240.0)
        slot.wake()
        slot.spawned()
    assert len(slot.worker.failures) == 2


def test_spawn_failures_trip_the_breaker_too() -> None:
    """Starts that never got as far as running count like crashes."""
    slot = OneWorker(a_policy(max_restarts=2))
    slot.start(0.0)
    slot.spawn_failed()
    assert slot.state() == states.Backoff(1.0, 1.0)
    slot.wake()
    slot.spawn_failed()
    assert slot.state() == states.Tripped(1.0)
    assert slot.said("worker.failed")["reason"] == "spawn failed (exec): no such file: /x"


def test_a_missing_file_waits_the_longest_time() -> None:
    """A deploy may bring the file back: look again, but not every second."""
    slot = OneWorker(a_policy(jitter=True))
    slot.start(0.0)
    slot.spawn_failed(missing=True)
    assert slot.state() == states.Backoff(300.0, 300.0)


def test_what_no_retry_can_heal_trips_at_once() -> None:
    """An unknown user is not tried five times."""
    slot = OneWorker()
    slot.start(0.0)
    slot.spawn_failed(7.0, hopeless=True)
    assert slot.state() == states.Tripped(7.0)
    assert slot.said("worker.tripped")["reason"] == "no retry can heal it"


def test_a_tripped_worker_is_not_started_or_restarted_without_a_reset() -> None:
    """start and restart leave an open breaker open."""
    slot = OneWorker().trip()
    tripped = slot.worker
    assert slot.start() == ()
    assert slot.tell(events.RestartRequested()) == ()
    assert slot.worker is tripped


def test_reset_closes_the_breaker_and_starts_at_once() -> None:
    """reset forgets all failures and does not wait."""
    slot = OneWorker().trip()
    assert slot.tell(events.ResetRequested()) == (Spawn(6),)
    assert (slot.worker.failures, slot.worker.attempt) == ((), 0)
    slot.crash()
    assert slot.state() == states.Backoff(slot.now_s + 1.0, 1.0)
    assert slot.said("worker.failed")["failure"] == 1


def test_after_a_reset_the_next_wait_is_the_minimum() -> None:
    """The sequence begins again, however many failures there were."""
    slot = OneWorker(a_policy())
    slot.start()
    for _ in range(3):
        slot.crash()
        slot.wake()
    slot.tell(events.ResetRequested())
    slot.crash()
    assert slot.expect(states.Backoff).delay_s == 1.0


def test_a_trip_tells_all_that_a_listener_needs() -> None:
    """How many failures, of how many, in which window, why the last one, and what is next."""
    slot = OneWorker(a_policy(max_restarts=2, circuit_cooldown_s=60.0))
    slot.start()
    slot.crash()
    slot.wake()
    slot.spawn_failed()
    assert slot.said("worker.tripped") == {
        "failures": 2, "of": 2, "window_s": 600.0, "next": "probe", "in_s": 60.0,
    }  # fmt: skip
    failed = slot.said("worker.failed")
    assert failed["reason"] == "spawn failed (exec): no such file: /x"
    assert (failed["failure"], failed["of"]) == (2, 2)


def test_reset_ends_a_backoff_wait() -> None:
    """reset of a worker that waits for its restart starts it now."""
    slot = OneWorker()
    slot.start(0.0)
    slot.crash()
    assert slot.tell(events.ResetRequested(), 0.6) == (Spawn(2),)
    assert (slot.worker.failures, slot.worker.attempt) == ((), 0)


def test_reset_of_a_running_worker_only_forgets_its_failures() -> None:
    """reset never touches a process."""
    slot = OneWorker()
    slot.start(0.0)
    slot.crash()
    slot.wake()
    slot.spawned()
    slot.wake()
    running = slot.state()
    assert slot.tell(events.ResetRequested()) == ()
    assert slot.state() is running
    assert (slot.worker.failures, slot.worker.attempt) == ((), 0)
    forgotten = slot.worker
    slot.tell(events.ResetRequested())
    assert slot.worker is forgotten
    assert slot.actions == ()


def test_stopping_a_tripped_worker_keeps_its_failures_for_status() -> None:
    """After stop and start the next failure inside the window trips again."""
    slot = OneWorker().trip()
    slot.stop()
    assert slot.state() == states.Stopped(by_hand=True)
    assert len(slot.worker.failures) == 5
    slot.start()
    slot.crash()
    slot.expect(states.Tripped)


# -- the start on trial --------------------------------------------------------------------------


def on_trial(**values: Any) -> OneWorker:
    slot = OneWorker(a_policy(max_restarts=2, circuit_cooldown_s=60.0, **values)).trip()
    assert slot.said("worker.tripped")["next"] == "probe"
    tripped_at_s = slot.now_s
    assert slot.wake(tripped_at_s + 59.9) == ()
    assert slot.wake(tripped_at_s + 60.0) == (Spawn(3),)
    slot.expect(states.Probing)
    slot.spawned()
    return slot


def test_after_the_cooldown_one_start_on_trial_that_proves_itself_closes_the_breaker() -> None:
    """A tripped worker gets one chance after circuit_cooldown, and keeps it when it stays up."""
    slot = on_trial()
    begun_s = slot.now_s
    slot.wake(begun_s + 1.0)
    assert slot.expect(states.Probing).ready_at_s == begun_s + 1.0
    assert slot.said("worker.ready")["run"] == 3
    slot.wake(begun_s + 29.9)
    slot.expect(states.Probing)
    slot.wake(begun_s + 30.0)
    assert slot.state() == states.Running(3, 4003, begun_s, begun_s + 1.0)
    assert (slot.worker.failures, slot.worker.attempt) == ((), 0)
    assert slot.said("worker.reset")["reason"] == "ran 30s on trial"


def test_a_failed_trial_opens_the_breaker_for_the_same_cooldown() -> None:
    """One failure on trial is enough, however few are in the window."""
    slot = on_trial(circuit_window_s=30.0)
    slot.exits(signal=SEGV, at_s=slot.now_s + 29.9)
    assert slot.state() == states.Tripped(slot.now_s, slot.now_s + 60.0)
    assert len(slot.worker.failures) == 1
    assert slot.said("worker.tripped")["reason"] == "failed on trial"
    slot.wake()
    slot.spawn_failed()
    assert slot.state() == states.Tripped(slot.now_s, slot.now_s + 60.0)


def test_a_trial_that_is_not_ready_in_time_trips_again() -> None:
    """A missed start_timeout is a failure on trial too."""
    slot = on_trial(ready_after_s=90.0, circuit_window_s=30.0)
    slot.wake(slot.now_s + 60.0)
    slot.exits(0)
    assert slot.state() == states.Tripped(slot.now_s, slot.now_s + 60.0)
    assert slot.said("worker.failed")["reason"] == "not ready after 60s"


def test_a_trial_is_not_over_before_it_is_ready() -> None:
    """With `ready` longer than stable_run_period the breaker closes when it is ready."""
    slot = on_trial(ready_after_s=40.0)
    begun_s = slot.now_s
    slot.wake(begun_s + 39.9)
    slot.expect(states.Probing)
    slot.wake()
    assert slot.state() == states.Running(3, 4003, begun_s, begun_s + 40.0)


def test_a_trial_that_leaves_processes_behind_trips_when_they_are_gone() -> None:
    """The breaker opens again also when the failed run had to be cleared away first."""
    slot = on_trial()
    slot.exits(1, emptied=False)
    slot.emptied(None, "4123 sh")
    slot.expect(states.Tripped)


def test_a_late_wake_up_does_not_turn_a_proved_trial_into_a_failed_one() -> None:
    """The supervisor was busy: the trial had lasted long enough, and its crash is the first."""
    slot = on_trial()
    slot.exits(1, slot.now_s + 31.0)
    assert slot.state() == states.Backoff(slot.now_s + 1.0, 1.0)
    assert len(slot.worker.failures) == 1


def test_an_ok_exit_on_trial_closes_the_breaker() -> None:
    """A one-shot that finally worked is done."""
    slot = on_trial()
    slot.exits(0)
    assert slot.state() == states.Exited(slot.now_s)
    assert slot.worker.failures == ()


def test_an_ok_exit_on_trial_under_always_starts_again_after_the_minimum() -> None:
    """The restart policy goes on as if the breaker had never been open."""
    slot = on_trial(restart="always")
    slot.exits(0)
    assert slot.state() == states.Backoff(slot.now_s + 1.0, 1.0, after_failure=False)


@pytest.mark.parametrize("ready", [False, True])
def test_reset_on_trial_makes_it_a_start_like_any_other(ready: bool) -> None:
    """A person's reset closes the breaker without waiting for the trial."""
    slot = on_trial()
    begun_s = slot.now_s
    if ready:
        slot.wake()
    slot.tell(events.ResetRequested())
    if ready:
        assert slot.state() == states.Running(3, 4003, begun_s, begun_s + 1.0)
    else:
        assert slot.state() == states.Starting(3, begun_s, 4003, begun_s)
    slot.exits(1)
    slot.expect(states.Backoff)


def test_never_is_never_put_on_trial() -> None:
    """restart = "never" with a cooldown does not start by itself."""
    slot = OneWorker(a_policy(restart="never", circuit_cooldown_s=60.0))
    slot.start(0.0)
    slot.spawn_failed(hopeless=True)
    assert slot.state() == states.Tripped(0.0, None)


def test_a_new_cooldown_applies_to_a_breaker_that_is_open() -> None:
    """A reload that adds or removes circuit_cooldown is heard by a tripped worker."""
    slot = OneWorker().trip()
    slot.tell(events.PolicyChanged(a_policy(circuit_cooldown_s=60.0)))
    assert slot.state() == states.Tripped(slot.now_s, slot.now_s + 60.0)
    slot.tell(events.PolicyChanged(a_policy()))
    assert slot.state() == states.Tripped(slot.now_s)


def test_restarts_count_starts_after_failures_only() -> None:
    """ "restarts" in status tells of failures, not of what people did."""
    slot = OneWorker(a_policy(max_restarts=2, circuit_cooldown_s=60.0))
    slot.start(0.0)
    slot.crash()
    assert slot.worker.restarts == 0
    slot.wake()
    assert slot.worker.restarts == 1
    slot.crash()
    slot.wake()
    assert slot.worker.restarts == 2
    slot.tell(events.RestartRequested())
    slot.spawned()
    slot.exits(0)
    assert slot.worker.run == 4
    assert slot.worker.restarts == 2
