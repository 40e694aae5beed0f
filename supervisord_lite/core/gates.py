"""Turns: who may not start or stop yet. Every start and every first signal passes here, once.

What a worker waits for is known only to whoever knows the others (`fleet.py`), so `step` is handed
a gate: a function that says why not, or nothing. It is asked after a start or a stop was decided
and before it is told to anybody, so no path to either can forget it.
"""

from collections.abc import Callable
from typing import Literal

from supervisord_lite.base.record import replace
from supervisord_lite.core.actions import Action, Announce, SendSignal, Spawn
from supervisord_lite.core.moves import Moved
from supervisord_lite.core.states import (
    Backoff,
    Probing,
    Running,
    Starting,
    Stopping,
    Then,
    Waiting,
    Worker,
)

Ask = Then | Literal["stop"]
#: Returns why this must wait, for people, or the empty text. What starts by itself again may be let
#: through where a start that somebody asked for is not.
Gate = Callable[[Ask], str]

#: Ends that somebody asked for. A worker that failed does not wait to be ended.
_ASKED_FOR = ("stopped", "restart", "shutdown")


def open_gate(_ask: Ask) -> str:
    """Let everybody through."""
    return ""


def no_start(ask: Ask) -> str:
    """Let nobody start: the service ends."""
    return "" if ask == "stop" else "the service ends"


def through_gate(before: Worker, moved: Worker, actions: tuple[Action, ...], gate: Gate) -> Moved:
    """Let what was decided happen, or make it wait for its turn.

    Args:
        before: The worker before the step.
        moved: As the step decided.
        actions: What the step wants done.
        gate: Who is asked.
    """
    if moved.run > before.run:
        then = _then(before, moved)
        reason = gate(then)
        return _wait(before, moved, actions, Waiting(reason, then)) if reason else (moved, actions)
    state = moved.state
    if isinstance(state, Stopping) and state.rung == 0 and state.outcome in _ASKED_FOR:
        was = before.state
        is_first = not isinstance(was, Stopping) or was.rung < 0
        reason = gate("stop") if is_first else ""
        return _hold(before, moved, actions, state, reason) if reason else (moved, actions)
    return moved, actions


def _then(before: Worker, moved: Worker) -> Then:
    if isinstance(moved.state, Probing):
        return "probe"
    if isinstance(moved.state, Starting) and moved.state.by == "schedule":
        return "due"
    if moved.restarts > before.restarts:
        return "restart"
    match before.state:
        case Backoff() | Starting() | Running() | Probing():
            return "again"
        case Stopping(outcome="ended", start_again=False):
            return "again"
        case Waiting(then=then) if then != "probe":
            return then
        case _:
            return "start"


def _wait(before: Worker, moved: Worker, actions: tuple[Action, ...], waiting: Waiting) -> Moved:
    held = replace(moved, state=waiting, run=before.run, restarts=before.restarts)
    if held == before:
        return before, ()
    told = [
        action
        for action in actions
        if not isinstance(action, Spawn)
        and not (isinstance(action, Announce) and action.event == "worker.probing")
    ]
    if not isinstance(before.state, Waiting):
        told.append(Announce("worker.waiting", (("for", waiting.reason),)))
    return held, tuple(told)


def _hold(
    before: Worker, moved: Worker, actions: tuple[Action, ...], state: Stopping, reason: str
) -> Moved:
    held = moved.in_state(replace(state, rung=-1, deadline_s=None, held_by=reason))
    if held == before:
        return before, ()
    return held, tuple(action for action in actions if not isinstance(action, SendSignal))
