"""Ends that somebody asked for, and whose order wins."""

import pytest

from supervisord_lite.core import events, states
from supervisord_lite.core.actions import Announce, KillTree, SendSignal, Spawn
from supervisord_lite.core.events import Event
from supervisord_lite.core.policy import Rung
from supervisord_lite.core.step import next_deadline_s
from tests.support.core import KILL, TERM, OneWorker, a_policy

QUIT = 3
DEMANDS = [events.StopRequested(), events.ShutdownRequested()]


def test_gz_12_and_gz_17_a_stopped_worker_is_signalled_once_and_not_restarted() -> None:
    """stop sends SIGTERM, waits, and the worker stays down."""
    slot = OneWorker().up()
    assert slot.stop(50.0) == (SendSignal(1, TERM, "leader"),)
    assert slot.stop(51.0) == ()
    slot.exits(signal=TERM, at_s=52.0)
    assert slot.state() == states.Stopped(by_hand=True)
    assert slot.actions == (
        Announce(
            "worker.stopped",
            (("run", 1), ("pid", 4001), ("signal", "SIGTERM"), ("ran_s", 52.0), ("asked", "stop")),
        ),
    )
    assert next_deadline_s(slot.worker) is None
    assert slot.spawned_runs == [1]


def test_x10_while_stopping_every_exit_is_clean_and_recorded() -> None:
    """Exit code 3 on SIGTERM is no failure, but status shows it."""
    slot = OneWorker().up()
    slot.stop(50.0)
    slot.exits(3, 51.0)
    assert (slot.worker.failures, slot.worker.attempt) == ((), 0)
    assert slot.worker.last_exit == states.LastExit(3, None, "exit 3", 51.0, 51.0, 4001, asked=True)


def test_e2e_07_a_worker_that_ignores_the_ladder_is_killed_with_its_tree() -> None:
    """Each signal gets its time, then SIGKILL to everything; stopped means nothing is left."""
    ladder = (Rung(TERM, 600.0), Rung(QUIT, 30.0))
    slot = OneWorker(a_policy(stop_ladder=ladder, stop_scope="tree")).up()
    assert slot.stop(100.0) == (SendSignal(1, TERM, "tree"),)
    assert slot.wake(699.9) == ()
    assert slot.wake(700.0) == (SendSignal(1, QUIT, "tree"),)
    assert slot.wake() == (KillTree(1),)
    assert slot.now_s == 730.0
    assert next_deadline_s(slot.worker) is None
    slot.exits(signal=KILL, at_s=730.1, emptied=False)
    slot.expect(states.Stopping)
    slot.emptied(730.2, "4130 sleep")
    assert slot.state() == states.Stopped(by_hand=True)
    assert [each.event for each in slot.heard][-2:] == ["worker.cleared", "worker.stopped"]


def test_gz_23_a_late_wake_up_still_gives_each_signal_its_whole_time() -> None:
    """After a gap the next signal gets its timeout counted from when it was sent."""
    slot = OneWorker(a_policy(stop_ladder=(Rung(TERM, 10.0), Rung(QUIT, 30.0)))).up()
    slot.stop(100.0)
    slot.wake(500.0)
    assert next_deadline_s(slot.worker) == 530.0


def test_nothing_is_signalled_after_the_leader_has_ended() -> None:
    """Once the leader is gone the ladder is over: the keeper kills what is left."""
    slot = OneWorker().up()
    slot.stop(100.0)
    slot.exits(0, 101.0, emptied=False)
    assert next_deadline_s(slot.worker) is None
    assert slot.wake(1000.0) == ()


def test_stopped_is_said_only_after_the_end_of_the_leader_itself() -> None:
    """A report that the tree is empty does not stand for the leader's exit status."""
    slot = OneWorker().up()
    slot.stop(100.0)
    stopping = slot.state()
    slot.emptied(101.0)
    assert slot.state() is stopping


def test_gz_16_stop_before_start_is_harmless() -> None:
    """stop of a worker that never ran only remembers that a person said so."""
    slot = OneWorker()
    assert slot.stop() == ()
    assert slot.state() == states.Stopped(by_hand=True)
    slot.stop()
    assert slot.actions == ()


@pytest.mark.parametrize("demand", DEMANDS)
def test_gz_15_a_stop_ends_a_backoff_wait_at_once(demand: Event) -> None:
    """A worker that waits for its restart is down the moment somebody says stop."""
    slot = OneWorker()
    slot.start(0.0)
    slot.crash()
    assert slot.tell(demand, 0.7) == ()
    slot.expect(states.Stopped)
    assert slot.wake(1000.0) == ()


