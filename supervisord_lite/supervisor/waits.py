"""Clients that wait until workers are ready, stopped or ended, whoever brings them there.

Level, not edge: each worker is judged by how it stands, so the same question may be asked again
after a crash of ours. A wait ends early for whoever will not get there by itself: it needs somebody
who does something, not time. Those that nobody wants up are no failure of a wait for "all" or a
glob, only of one that names them.
"""

from typing import Literal, get_args

from supervisord_lite.base.clock import Clock
from supervisord_lite.control import interface, parameters
from supervisord_lite.control.calls import Call
from supervisord_lite.core.actions import Announce
from supervisord_lite.core.standing import ended_well, is_ready
from supervisord_lite.core.states import Exited, Scheduled, Stopped, Tripped, Waiting, Worker
from supervisord_lite.supervisor.daemon_state import DaemonState
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.in_between import looking
from supervisord_lite.supervisor.in_vain import why_stuck
from supervisord_lite.supervisor.names import is_pattern, resolve
from supervisord_lite.supervisor.orders import Outcome, describe_end, outcome_report
from supervisord_lite.supervisor.outbox import Slot

#: What is waited for (the type Goal of the varlink definition).
Goal = Literal["ready", "stopped", "exited"]
_GOALS: dict[str, Goal] = {goal: goal for goal in get_args(Goal)}


class _Wait:
    """One call.

    Attributes:
        left: Whom it still waits for, each with its name at that time and whether it was named.
        news: Those of them that may have got there.
        since_s: From when on it has been waited, on our clock.
    """

    __slots__ = ("goal", "left", "news", "since_s")

    def __init__(self, goal: Goal, left: dict[Slot, tuple[str, bool]], since_s: float) -> None:
        self.goal = goal
        self.left = left
        self.news = dict.fromkeys(left)
        self.since_s = since_s


class Waits:
    """Every client that waits."""

    def __init__(self, fleet: Fleet, daemon: DaemonState, clock: Clock) -> None:
        """Follow *fleet* for clients to come; *daemon* says whether anybody may still start."""
        self._fleet = fleet
        self._daemon = daemon
        self._clock = clock
        self._waits: dict[Call, _Wait] = {}
        fleet.listen(self._stepped)

    def begin(self, call: Call) -> None:
        """Take one call; it is answered from the next `deliver` on.

        Raises:
            InvalidParameterError: No such goal.
            NoSuchWorkerError: A name means nothing.
        """
        goal = _GOALS.get(parameters.text(call, "goal"))
        if goal is None:
            raise parameters.InvalidParameterError("goal")
        names, since_s = parameters.names(call), parameters.number(call, "since_s")
        slots = resolve(self._fleet, names)
        one_by_one = [name for name in names if not is_pattern(name)]
        named = set(resolve(self._fleet, one_by_one)) if one_by_one else set()
        if not call.more:
            call.error(interface.EXPECTED_MORE, {})
            return
        left = {slot: (self._fleet.name(slot), slot in named) for slot in slots}
        now_s = self._clock.now_s()
        self._waits[call] = _Wait(goal, left, now_s if since_s is None else min(since_s, now_s))
        call.on_hang_up = lambda: self._forget(call)

    def _forget(self, call: Call) -> None:
        self._waits.pop(call, None)

    def _stepped(
        self, slot: Slot, before: Worker, after: Worker, told: tuple[Announce, ...]
    ) -> None:
        del before, after, told
        for wait in self._waits.values():
            if slot in wait.left:
                wait.news[slot] = None

    def deliver(self) -> bool:
        """Tell who has got there, or never will, and is saved by now; return whether anybody."""
        is_told = False
        for call, wait in list(self._waits.items()):
            if call.closed:
                self._forget(call)
                continue
            is_told |= self._tell(call, wait)
        return is_told

    def _tell(self, call: Call, wait: _Wait) -> bool:
        # The end of the service is everybody's news, also of those that it does not touch.
        news = list(wait.left if self._daemon.is_stopping else wait.news)
        wait.news.clear()
        found = [(slot, self._judge(slot, wait)) for slot in looking(news, self._fleet.look)]
        outcomes = [(slot, outcome) for slot, outcome in found if outcome is not None]
        elapsed_s = self._clock.now_s() - wait.since_s
        told = [
            outcome_report(wait.left.pop(slot)[0], slot[0], outcome, elapsed_s)
            for slot, outcome in outcomes
        ]
        is_done = not wait.left
        if is_done:
            self._forget(call)
        for each in looking(told, self._fleet.look):
            call.reply({"outcome": each, "done": False}, continues=True)
        if is_done:
            call.reply({"outcome": None, "done": True})
        return bool(told) or is_done

    def _judge(self, slot: Slot, wait: _Wait) -> Outcome | None:
        is_named = wait.left[slot][1]
        worker = self._fleet.workers.get(slot)
        if worker is None:  # a reload took it out, and nothing of it is left
            return _judge_stopped(wait.goal, "was taken out of the file" if is_named else "")
        outcome = judge(wait.goal, worker, is_named=is_named)
        if wait.goal == "stopped":
            return outcome
        if self._daemon.is_stopping and (outcome is None or outcome.word == "stopped"):
            return Outcome("failed", ok=False, detail="the daemon is stopping")
        if outcome is not None:
            return outcome
        stuck = why_stuck(self._fleet, slot) if isinstance(worker.state, Waiting) else ""
        return Outcome("failed", ok=False, detail=f"waiting: {stuck}") if stuck else None


def judge(goal: Goal, worker: Worker, *, is_named: bool = True) -> Outcome | None:
    """Return what a wait for *worker* came to; None: it may still get there by itself.

    Args:
        goal: "ready", as everywhere: one that ended well is; "stopped": nothing of it runs, and
            nothing will start it again by itself; "exited": it has ended by itself.
        worker: As it stands.
        is_named: Whether somebody named it, not only a glob or "all".
    """
    state = worker.state
    match state:
        case Stopped():
            return _judge_stopped(goal, "is stopped" if is_named else "")
        case Tripped(probe_at_s=None):
            word, ok = ("tripped", True) if goal == "stopped" else ("failed", False)
            why = "its breaker is open"
            return Outcome(word, ok=ok, detail=f"{why}: {describe_end(worker)}; reset it first")
        case Exited():
            ok = goal == "stopped" or ended_well(worker)
            return Outcome("exited" if ok else "failed", ok=ok, detail=describe_end(worker))
        case Scheduled() if goal != "stopped":
            return _judge_job(goal, worker)
        case _:
            if goal == "ready" and is_ready(worker):
                return Outcome("ready", ok=True, pid=getattr(state, "pid", None))
            return None


def _judge_job(goal: Goal, worker: Worker) -> Outcome | None:
    """Judge a job between two runs: as ready as it gets; exited once it has run."""
    if goal == "ready":
        return Outcome("ready", ok=True)
    if worker.last_exit is None:
        return None
    ok = ended_well(worker)
    return Outcome("exited" if ok else "failed", ok=ok, detail=describe_end(worker))


def _judge_stopped(goal: Goal, why: str) -> Outcome:
    if goal == "stopped" or not why:
        return Outcome("stopped", ok=True)
    return Outcome("failed", ok=False, detail=why)
