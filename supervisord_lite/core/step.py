"""`step`: state by state, what each event means. The rules stand in the package's docstring."""

from typing import assert_never, get_args

from supervisord_lite.base.clock import Rng
from supervisord_lite.base.record import replace
from supervisord_lite.core import ends, events, jobs, moves, orders, states
from supervisord_lite.core.actions import Announce, Spawn
from supervisord_lite.core.events import Event, OfSlot, OfState
from supervisord_lite.core.gates import Gate, open_gate, through_gate
from supervisord_lite.core.moves import Live, Moved
from supervisord_lite.core.states import NEXT, Worker

_OF_RUN = get_args(events.OfRun)


def step(worker: Worker, event: Event, *, now_s: float, rng: Rng, gate: Gate = open_gate) -> Moved:
    """Decide what one event means for one worker; touch nothing.

    Args:
        worker: As `step` or `from_record` returned it. It is returned itself, and no other that is
            equal, when nothing changed: then there is nothing to save.
        event: What happened. Every event is accepted in every state.
        now_s: Monotonic; for what the keeper reports, the time at which it happened.
        rng: Where jitter comes from; asked once per wait that has jitter.
        gate: Says of a start or stop that was decided why it must wait; see `gates.py`.

    Returns:
        The worker afterwards, and what to do, in order.
    """
    if isinstance(event, _OF_RUN) and event.run != worker.run:
        return worker, ()  # an answer that belongs to an older run
    moved, actions = _dispatch(worker, event, now_s, rng)
    if gate is not open_gate and moved is not worker:
        moved, actions = through_gate(worker, moved, actions, gate)
    before, after = type(worker.state), type(moved.state)
    if after is states.Stopped and (moved.settled_s is not None or moved.is_owed):
        moved = replace(moved, settled_s=None, is_owed=False)  # who is stopped has no plan
    assert after is before or after in NEXT[before], f"{worker.state} -> {moved.state}"
    return moved, actions


def next_deadline_s(worker: Worker) -> float | None:
    """Return when a `DeadlinePassed` will change something; None: only another event can."""
    state = worker.state
    match state:
        case states.Stopped() | states.Waiting() | states.Scheduled() | states.Exited():
            return None
        case states.Running() | states.Starting() | states.Probing():
            return moves.due_s(worker, state)
        case states.Stopping():
            return state.deadline_s
        case states.Backoff():
            return state.retry_at_s
        case states.Tripped():
            return state.probe_at_s
        case _:
            assert_never(state)


def _dispatch(worker: Worker, event: Event, now_s: float, rng: Rng) -> Moved:
    if isinstance(event, events.OfPlan):
        return jobs.planned(worker, event, now_s)
    state = worker.state
    match state:
        case states.Running():
            return _on_running(worker, state, event, now_s, rng)
        case states.Starting() | states.Probing():
            return _on_starting(worker, state, event, now_s, rng)
        case states.Stopping():
            return _on_stopping(worker, state, event, now_s, rng)
        case _ if isinstance(event, events.OfRun):
            return worker, ()  # that run is over
        case states.Backoff():
            return _on_backoff(worker, state, event, now_s)
        case states.Tripped():
            return _on_tripped(worker, state, event, now_s)
        case states.Stopped() | states.Exited():
            return _on_down(worker, state, event, now_s)
        case states.Scheduled():
            return _on_scheduled(worker, event, now_s)
        case states.Waiting():
            return _on_waiting(worker, state, event, now_s)
        case _:
            assert_never(state)


def _on_down(
    worker: Worker,
    state: states.Stopped | states.Exited,
    event: OfSlot,
    now_s: float,
) -> Moved:
    match event:
        case events.StartRequested(by_itself=True) if worker.policy.schedule is not None:
            return worker.in_state(states.Scheduled()), ()
        case events.StartRequested() | events.RestartRequested():
            return moves.start_for_person(worker, now_s)
        case events.StopRequested():
            return orders.stay_down(worker, by_hand=True)
        case events.ShutdownRequested():
            if isinstance(state, states.Stopped):
                return worker, ()  # by hand or not, it is what it was
            return orders.stay_down(worker, by_hand=False)
        case events.ResetRequested():
            return orders.forget_failures(worker, event.reason)
        case events.PolicyChanged():
            changed = orders.adopt_policy(worker, event)
            return jobs.change_policy(worker, changed, now_s)
        case events.DeadlinePassed() | events.GateMoved():
            return worker, ()
        case _:
            assert_never(event)


