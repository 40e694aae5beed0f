"""What planned times do to a job in each of its states; the rules stand in `schedule.py`."""

from typing import assert_never

from supervisord_lite.base.record import replace
from supervisord_lite.core import events, moves
from supervisord_lite.core.actions import Announce
from supervisord_lite.core.moves import Moved
from supervisord_lite.core.states import (
    Backoff,
    Exited,
    Probing,
    Running,
    Scheduled,
    Starting,
    Stopped,
    Stopping,
    Tripped,
    Waiting,
    Worker,
)

Fields = tuple[tuple[str, str | int | float], ...]


def planned(worker: Worker, event: events.OfPlan, now_s: float) -> Moved:
    """Decide what an event of the plan means, in whatever state."""
    match event:
        case events.PlanBegun():
            return _begin_plan(worker, event), ()
        case events.CameDue():
            return _came_due(worker, event, now_s)
        case _:
            assert_never(event)


def _begin_plan(worker: Worker, event: events.PlanBegun) -> Worker:
    if worker.policy.schedule is None or isinstance(worker.state, Stopped):
        return worker
    if worker.settled_s == event.settled_s and not worker.is_owed:
        return worker
    return replace(worker, settled_s=event.settled_s, is_owed=False)


def _came_due(worker: Worker, event: events.CameDue, now_s: float) -> Moved:
    schedule, state = worker.policy.schedule, worker.state
    if schedule is None or isinstance(state, Stopped | Exited | Tripped):
        return worker, ()
    if isinstance(state, Stopping) and state.outcome in ("stopped", "shutdown"):
        return worker, ()  # its plan ends with it
    settled = replace(worker, settled_s=event.settled_s)
    missed: tuple[Announce, ...] = ()
    if event.missed:
        runs = not event.is_missed or schedule.missed == "once"
        fields = (("planned", event.missed), ("next", "start" if runs else "none"))
        missed = (Announce("job.missed", fields),)
        if not runs:
            return settled, missed
    moved, actions = _begin(settled, event, now_s, waits=schedule.overlap == "wait")
    return moved, (*missed, *actions)


def _begin(worker: Worker, event: events.CameDue, now_s: float, *, waits: bool) -> Moved:
    state = worker.state
    match state:
        case Scheduled() | Backoff():
            return moves.start_due(worker, now_s)
        case Waiting(reason=reason):
            return worker, (_skipped(event, reason),)
        case Starting() | Probing() | Running() | Stopping():
            if waits and not worker.is_owed:
                return replace(worker, is_owed=True), ()
            reason = "another one waits already" if waits else "the run before is still going"
            return worker, (_skipped(event, reason),)
        case Stopped() | Exited() | Tripped():
            return worker, ()
        case _:
            assert_never(state)


def _skipped(event: events.CameDue, reason: str) -> Announce:
    planned = (("planned", event.planned),) if event.planned else ()
    return Announce("job.skipped", (*planned, ("reason", reason)))


def go_on(worker: Worker, now_s: float) -> Moved:
    """A run is over: the one that has waited for that begins, or it waits for its time."""
    if worker.is_owed:
        return moves.start_due(worker, now_s)
    return worker.in_state(Scheduled()), ()


def give_up(worker: Worker, fields: Fields, now_s: float) -> Moved:
    """A planned run has failed, and is not tried again.

    Args:
        worker: Its failure counted.
        fields: What is said of the failure.
        now_s: When.
    """
    moved, following = go_on(worker, now_s)
    failed = Announce("worker.failed", (*fields, ("next", "schedule")))
    said = ("failure", "of", "attempt")
    evidence = tuple(field for field in fields if field[0] not in said)
    given_up = Announce("job.failed", (*evidence, ("failures", len(worker.failures))))
    return moved, (failed, given_up, *following)


def change_policy(before: Worker, worker: Worker, now_s: float) -> Moved:
    """Go where a schedule that came or went leads; *worker* lives by the new policy already."""
    if worker is before:
        return worker, ()
    has_schedule = worker.policy.schedule is not None
    match before.state:
        case Scheduled() if not has_schedule:
            return moves.start(worker, now_s)
        case Tripped() if has_schedule:
            closed, announce = moves.close_breaker(worker, "changed")
            return closed.in_state(Scheduled()), (announce,)
        case Exited() if has_schedule:
            return worker.in_state(Scheduled()), ()
        case _:
            return worker, ()