@pytest.mark.parametrize("demand", DEMANDS)
def test_a_stop_before_the_spawn_was_answered_stops_it_when_it_lives(demand: Event) -> None:
    """No start slips through: what was already asked for is stopped as soon as it exists."""
    slot = OneWorker()
    slot.start(0.0)
    assert slot.tell(demand) == ()
    assert next_deadline_s(slot.worker) is None
    assert slot.spawned(3.0) == (SendSignal(1, TERM, "leader"),)
    assert next_deadline_s(slot.worker) == 13.0
    slot.exits(signal=TERM)
    slot.expect(states.Stopped)


def test_a_stop_before_a_spawn_that_fails_is_a_stop() -> None:
    """The failed start is recorded but not counted: nobody wants it any more."""
    slot = OneWorker()
    slot.start(0.0)
    slot.stop()
    slot.spawn_failed()
    assert slot.state() == states.Stopped(by_hand=True)
    assert slot.worker.failures == ()
    assert slot.worker.last_exit is not None
    assert slot.worker.last_exit.reason == "spawn failed (exec): no such file: /x"


def test_a_stop_before_a_spawn_request_that_got_lost_needs_no_spawn() -> None:
    """After an adoption a stopped worker is not started for the sake of stopping it."""
    slot = OneWorker()
    slot.start(0.0)
    slot.stop()
    assert slot.tell(events.Lost(1)) == ()
    assert slot.state() == states.Stopped(by_hand=True)
    assert slot.worker.last_exit is None


@pytest.mark.parametrize("settled", [False, True])
def test_a_run_that_got_lost_while_stopping_is_stopped(settled: bool) -> None:
    """After an adoption a stop does not wait for a report that cannot come."""
    slot = OneWorker().up()
    slot.stop(50.0)
    if settled:
        slot.exits(0, emptied=False)
    slot.tell(events.Lost(1))
    assert slot.state() == states.Stopped(by_hand=True)
    assert slot.worker.failures == ()


def test_restart_stops_and_starts_when_nothing_is_left() -> None:
    """restart never has two runs of a worker at the same time."""
    slot = OneWorker().up()
    assert slot.tell(events.RestartRequested(), 50.0) == (SendSignal(1, TERM, "leader"),)
    assert slot.exits(1, 51.0, emptied=False) == ()
    assert slot.emptied(52.0) == (Spawn(2),)
    assert (slot.worker.restarts, slot.worker.failures) == (0, ())
    assert slot.said("worker.stopped")["asked"] == "restart"


@pytest.mark.parametrize("order", [events.StartRequested(), events.RestartRequested()])
def test_the_last_order_wins_start_while_stopping(order: Event) -> None:
    """A start during a stop starts again as soon as the old run is gone."""
    slot = OneWorker().up()
    slot.stop(50.0)
    assert slot.tell(order) == ()
    assert slot.exits(0) == (Spawn(2),)


def test_the_last_order_wins_stop_while_restarting() -> None:
    """A stop during a restart ends in stopped."""
    slot = OneWorker().up()
    slot.tell(events.RestartRequested(), 50.0)
    slot.stop()
    assert slot.exits(0) == ()
    assert slot.state() == states.Stopped(by_hand=True)


def test_a_stop_while_a_crash_is_cleared_away_counts_no_failure() -> None:
    """Its end is recorded; nothing is restarted and nothing counted."""
    slot = OneWorker().up()
    slot.exits(1, 5.0, emptied=False)
    slot.stop(5.5)
    slot.emptied(6.0)
    assert slot.state() == states.Stopped(by_hand=True)
    assert slot.worker.failures == ()
    assert slot.worker.last_exit is not None
    assert slot.worker.last_exit.reason == "exit 1"


@pytest.mark.parametrize("order", [events.StartRequested(), events.RestartRequested()])
@pytest.mark.parametrize("restart", ["on-failure", "never"])
def test_a_start_while_a_crash_is_cleared_away_starts_at_once_and_still_counts(
    order: Event, restart: str
) -> None:
    """The person does not wait for the backoff, and the failure is not forgotten."""
    slot = OneWorker(a_policy(restart=restart)).up()
    slot.exits(1, 5.0, emptied=False)
    slot.tell(order)
    assert slot.emptied(6.0) == (Spawn(2),)
    assert slot.worker.failures == (5.0,)
    assert slot.said("worker.failed")["in_s"] == 0.0


@pytest.mark.parametrize("demand", DEMANDS)
def test_the_last_order_wins_stop_after_a_start_while_a_crash_is_cleared_away(
    demand: Event,
) -> None:
    """Whoever says start and then stop gets a stopped worker."""
    slot = OneWorker().up()
    slot.exits(1, 5.0, emptied=False)
    slot.start()
    assert slot.expect(states.Stopping).start_again
    slot.tell(demand)
    assert not slot.expect(states.Stopping).start_again
    assert slot.emptied(6.0) == ()
    assert isinstance(slot.state(), states.Stopped)


