"""The core alone, at speed: many slots, one clock, one supervisor that stalls and dies."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Iterator, Mapping

from supervisord_lite.core import events
from supervisord_lite.core.actions import Action, Announce, KillTree, SendSignal, Spawn
from supervisord_lite.core.fleet import Change, Fleet
from supervisord_lite.core.orders import told_of_change
from supervisord_lite.core.policy import Policy
from supervisord_lite.core.records import from_record, to_record
from supervisord_lite.core.states import Running, Worker
from supervisord_lite.core.swap import due_s as due_of_both
from tests.support.simulator.drawn import KILL, STAGES, Behaviour, a_policy, some_pools
from tests.support.simulator.engine import World
from tests.support.simulator.order import OrderModel
from tests.support.simulator.pair import PairModel
from tests.support.simulator.violation import BrokenPromiseError

Key = tuple[str, int]

_TURN = events.GateMoved()
_STARTS = (events.StartRequested, events.RestartRequested, events.ReplaceRequested)
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


class _Process:
    """One run that there really is.

    Attributes:
        tree: What really is: "none", "asked", "alive" or "left".
    """

    __slots__ = ("behaviour", "pid", "run", "slot", "tree")

    def __init__(self, slot: _Slot, run: int) -> None:
        self.slot = slot
        self.run = run
        self.pid = 0
        self.tree = "asked"
        self.behaviour: Behaviour | None = None


class _Slot:
    """One slot, and the processes that there really are.

    Attributes:
        due_s: When the core wants to be woken for it.
        armed_s: When the supervisor means to wake for it.
        last_run: The latest that was asked for.
    """

    __slots__ = (
        "armed_s", "due_s", "is_crash_loop", "key", "last_run", "model", "name", "processes",
    )  # fmt: skip

    def __init__(self, key: Key, policy: Policy, *, is_crash_loop: bool) -> None:
        self.key = key
        self.name = f"{key[0]}{key[1]}"
        self.model = PairModel(policy)
        self.is_crash_loop = is_crash_loop
        self.processes: dict[int, _Process] = {}
        self.last_run = 0
        self.due_s: float | None = None
        self.armed_s: float | None = None

    @property
    def tree(self) -> str:
        """How its runs are: "none" where nothing of any is left."""
        return " ".join(each.tree for each in self.processes.values()) or "none"


class FastWorld(World):
    """One simulation of the core.

    Times are in seconds. What the keeper sees happens at once; what the supervisor hears of it
    waits in `_facts` while it stalls, in order.

    Attributes:
        edges: Every move of a worker from state to state.
        swaps: What became of runs that were started beside others.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        rng = self.rng
        self._facts: deque[tuple[_Slot, events.SlotEvent, float]] = deque()
        self._stalled_until_s = 0.0
        self._is_ending = False
        self.edges: set[tuple[type, type]] = set()
        self._between_s = rng.choice((2.0, 10.0, 60.0))  #: orders of one person
        self._swaps = rng.choice((0.0, 0.3, 0.9))  #: of the restarts: the new run comes first
        self.swaps: Counter[str] = Counter()
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
        self._pids = list(range(1, 3 * len(self._slots) + 1))
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

    def _tell(self, slot: _Slot, event: events.SlotEvent, at_s: float) -> None:
        """Let the supervisor hear one event; it may die of it, and another one takes over."""
        faults, rng = self.faults, self.rng
        if faults.torn and rng.random() < faults.torn:
            self._tear(slot, event, at_s)
            return
        self._hear(self._fleet.feed(slot.key, event, now_s=at_s, rng=rng), event, at_s)
        if faults.crash and rng.random() < faults.crash:
            self._restore("crash")

    def _tear(self, slot: _Slot, event: events.SlotEvent, at_s: float) -> None:
        """Let it be killed after a decision and before it could say so: not saved, not asked.

        What it had decided before that for others has been said, and holds.
        """
        steps = self._fleet.feed(slot.key, event, now_s=at_s, rng=self.rng)
        survivors = self.rng.randrange(3)
        said: list[Change] = []
        heard = event
        while True:
            workers, twins = dict(self._fleet.workers), dict(self._fleet.twins)
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
                self._fleet.twins.clear()
                self._fleet.twins.update(twins)
                break
            said.append(change)
        for change in said:
            self._follow(change)
        self._restore("torn")
        if not said and isinstance(event, events.OfRun):
            self._tell(slot, event, at_s)

    def _hear(self, changes: Iterator[Change], event: events.SlotEvent, at_s: float) -> None:
        """Check what one event leads to, step by step, and do what is asked for."""
        for change in changes:
            self._check(change, event, at_s)
            self._follow(change)
            event = _TURN
        if self._order_model.has_ties:
            self._order_model.check()

    def _check(self, change: Change, event: events.SlotEvent, at_s: float) -> None:
        slot, worker, actions = self._by_key[change.slot], change.after, change.actions
        due_s = due_of_both(worker, change.twin)
        if change.twin_before is None and change.twin is None:
            self.edges.add((type(change.before.state), type(worker.state)))
        self._note_swap(change)
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
        if slot.model.twin is None and not isinstance(event, events.ReplaceRequested):
            slot.model.hear(event, at_s, worker, actions, due_s)
        else:
            slot.model.hear_both(event, at_s, worker, change.twin, actions, due_s)

    def _note_swap(self, change: Change) -> None:
        """Count what swaps have come to: each of it must be seen."""
        if change.twin_before is None or change.twin_before is change.twin:
            return
        for action in change.actions:
            if isinstance(action, Announce) and action.event == "worker.rejected":
                self.swaps["rejected"] += 1
        if change.after.run == change.twin_before.run:
            is_ready = isinstance(change.after.state, Running)
            self.swaps["taken over" if is_ready else "given way"] += 1

    def _follow(self, change: Change) -> None:
        slot = self._by_key[change.slot]
        if change.actions:
            self._perform(slot, change.actions)
        self._arm(slot)

    def _take_over(
        self, workers: dict[Key, Worker], twins: dict[Key, Worker] | None = None
    ) -> None:
        self._fleet = Fleet(self._pools, workers, twins)
        models = {key: slot.model for key, slot in self._by_key.items()}
        self._order_model = OrderModel(self._pools, models)

    def _restore(self, why: str) -> None:
        """The supervisor has died: another one reads what was saved."""
        self.trace.add((self.now_s, why))
        workers, twins = _read_back(self._fleet.workers), _read_back(self._fleet.twins)
        self._take_over(workers, twins)
        for slot in self._slots:
            slot.due_s = due_of_both(workers[slot.key], twins.get(slot.key))
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
                process = self._spawn(slot, action.run)
                if faults.lost and rng.random() < faults.lost:
                    self.at(rng.random(), self._lose, process)
                else:
                    slow = faults.slow_spawn and rng.random() < faults.slow_spawn
                    self.at(rng.random() * (20.0 if slow else 0.05), self._answer, process)
                continue
            found = slot.processes.get(action.run) if not isinstance(action, Announce) else None
            if found is None:
                continue
            if isinstance(action, SendSignal):
                heeds_s = found.behaviour.heeds_s if found.behaviour else None
                if found.tree == "alive" and heeds_s is not None:
                    self.at(heeds_s, self._die, found, (None, action.signal))
            elif isinstance(action, KillTree):
                self.at(rng.random() * 0.01, self._die, found, (None, KILL))

    def _spawn(self, slot: _Slot, run: int) -> _Process:
        """A run is asked for: at most one beside it, and only where it stands beside that one."""
        most = 0 if slot.model.twin is None else 1
        if len(slot.processes) > most:
            message = f"spawned run {run} while others are {slot.tree}"
            raise BrokenPromiseError(message)
        if run < slot.last_run or run in slot.processes:
            message = f"run {run} is asked for, and {slot.last_run} was before"
            raise BrokenPromiseError(message)
        slot.last_run = run
        slot.processes[run] = process = _Process(slot, run)
        return process

    def _lose(self, process: _Process) -> None:
        """The request never arrived; whoever takes over sees that."""
        if process.tree == "asked":
            self._gone(process)
            self._restore("lost")
            self._fact(process.slot, events.Lost(process.run))

    def _gone(self, process: _Process) -> None:
        process.tree = "none"
        del process.slot.processes[process.run]

    def _answer(self, process: _Process) -> None:
        rng, slot, run = self.rng, process.slot, process.run
        if self.faults.failed_spawn and rng.random() < self.faults.failed_spawn:
            stage, missing, hopeless = rng.choice(STAGES)
            self._gone(process)
            failed = events.SpawnFailed(run, stage, "why", missing=missing, hopeless=hopeless)
            self._fact(slot, failed)
            return
        process.tree = "alive"
        process.pid = self._pids.pop(rng.randrange(len(self._pids)))
        process.behaviour = own = Behaviour(rng, self.faults, is_crash_loop=slot.is_crash_loop)
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
        self._fact(slot, events.Spawned(run, process.pid))
        self.at(own.lives_s, self._die, process, (own.code, own.signal))

    def _say(self, slot: _Slot, word: events.OfRun) -> None:
        """Somebody speaks of a run, dead or alive."""
        self._fact(slot, word)

    def _die(self, process: _Process, how: tuple[int | None, int | None]) -> None:
        if process.tree != "alive":
            return
        assert process.behaviour is not None
        self._pids.append(process.pid)
        left_s = process.behaviour.leaves_s
        if left_s is None:
            self._gone(process)
        else:
            process.tree = "left"
            self.at(left_s, self._clear, process)
        self._fact(process.slot, events.Exited(process.run, *how, emptied=left_s is None))

    def _clear(self, process: _Process) -> None:
        self._gone(process)
        killed = ("9 x",) if self.rng.random() < 0.5 else ()
        self._fact(process.slot, events.Emptied(process.run, killed))

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

    def _order(self, slot: _Slot, event: events.SlotEvent) -> None:
        """An order reaches the supervisor: in its turn, after the facts that are there."""
        if self._is_stalled():
            self._facts.append((slot, event, self._stalled_until_s))
            return
        # While the service ends the shell refuses to start what is down.
        starts = isinstance(event, _STARTS)
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
            order: events.SlotEvent = next(event for upto, event in _PERSONS if draw < upto)
            if isinstance(order, events.RestartRequested) and rng.random() < self._swaps:
                is_other = rng.random() < 0.3
                order = events.ReplaceRequested(a_policy(rng) if is_other else slot.model.policy)
            self._order(slot, order)

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
            for process in slot.processes.values():
                if process.tree == "alive" and self.rng.random() < 0.7:
                    self.at(self.rng.uniform(0.0, 5.0), self._die, process, (None, KILL))

    def _new_day(self) -> None:
        """The service has ended and is started again; here only the orders are allowed again."""
        self._is_ending = False


def _read_back(workers: Mapping[Key, Worker]) -> dict[Key, Worker]:
    """Return what a successor reads of what was saved."""
    found = {}
    for key, worker in workers.items():
        record = json.loads(json.dumps(to_record(worker)))
        found[key] = from_record(record, worker.policy)
        if found[key] != worker:
            message = f"saved {worker}, and read {found[key]}"
            raise BrokenPromiseError(message)
    return found
