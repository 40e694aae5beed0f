"""One slot, driven by hand or against a model of the keeper, to test `step` without a process."""

import json
from dataclasses import dataclass, field
from typing import Any, TypeVar

from supervisord_lite.base.clock import Rng
from supervisord_lite.core import events, states
from supervisord_lite.core.actions import Action, Announce, KillTree, SendSignal, Spawn
from supervisord_lite.core.backoff import backoff_s
from supervisord_lite.core.events import Event, Fact
from supervisord_lite.core.gates import Ask, Gate, open_gate
from supervisord_lite.core.policy import BackoffPolicy, Policy
from supervisord_lite.core.records import from_record, to_record
from supervisord_lite.core.schedule import Schedule
from supervisord_lite.core.states import State, Worker
from supervisord_lite.core.step import next_deadline_s, step

TERM, KILL, SEGV = 15, 9, 11

_S = TypeVar("_S", bound=State)


class FixedRng:
    """Chance that always falls the same way."""

    def __init__(self, value: float = 0.0) -> None:
        assert 0.0 <= value < 1.0
        self.value = value

    def random(self) -> float:
        return self.value


def a_policy(*, jitter: bool = False, **values: Any) -> Policy:
    """Return the default policy, without jitter, with some values changed."""
    return Policy(**{"backoff": BackoffPolicy(jitter=jitter), **values})


def after_a_crash(worker: Worker) -> Worker:
    """Return the worker as a new supervisor finds it."""
    return from_record(json.loads(json.dumps(to_record(worker))), worker.policy)


def shut_gate(ask: Ask) -> str:
    """Let nobody through."""
    return "web stops first" if ask == "stop" else "requires db"


class OneWorker:
    """One worker and what it was told to do so far. Times are in seconds."""

    def __init__(self, policy: Policy | None = None, *, rng: Rng | None = None) -> None:
        self.worker = Worker("web", 1, policy or a_policy())
        self.rng = rng or FixedRng()
        self.actions: tuple[Action, ...] = ()
        self.heard: list[Announce] = []
        self.spawned_runs: list[int] = []
        self.now_s = 0.0
        self.gate: Gate = open_gate

    def state(self) -> State:
        return self.worker.state

    def expect(self, kind: type[_S]) -> _S:
        """Return the state, which must be of this kind."""
        state = self.worker.state
        assert isinstance(state, kind), f"{kind.__name__} expected: {self.worker}"
        return state

    def tell(self, event: Event, at_s: float | None = None) -> tuple[Action, ...]:
        """Feed one event; return what is to be done, announcements apart."""
        self.now_s = self.now_s if at_s is None else at_s
        self.worker, self.actions = step(
            self.worker, event, now_s=self.now_s, rng=self.rng, gate=self.gate
        )
        self.heard += [action for action in self.actions if isinstance(action, Announce)]
        self.spawned_runs += [action.run for action in self.actions if isinstance(action, Spawn)]
        return tuple(action for action in self.actions if not isinstance(action, Announce))

    def said(self, event: str) -> dict[str, str | int | float]:
        """Return the fields of the latest announcement called *event*."""
        return dict([each.fields for each in self.heard if each.event == event][-1])

    def wake(self, at_s: float | None = None) -> tuple[Action, ...]:
        """Let time pass, by default until just when something is due."""
        due_s = next_deadline_s(self.worker)
        if at_s is None:
            assert due_s is not None, f"nothing is due: {self.worker}"
            at_s = due_s
        return self.tell(events.DeadlinePassed(), at_s)

    def start(self, at_s: float | None = None) -> tuple[Action, ...]:
        return self.tell(events.StartRequested(), at_s)

    def stop(self, at_s: float | None = None) -> tuple[Action, ...]:
        return self.tell(events.StopRequested(), at_s)

    def spawned(self, at_s: float | None = None) -> tuple[Action, ...]:
        run = self.worker.run
        return self.tell(events.Spawned(run, pid=4000 + run), at_s)

    def spawn_failed(
        self, at_s: float | None = None, *, missing: bool = False, hopeless: bool = False
    ) -> tuple[Action, ...]:
        event = events.SpawnFailed(
            self.worker.run, "exec", "no such file: /x", missing=missing, hopeless=hopeless
        )
        return self.tell(event, at_s)

    def exits(
        self,
        code: int | None = None,
        at_s: float | None = None,
        *,
        signal: int | None = None,
        emptied: bool = True,
    ) -> tuple[Action, ...]:
        return self.tell(events.Exited(self.worker.run, code, signal, emptied), at_s)

    def emptied(self, at_s: float | None = None, *killed: str) -> tuple[Action, ...]:
        return self.tell(events.Emptied(self.worker.run, killed), at_s)

    def up(self, at_s: float = 0.0) -> "OneWorker":
        """Start it and let it become ready at once or by time; return the slot."""
        self.start(at_s)
        self.spawned(at_s)
        if not isinstance(self.worker.state, states.Running):
            self.wake()
        self.expect(states.Running)
        return self

    def crash(self, ran_s: float = 0.5) -> None:
        """Let the spawn asked for succeed now, run for *ran_s* and end with exit code 1."""
        begun_s = self.now_s
        self.spawned(begun_s)
        self.exits(1, begun_s + ran_s)

    def trip(self) -> "OneWorker":
        """Start it and let it crash until the breaker is open; return the slot."""
        self.start()
        for _ in range(self.worker.policy.max_restarts):
            self.crash()
            if isinstance(self.worker.state, states.Backoff):
                self.wake()
        self.expect(states.Tripped)
        return self


