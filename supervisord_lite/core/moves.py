"""Moves towards life and towards the end, used by several states of `step`."""

import math
from typing import Literal, assert_never

from supervisord_lite.base.record import replace
from supervisord_lite.core.actions import Action, Announce, KillTree, SendSignal, Spawn
from supervisord_lite.core.states import Probing, Running, Starting, Stopping, Then, Worker

Moved = tuple[Worker, tuple[Action, ...]]
Live = Starting | Probing | Running


def next_run(worker: Worker) -> int:
    """Return a number that no run of this slot has had."""
    return max(worker.run, worker.spent) + 1


def start(worker: Worker, now_s: float) -> Moved:
    """Ask for a new run."""
    run = next_run(worker)
    state = Starting(run, asked_at_s=now_s)
    return replace(worker, state=state, run=run), (Spawn(run),)


def start_for_person(worker: Worker, now_s: float) -> Moved:
    """Ask for a new run, and let the backoff begin again.

    What failed before is still counted; of a job it is not, whose runs are each for themselves.
    """
    if worker.policy.schedule is not None and worker.failures:
        worker = replace(worker, failures=())
    return start(replace(worker, attempt=0) if worker.attempt else worker, now_s)


def restart(worker: Worker, now_s: float) -> Moved:
    """Ask for a new run after a failure: that is what people read as "restarts"."""
    run = next_run(worker)
    state = Starting(run, asked_at_s=now_s)
    return replace(worker, state=state, run=run, restarts=worker.restarts + 1), (Spawn(run),)


def probe(worker: Worker, now_s: float) -> Moved:
    """Ask for one run on trial."""
    run = next_run(worker)
    state = Probing(run, asked_at_s=now_s)
    moved = replace(worker, state=state, run=run, restarts=worker.restarts + 1)
    return moved, (Announce("worker.probing", (("run", run),)), Spawn(run))


def start_as(worker: Worker, then: Then, now_s: float) -> Moved:
    """Ask for the run that had to wait for its turn."""
    match then:
        case "start" | "again":
            return start(worker, now_s)
        case "restart":
            return restart(worker, now_s)
        case "probe":
            return probe(worker, now_s)
        case "due":
            return start_due(worker, now_s)
        case _:
            assert_never(then)


def start_due(worker: Worker, now_s: float) -> Moved:
    """Ask for a planned run of a job: it begins with no failure."""
    run = next_run(worker)
    state = Starting(run, asked_at_s=now_s, by="schedule")
    fresh = replace(worker, state=state, run=run, attempt=0, failures=(), is_owed=False)
    return fresh, (Spawn(run),)


def started(run: int, pid: int, by: str = "") -> Announce:
    """Return what is said when a leader exists."""
    return Announce("worker.started", (("run", run), ("pid", pid), *((("by", by),) if by else ())))


def close_breaker(worker: Worker, reason: str) -> tuple[Worker, Announce]:
    """Forget all failures, and say why."""
    closed = replace(worker, failures=(), attempt=0)
    return closed, Announce("worker.reset", (("run", worker.run), ("reason", reason)))


def ready_s(worker: Worker, live: Starting | Probing) -> float | None:
    """Return when a worker that lives is ready, as far as that is known; else None."""
    policy = worker.policy
    if live.spawned_at_s is None:
        return None
    if policy.ready_by == "alive":
        return live.spawned_at_s + policy.ready_after_s
    if policy.ready_by in ("said", "health") and live.said_at_s is not None:
        return max(live.said_at_s, live.spawned_at_s)
    return None


def late_s(worker: Worker, live: Starting | Probing) -> float:
    """Return when a worker that is not ready has failed: never, where its end makes it ready."""
    if worker.policy.ready_by == "exit" or live.spawned_at_s is None:
        return math.inf
    at_s = live.spawned_at_s + worker.policy.start_timeout_s
    return at_s if live.extended_s is None else max(at_s, live.extended_s)


def overdue_s(worker: Worker, spawned_at_s: float) -> float:
    """Return when a run has lasted too long."""
    limit_s = worker.policy.run_timeout_s
    return math.inf if limit_s is None else spawned_at_s + limit_s


def proved_s(worker: Worker, spawned_at_s: float) -> float:
    """Return when a start on trial that is ready has proved itself."""
    return spawned_at_s + worker.policy.stable_run_period_s


def due_s(worker: Worker, live: Live) -> float | None:
    """Return when something of a live run is due next; None: nothing but another event counts."""
    if live.spawned_at_s is None:
        return None
    at_s = overdue_s(worker, live.spawned_at_s)
    if isinstance(live, Probing) and live.ready_at_s is not None:
        at_s = min(at_s, proved_s(worker, live.spawned_at_s))
    elif not isinstance(live, Running):
        ready_at_s = ready_s(worker, live)
        at_s = min(at_s, late_s(worker, live))
        at_s = at_s if ready_at_s is None else min(at_s, ready_at_s)
    return None if at_s == math.inf else at_s


