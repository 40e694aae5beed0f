"""What people ordered and wait for: one order for each worker of a request."""

from collections.abc import Callable
from typing import Literal

from supervisord_lite.base.record import record
from supervisord_lite.base.units import format_duration
from supervisord_lite.core import actions
from supervisord_lite.core.standing import is_ready
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
from supervisord_lite.supervisor.in_between import looking
from supervisord_lite.supervisor.outbox import Slot

Goal = Literal["ready", "stopped"]


@record
class Outcome:
    """What became of one order.

    Attributes:
        word: "ready", "exited", "stopped", "failed"; "kept": the new run failed, or was not begun,
            and the old one goes on; "reset" and "unchanged" need no wait.
        pid: Of the process that is ready now, where there is one.
        detail: Why, for people; of one that is ready: how it took over from another process.
        run: Whose last lines may say why; None: nobody's, or those of the latest run.
    """

    word: str
    ok: bool
    pid: int | None = None
    detail: str | None = None
    run: int | None = None


class Order:
    """One worker of a request that waits.

    Attributes:
        goal: What is waited for.
        run: Runs up to this one do not count: they were there before the order.
        done: Called once with the outcome.
        is_news: False when the worker was already as ordered.
        required_by: The pool for whose sake it was started; None: it was named.
    """

    __slots__ = ("done", "goal", "is_news", "required_by", "run", "slot")

    def __init__(
        self, slot: Slot, goal: Goal, run: int, done: Callable[["Order", Outcome], None]
    ) -> None:
        """Take an order that is news."""
        self.slot = slot
        self.goal: Goal = goal
        self.run = run
        self.done = done
        self.is_news = True
        self.required_by: str | None = None


class Orders:
    """Every order that is waiting, by slot; and those decided, until somebody delivers them.

    Nothing is told in the middle of a step: what is told must have been saved before.
    """

    def __init__(
        self,
        why_stuck: Callable[[Slot], str],
        why_twin: Callable[[Slot], str | None] = lambda _slot: None,
        look: Callable[[], None] = lambda: None,
    ) -> None:
        """Begin with none.

        Args:
            why_stuck: Says of a worker that waits in vain for whom; else nothing.
            why_twin: Likewise of the run beside a worker's; None: there is none.
            look: Called between two answers: see in_between.py.
        """
        self._look = look
        self._why_stuck = why_stuck
        self._why_twin = why_twin
        self._waiting: dict[Slot, list[Order]] = {}
        self._decided: list[tuple[Order, Outcome]] = []

    def add(self, order: Order, worker: Worker) -> None:
        """Wait, unless it is decided already."""
        outcome = self._judge(order, worker)
        if outcome is not None:
            self._decided.append((order, outcome))
        else:
            order.is_news = True  # not there yet, whoever had ordered it before
            self._waiting.setdefault(order.slot, []).append(order)

    def deliver(self) -> bool:
        """Tell everybody whose wait is over; return whether there was anybody."""
        decided, self._decided = self._decided, []
        for order, outcome in looking(decided, self._look):
            order.done(order, outcome)
        return bool(decided)

    def forget(self, orders: list[Order]) -> None:
        """Whoever waited has gone; what was ordered goes on."""
        for order in orders:
            waiting = self._waiting.get(order.slot, [])
            self._keep(order.slot, [each for each in waiting if each is not order])
        gone = set(map(id, orders))
        self._decided = [each for each in self._decided if id(each[0]) not in gone]

    def give_up(self, slot: Slot, worker: Worker, outcome: Outcome) -> None:
        """Decide every order that waits for a run which will not be begun."""
        waiting = self._waiting.get(slot, [])
        lost = [each for each in waiting if each.goal == "ready" and worker.run <= each.run]
        self._keep(slot, [order for order in waiting if order not in lost])
        self._decided += [(order, outcome) for order in lost]

    def stepped(
        self,
        slot: Slot,
        before: Worker,
        after: Worker,
        announcements: tuple[actions.Announce, ...],
    ) -> None:
        """A worker has changed: judge those who wait for it."""
        del before, announcements
        waiting = self._waiting.get(slot)
        if not waiting:
            return
        decided = [(order, self._judge(order, after)) for order in waiting]
        self._keep(slot, [order for order, outcome in decided if outcome is None])
        self._decided += [(order, outcome) for order, outcome in decided if outcome is not None]

    def _keep(self, slot: Slot, orders: list[Order]) -> None:
        if orders:
            self._waiting[slot] = orders
        else:
            self._waiting.pop(slot, None)

    def _judge(self, order: Order, worker: Worker) -> Outcome | None:
        if order.goal == "ready" and isinstance(worker.state, Waiting):
            why = self._why_stuck(order.slot)
            return Outcome("failed", ok=False, detail=f"waiting: {why}") if why else None
        why_twin = self._why_twin(order.slot) if order.goal == "ready" else None
        if why_twin is None:
            return judge(order, worker)
        if worker.run <= order.run:
            return Outcome("failed", ok=False, detail=f"waiting: {why_twin}") if why_twin else None
        # Done when the old run is gone too, unless the new one fails before that.
        outcome = judge(order, worker)
        return None if outcome is not None and outcome.word == "ready" else outcome


