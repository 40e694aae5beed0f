"""From start to an end that nobody asked for."""

import pytest

from supervisord_lite.core import events, states
from supervisord_lite.core.actions import Announce, SendSignal, Spawn
from supervisord_lite.core.policy import Policy
from supervisord_lite.core.step import next_deadline_s
from tests.support.core import KILL, SEGV, TERM, FixedRng, OneWorker, a_policy


def test_gz_01_defaults_are_the_promised_ones() -> None:
    """Stable after 30 s, five failures in ten minutes, restarted on failure."""
    policy = Policy()
    assert policy.stable_run_period_s == 30.0
    assert (policy.max_restarts, policy.circuit_window_s) == (5, 600.0)
    assert (policy.restart, policy.ok_exit_codes) == ("on-failure", (0,))


def test_a_worker_is_ready_when_it_has_lived_for_a_second() -> None:
    """Started means spawned; ready means still alive after `ready`."""
    slot = OneWorker()
    assert slot.start(10.0) == (Spawn(1),)
    assert slot.state() == states.Starting(1, 10.0)
    assert next_deadline_s(slot.worker) is None
    slot.spawned(10.2)
    assert slot.state() == states.Starting(1, 10.0, 4001, 10.2)
    assert slot.actions == (Announce("worker.started", (("run", 1), ("pid", 4001))),)
    assert slot.wake(11.1) == ()
    slot.expect(states.Starting)
    slot.wake(11.2)
    assert slot.state() == states.Running(1, 4001, 10.2, 11.2)
    ready = Announce("worker.ready", (("run", 1), ("pid", 4001), ("after_s", 1.0)))
    assert slot.actions == (ready,)
    assert next_deadline_s(slot.worker) is None


def test_ready_spawned_is_ready_at_once() -> None:
    """`ready = "spawned"` does not wait."""
    slot = OneWorker(a_policy(ready_after_s=0.0))
    slot.start(10.0)
    slot.spawned(10.2)
    assert slot.state() == states.Running(1, 4001, 10.2, 10.2)
    assert [each.event for each in slot.heard] == ["worker.started", "worker.ready"]


def test_a_worker_that_dies_before_it_is_ready_has_failed() -> None:
    """Dying after 0.3 s of an ImportError is no successful start."""
    slot = OneWorker()
    slot.start(0.0)
    slot.spawned(0.0)
    slot.exits(1, 0.3)
    assert slot.state() == states.Backoff(1.3, 1.0)
    assert not [each for each in slot.heard if each.event == "worker.ready"]


def test_not_ready_in_time_is_a_failure_and_stops_it() -> None:
    """start_timeout ends a start by the stop ladder, and counts."""
    slot = OneWorker(a_policy(ready_after_s=90.0))
    slot.start(0.0)
    slot.spawned(0.0)
    assert slot.wake(59.9) == ()
    assert slot.wake(60.0) == (SendSignal(1, TERM, "leader"),)
    assert slot.expect(states.Stopping).outcome == "failed"
    slot.exits(0, 61.0)
    slot.expect(states.Backoff)
    assert slot.worker.last_exit is not None
    assert slot.worker.last_exit.reason == "not ready after 60s"
    assert slot.said("worker.failed")["reason"] == "not ready after 60s"
    assert slot.worker.failures == (61.0,)


@pytest.mark.parametrize("is_over", [False, True])
def test_too_late_is_too_late_also_when_nobody_looked(is_over: bool) -> None:
    """With a start_timeout shorter than `ready` a late wake-up or exit does not make it ready."""
    slot = OneWorker(a_policy(ready_after_s=90.0))
    slot.start(0.0)
    slot.spawned(0.0)
    if is_over:
        slot.exits(1, 100.0)
        slot.expect(states.Backoff)
    else:
        slot.wake(100.0)
        slot.expect(states.Stopping)
    assert "worker.ready" not in [each.event for each in slot.heard]


def test_e2e_01_the_end_of_a_worker_is_seen_recorded_and_answered() -> None:
    """A worker that dies without a word is restarted, and how it died is known."""
    slot = OneWorker(rng=FixedRng(0.5)).up()
    slot.exits(signal=SEGV, at_s=20.0)
    assert slot.worker.last_exit == states.LastExit(None, SEGV, "SIGSEGV", 20.0, 20.0, 4001)
    assert slot.actions == (
        Announce(
            "worker.failed",
            (
                ("run", 1),
                ("pid", 4001),
                ("signal", "SIGSEGV"),
                ("ran_s", 20.0),
                ("failure", 1),
                ("of", 5),
                ("attempt", 1),
                ("next", "restart"),
                ("in_s", 1.0),
            ),
        ),
    )
    assert next_deadline_s(slot.worker) == 21.0
    assert slot.wake() == (Spawn(2),)


