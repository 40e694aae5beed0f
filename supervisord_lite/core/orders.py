"""What people ask for: up, down, a reset, the end of the service, a new policy."""

from typing import assert_never

from supervisord_lite.base.record import replace
from supervisord_lite.core import events, moves, states
from supervisord_lite.core.actions import Announce
from supervisord_lite.core.events import Event
from supervisord_lite.core.moves import Live, Moved
from supervisord_lite.core.policy import Policy
from supervisord_lite.core.states import Worker


def adopt_policy(worker: Worker, event: events.PolicyChanged) -> Worker:
    """Take over the new policy; return the worker itself when it is the old one."""
    policy = event.policy
    if policy == worker.policy:
        return worker
    state = worker.state
    if (
        isinstance(state, states.Stopping)
        and state.deadline_s is None
        and state.rung >= len(worker.policy.stop_ladder)
    ):
        # Killed already: a longer ladder is not climbed from where the old one ended.
        state = replace(state, rung=len(policy.stop_ladder))
    if policy.schedule != worker.policy.schedule:
        worker = replace(worker, settled_s=None, is_owed=False)  # another plan begins
    # A smaller window applies with the next failure; a smaller count now, to stay bounded.
    failures = worker.failures[-policy.max_restarts :]
    return replace(worker, policy=policy, state=state, failures=failures)


def told_of_change(worker: Worker, policy: Policy, *, is_new_run: bool) -> tuple[Event, ...]:
    """Return what a worker is told, in order, when the configuration changed what it is.

    A changed spec closes the breaker: whatever failed before was another program. What somebody
    stopped by hand stays stopped; what had finished runs again where it is another program now.

    Args:
        worker: As it is.
        policy: The new one.
        is_new_run: What changed holds only for a process that starts with it.
    """
    changed = events.PolicyChanged(policy), events.ResetRequested("changed")
    if policy.schedule is not None and not isinstance(worker.state, Live):
        return changed  # it runs when it is time
    if is_new_run and isinstance(worker.state, Live | states.Exited):
        return (*changed, events.RestartRequested())
    return changed


def stay_down(worker: Worker, *, by_hand: bool) -> Moved:
    """Be stopped, from a state without a process."""
    stopped = states.Stopped(by_hand)
    if worker.state == stopped:
        return worker, ()
    fields = (("asked", "stop" if by_hand else "shutdown"),)
    return worker.in_state(stopped), (Announce("worker.stopped", fields),)


def forget_failures(worker: Worker, reason: str, *, had_trial: bool = False) -> Moved:
    """Close the breaker and begin the backoff again, where there is anything to forget."""
    if not (worker.failures or worker.attempt or had_trial):
        return worker, ()
    moved, announce = moves.close_breaker(worker, reason)
    return moved, (announce,)


def reset_waiting(worker: Worker, state: states.Waiting, reason: str) -> Moved:
    """Forget all failures of one that waits for its turn: then it is a start like any other."""
    moved, actions = forget_failures(worker, reason, had_trial=state.then == "probe")
    if state.then != "probe":
        return moved, actions
    return moved.in_state(replace(state, then="start")), actions


def reset_and_start(worker: Worker, now_s: float, reason: str) -> Moved:
    """Forget all failures and start at once, from a state that waited because of them."""
    closed, announce = moves.close_breaker(worker, reason)
    moved, actions = moves.start(closed, now_s)
    return moved, (announce, *actions)


def end_trial(worker: Worker, state: states.Probing, reason: str) -> Moved:
    """Somebody closed the breaker: from now on it is a start like any other."""
    moved, actions = forget_failures(worker, reason, had_trial=True)
    live: Live = states.Starting(
        state.run, state.asked_at_s, state.pid, state.spawned_at_s, state.said_at_s
    )
    if state.pid is not None and state.spawned_at_s is not None and state.ready_at_s is not None:
        live = states.Running(state.run, state.pid, state.spawned_at_s, state.ready_at_s)
    return moved.in_state(live), actions


def bring_down(
    worker: Worker,
    live: Live,
    event: events.StopRequested | events.RestartRequested | events.ShutdownRequested,
    now_s: float,
) -> Moved:
    """End a live run because somebody asked for it."""
    match event:
        case events.StopRequested():
            return moves.begin_stop(worker, live, "stopped", "stop", now_s)
        case events.RestartRequested():
            return moves.begin_stop(worker, live, "restart", "restart", now_s)
        case events.ShutdownRequested(at_once=False):
            return moves.begin_stop(worker, live, "shutdown", "shutdown", now_s)
        case events.ShutdownRequested():
            stopping = states.Stopping(
                live.run, "shutdown", "shutdown", live.pid, live.spawned_at_s
            )
            return moves.kill(worker, stopping)
        case _:
            assert_never(event)


def up_again(worker: Worker, state: states.Stopping) -> Worker:
    """A person wants it up while it goes down: start again as soon as nothing is left."""
    match state.outcome:
        case "stopped":
            again = replace(state, outcome="restart", reason="restart", recycle="")
            return worker.in_state(again)
        case "failed" | "ended":
            if state.start_again:
                return worker
            return worker.in_state(replace(state, start_again=True))
        case "restart" | "shutdown" | "replaced" | "rejected":
            return worker
        case _:
            assert_never(state.outcome)


def keep_down(
    worker: Worker,
    state: states.Stopping,
    event: events.StopRequested | events.ShutdownRequested,
) -> Moved:
    """A person, or the end of the service, wants it down while it goes down already."""
    moved = state
    if isinstance(event, events.ShutdownRequested):
        moved = replace(state, outcome="shutdown", reason="shutdown", start_again=False)
        if event.at_once:
            return moves.kill(worker, moved)
    elif state.outcome != "shutdown":
        moved = replace(state, outcome="stopped", reason="stop", start_again=False)
    return (worker if moved == state else worker.in_state(moved)), ()