def judge(order: Order, worker: Worker) -> Outcome | None:
    """Return what became of an order, or None while it is open."""
    state = worker.state
    if order.goal == "stopped":
        if isinstance(state, Stopped):
            return Outcome("stopped", ok=True)
        if isinstance(state, Stopping) and state.outcome in ("stopped", "shutdown"):
            return None
        return Outcome("failed", ok=False, detail="was started again meanwhile")
    if worker.run <= order.run:
        return _not_started(worker)
    last = worker.last_exit
    if is_ready(worker) and not isinstance(state, Exited):
        if worker.policy.schedule is not None:
            return None  # a job is done when it has ended
        return Outcome("ready", ok=True, pid=getattr(state, "pid", None), detail=_swapped(worker))
    match state:
        case Exited() | Scheduled():
            clean = last is not None and last.code in worker.policy.ok_exit_codes
            word = "exited" if clean else "failed"
            detail = last.reason if clean and last is not None else describe_end(worker)
            return Outcome(word, ok=clean, detail=detail)
        case Backoff() | Tripped():
            return Outcome("failed", ok=False, detail=describe_end(worker))
        case Stopped():
            return Outcome("failed", ok=False, detail="was stopped meanwhile")
        case _:
            return None


def _swapped(worker: Worker) -> str | None:
    """Return how a run took over: "ready as 6120 in 2.8s, then 4313 stopped in 1.1s", or None."""
    state, last = worker.state, worker.last_exit
    if not isinstance(state, Running) or last is None or last.at_s < state.ready_at_s:
        return None  # the one before had ended before this one was begun
    ready_s, stopped_s = state.ready_at_s - state.spawned_at_s, last.at_s - state.ready_at_s
    return f"ready as {state.pid} in {ready_s:.1f}s, then {last.pid} stopped in {stopped_s:.1f}s"


def _not_started(worker: Worker) -> Outcome | None:
    """Judge a worker that has not begun the run that was ordered."""
    match worker.state:
        case Tripped():
            return Outcome("failed", ok=False, detail="its breaker is open: reset it first")
        case Stopped():
            return Outcome("failed", ok=False, detail="was stopped meanwhile")
        case _:
            return None


def began_after(worker: Worker, at_s: float) -> bool:
    """Return whether the latest run began after *at_s*, on the daemon's clock.

    False where nobody knows: a spawn that has not been answered while it is being stopped.
    """
    state, last = worker.state, worker.last_exit
    match state:
        case Starting(asked_at_s=began_at_s) | Probing(asked_at_s=began_at_s):
            return began_at_s > at_s
        case Running(spawned_at_s=began_at_s):
            return began_at_s > at_s
        case Stopping(spawned_at_s=spawned_at_s):
            return spawned_at_s is not None and spawned_at_s > at_s
        case _:
            return last is not None and last.at_s - last.ran_s > at_s


def describe_end(worker: Worker) -> str:
    """Return how the latest run ended: "exit 1 after 0.3s, failure 1 of 5, again in 2s"."""
    last = worker.last_exit
    if last is None:
        return "did not start"
    text = last.reason
    if last.ran_s > 0:
        text += f" after {last.ran_s:.1f}s"
    if isinstance(worker.state, Backoff | Tripped):
        text += f", failure {len(worker.failures)} of {worker.policy.max_restarts}"
    if isinstance(worker.state, Backoff):
        text += f", again in {format_duration(worker.state.delay_s)}"
    return text


def outcome_report(
    name: str, pool: str, outcome: Outcome, elapsed_s: float, required_by: str | None = None
) -> dict[str, object]:
    """Return what became of one worker (the type Outcome of the varlink definition).

    Args:
        name: As it was called when it was asked for.
        pool: Its pool.
        outcome: What became of it.
        elapsed_s: Since it was asked for.
        required_by: The pool for whose sake it was started; None: somebody named it.
    """
    return {
        "name": name,
        "pool": pool,
        "outcome": outcome.word,
        "ok": outcome.ok,
        "pid": outcome.pid,
        "elapsed_s": round(elapsed_s, 3),
        "detail": outcome.detail,
        "run": outcome.run,
        "required_by": required_by,
    }