def test_gz_11_the_restart_is_not_immediate() -> None:
    """A crashed worker waits, with jitter at least half of the wait."""
    slot = OneWorker(a_policy(jitter=True), rng=FixedRng(0.0)).up()
    slot.exits(1, 5.0)
    assert slot.wake(5.49) == ()
    assert slot.wake(5.5) == (Spawn(2),)


def test_gz_06_waits_double_with_each_failure() -> None:
    """Without jitter the waits of one worker are 1, 2, 4 and 8 seconds."""
    slot = OneWorker()
    slot.start(0.0)
    waits = []
    for _ in range(4):
        slot.crash()
        waits.append(slot.expect(states.Backoff).delay_s)
        slot.wake()
    assert waits == [1.0, 2.0, 4.0, 8.0]


@pytest.mark.parametrize(("ran_s", "wait_s"), [(29.9, 4.0), (30.0, 1.0)])
def test_gz_13_and_e2e_05_a_stable_run_begins_the_backoff_again(
    ran_s: float, wait_s: float
) -> None:
    """After a run of stable_run_period the next wait is the shortest; failures still count."""
    slot = OneWorker()
    slot.start(0.0)
    slot.crash()
    slot.wake()
    slot.crash()
    slot.wake()
    slot.crash(ran_s=ran_s)
    assert slot.expect(states.Backoff).delay_s == wait_s
    assert len(slot.worker.failures) == 3


def test_a_stable_run_is_judged_as_the_clock_adds() -> None:
    """30 s are 30 s also where subtraction would round to a little less."""
    slot = OneWorker(a_policy(stable_run_period_s=0.1))
    slot.start(1000.0)
    slot.crash(ran_s=0.05)
    slot.wake(1024.0)
    slot.spawned(1024.0)
    assert (1024.0 + 0.1) - 1024.0 < 0.1
    slot.exits(1, 1024.0 + 0.1)
    assert slot.worker.attempt == 1


@pytest.mark.parametrize("restart", ["always", "on-failure", "never"])
def test_x10_an_ok_exit_is_never_a_failure(restart: str) -> None:
    """Exit code 0, or any of ok_exit_codes, does not count against the worker."""
    slot = OneWorker(a_policy(restart=restart, ok_exit_codes=(0, 7))).up()
    slot.exits(7, 5.0)
    assert (slot.worker.failures, slot.worker.attempt) == ((), 0)
    assert [each.event for each in slot.heard][-1] == "worker.exited"


@pytest.mark.parametrize("restart", ["on-failure", "never"])
def test_an_ok_exit_is_left_alone_unless_always(restart: str) -> None:
    """A one-shot that is done is done."""
    slot = OneWorker(a_policy(restart=restart)).up()
    slot.exits(0, 5.0)
    assert slot.state() == states.Exited(5.0)
    assert slot.said("worker.exited") == {
        "run": 1, "pid": 4001, "code": 0, "ran_s": 5.0, "next": "none",
    }  # fmt: skip
    assert slot.start(6.0) == (Spawn(2),)


def test_x10_under_always_an_early_ok_exit_waits_the_minimum() -> None:
    """`exit 0` in a loop does not become a fork bomb, and is no restart after a failure."""
    slot = OneWorker(a_policy(restart="always", jitter=True)).up()
    slot.exits(0, 5.0)
    assert slot.state() == states.Backoff(6.0, 1.0, after_failure=False)
    assert slot.wake() == (Spawn(2),)
    assert slot.worker.restarts == 0


def test_x10_under_always_a_late_ok_exit_starts_again_at_once() -> None:
    """A worker that ended well after a stable run is up again without a wait."""
    slot = OneWorker(a_policy(restart="always")).up()
    assert slot.exits(0, 30.0) == (Spawn(2),)
    assert slot.state() == states.Starting(2, 30.0)


def test_under_never_a_failure_is_counted_and_left_alone() -> None:
    """restart = "never" shows the failure but does not restart or trip."""
    slot = OneWorker(a_policy(restart="never", max_restarts=1)).up()
    slot.exits(1, 5.0)
    assert slot.state() == states.Exited(5.0)
    assert slot.worker.failures == (5.0,)
    assert slot.said("worker.failed")["next"] == "none"