# -- every state and every event -----------------------------------------------------------------


def every_state(run: int = 3) -> list[State]:
    """Return each state, with each of its fields set and not set."""
    stopping = [
        states.Stopping(run, outcome, "why", was_probing=was_probing, **more)
        for outcome in ("stopped", "shutdown", "restart", "failed", "ended")
        for was_probing in (False, True)
        for more in _STOPPING
    ]
    return [
        states.Stopped(),
        states.Stopped(by_hand=True),
        states.Waiting("requires db"),
        states.Waiting("requires db", "restart"),
        states.Waiting("requires db", "probe"),
        states.Waiting("requires db", "due"),
        states.Scheduled(),
        states.Starting(run, 1.0),
        states.Starting(run, 1.0, 4003, 1.5),
        states.Starting(run, 1.0, said_at_s=1.25),
        states.Starting(run, 1.0, 4003, 1.5, 70.0),
        states.Starting(run, 1.0, by="schedule"),
        states.Probing(run, 1.0),
        states.Probing(run, 1.0, 4003, 1.5),
        states.Probing(run, 1.0, 4003, 1.5, 2.5),
        states.Running(run, 4003, 1.5, 2.5),
        *stopping,
        states.Backoff(9.0, 4.0),
        states.Backoff(9.0, 1.0, after_failure=False),
        states.Tripped(5.0),
        states.Tripped(5.0, 65.0),
        states.Exited(5.0),
    ]


_STOPPING: tuple[dict[str, Any], ...] = (
    {},
    {"rung": 1},
    {"pid": 4003, "spawned_at_s": 1.5, "rung": 0, "deadline_s": 12.0, "recycle": "age 24h"},
    {"pid": 4003, "spawned_at_s": 1.5, "held_by": "web stops first"},
    {"pid": 4003, "spawned_at_s": 1.5, "rung": 0, "deadline_s": 12.0},
    {"pid": 4003, "spawned_at_s": 1.5, "rung": 1},
    {"spawned_at_s": 1.5, "rung": 1, "code": 1, "exited_at_s": 4.0},
    {"spawned_at_s": 1.5, "rung": 1, "signal": 9, "exited_at_s": 40.0, "start_again": True},
)


def every_event(run: int) -> list[Event]:
    """Return each event, in its kinds; facts are about *run*."""
    return [
        events.Spawned(run, 4000 + run),
        events.SpawnFailed(run, "exec", "no such file: /x"),
        events.SpawnFailed(run, "exec", "no such file: /x", missing=True),
        events.SpawnFailed(run, "user", "no such user: bob", hopeless=True),
        events.Exited(run, 0, None, emptied=True),
        events.Exited(run, 1, None, emptied=True),
        events.Exited(run, None, KILL, emptied=False),
        events.Exited(run, None, KILL, emptied=True, oom="2.0G of 2.0G (cgroup oom_kill +1)"),
        events.Exited(run, 0, None, emptied=False),
        events.Emptied(run),
        events.Emptied(run, ("4123 sh", "4130 sleep")),
        events.Lost(run),
        events.ReadySaid(run),
        events.JudgedFailed(run, "no heartbeat for 30s"),
        events.RecycleRequested(run, "age 24h"),
        events.Extended(run, 1e9),
        events.GateMoved(),
        events.StartRequested(),
        events.StartRequested(by_itself=True),
        events.StopRequested(),
        events.RestartRequested(),
        events.ResetRequested(),
        events.ShutdownRequested(),
        events.ShutdownRequested(at_once=True),
        events.PolicyChanged(a_policy(restart="never", circuit_cooldown_s=60.0)),
        events.PolicyChanged(a_policy(max_restarts=1)),
        events.PolicyChanged(a_policy(ready_by="said", run_timeout_s=90.0)),
        events.PolicyChanged(a_policy(schedule=Schedule(every_s=60.0))),
        events.PlanBegun(1000.0),
        events.CameDue(1060.0),
        events.CameDue(2060.0, "now", is_missed=True, missed="before"),
        events.DeadlinePassed(),
    ]


