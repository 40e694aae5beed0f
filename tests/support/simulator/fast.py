"""The core alone, at speed: many slots, one clock, one supervisor that stalls and dies."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator

from supervisord_lite.core import events
from supervisord_lite.core.actions import Action, KillTree, SendSignal, Spawn
from supervisord_lite.core.fleet import Change, Fleet
from supervisord_lite.core.orders import told_of_change
from supervisord_lite.core.policy import Policy
from supervisord_lite.core.records import from_record, to_record
from supervisord_lite.core.states import Worker
from supervisord_lite.core.step import next_deadline_s
from tests.support.simulator.drawn import KILL, STAGES, Behaviour, a_policy, some_pools
from tests.support.simulator.engine import World
from tests.support.simulator.model import SlotModel
from tests.support.simulator.order import OrderModel
from tests.support.simulator.violation import BrokenPromiseError

Key = tuple[str, int]

_TURN = events.GateMoved()
_PERSONS: tuple[tuple[float, events.Event], ...] = (
    (0.34, events.StartRequested()),
    (0.56, events.StopRequested()),
    (0.78, events.RestartRequested()),
    (1.0, events.ResetRequested()),
)
#: When the service ends, everything has ended after this long.
_END_S = 200.0
#: Within this long everything is up that is wanted, when the faults have stopped: the processes
#: that were there already live this long at most.
_CALM_S = 4000.0


class _Slot:
    """One slot, and the process that there really is.

    Attributes:
        tree: What really is: "none", "asked", "alive" or "left".
        due_s: When the core wants to be woken for it.
        armed_s: When the supervisor means to wake for it.
    """

    __slots__ = (
        "armed_s", "behaviour", "due_s", "is_crash_loop", "key", "model", "name", "pid", "run",
        "tree",
    )  # fmt: skip

    def __init__(self, key: Key, policy: Policy, *, is_crash_loop: bool) -> None:
        self.key = key
        self.name = f"{key[0]}{key[1]}"
        self.model = SlotModel(policy)
        self.is_crash_loop = is_crash_loop
        self.tree = "none"
        self.run = 0
        self.pid = 0
        self.behaviour: Behaviour | None = None
        self.due_s: float | None = None
        self.armed_s: float | None = None


class FastWorld(World):
    """One simulation of the core.

    Times are in seconds. What the keeper sees happens at once; what the supervisor hears of it
    waits in `_facts` while it stalls, in order.

    Attributes:
        edges: Every move of a worker from state to state.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        rng = self.rng
        self._facts: deque[tuple[_Slot, events.Event, float]] = deque()
        self._stalled_until_s = 0.0
        self._is_ending = False
        self.edges: set[tuple[type, type]] = set()
        self._between_s = rng.choice((2.0, 10.0, 60.0))  #: orders of one person
        self._pools = some_pools(rng)
        workers: dict[Key, Worker] = {}
        self._by_key: dict[Key, _Slot] = {}
        for pool in self._pools:
            policy = a_policy(rng, may_be_job=True)
            for index in range(1, rng.choice((1, 1, 1, 2, 3)) + 1):
                key = (pool.name, index)
                workers[key] = Worker(pool.name, index, policy)
                self._by_key[key] = _Slot(key, policy, is_crash_loop=rng.random() < 0.3)
        self._slots = list(self._by_key.values())
        self._pids = list(range(1, 2 * len(self._slots) + 1))
        self._take_over(workers)
        for slot in self._slots:
            self.at(rng.random(), self._boot, slot)
        self.at(rng.uniform(0.0, 100.0), self._stall)
        for person in range(2):
            self.at(rng.expovariate(1 / self._between_s), self._person, person)
        self.at(rng.uniform(0.0, 20.0), self._look_at_clocks)

    def calm(self) -> None:
        """Let all faults stop: a sane configuration, good programs, and everybody wanted up.

        Raises:
            BrokenPromiseError: Within the bound not everything is up; or, when everything is to
                stop then, not everything is down and quiet.
        """
        with self.telling_the_seed():
            self.faults.stop()
            self.is_calm = True
            sane: tuple[events.Event, ...] = (
                events.PolicyChanged(Policy(restart="always")),
                events.ResetRequested(),
                events.StartRequested(),
            )
            # A service that was ending has ended by then.
            self.at(_END_S, self._order_all, sane)
            self.pass_s(_END_S + _CALM_S)
            for slot in self._slots:
                self._require(slot, "Running", "alive")
            self.at(0.0, self._order_all, (events.StopRequested(),))
            self.pass_s(_END_S)
            for slot in self._slots:
                self._require(slot, "Stopped", "none")

    def _require(self, slot: _Slot, state: str, tree: str) -> None:
        state_now = self._fleet.workers[slot.key].state
        if (type(state_now).__name__, slot.tree) != (state, tree):
            message = f"in the end {state_now}, its tree {slot.tree}"
            raise BrokenPromiseError(message)

    # -- events ------------------------------------------------------------------------------------

    def _tell(self, slot: _Slot, event: events.Event, at_s: float) -> None:
        """Let the supervisor hear one event; it may die of it, and another one takes over."""
        faults, rng = self.faults, self.rng
        if faults.torn and rng.random() < faults.torn:
            self._tear(slot, event, at_s)
            return
        self._hear(self._fleet.feed(slot.key, event, now_s=at_s, rng=rng), event, at_s)
        if faults.crash and rng.random() < faults.crash:
            self._restore("crash")

    def _tear(self, slot: _Slot, event: events.Event, at_s: float) -> None:
        """Let it be killed after a decision and before it could say so: not saved, not asked.

        What it had decided before that for others has been said, and holds.
        """
        steps = self._fleet.feed(slot.key, event, now_s=at_s, rng=self.rng)
        survivors = self.rng.randrange(3)
        said: list[Change] = []
        heard = event
        while True:
            workers = dict(self._fleet.workers)
            models = {key: each.model.copy() for key, each in self._by_key.items()}
            change = next(steps, None)
            if change is None:
                break
            self._check(change, heard, at_s)
            heard = events.GateMoved()
            if len(said) == survivors:
                for key, each in self._by_key.items():
                    each.model = models[key]
                self._fleet.workers.clear()
                self._fleet.workers.update(workers)
                break
            said.append(change)
        for change in said:
            self._follow(change)
        self._restore("torn")
        if not said and isinstance(event, events.OfRun):
            self._tell(slot, event, at_s)

    def _hear(self, changes: Iterator[Change], event: events.Event, at_s: float) -> None:
        """Check what one event leads to, step by step, and do what is asked for."""
        for change in changes:
            self._check(change, event, at_s)
            self._follow(change)
            event = _TURN
        if self._order_model.has_ties:
            self._order_model.check()

    def _check(self, change: Change, event: events.Event, at_s: float) -> None:
        slot, worker, actions = self._by_key[change.slot], change.after, change.actions
        due_s = next_deadline_s(worker)
        self.edges.add((type(change.before.state), type(worker.state)))
        self.trace.add(
            (
                at_s,
                slot.name,
                type(event).__name__,
                type(worker.state).__name__,
                worker.run,
                len(actions),
                due_s,
            ),
            event,
            worker.state,
            actions,
        )
        slot.due_s = due_s
        slot.model.hear(event, at_s, worker, actions, due_s)

    def _follow(self, change: Change) -> None:
        slot = self._by_key[change.slot]
        if change.actions:
            self._perform(slot, change.actions)
        self._arm(slot)

    def _take_over(self, workers: dict[Key, Worker]) -> None:
        self._fleet = Fleet(self._pools, workers)
        models = {key: slot.model for key, slot in self._by_key.items()}
        self._order_model = OrderModel(self._pools, models)

    def _restore(self, why: str) -> None:
        """The supervisor has died: another one reads what was saved."""
        self.trace.add((self.now_s, why))
        workers = {}
        for key, worker in self._fleet.workers.items():
            record = json.loads(json.dumps(to_record(worker)))
            workers[key] = from_record(record, worker.policy)
            if workers[key] != worker:
                message = f"saved {worker}, and read {workers[key]}"
                raise BrokenPromiseError(message)
        self._take_over(workers)
        for slot in self._slots:
            slot.due_s = next_deadline_s(workers[slot.key])
            self._arm(slot)
        self._fleet.wake_all()
        self._hear(self._fleet.rest(now_s=self.now_s, rng=self.rng), _TURN, self.now_s)

    def _arm(self, slot: _Slot) -> None:
        due_s = slot.due_s
        if due_s is not None and due_s != slot.armed_s:
            self.at(due_s - self.now_s, self._wake, slot, due_s)
        slot.armed_s = due_s

    def _wake(self, slot: _Slot, due_s: float) -> None:
        if slot.armed_s != due_s:
            return
        if self._is_stalled():
            self.at(self._stalled_until_s - self.now_s, self._wake, slot, due_s)
            return
        slot.armed_s = None
        # Late by as much as the machine is busy; sometimes early, and then nothing may happen.
        if self.rng.random() < 0.02:
            self._tell(slot, events.DeadlinePassed(), due_s - 0.001)
        else:
            self._tell(slot, events.DeadlinePassed(), max(self.now_s, due_s))

    # -- the keeper --------------------------------------------------------------------------------

    def _fact(self, slot: _Slot, fact: events.Event) -> None:
        """Something happened to a process; the supervisor hears of it now or after its stall."""
        if self._is_stalled() or self._facts:
            self._facts.append((slot, fact, self.now_s))
        else:
            self._tell(slot, fact, self.now_s)

    def _is_stalled(self) -> bool:
        return self.now_s < self._stalled_until_s

    def _stall(self) -> None:
        """The supervisor has no time for a while, a few times an hour."""
        if self.faults.stall:
            span_s = self.rng.choice((0.5, 5.0, 5.0, 100.0))
            self._stalled_until_s = self.now_s + span_s
            self.at(span_s, self._go_on)
            self.at(span_s + self.rng.expovariate(self.faults.stall), self._stall)

    def _go_on(self) -> None:
        """The stall is over: what has happened meanwhile comes first."""
        while self._facts:
            slot, fact, at_s = self._facts.popleft()
            self._tell(slot, fact, at_s)

    def _perform(self, slot: _Slot, actions: tuple[Action, ...]) -> None:
        rng, faults = self.rng, self.faults
        for action in actions:
            if isinstance(action, Spawn):
                if slot.tree != "none":
                    message = f"spawned run {action.run} while run {slot.run} is {slot.tree}"
                    raise BrokenPromiseError(message)
                slot.tree, slot.run = "asked", action.run
                if faults.lost and rng.random() < faults.lost:
                    self.at(rng.random(), self._lose, slot, action.run)
                else:
                    slow = faults.slow_spawn and rng.random() < faults.slow_spawn
                    self.at(rng.random() * (20.0 if slow else 0.05), self._answer, slot)
            elif isinstance(action, SendSignal):
                heeds_s = slot.behaviour.heeds_s if slot.behaviour else None
                if slot.tree == "alive" and slot.run == action.run and heeds_s is not None:
                    self.at(heeds_s, self._die, slot, (action.run, None, action.signal))
            elif isinstance(action, KillTree) and slot.run == action.run:
                self.at(rng.random() * 0.01, self._die, slot, (action.run, None, KILL))

    def _lose(self, slot: _Slot, run: int) -> None:
        """The request never arrived; whoever takes over sees that."""
        if slot.tree == "asked" and slot.run == run:
            slot.tree = "none"
            self._restore("lost")
            self._fact(slot, events.Lost(run))

    def _answer(self, slot: _Slot) -> None:
        rng, run = self.rng, slot.run
        if self.faults.failed_spawn and rng.random() < self.faults.failed_spawn:
            stage, missing, hopeless = rng.choice(STAGES)
            slot.tree = "none"
            failed = events.SpawnFailed(run, stage, "why", missing=missing, hopeless=hopeless)
            self._fact(slot, failed)
            return
        slot.tree = "alive"
        slot.pid = self._pids.pop(rng.randrange(len(self._pids)))
        slot.behaviour = own = Behaviour(rng, self.faults, is_crash_loop=slot.is_crash_loop)
        if self.is_calm:
            own.be_good()
        if own.says_s == 0.0:
            self._fact(slot, events.ReadySaid(run))  # it overtakes the answer to the spawn
        elif own.says_s is not None:
            self.at(own.says_s, self._say, slot, events.ReadySaid(run))
        if self.faults.judged and rng.random() < self.faults.judged:
            judged = events.JudgedFailed(run, "no heartbeat")
            self.at(rng.expovariate(1.0), self._say, slot, judged)
        if self.faults.judged and rng.random() < self.faults.judged:
            due = events.RecycleRequested(run, "age 24h")
            self.at(rng.expovariate(0.1), self._say, slot, due)
        if own.extends_s is not None:
            until_s = self.now_s + own.extends_s * (1.0 + rng.random())
            self.at(own.extends_s, self._say, slot, events.Extended(run, until_s))
        self._fact(slot, events.Spawned(run, slot.pid))
        self.at(own.lives_s, self._die, slot, (run, own.code, own.signal))

    def _say(self, slot: _Slot, word: events.OfRun) -> None:
        """Somebody speaks of a run, dead or alive."""
        self._fact(slot, word)

    def _die(self, slot: _Slot, how: tuple[int, int | None, int | None]) -> None:
        run, code, signal = how
        if slot.tree != "alive" or slot.run != run:
            return
        assert slot.behaviour is not None
        self._pids.append(slot.pid)
        left_s = slot.behaviour.leaves_s
        slot.tree = "none" if left_s is None else "left"
        if left_s is not None:
            self.at(left_s, self._clear, slot, run)
        self._fact(slot, events.Exited(run, code, signal, emptied=left_s is None))

    def _clear(self, slot: _Slot, run: int) -> None:
        if slot.tree == "left" and slot.run == run:
            slot.tree = "none"
            self._fact(slot, events.Emptied(run, ("9 x",) if self.rng.random() < 0.5 else ()))

    # -- the clocks of jobs ------------------------------------------------------------------------

    def _look_at_clocks(self) -> None:
        """Planned times come when they like: late, missed, and two at a time."""
        rng = self.rng
        self.at(rng.choice((0.1, 5.0, 20.0)), self._look_at_clocks)
        for slot in self._slots if not self._is_stalled() else ():
            worker = self._fleet.workers[slot.key]
            if worker.policy.schedule is None or rng.random() < 0.5:
                continue
            if worker.settled_s is None:
                self._tell(slot, events.PlanBegun(self.now_s), self.now_s)
                continue
            missed = rng.choice(("", "", "", "12:07"))
            is_missed = bool(missed) and rng.random() < 0.7
            self._tell(slot, events.CameDue(self.now_s, "now", is_missed, missed), self.now_s)

    # -- people ------------------------------------------------------------------------------------

    def _boot(self, slot: _Slot) -> None:
        if slot.model.policy.autostart:
            self._order(slot, events.StartRequested(by_itself=True))

    def _order(self, slot: _Slot, event: events.Event) -> None:
        """An order reaches the supervisor: in its turn, after the facts that are there."""
        if self._is_stalled():
            self._facts.append((slot, event, self._stalled_until_s))
            return
        # While the service ends the shell refuses to start what is down.
        starts = isinstance(event, events.StartRequested | events.RestartRequested)
        if not (self._is_ending and starts and slot.model.tree == "none"):
            self._tell(slot, event, self.now_s)

    def _order_all(self, orders: tuple[events.Event, ...]) -> None:
        self._is_ending = False
        for order in orders:
            for slot in self._slots:
                self._order(slot, order)

    def _person(self, person: int) -> None:
        rng, faults = self.rng, self.faults
        if self.is_calm:
            return
        self.at(rng.expovariate(1 / self._between_s), self._person, person)
        slot = rng.choice(self._slots)
        draw = rng.random()
        if draw < 0.01:
            self._end_all()
        elif draw < 0.04:
            for key in self._fleet.graph.in_stop_order(self._by_key):
                self._order(self._by_key[key], events.StopRequested())
            self._kill_some()
        elif draw < 0.07 and faults.policy:
            self._reload(20 if rng.random() < faults.reload_burst else 1)
        else:
            draw = rng.random()
            self._order(slot, next(event for upto, event in _PERSONS if draw < upto))

    def _reload(self, times: int) -> None:
        """The file has changed, again and again: each time one pool is another program now, or not.

        What was stopped by hand stays stopped, and nobody is ended for what holds for a live run.
        """
        rng = self.rng
        for _ in range(0 if self._is_stalled() else times):
            slot, policy = rng.choice(self._slots), a_policy(rng, may_be_job=True)
            is_new_run = rng.random() < 0.3
            model = slot.model
            was_down = model.tree == "none" and model.rest == "stopped"
            was_leaving, pid = model.is_leaving, model.pid
            worker = self._fleet.workers[slot.key]
            for event in told_of_change(worker, policy, is_new_run=is_new_run):
                self._order(slot, event)
            is_down = slot.model.tree == "none" and slot.model.rest == "stopped"
            if was_down and not is_down:
                message = f"{slot.name} was stopped, and a reload has started it"
                raise BrokenPromiseError(message)
            if pid is not None and not (was_leaving or is_new_run) and slot.model.is_leaving:
                message = f"{slot.name} is ended by a reload that concerns no live run"
                raise BrokenPromiseError(message)

    def _end_all(self) -> None:
        """The service ends, in order or at once; sometimes when somebody starts or reloads."""
        rng = self.rng
        if rng.random() < 0.5:
            for slot in self._slots:
                self._order(slot, events.StartRequested())
        self._is_ending = True
        order = events.ShutdownRequested(at_once=rng.random() < 0.4)
        for key in self._fleet.graph.in_stop_order(self._by_key):
            self._order(self._by_key[key], order)
        if self.faults.policy and rng.random() < 0.5:
            self._reload(10)
        self._kill_some()
        self.at(60.0, self._new_day)

    def _kill_some(self) -> None:
        """Somebody else kills what is alive, in the next seconds."""
        for slot in self._slots:
            if slot.tree == "alive" and self.rng.random() < 0.7:
                self.at(self.rng.uniform(0.0, 5.0), self._die, slot, (slot.run, None, KILL))

    def _new_day(self) -> None:
        """The service has ended and is started again; here only the orders are allowed again."""
        self._is_ending = False
