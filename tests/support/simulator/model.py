"""What one slot should be doing: a model of the promises, written from them and not from the code.

It hears each event that the core hears, says what has to follow, and compares. Where the core keeps
a state machine, this keeps what is known of the process tree (`tree`), what is wanted of it
(`aim`), and the whole history of failures; everything else is worked out from those.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from supervisord_lite.core import events
from supervisord_lite.core.actions import Action, Announce, KillTree, SendSignal, Spawn
from supervisord_lite.core.policy import Policy
from supervisord_lite.core.states import Worker
from tests.support.simulator.violation import BrokenPromiseError

Act = tuple[str, int, int]
#: Says whether a start ("start", "restart", "again", "probe") or a "stop" must wait for others.
Gate = Callable[[str], bool]
_RESTS = {
    "stopped": "Stopped", "backoff": "Backoff", "tripped": "Tripped", "exited": "Exited",
    "waiting": "Waiting",
}  # fmt: skip


class SlotModel:
    """One slot, as far as its supervisor has been told.

    Attributes:
        tree: Of the latest run: "none", "asked", "alive" or "left" (its leader has ended).
        aim: Of an end that was ordered: "down" by a person, "end" of the service, "up" again; ""
            while nobody has ordered one.
        end: Of an end that nobody ordered: "" while there is none, "ok", "failed" or "late".
        rest: Where the slot is without a tree: "stopped", "backoff", "tripped", "exited", or
            "waiting" for its turn, and for which kind of start (`then`).
        is_held: Its end was ordered, and its turn to be told has not come.
        failures: Times of all that count, oldest first.
        ends: Runs of which an end was heard, in order.
        acts: What the core must ask for: ("spawn", run, 0), ("signal", run, number) or
            ("kill", run, 0).
        says: What it must announce, by name.
    """

    __slots__ = (
        "acts", "again", "aim", "at_once", "attempt", "by_hand", "code", "delay_s", "end",
        "ends", "exited_s", "failed_before", "failures", "gate", "is_held", "is_trial", "pid",
        "policy", "probe_s", "ready", "rest", "restarts", "retry_s", "run", "rung", "rung_s",
        "said_s", "says", "spawned_s", "then", "tree", "tripped_s",
    )  # fmt: skip

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.gate: Gate | None = None
        self.then = "start"
        self.is_held = False
        self.code: int | None = None  #: with which the latest run ended
        self.delay_s = 0.0
        self.ends: list[int] = []
        self.run = 0
        self.tree = "none"
        self.aim = ""
        self.end = ""
        self.rest = "stopped"
        self.by_hand = False
        self.pid: int | None = None
        self.spawned_s: float | None = None
        self.exited_s: float | None = None
        self.ready = False
        self.said_s: float | None = None
        self.is_trial = False
        self.again = False
        self.at_once = False
        self.rung = -1
        self.rung_s: float | None = None
        self.retry_s: float | None = None
        self.failed_before = False  #: a wait that follows a failure
        self.tripped_s = 0.0
        self.probe_s: float | None = None
        self.failures: list[float] = []
        self.attempt = 0
        self.restarts = 0
        self.acts: list[Act] = []
        self.says: list[str] = []

    def copy(self) -> SlotModel:
        """Return one that goes its own way."""
        twin = SlotModel(self.policy)
        for name in self.__slots__:
            value = getattr(self, name)
            setattr(twin, name, list(value) if isinstance(value, list) else value)
        return twin

    @property
    def is_leaving(self) -> bool:
        """Whether an end is on its way."""
        return self.aim != "" or self.end != ""

    # -- hearing -----------------------------------------------------------------------------------

    def hear(
        self,
        event: events.Event,
        at_s: float,
        worker: Worker,
        actions: Sequence[Action],
        due_s: float | None,
    ) -> None:
        """Take one event, and what the core made of it; *due_s*: when it wants to be woken.

        Raises:
            BrokenPromiseError: That is not what has to follow.
        """
        self.acts.clear()
        self.says.clear()
        _HEAR[type(event)](self, event, at_s, worker)
        if actions or self.acts or self.says:
            self._compare_actions(actions)
        self.compare(worker, due_s)

    def _compare_actions(self, actions: Sequence[Action]) -> None:
        acts: list[Act] = []
        says: list[str] = []
        for action in actions:
            match action:
                case Announce(event=name):
                    says.append(name)
                case Spawn(run=run):
                    acts.append(("spawn", run, 0))
                case SendSignal(run=run, signal=number):
                    acts.append(("signal", run, number))
                case KillTree(run=run):
                    acts.append(("kill", run, 0))
        if acts != self.acts:
            message = f"asked for {acts}, and not for {self.acts}"
            raise BrokenPromiseError(message)
        if says != self.says and sorted(says) != sorted(self.says):
            message = f"said {says}, and not {self.says}"
            raise BrokenPromiseError(message)
        if "worker.failed" in says:
            self._check_failed(actions)

    def _check_failed(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Announce) and action.event == "worker.failed":
                fields = dict(action.fields)
                told = (fields["run"], fields["failure"], fields["of"], fields["attempt"])
                real = (self.ended_run, len(self.failures), self.policy.max_restarts, self.attempt)
                if told != real:
                    message = f"told of a failure {told}, and not {real}"
                    raise BrokenPromiseError(message)

    @property
    def ended_run(self) -> int:
        """Number of the run that ended latest: a new one may have been asked for since."""
        return self.run if self.tree == "none" else self.run - 1

    def compare(self, worker: Worker, told_due_s: float | None) -> None:
        """Compare what people see of a worker, and its next deadline, with what should be.

        Raises:
            BrokenPromiseError: Something differs.
        """
        state = worker.state
        if type(state).__name__ != self.state_name():
            message = f"is {state}, and not {self.state_name()}"
            raise BrokenPromiseError(message)
        if getattr(state, "pid", None) != self.pid:
            message = f"has pid {getattr(state, 'pid', None)}, and not {self.pid}"
            raise BrokenPromiseError(message)
        told = (worker.run, worker.attempt, worker.restarts, worker.failures)
        real = (self.run, self.attempt, self.restarts, tuple(self.failures))
        if told != real:
            message = f"run, attempt, restarts, failures: {told}, and not {real}"
            raise BrokenPromiseError(message)
        if self.rest == "stopped" and self.tree == "none" and state.by_hand != self.by_hand:  # type: ignore[union-attr]
            message = f"stopped by hand: {state}, and not {self.by_hand}"
            raise BrokenPromiseError(message)
        due_s = self.due_s()
        if told_due_s != due_s:
            message = f"due at {told_due_s}, and not at {due_s}"
            raise BrokenPromiseError(message)

    def state_name(self) -> str:
        """Return the name of the state that it should be in."""
        if self.tree == "none":
            return _RESTS[self.rest]
        if self.is_leaving:
            return "Stopping"
        if self.is_trial:
            return "Probing"
        return "Running" if self.ready else "Starting"

    def due_s(self) -> float | None:
        """Return when time alone will change something."""
        if self.tree == "none":
            return {"backoff": self.retry_s, "tripped": self.probe_s}.get(self.rest)
        if self.tree != "alive":
            return None
        if self.is_leaving:
            return self.rung_s
        spawned_s, policy = self.spawned_s, self.policy
        assert spawned_s is not None
        limit_s = policy.run_timeout_s
        dues_s = [] if limit_s is None else [spawned_s + limit_s]
        if not self.ready:
            if policy.ready_by != "exit":
                dues_s.append(spawned_s + policy.start_timeout_s)
            ready_s = self._ready_s()
            if ready_s is not None:
                dues_s.append(ready_s)
        elif self.is_trial:
            dues_s.append(spawned_s + policy.stable_run_period_s)
        return min(dues_s, default=None)

    def _ready_s(self) -> float | None:
        """Return when it is ready, as far as one can know."""
        spawned_s, said_s = self.spawned_s, self.said_s
        assert spawned_s is not None
        match self.policy.ready_by:
            case "alive":
                return spawned_s + self.policy.ready_after_s
            case "said" if said_s is not None:
                return max(spawned_s, said_s)
            case _:
                return None

    # -- the keeper's facts ------------------------------------------------------------------------

    def _spawned(self, event: events.Spawned, at_s: float, _: Worker) -> None:
        if event.run != self.run or self.tree != "asked":
            return
        self.tree, self.pid, self.spawned_s = "alive", event.pid, at_s
        self.says.append("worker.started")
        if self.is_leaving:
            self._climb(at_s)
        else:
            self._age(at_s)

    def _said(self, event: events.ReadySaid, at_s: float, _: Worker) -> None:
        is_news = self.policy.ready_by == "said" and self.said_s is None
        is_over = self.tree in ("none", "left") or self.is_leaving
        if event.run != self.run or is_over or not is_news or (self.ready and not self.is_trial):
            return
        self.said_s = at_s
        if self.tree == "alive":
            self._age(at_s)

    def _judged(self, event: events.JudgedFailed, at_s: float, _: Worker) -> None:
        if event.run != self.run or self.tree in ("none", "left") or self.is_leaving:
            return
        self.end = "late"
        if self.tree == "alive":
            self._climb(at_s)

    def _spawn_failed(self, event: events.SpawnFailed, at_s: float, worker: Worker) -> None:
        if event.run != self.run or self.tree != "asked":
            return
        if not self.aim:
            self.end = "failed"
        self.exited_s, self.code = at_s, None
        self.ends.append(self.run)
        self._gone(at_s, worker, missing=event.missing, hopeless=event.hopeless)

    def _exited(self, event: events.Exited, at_s: float, worker: Worker) -> None:
        if event.run != self.run or self.tree != "alive":
            return
        if not self.is_leaving:
            self._ripen(at_s)
            self.end = "ok" if event.code in self.policy.ok_exit_codes else "failed"
        self.tree, self.pid, self.rung_s, self.exited_s = "left", None, None, at_s
        self.code, self.is_held = event.code, False
        self.ends.append(self.run)
        if event.emptied:
            self._gone(at_s, worker)

    def _emptied(self, event: events.Emptied, at_s: float, worker: Worker) -> None:
        if event.run != self.run or self.tree != "left":
            return
        self._gone(at_s, worker)
        if event.killed:
            self.says.append("worker.cleared")

    def _lost(self, event: events.Lost, at_s: float, worker: Worker) -> None:
        if event.run != self.run or self.tree == "none":
            return
        if self.tree == "alive":
            self._exited(events.Exited(event.run, None, None, emptied=True), at_s, worker)
        elif self.tree == "left" or self.is_leaving:
            self._gone(at_s, worker)
        else:
            self.acts.append(("spawn", self.run, 0))

    # -- time --------------------------------------------------------------------------------------

    def _time(self, _event: events.Event, at_s: float, _: Worker) -> None:
        due_s = self.due_s()
        if due_s is None or at_s < due_s:
            return
        if self.tree == "none":
            kind = "restart" if self.failed_before else "again"
            self._spawn("probe" if self.rest == "tripped" else kind)
        elif self.is_leaving:
            self._climb(at_s)
        else:
            self._age(at_s)

    def _age(self, at_s: float) -> None:
        """Let what is due of a live run happen: good news first, and alone."""
        spawned_s, policy = self.spawned_s, self.policy
        assert spawned_s is not None
        if self._ripen(at_s):
            return
        is_late = not self.ready and policy.ready_by != "exit"
        limit_s = policy.run_timeout_s
        if (is_late and at_s >= spawned_s + policy.start_timeout_s) or (
            limit_s is not None and at_s >= spawned_s + limit_s
        ):
            self.end = "late"
            self._climb(at_s)

    def _ripen(self, at_s: float) -> bool:
        """Let it be ready, and its trial be over, if that is due; return whether anything was."""
        policy, spawned_s, news = self.policy, self.spawned_s, len(self.says)
        assert spawned_s is not None
        ready_s = self._ready_s()
        late_s = spawned_s + policy.start_timeout_s
        if not self.ready and ready_s is not None and ready_s <= min(at_s, late_s):
            self.ready = True
            self.says.append("worker.ready")
        if self.ready and self.is_trial and at_s >= spawned_s + policy.stable_run_period_s:
            self._forgive()
        return len(self.says) > news

    def _climb(self, at_s: float) -> None:
        """Send the next signal of the ladder, or kill."""
        ladder = self.policy.stop_ladder
        if self.rung < 0 and self.aim and not self.at_once:
            self.is_held = self.gate is not None and self.gate("stop")
            if self.is_held:
                return
        self.is_held = False
        self.rung += 1
        if self.at_once or self.rung >= len(ladder):
            self.rung, self.rung_s = 1 << 30, None
            self.acts.append(("kill", self.run, 0))
        else:
            self.rung_s = at_s + ladder[self.rung].timeout_s
            self.acts.append(("signal", self.run, ladder[self.rung].signal))

    # -- nothing is left of a run ------------------------------------------------------------------

    def _gone(
        self, at_s: float, worker: Worker, *, missing: bool = False, hopeless: bool = False
    ) -> None:
        policy = self.policy
        spawned_s, exited_s = self.spawned_s, self.exited_s
        was_stable = (
            spawned_s is not None
            and exited_s is not None
            and exited_s >= spawned_s + policy.stable_run_period_s
        )
        aim, end, again, was_trial = self.aim, self.end, self.again, self.is_trial
        self._clean()
        if aim:
            self.says.append("worker.stopped")
            if aim == "up":
                self.attempt = 0 if was_stable else self.attempt
                self._spawn("start")
            else:
                self.rest, self.by_hand = "stopped", aim == "down"
        elif end == "ok":
            self.says.append("worker.exited")
            self.attempt = 0 if was_stable else self.attempt
            if was_trial:
                self._forgive()
            if again or (policy.restart == "always" and was_stable):
                self._spawn("start" if again else "again")
            elif policy.restart == "always":
                self._wait(at_s, policy.backoff.min_s, failed=False)
            else:
                self.rest = "exited"
        else:
            self.says.append("worker.failed")
            self._count(at_s if exited_s is None else exited_s)
            self.attempt = 1 if was_stable else self.attempt + 1
            is_full = len(self.failures) >= policy.max_restarts and policy.restart != "never"
            if hopeless or was_trial or is_full:
                self._trip(at_s)
            elif again:
                self._spawn("start")
            elif policy.restart == "never":
                self.rest = "exited"
            else:
                self._back_off(at_s, worker, missing=missing)

    def _clean(self) -> None:
        """Forget the run that is over."""
        self.tree, self.pid, self.spawned_s, self.exited_s = "none", None, None, None
        self.aim = self.end = ""
        self.again = self.at_once = self.ready = self.is_trial = self.is_held = False
        self.rest = ""
        self.rung, self.rung_s, self.said_s = -1, None, None

    def _count(self, at_s: float) -> None:
        """Count one failure, in the plainest way: look at all of them."""
        every = sorted([*self.failures, at_s])
        self.failures = [x for x in every if every[-1] - self.policy.circuit_window_s < x]
        del self.failures[: -self.policy.max_restarts]

    def _trip(self, at_s: float) -> None:
        self.says.append("worker.tripped")
        self.rest, self.tripped_s = "tripped", at_s
        self._set_probe()

    def _set_probe(self) -> None:
        cooldown_s = self.policy.circuit_cooldown_s
        is_hopeful = cooldown_s is not None and self.policy.restart != "never"
        self.probe_s = self.tripped_s + (cooldown_s or 0.0) if is_hopeful else None

    def _back_off(self, at_s: float, worker: Worker, *, missing: bool) -> None:
        policy = self.policy.backoff
        full_s = policy.min_s
        for _ in range(min(self.attempt - 1, 64)):
            full_s = min(full_s * policy.factor, policy.max_s)
        high_s = policy.max_s if missing else min(full_s, policy.max_s)
        low_s = high_s / 2 if policy.jitter and not missing else high_s
        drawn_s: float = getattr(worker.state, "delay_s", -1.0)
        if not low_s * (1 - 1e-9) <= drawn_s <= min(high_s * (1 + 1e-9), policy.max_s):
            message = f"waits {drawn_s}s after failure {self.attempt}, not {low_s}s to {high_s}s"
            raise BrokenPromiseError(message)
        self._wait(at_s, drawn_s, failed=True)

    def _wait(self, at_s: float, delay_s: float, *, failed: bool) -> None:
        self.rest, self.retry_s, self.failed_before = "backoff", at_s + delay_s, failed
        self.delay_s = delay_s

    def _spawn(self, kind: str, *, by_person: bool = False) -> None:
        """Start it, or let it wait for its turn."""
        if self.gate is not None and self.gate(kind):
            if self.rest != "waiting":
                self.says.append("worker.waiting")
            self.rest, self.then = "waiting", kind
            return
        self.run += 1
        self.tree = "asked"
        self.acts.append(("spawn", self.run, 0))
        self.is_trial = kind == "probe"
        if self.is_trial:
            self.says.append("worker.probing")
        self.restarts += kind in ("restart", "probe") and not by_person

    def _turn(self, _event: events.Event, at_s: float, _: Worker) -> None:
        """Its turn may have come."""
        if self.tree == "none" and self.rest == "waiting":
            self._spawn(self.then)
        elif self.is_held:
            self._climb(at_s)

    def _forgive(self) -> None:
        self.failures.clear()
        self.attempt = 0
        self.is_trial = False
        self.says.append("worker.reset")

    # -- people ------------------------------------------------------------------------------------

    def _start(self, _event: events.Event, _at_s: float, _: Worker) -> None:
        if self.tree == "none":
            if self.rest == "backoff":
                self._spawn("again")
            elif self.rest == "waiting" and self.then != "probe":
                self.attempt = 0
                self._spawn(self.then, by_person=True)
            elif self.rest in ("stopped", "exited"):
                self.attempt = 0
                self._spawn("start")
        elif self.aim == "down":
            self.aim = "up"
        elif self.end:
            self.again = True

    def _restart(self, event: events.Event, at_s: float, worker: Worker) -> None:
        if self.tree == "none" or self.is_leaving:
            self._start(event, at_s, worker)
        else:
            self._bring_down("up", at_s)

    def _stop(self, _event: events.Event, at_s: float, _: Worker) -> None:
        if self.tree == "none":
            if not (self.rest == "stopped" and self.by_hand):
                self.says.append("worker.stopped")
            self.rest, self.by_hand = "stopped", True
        elif not self.is_leaving:
            self._bring_down("down", at_s)
        elif self.aim != "end":
            self.aim, self.end, self.again = "down", "", False

    def _shutdown(self, event: events.ShutdownRequested, at_s: float, _: Worker) -> None:
        if self.tree == "none":
            if self.rest != "stopped":
                self.says.append("worker.stopped")
                self.rest, self.by_hand = "stopped", False
            return
        self.at_once |= event.at_once
        if not self.is_leaving and not event.at_once:
            self._bring_down("end", at_s)
            return
        self.aim, self.end, self.again = "end", "", False
        if event.at_once:
            self._climb(at_s)

    def _bring_down(self, aim: str, at_s: float) -> None:
        self.aim = aim
        if self.tree == "alive":
            self._climb(at_s)

    def _reset(self, _event: events.Event, _at_s: float, _: Worker) -> None:
        rest = self.rest if self.tree == "none" else ""
        had_trial = self.is_trial or (rest == "waiting" and self.then == "probe")
        if rest in ("backoff", "tripped") or self.failures or self.attempt or had_trial:
            self._forgive()
        if rest in ("backoff", "tripped"):
            self._spawn("again" if rest == "backoff" else "start")
        elif had_trial and rest == "waiting":
            self.then = "start"

    def _policy(self, event: events.PolicyChanged, _at_s: float, _: Worker) -> None:
        self.policy = event.policy
        del self.failures[: -event.policy.max_restarts]
        self._set_probe()


_HEAR: dict[type[events.Event], Callable[[SlotModel, Any, float, Worker], None]] = {
    events.Spawned: SlotModel._spawned,
    events.SpawnFailed: SlotModel._spawn_failed,
    events.Exited: SlotModel._exited,
    events.Emptied: SlotModel._emptied,
    events.Lost: SlotModel._lost,
    events.ReadySaid: SlotModel._said,
    events.JudgedFailed: SlotModel._judged,
    events.GateMoved: SlotModel._turn,
    events.DeadlinePassed: SlotModel._time,
    events.StartRequested: SlotModel._start,
    events.RestartRequested: SlotModel._restart,
    events.StopRequested: SlotModel._stop,
    events.ShutdownRequested: SlotModel._shutdown,
    events.ResetRequested: SlotModel._reset,
    events.PolicyChanged: SlotModel._policy,
}