# -- a model of the keeper -----------------------------------------------------------------------


@dataclass
class World:
    """A worker, and a keeper that does what it is told and reports honestly.

    `tell` checks after every event what must always hold; see `_check`.

    Attributes:
        tree: Of the latest run: "none", "asked", "alive" or "left" (the leader has ended).
        wanted: A person's last word was up, and the service goes on.
        is_shut: What comes before it is not up, and what comes after it is not down: it must wait.
    """

    worker: Worker
    rng: Rng
    now_s: float = 1000.0
    tree: str = "none"
    wanted: bool = False
    is_shut: bool = False
    delivered: list[Fact] = field(default_factory=list)
    edges: set[tuple[type[State], type[State]]] = field(default_factory=set)

    def tell(self, event: Event, *, lag_s: float = 0.0) -> None:
        """Feed one event that happened *lag_s* ago, check, and do what is asked."""
        if isinstance(event, events.StopRequested | events.ShutdownRequested):
            self.wanted = False
        elif isinstance(event, events.StartRequested | events.RestartRequested):
            state = self.worker.state
            self.wanted |= not (isinstance(state, states.Stopping) and state.outcome == "shutdown")
        before, at_s = self.worker, self.now_s - lag_s
        gate = shut_gate if self.is_shut else open_gate
        self.worker, actions = step(before, event, now_s=at_s, rng=self.rng, gate=gate)
        if type(before.state) is not type(self.worker.state):
            self.edges.add((type(before.state), type(self.worker.state)))
        for action in actions:
            self._perform(action, before, event, at_s)
        self._check(before, at_s)

    def fact(self, event: Fact, tree: str, *, lag_s: float = 0.0) -> None:
        """The tree changed, and the keeper says so."""
        self.tree = tree
        self.delivered.append(event)
        self.tell(event, lag_s=lag_s)

    def _perform(self, action: Action, before: Worker, event: Event, at_s: float) -> None:
        state = self.worker.state
        match action:
            case Spawn(run):
                assert self.wanted, "spawned after a stop"
                assert not self.is_shut or run == before.run, "spawned before its turn"
                assert self.tree == "none", "a second run while the first is alive"
                assert run == self.worker.run
                if isinstance(before.state, states.Backoff) and event == events.DeadlinePassed():
                    assert at_s >= before.state.retry_at_s, "spawned before its time"
                self.tree = "asked"
            case SendSignal(run, signal):
                assert run == self.worker.run
                assert self.tree == "alive", "a signal to nobody"
                assert isinstance(state, states.Stopping)
                asked_for = state.outcome in ("stopped", "restart", "shutdown")
                is_later = isinstance(before.state, states.Stopping) and before.state.rung >= 0
                assert not (self.is_shut and asked_for) or is_later, "stopped before its turn"
                rung = self.worker.policy.stop_ladder[state.rung]
                assert (signal, state.deadline_s) == (rung.signal, at_s + rung.timeout_s)
            case KillTree(run):
                assert run == self.worker.run
                assert isinstance(state, states.Stopping)
            case Announce(name, fields):
                assert name.startswith("worker.")
                assert len(dict(fields)) == len(fields)

    def _check(self, before: Worker, at_s: float) -> None:
        worker, state, policy = self.worker, self.worker.state, self.worker.policy
        if worker == before:
            assert worker is before, "nothing changed, but it would be saved again"
        assert before.run <= worker.run <= before.run + 1
        assert list(worker.failures) == sorted(worker.failures)
        assert len(worker.failures) <= policy.max_restarts
        is_live = isinstance(
            state, states.Starting | states.Probing | states.Running | states.Stopping
        )
        assert is_live == (self.tree != "none"), f"{state}, but the tree is {self.tree}"
        assert after_a_crash(worker) == worker
        if isinstance(state, states.Backoff) and state is not before.state:
            self._check_wait(state, at_s)
        due_s = next_deadline_s(worker)
        if due_s is not None:
            early, actions = step(worker, events.DeadlinePassed(), now_s=due_s - 1e-3, rng=self.rng)
            assert early is worker, "an early wake-up changed something"
            assert actions == ()

    def _check_wait(self, state: states.Backoff, at_s: float) -> None:
        policy = self.worker.policy.backoff
        assert state.retry_at_s == at_s + state.delay_s
        assert state.delay_s <= policy.max_s
        if not state.after_failure:
            assert state.delay_s == policy.min_s
        elif state.delay_s != policy.max_s:
            full_s = backoff_s(self.worker.attempt, policy)
            low_s = full_s / 2 if policy.jitter else full_s
            assert low_s <= state.delay_s <= full_s