def test_a_start_while_the_last_allowed_crash_is_cleared_away_does_not_avoid_the_breaker() -> None:
    """The failure that trips trips, whatever a person asked for a moment before."""
    slot = OneWorker(a_policy(max_restarts=1)).up()
    slot.exits(1, 5.0, emptied=False)
    slot.start()
    slot.emptied(6.0)
    slot.expect(states.Tripped)


def test_a_start_while_an_ok_exit_is_cleared_away_starts_again() -> None:
    """A one-shot that is asked for again while its leftovers are killed runs again."""
    slot = OneWorker().up()
    slot.exits(0, 5.0, emptied=False)
    slot.start()
    assert slot.emptied(6.0) == (Spawn(2),)


def test_a_shutdown_is_not_remembered_as_a_persons_stop() -> None:
    """After the next boot the worker starts; one stopped by hand stays what it is."""
    slot = OneWorker().up()
    assert slot.tell(events.ShutdownRequested(), 50.0) == (SendSignal(1, TERM, "leader"),)
    slot.exits(0)
    assert slot.state() == states.Stopped(by_hand=False)
    by_hand = OneWorker()
    by_hand.stop()
    by_hand.tell(events.ShutdownRequested())
    assert by_hand.state() == states.Stopped(by_hand=True)


@pytest.mark.parametrize(
    "order", [events.StartRequested(), events.RestartRequested(), events.StopRequested()]
)
def test_nothing_undoes_a_shutdown(order: Event) -> None:
    """While the service ends, nothing is started or stopped by hand any more."""
    slot = OneWorker().up()
    slot.tell(events.ShutdownRequested(), 50.0)
    slot.tell(order)
    assert slot.exits(0) == ()
    assert slot.state() == states.Stopped(by_hand=False)


def test_a_shutdown_takes_over_what_was_stopping_already() -> None:
    """A restart under way ends down when the service ends, with the signals it already got."""
    slot = OneWorker().up()
    slot.tell(events.RestartRequested(), 50.0)
    assert slot.tell(events.ShutdownRequested(), 51.0) == ()
    assert next_deadline_s(slot.worker) == 60.0
    assert slot.exits(0) == ()
    assert slot.state() == states.Stopped(by_hand=False)


@pytest.mark.parametrize("was_stopping", [False, True])
def test_the_second_signal_kills_at_once(was_stopping: bool) -> None:
    """Ctrl-C twice does not wait for any timeout."""
    slot = OneWorker().up()
    if was_stopping:
        slot.stop(50.0)
    assert slot.tell(events.ShutdownRequested(at_once=True), 51.0) == (KillTree(1),)
    assert next_deadline_s(slot.worker) is None
    slot.exits(signal=KILL)
    assert slot.state() == states.Stopped(by_hand=False)


@pytest.mark.parametrize("was_stopping", [False, True])
def test_the_second_signal_kills_what_is_spawned_only_afterwards(was_stopping: bool) -> None:
    """A spawn that was still on its way is killed too, without the ladder."""
    slot = OneWorker()
    slot.start(0.0)
    if was_stopping:
        slot.stop()
    assert slot.tell(events.ShutdownRequested(at_once=True)) == (KillTree(1),)
    assert slot.spawned() == (KillTree(1),)
    assert next_deadline_s(slot.worker) is None


def test_a_shorter_ladder_while_stopping_ends_in_the_kill() -> None:
    """A reload during a stop never leaves it without an end."""
    slot = OneWorker(
        a_policy(stop_ladder=(Rung(TERM, 10.0), Rung(QUIT, 10.0), Rung(TERM, 10.0)))
    ).up()
    slot.stop(50.0)
    slot.wake()
    slot.tell(events.PolicyChanged(a_policy()))
    assert slot.wake() == (KillTree(1),)
    assert next_deadline_s(slot.worker) is None


def test_a_longer_ladder_does_not_take_back_the_kill_of_what_is_spawned_only_afterwards() -> None:
    """What was to end at once ends at once, also when a reload came before the spawn's answer."""
    slot = OneWorker()
    slot.start()
    slot.tell(events.ShutdownRequested(at_once=True), 0.1)
    ladder = (Rung(TERM, 5.0), Rung(TERM, 5.0), Rung(TERM, 5.0))
    slot.tell(events.PolicyChanged(a_policy(stop_ladder=ladder)), 0.2)
    assert slot.spawned(0.3) == (KillTree(1),)
