"""What a supervisor has been told of one slot, and what people should therefore see of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

from supervisord_lite.core.actions import Action, Announce, KillTree, SendSignal, Spawn
from supervisord_lite.core.policy import Policy
from supervisord_lite.core.states import Worker
from tests.support.simulator.violation import BrokenPromiseError

Act = tuple[str, int, int]
#: Says whether a start ("start", "restart", "again", "probe") or a "stop" must wait for others.
Gate = Callable[[str], bool]
_RESTS = {
    "stopped": "Stopped", "backoff": "Backoff", "tripped": "Tripped", "exited": "Exited",
    "waiting": "Waiting", "scheduled": "Scheduled",
}  # fmt: skip


class Told:
    """One slot, as far as its supervisor has been told.

    Attributes:
        tree: Of the latest run: "none", "asked", "alive" or "left" (its leader has ended).
        aim: Of an end that was ordered: "down" by a person, "end" of the service, "up" again; ""
            while nobody has ordered one.
        end: Of an end that nobody ordered: "" while there is none, "ok", "failed" or "late".
        rest: Where the slot is without a tree: "stopped", "backoff", "tripped", "exited",
            "scheduled" between two planned runs, or "waiting" for its turn, and for which kind of
            start (`then`).
        is_recycle: Its end was ordered by its own limit; one "up" again is counted then.
        settled_s: Up to which planned time a job has been told of; None: it has no plan.
        is_owed: A planned run begins when the one that goes on has ended.
        failed_as: How often it had failed, and the attempt, when that was told the last time.
        is_held: Its end was ordered, and its turn to be told has not come.
        failures: Times of all that count, oldest first.
        ends: Runs of which an end was heard, in order.
        acts: What the core must ask for: ("spawn", run, 0), ("signal", run, number) or
            ("kill", run, 0).
        says: What it must announce, by name.
    """

    __slots__ = (
        "acts", "again", "aim", "at_once", "attempt", "by_hand", "code", "delay_s", "end",
        "ended_run", "ends", "exited_s", "extended_s", "failed_as", "failed_before", "failures",
        "gate", "is_held", "is_owed", "is_recycle", "is_trial", "pid", "policy", "probe_s", "ready",
        "recycles", "rest", "restarts", "retry_s", "run", "rung", "rung_s", "said_s", "says",
        "settled_s", "spawned_s", "spent", "then", "tree", "tripped_s",
    )  # fmt: skip

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.gate: Gate | None = None
        self.then = "start"
        self.is_held = False
        self.code: int | None = None  #: with which the latest run ended
        self.delay_s = 0.0
        self.ends: list[int] = []
        self.ended_run = 0  #: of which nothing is left, latest
        self.spent = 0  #: the highest number of a run beside its own
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
        self.extended_s = 0.0
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
        self.recycles = 0
        self.is_recycle = False
        self.settled_s: float | None = None
        self.is_owed = False
        self.failed_as = (0, 0)
        self.acts: list[Act] = []
        self.says: list[str] = []

    def copy(self) -> Self:
        """Return one that goes its own way."""
        twin = type(self)(self.policy)
        for name in Told.__slots__:
            value = getattr(self, name)
            setattr(twin, name, list(value) if isinstance(value, list) else value)
        return twin

    @staticmethod
    def names() -> tuple[str, ...]:
        """Return what there is to be known of one run."""
        return Told.__slots__

    @property
    def is_leaving(self) -> bool:
        """Whether an end is on its way."""
        return self.aim != "" or self.end != ""

    def compare_actions(self, actions: Sequence[Action]) -> None:
        """Compare what the core asks for, and says, with what has to follow.

        Raises:
            BrokenPromiseError: Something differs.
        """
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
                number, attempt = self.failed_as
                real = (self.ended_run, number, self.policy.max_restarts, attempt)
                if told != real:
                    message = f"told of a failure {told}, and not {real}"
                    raise BrokenPromiseError(message)

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
        if (
            worker.run != self.run
            or worker.attempt != self.attempt
            or worker.restarts != self.restarts
            or worker.recycles != self.recycles
            or worker.failures != tuple(self.failures)
            or worker.spent != self.spent
        ):
            told = (
                worker.run, worker.attempt, worker.restarts, worker.recycles, worker.failures
            )  # fmt: skip
            real = (self.run, self.attempt, self.restarts, self.recycles, tuple(self.failures))
            message = f"run, attempt, restarts, recycles, failures: {told}, and not {real}"
            raise BrokenPromiseError(message)
        if self.rest == "stopped" and self.tree == "none" and state.by_hand != self.by_hand:  # type: ignore[union-attr]
            message = f"stopped by hand: {state}, and not {self.by_hand}"
            raise BrokenPromiseError(message)
        if (worker.settled_s, worker.is_owed) != (self.settled_s, self.is_owed):
            told_plan = (worker.settled_s, worker.is_owed)
            message = f"settled, owed: {told_plan}, and not {(self.settled_s, self.is_owed)}"
            raise BrokenPromiseError(message)
        due_s = self.all_due_s()
        if told_due_s != due_s:
            message = f"due at {told_due_s}, and not at {due_s}"
            raise BrokenPromiseError(message)

    def all_due_s(self) -> float | None:
        """Return when time alone will change something of any run of the slot."""
        return self.due_s()

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
                dues_s.append(max(spawned_s + policy.start_timeout_s, self.extended_s))
            ready_s = self.ready_s()
            if ready_s is not None:
                dues_s.append(ready_s)
        elif self.is_trial:
            dues_s.append(spawned_s + policy.stable_run_period_s)
        return min(dues_s, default=None)

    def ready_s(self) -> float | None:
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
