"""What is true of a worker when the step for an event had a fault of ours.

Nothing was decided then, and nobody says it again: a fact is told once, and so is the end of the
service. A worker that stayed as it was would have a process that is gone, or be waited for by the
stop for ever. So it is brought, without `step`, to a state from which facts that still come lead
on. How its run would have been judged nobody knows: that counts as after `Lost`.
"""

from supervisord_lite.base.record import replace
from supervisord_lite.core import events
from supervisord_lite.core.events import Event
from supervisord_lite.core.moves import Live
from supervisord_lite.core.states import Probing, Stopped, Stopping, Worker

_REASON = "a fault of the supervisor"


def without_step(
    worker: Worker, event: Event, *, now_s: float, is_ending: bool
) -> tuple[Worker, bool]:
    """Return what *worker* is after *event*, of which nothing was decided, and whether to kill.

    Where nothing is left of the run (`leaves_nothing`), and it is still `Stopping`, `Lost` is to be
    fed: only that decides what follows. When that has a fault too, it stays stopped.

    Args:
        worker: As it was before the event; returned itself where it is as it was.
        event: What happened.
        now_s: When.
        is_ending: The service ends, and waits for everybody.
    """
    state = worker.state
    if not isinstance(state, Live | Stopping):
        is_down = not is_ending or isinstance(state, Stopped)
        return (worker if is_down else worker.in_state(Stopped())), False
    nothing_left = leaves_nothing(worker, event)
    if isinstance(event, events.Lost) or (is_ending and nothing_left):
        by_hand = isinstance(state, Stopping) and state.outcome == "stopped"
        return worker.in_state(Stopped(by_hand=by_hand)), True
    has_ended = nothing_left or (isinstance(event, events.Exited) and event.run == worker.run)
    # Its next signal is due, and nothing would make it due again.
    is_due = isinstance(state, Stopping) and isinstance(
        event, events.DeadlinePassed | events.GateMoved
    )
    if not (has_ended or is_due or is_ending):
        # Of a process whose pid we do not know nothing can be asked but its end, which is told.
        return worker, isinstance(event, events.Spawned)
    return worker.in_state(_cut_short(worker, state, now_s if has_ended else None, is_ending)), True


def leaves_nothing(worker: Worker, event: Event) -> bool:
    """Return whether nothing of the present run of *worker* is alive after *event*."""
    match event:
        case events.Emptied() | events.SpawnFailed() | events.Exited(emptied=True):
            return event.run == worker.run
        case _:
            return False


def _cut_short(
    worker: Worker, state: Live | Stopping, ended_at_s: float | None, is_ending: bool
) -> Stopping:
    """Return the state of a run whose tree is killed, or gone; no signal is to follow."""
    if not isinstance(state, Stopping):
        state = Stopping(
            state.run,
            "failed",
            _REASON,
            pid=state.pid,
            spawned_at_s=state.spawned_at_s,
            was_probing=isinstance(state, Probing),
        )
    if is_ending and state.outcome != "stopped":
        state = replace(state, outcome="shutdown")
    if ended_at_s is not None and state.exited_at_s is None:
        state = replace(state, pid=None, exited_at_s=ended_at_s)
    return replace(state, rung=len(worker.policy.stop_ladder), deadline_s=None, held_by="")