def _on_scheduled(worker: Worker, event: OfSlot, now_s: float) -> Moved:
    match event:
        case events.StartRequested(by_itself=True):
            return worker, ()
        case events.StartRequested() | events.RestartRequested():
            return moves.start_for_person(worker, now_s)
        case events.StopRequested():
            return orders.stay_down(worker, by_hand=True)
        case events.ShutdownRequested():
            return orders.stay_down(worker, by_hand=False)
        case events.ResetRequested():
            return orders.forget_failures(worker, event.reason)
        case events.PolicyChanged():
            changed = orders.adopt_policy(worker, event)
            return jobs.change_policy(worker, changed, now_s)
        case events.DeadlinePassed() | events.GateMoved():
            return worker, ()
        case _:
            assert_never(event)


def _on_waiting(worker: Worker, state: states.Waiting, event: OfSlot, now_s: float) -> Moved:
    match event:
        case events.GateMoved():
            return moves.start_as(worker, state.then, now_s)
        case events.StartRequested() | events.RestartRequested():
            if state.then == "probe":
                return worker, ()  # it needs a reset; whoever asks is told so
            return moves.start_for_person(worker, now_s)
        case events.StopRequested():
            return orders.stay_down(worker, by_hand=True)
        case events.ShutdownRequested():
            return orders.stay_down(worker, by_hand=False)
        case events.ResetRequested():
            return orders.reset_waiting(worker, state, event.reason)
        case events.PolicyChanged():
            return orders.adopt_policy(worker, event), ()
        case events.DeadlinePassed():
            return worker, ()
        case _:
            assert_never(event)


def _on_backoff(worker: Worker, state: states.Backoff, event: OfSlot, now_s: float) -> Moved:
    match event:
        case events.DeadlinePassed():
            if now_s < state.retry_at_s:
                return worker, ()
            if state.after_failure:
                return moves.restart(worker, now_s)
            return moves.start(worker, now_s)
        case events.StartRequested() | events.RestartRequested():
            return moves.start(worker, now_s)
        case events.StopRequested():
            return orders.stay_down(worker, by_hand=True)
        case events.ShutdownRequested():
            return orders.stay_down(worker, by_hand=False)
        case events.ResetRequested():
            return orders.reset_and_start(worker, now_s, event.reason)
        case events.PolicyChanged():
            return orders.adopt_policy(worker, event), ()
        case events.GateMoved():
            return worker, ()
        case _:
            assert_never(event)


def _on_tripped(worker: Worker, state: states.Tripped, event: OfSlot, now_s: float) -> Moved:
    match event:
        case events.DeadlinePassed():
            if state.probe_at_s is None or now_s < state.probe_at_s:
                return worker, ()
            return moves.probe(worker, now_s)
        case events.StartRequested() | events.RestartRequested():
            return worker, ()  # it needs a reset; whoever asks is told so
        case events.StopRequested():
            return orders.stay_down(worker, by_hand=True)
        case events.ShutdownRequested():
            return orders.stay_down(worker, by_hand=False)
        case events.ResetRequested():
            return orders.reset_and_start(worker, now_s, event.reason)
        case events.PolicyChanged():
            changed = orders.adopt_policy(worker, event)
            if changed is worker or changed.policy.schedule is not None:
                return jobs.change_policy(worker, changed, now_s)
            probe_at_s = ends.probe_at_s(changed, state.at_s)
            return changed.in_state(replace(state, probe_at_s=probe_at_s)), ()
        case events.GateMoved():
            return worker, ()
        case _:
            assert_never(event)


