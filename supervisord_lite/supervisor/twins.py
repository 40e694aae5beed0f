"""Which runs a slot has while one stands beside it (`core.swap`), and what a fault makes of them.

A fault of ours in a step of either ends the swap: the twin is killed, and what the slot is without
it is decided as for any other (`core.faults`).
"""

from collections.abc import Callable

from supervisord_lite.base.record import replace
from supervisord_lite.core import events
from supervisord_lite.core.events import SlotEvent
from supervisord_lite.core.faults import leaves_nothing
from supervisord_lite.core.moves import Live
from supervisord_lite.core.states import Stopping, Worker
from supervisord_lite.core.swap import is_coming, run_of

_REASON = "a fault of the supervisor"


def runs_of(worker: Worker, twin: Worker | None) -> list[int]:
    """Return the numbers of the runs that a slot has now, of which something may be alive."""
    runs = [worker.run] if isinstance(worker.state, Live | Stopping) else []
    run = run_of(twin)
    return runs if run is None else [*runs, run]


def led_runs_of(worker: Worker, twin: Worker | None) -> list[Worker]:
    """Return the runs of a slot whose leaders live and are known."""
    both = [worker] if twin is None else [worker, twin]
    return [each for each in both if getattr(each.state, "pid", None) is not None]


def shown(worker: Worker, twin: Worker | None) -> list[tuple[Worker, bool]]:
    """Return each run of a slot as people see it, and whether it is on its way out."""
    if twin is None:
        return [(worker, False)]
    other = replace(worker, policy=twin.policy, state=twin.state, run=twin.run)
    return [(worker, is_coming(twin)), (other, not is_coming(twin))]


def without_twin(
    twin: Worker, event: SlotEvent, *, now_s: float, ask_to_kill: Callable[[int], None]
) -> Worker | None:
    """Return what a twin is after an event of which nothing was decided; None: nothing is left.

    Args:
        twin: As it was.
        event: What happened to it or to its slot.
        now_s: When.
        ask_to_kill: Asks the keeper to kill what is left of a run.
    """
    run, state = run_of(twin), twin.state
    is_its_own = isinstance(event, events.OfRun) and event.run == run
    if run is None or (is_its_own and _leaves_nothing(twin, event)):
        return None
    ask_to_kill(run)
    if isinstance(state, Live):
        state = Stopping(run, "rejected", _REASON, pid=state.pid, spawned_at_s=state.spawned_at_s)
    assert isinstance(state, Stopping)
    if is_its_own and isinstance(event, events.Exited) and state.exited_at_s is None:
        state = replace(state, pid=None, exited_at_s=now_s)
    killed = replace(state, rung=len(twin.policy.stop_ladder), deadline_s=None, held_by="")
    return twin.in_state(killed)


def _leaves_nothing(twin: Worker, event: SlotEvent) -> bool:
    return isinstance(event, events.Lost) or (
        isinstance(event, events.OfRun) and leaves_nothing(twin, event)
    )