def test_p1_what_a_crashed_worker_leaves_behind_is_gone_before_its_next_start() -> None:
    """The wait for the restart begins when the last process of the old run is dead."""
    slot = OneWorker().up()
    slot.exits(1, 5.0, emptied=False)
    assert slot.state() == states.Stopping(
        1, "failed", "exit 1", spawned_at_s=0.0, rung=1, code=1, exited_at_s=5.0
    )
    assert next_deadline_s(slot.worker) is None
    assert slot.wake(500.0) == ()
    slot.emptied(7.0, "4123 sh", "4130 sleep")
    assert slot.state() == states.Backoff(8.0, 1.0)
    assert slot.worker.failures == (5.0,)
    assert [each.event for each in slot.heard][-2:] == ["worker.failed", "worker.cleared"]
    assert slot.said("worker.cleared") == {"run": 1, "left": 2, "killed": "4123 sh, 4130 sleep"}


def test_an_ok_exit_with_processes_left_behind_is_still_no_failure() -> None:
    """A launcher that ends with 0 and leaves children ended well; they are cleared away."""
    slot = OneWorker().up()
    slot.exits(0, 5.0, emptied=False)
    slot.emptied(6.0)
    assert slot.state() == states.Exited(5.0)
    assert slot.worker.failures == ()


def test_an_end_that_nobody_saw_is_a_failure() -> None:
    """After an adoption a run that the keeper does not know has ended, unknown how."""
    slot = OneWorker().up()
    slot.tell(events.Lost(1), 9.0)
    assert slot.state() == states.Backoff(10.0, 1.0)
    assert slot.said("worker.failed")["reason"] == "unknown"


def test_a_spawn_request_that_got_lost_is_repeated() -> None:
    """After an adoption a start whose request never arrived is asked for again, the same run."""
    slot = OneWorker()
    slot.start(0.0)
    assert slot.tell(events.Lost(1)) == (Spawn(1),)
    assert slot.worker.run == 1


def test_a_person_who_does_not_want_to_wait_starts_it_now() -> None:
    """start and restart end a backoff wait; the next failure waits as long as it would have."""
    for order in (events.StartRequested(), events.RestartRequested()):
        slot = OneWorker()
        slot.start(0.0)
        slot.crash()
        assert slot.tell(order, 0.6) == (Spawn(2),)
        assert slot.worker.restarts == 0
        slot.crash()
        assert slot.expect(states.Backoff).delay_s == 2.0


def test_a_start_by_hand_begins_the_backoff_again() -> None:
    """After stop and start the first wait is the shortest."""
    slot = OneWorker()
    slot.start(0.0)
    slot.crash()
    slot.stop()
    slot.start()
    slot.crash()
    assert slot.expect(states.Backoff).delay_s == 1.0
    assert len(slot.worker.failures) == 2


def test_facts_of_an_older_run_are_ignored() -> None:
    """A doubled or delayed report about run 1 changes nothing for run 2."""
    slot = OneWorker()
    slot.start(0.0)
    slot.crash()
    slot.wake()
    second = slot.worker
    for fact in (
        events.Spawned(1, 4001),
        events.SpawnFailed(1, "exec", "no such file"),
        events.Exited(1, None, KILL, emptied=True),
        events.Emptied(1),
        events.Lost(1),
    ):
        slot.tell(fact)
        assert slot.worker is second
        assert slot.actions == ()


def test_a_new_policy_keeps_the_process_and_applies_from_now_on() -> None:
    """A reload of backoff and counts touches no worker."""
    slot = OneWorker().up()
    running = slot.state()
    slot.tell(events.PolicyChanged(a_policy(max_restarts=1)))
    assert slot.state() is running
    slot.exits(1, 5.0)
    slot.expect(states.Tripped)


def test_fewer_max_restarts_keep_the_latest_failures() -> None:
    """A reload that lowers max_restarts does not keep more failures than can trip."""
    slot = OneWorker()
    slot.start(0.0)
    for _ in range(3):
        slot.crash()
        slot.wake()
    latest = slot.worker.failures[-2:]
    slot.tell(events.PolicyChanged(a_policy(max_restarts=2)))
    assert slot.worker.failures == latest
    assert len(latest) == 2