def _on_starting(
    worker: Worker,
    state: states.Starting | states.Probing,
    event: OfState,
    now_s: float,
    rng: Rng,
) -> Moved:
    match event:
        case events.Spawned():
            if state.spawned_at_s is not None:
                return worker, ()
            alive = replace(state, pid=event.pid, spawned_at_s=now_s)
            moved = worker.in_state(alive)
            moved, actions = moves.advance(moved, alive, now_s)
            return moved, (moves.started(event.run, event.pid, getattr(state, "by", "")), *actions)
        case events.SpawnFailed():
            return _spawn_failed(worker, state, event, now_s, rng)
        case events.Exited():
            return _exited(worker, state, event, now_s, rng)
        case events.Lost():
            if state.spawned_at_s is None:
                return worker, (Spawn(state.run),)
            return _exited(worker, state, _unseen(event), now_s, rng)
        case events.DeadlinePassed():
            return moves.advance(worker, state, now_s)
        case events.ReadySaid():
            return _ready_said(worker, state, event, now_s)
        case events.Extended():
            return _extended(worker, state, event)
        case events.JudgedFailed():
            return moves.begin_stop(worker, state, "failed", event.reason, now_s)
        case events.RecycleRequested():
            return moves.begin_recycle(worker, state, event.reason, now_s)
        case events.StopRequested() | events.RestartRequested() | events.ShutdownRequested():
            return orders.bring_down(worker, state, event, now_s)
        case events.ResetRequested():
            if isinstance(state, states.Probing):
                return orders.end_trial(worker, state, event.reason)
            return orders.forget_failures(worker, event.reason)
        case events.PolicyChanged():
            return orders.adopt_policy(worker, event), ()
        case events.StartRequested() | events.Emptied() | events.GateMoved():
            return worker, ()  # on its way already; its leader is not reaped yet
        case _:
            assert_never(event)


def _on_running(
    worker: Worker, state: states.Running, event: OfState, now_s: float, rng: Rng
) -> Moved:
    match event:
        case events.Exited():
            return ends.end(worker, state, event, now_s, rng)
        case events.Lost():
            return ends.end(worker, state, _unseen(event), now_s, rng)
        case events.DeadlinePassed():
            return moves.advance(worker, state, now_s)
        case events.JudgedFailed():
            return moves.begin_stop(worker, state, "failed", event.reason, now_s)
        case events.SpawnFailed():
            return _spawn_failed(worker, state, event, now_s, rng)
        case events.RecycleRequested():
            return moves.begin_recycle(worker, state, event.reason, now_s)
        case events.StopRequested() | events.RestartRequested() | events.ShutdownRequested():
            return orders.bring_down(worker, state, event, now_s)
        case events.ResetRequested():
            return orders.forget_failures(worker, event.reason)
        case events.PolicyChanged():
            return orders.adopt_policy(worker, event), ()
        case events.Spawned() | events.Emptied():
            return worker, ()  # known already; its leader is not reaped yet
        case events.StartRequested() | events.ReadySaid() | events.Extended() | events.GateMoved():
            return worker, ()
        case _:
            assert_never(event)