def ready_if_due(worker: Worker, live: Starting | Probing, now_s: float) -> Moved:
    """Make it ready, and end the trial, where the time for that has come by *now_s*."""
    pid, spawned_at_s = live.pid, live.spawned_at_s
    if pid is None or spawned_at_s is None:
        return worker, ()
    known_ready_at_s = live.ready_at_s if isinstance(live, Probing) else None
    actions: tuple[Action, ...] = ()
    ready_at_s = known_ready_at_s
    if ready_at_s is None:
        ready_at_s = ready_s(worker, live)
        if ready_at_s is None or now_s < ready_at_s or late_s(worker, live) < ready_at_s:
            return worker, ()
        after_s = round(ready_at_s - spawned_at_s, 3)
        fields = (("run", live.run), ("pid", pid), ("after_s", after_s))
        actions = (Announce("worker.ready", fields),)
    running = Running(live.run, pid, spawned_at_s, ready_at_s)
    if isinstance(live, Starting):
        return worker.in_state(running), actions
    if now_s < proved_s(worker, spawned_at_s):
        if known_ready_at_s is not None:
            return worker, ()
        return worker.in_state(replace(live, ready_at_s=ready_at_s)), actions
    reason = f"ran {worker.policy.stable_run_period_s:g}s on trial"
    closed, reset = close_breaker(worker, reason)
    return closed.in_state(running), (*actions, reset)


def advance(worker: Worker, live: Live, now_s: float) -> Moved:
    """Do what is due by *now_s*: it is ready, proved, or too late."""
    if live.spawned_at_s is None:
        return worker, ()
    late_at_s = math.inf
    if not isinstance(live, Running):
        moved, actions = ready_if_due(worker, live, now_s)
        if moved is not worker:
            return moved, actions
        if not (isinstance(live, Probing) and live.ready_at_s is not None):
            late_at_s = late_s(worker, live)
    overdue_at_s = overdue_s(worker, live.spawned_at_s)
    if now_s < min(late_at_s, overdue_at_s):
        return worker, ()
    policy = worker.policy
    if late_at_s <= overdue_at_s:
        # As long as it really was given: it may have asked for more.
        reason = f"not ready after {late_at_s - live.spawned_at_s:g}s"
    else:
        reason = f"still running after {policy.run_timeout_s:g}s"
    return begin_stop(worker, live, "failed", reason, now_s)


def begin_recycle(worker: Worker, live: Live, reason: str, now_s: float) -> Moved:
    """Begin the stop ladder of a run that gives way to a fresh one, and keep why."""
    moved, actions = begin_stop(worker, live, "restart", f"recycle: {reason}", now_s)
    assert isinstance(moved.state, Stopping)
    return moved.in_state(replace(moved.state, recycle=reason)), actions


def begin_stop(
    worker: Worker,
    live: Live,
    outcome: Literal["stopped", "shutdown", "restart", "failed", "replaced"],
    reason: str,
    now_s: float,
) -> Moved:
    """Begin the stop ladder; where the spawn is not answered yet, as soon as it is."""
    stopping = Stopping(
        live.run,
        outcome,
        reason,
        pid=live.pid,
        spawned_at_s=live.spawned_at_s,
        was_probing=isinstance(live, Probing),
    )
    if live.spawned_at_s is None:
        return worker.in_state(stopping), ()
    return next_rung(worker, stopping, now_s)


def next_rung(worker: Worker, stopping: Stopping, now_s: float) -> Moved:
    """Send the next signal of the ladder and arm its deadline; after the last one kill the tree.

    The deadline counts from now and not from when this was due: after a gap a worker still has its
    whole time to react.
    """
    rung = stopping.rung + 1
    ladder = worker.policy.stop_ladder
    if rung >= len(ladder):
        return kill(worker, stopping)
    deadline_s = now_s + ladder[rung].timeout_s
    state = replace(stopping, rung=rung, deadline_s=deadline_s, held_by="")
    signal = SendSignal(stopping.run, ladder[rung].signal, worker.policy.stop_scope)
    return worker.in_state(state), (signal,)


def kill(worker: Worker, stopping: Stopping) -> Moved:
    """Kill the whole tree; the keeper repeats it until nothing is left, so nothing is armed."""
    rung = len(worker.policy.stop_ladder)
    state = replace(stopping, rung=rung, deadline_s=None, held_by="")
    moved = worker if state == worker.state else worker.in_state(state)
    return moved, (KillTree(stopping.run),)
