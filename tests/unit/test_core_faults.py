"""What a worker is when our own code failed to decide: every state, every event."""

from typing import get_args

import pytest

from supervisord_lite.base.record import replace
from supervisord_lite.core import events
from supervisord_lite.core.faults import leaves_nothing, without_step
from supervisord_lite.core.moves import Live
from supervisord_lite.core.policy import Policy
from supervisord_lite.core.states import (
    Backoff,
    Exited,
    Probing,
    Running,
    Scheduled,
    Starting,
    State,
    Stopped,
    Stopping,
    Tripped,
    Waiting,
    Worker,
)
from supervisord_lite.core.step import step
from tests.support.core import FixedRng

RUN = 3
STATES: dict[str, State] = {
    "stopped": Stopped(),
    "stopped by hand": Stopped(by_hand=True),
    "waiting": Waiting("requires db"),
    "scheduled": Scheduled(),
    "asked": Starting(RUN, 1.0),
    "starting": Starting(RUN, 1.0, 77, 1.0),
    "probing": Probing(RUN, 1.0, 77, 1.0),
    "running": Running(RUN, 77, 1.0, 2.0),
    "held": Stopping(RUN, "restart", "restart", 77, 1.0, held_by="web stops first"),
    "stopping": Stopping(RUN, "stopped", "stop", 77, 1.0, rung=0, deadline_s=9.0),
    "cleared away": Stopping(RUN, "failed", "exit 1", None, 1.0, rung=2, exited_at_s=4.0),
    "backoff": Backoff(9.0, 5.0),
    "tripped": Tripped(4.0),
    "exited": Exited(4.0),
}
EVENTS: list[events.Event] = [
    events.Spawned(RUN, 77),
    events.SpawnFailed(RUN, "exec", "no"),
    events.Exited(RUN, 1, None, emptied=True),
    events.Exited(RUN, 1, None, emptied=False),
    events.Emptied(RUN),
    events.Lost(RUN),
    events.ReadySaid(RUN),
    events.JudgedFailed(RUN, "no heartbeat"),
    events.RecycleRequested(RUN, "age 24h"),
    events.Extended(RUN, 9.0),
    events.GateMoved(),
    events.StartRequested(),
    events.StopRequested(),
    events.RestartRequested(),
    events.ResetRequested(),
    events.ShutdownRequested(),
    events.PolicyChanged(Policy()),
    events.PlanBegun(1.0),
    events.CameDue(1.0),
    events.DeadlinePassed(),
]


def a_worker(state: State) -> Worker:
    return Worker("web", 1, Policy(), state, run=RUN)


def comes_down(worker: Worker) -> State:
    """Return the state after all that the keeper says of a run that it was asked to kill."""
    for event in (
        events.Spawned(RUN, 77),
        events.Exited(RUN, None, 9, emptied=False),
        events.Emptied(RUN),
    ):
        worker, actions = step(worker, event, now_s=6.0, rng=FixedRng())
        assert not any(type(each).__name__ == "Spawn" for each in actions)
    return worker.state


def test_every_event_is_here() -> None:
    """One that is new has to be thought of."""
    assert {type(event) for event in EVENTS} == set(get_args(events.Event))


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_at_the_end_of_the_service_everybody_can_come_down(state: State) -> None:
    """Whatever the fault was in: nobody is waited for who has no process, or none that will end."""
    for event in EVENTS:
        worker = a_worker(state)
        after, must_kill = without_step(worker, event, now_s=5.0, is_ending=True)
        if isinstance(after.state, Stopped):
            continue
        assert must_kill, event
        assert isinstance(after.state, Stopping)
        if not isinstance(event, events.Exited):
            assert isinstance(comes_down(after), Stopped), event
        else:
            after, _ = step(after, events.Emptied(RUN), now_s=6.0, rng=FixedRng())
            assert isinstance(after.state, Stopped)


@pytest.mark.parametrize("name", ["asked", "starting", "probing", "running"])
def test_an_end_that_nobody_judged_counts_as_one_that_nobody_saw(name: str) -> None:
    """No worker stays up without a process; the policy decides as after `Lost`."""
    worker = a_worker(STATES[name])
    for event in EVENTS:
        after, must_kill = without_step(worker, event, now_s=5.0, is_ending=False)
        if isinstance(event, events.Lost):
            assert after.state == Stopped()
        elif isinstance(event, events.Exited | events.Emptied | events.SpawnFailed):
            assert must_kill
            assert isinstance(after.state, Stopping)
            assert (after.state.outcome, after.state.pid) == ("failed", None)
            follows = events.Lost(RUN) if leaves_nothing(worker, event) else events.Emptied(RUN)
            judged, _ = step(after, follows, now_s=6.0, rng=FixedRng())
            expected = Tripped if name == "probing" else Backoff
            assert isinstance(judged.state, expected)
            assert len(judged.failures) == 1
        else:
            assert after is worker, "it lives, and what it was is still true"
            assert must_kill == isinstance(event, events.Spawned)


def test_an_end_that_is_on_its_way_goes_on() -> None:
    """A signal that is due and was not sent would never be due again; a stop by hand is kept."""
    for name in ("held", "stopping"):
        for event in (events.DeadlinePassed(), events.GateMoved()):
            after, must_kill = without_step(
                a_worker(STATES[name]), event, now_s=5.0, is_ending=False
            )
            assert must_kill
            assert isinstance(after.state, Stopping)
            assert (after.state.held_by, after.state.deadline_s) == ("", None)
            assert after.state.outcome == STATES[name].outcome  # type: ignore[union-attr]
    lost = without_step(a_worker(STATES["stopping"]), events.Lost(RUN), now_s=5.0, is_ending=True)
    assert lost[0].state == Stopped(by_hand=True)


def test_what_was_said_of_an_earlier_run_says_nothing_of_this_one() -> None:
    """It goes on as it was."""
    worker = replace(a_worker(STATES["running"]), run=RUN + 1)
    assert isinstance(worker.state, Live)
    worker = worker.in_state(replace(worker.state, run=RUN + 1))
    for event in EVENTS[1:5]:
        assert without_step(worker, event, now_s=5.0, is_ending=False) == (worker, False)