def _on_stopping(
    worker: Worker, state: states.Stopping, event: OfState, now_s: float, rng: Rng
) -> Moved:
    has_exited = state.exited_at_s is not None
    match event:
        case events.Spawned():
            return _spawned_to_stop(worker, state, event, now_s)
        case events.SpawnFailed():
            if has_exited:
                return worker, ()
            return ends.spawn_failed(worker, state, event, now_s, rng)
        case events.Exited():
            if has_exited:
                return worker, ()
            return ends.record_end(worker, state, event, now_s, rng)
        case events.Emptied():
            return _emptied(worker, state, event, now_s, rng)
        case events.Lost():
            if has_exited or state.spawned_at_s is None:
                return ends.settle(worker, state, now_s, rng)
            return ends.record_end(worker, state, _unseen(event), now_s, rng)
        case events.DeadlinePassed():
            if state.deadline_s is None or now_s < state.deadline_s:
                return worker, ()
            return moves.next_rung(worker, state, now_s)
        case events.GateMoved():
            return moves.next_rung(worker, state, now_s) if state.held_by else (worker, ())
        case events.StartRequested() | events.RestartRequested():
            return orders.up_again(worker, state), ()
        case events.StopRequested() | events.ShutdownRequested():
            return orders.keep_down(worker, state, event)
        case events.ResetRequested():
            moved, actions = orders.forget_failures(
                worker, event.reason, had_trial=state.was_probing
            )
            if not state.was_probing:
                return moved, actions
            return moved.in_state(replace(state, was_probing=False)), actions
        case events.PolicyChanged():
            return orders.adopt_policy(worker, event), ()
        case events.Extended():
            if state.deadline_s is None or event.until_s <= state.deadline_s:
                return worker, ()
            return worker.in_state(replace(state, deadline_s=event.until_s)), ()
        case events.ReadySaid() | events.JudgedFailed() | events.RecycleRequested():
            return worker, ()  # its end is on its way
        case _:
            assert_never(event)


def _ready_said(
    worker: Worker,
    state: states.Starting | states.Probing,
    event: events.ReadySaid,
    now_s: float,
) -> Moved:
    if worker.policy.ready_by != event.by or state.said_at_s is not None:
        return worker, ()
    said = replace(state, said_at_s=now_s)
    return moves.advance(worker.in_state(said), said, now_s)


def _extended(
    worker: Worker, state: states.Starting | states.Probing, event: events.Extended
) -> Moved:
    is_ready = isinstance(state, states.Probing) and state.ready_at_s is not None
    before_s = state.extended_s
    if is_ready or (before_s is not None and event.until_s <= before_s):
        return worker, ()
    return worker.in_state(replace(state, extended_s=event.until_s)), ()


def _unseen(event: events.Lost) -> events.Exited:
    """Return the end of a run of which the keeper knows nothing: how it ended, nobody saw."""
    return events.Exited(event.run, code=None, signal=None, emptied=True)


def _exited(
    worker: Worker,
    state: states.Starting | states.Probing,
    event: events.Exited,
    now_s: float,
    rng: Rng,
) -> Moved:
    """Let what was due before this end come first, so that a late wake-up decides nothing."""
    moved, actions = moves.ready_if_due(worker, state, now_s)
    assert isinstance(moved.state, Live)
    moved, more = ends.end(moved, moved.state, event, now_s, rng)
    return moved, (*actions, *more)


def _spawn_failed(
    worker: Worker, live: Live, event: events.SpawnFailed, now_s: float, rng: Rng
) -> Moved:
    failed = states.Stopping(
        live.run,
        "failed",
        event.reason,
        pid=live.pid,
        spawned_at_s=live.spawned_at_s,
        was_probing=isinstance(live, states.Probing),
    )
    return ends.spawn_failed(worker, failed, event, now_s, rng)


def _spawned_to_stop(
    worker: Worker, state: states.Stopping, event: events.Spawned, now_s: float
) -> Moved:
    """The answer to a spawn came after the order to stop: now there is something to signal."""
    if state.spawned_at_s is not None or state.exited_at_s is not None:
        return worker, ()
    alive = replace(state, pid=event.pid, spawned_at_s=now_s)
    # After the order to end at once the ladder stands at its end: then this kills.
    moved, actions = moves.next_rung(worker, alive, now_s)
    return moved, (moves.started(event.run, event.pid), *actions)


def _emptied(
    worker: Worker, state: states.Stopping, event: events.Emptied, now_s: float, rng: Rng
) -> Moved:
    if state.exited_at_s is None:
        return worker, ()  # its leader is not reaped yet
    moved, actions = ends.settle(worker, state, now_s, rng)
    if not event.killed:
        return moved, actions
    fields = (("run", state.run), ("left", len(event.killed)), ("killed", ", ".join(event.killed)))
    cleared = Announce("worker.cleared", fields)
    if state.outcome in {"failed", "ended"}:
        return moved, (*actions, cleared)  # it ended first, then this was cleared away
    return moved, (cleared, *actions)
