"""All workers together: `step` for each, in the order that they are to each other.

Nothing here waits or touches anything either. Whoever calls feeds one event, performs the actions
of every change that follows, and saves the workers that changed. What a change means for others
comes as more changes: a worker whose turn has come starts or is stopped in the same call.

What falls out of two rules and no further state:

* *A start waits until everything it requires is ready and everything it comes after is ready or has
  given up.* A restart after a failure waits only for what it requires, until one instance of each
  is ready: the crash of a required worker touches nobody, and whoever crashed because of it does
  not burn its breaker meanwhile.
* *A stop that was asked for waits until nobody who comes after it is on the way down.* So whatever
  is stopped together, by one person or two, by a reload or at the end, goes down in the reverse
  order; and a restart of several goes down in that order and comes up in the other.
* *Nobody starts once the service ends.* A critical worker that has given up lets nobody go on.
"""

from collections.abc import Iterable, Iterator, Mapping

from supervisord_lite.base.clock import Rng
from supervisord_lite.base.record import record
from supervisord_lite.core import events
from supervisord_lite.core.actions import Action
from supervisord_lite.core.events import SlotEvent
from supervisord_lite.core.pools import Graph, Pool, Slot
from supervisord_lite.core.standing import Standing, is_ready
from supervisord_lite.core.states import Exited, Stopped, Tripped, Waiting, Worker
from supervisord_lite.core.step import step
from supervisord_lite.core.swap import is_coming, step_both


@record
class Change:
    """One step of one worker. `after` is `before` where nothing changed.

    Attributes:
        twin_before, twin: The run beside that of the slot (`swap.py`), before and after.
    """

    slot: Slot
    before: Worker
    after: Worker
    actions: tuple[Action, ...]
    twin_before: Worker | None = None
    twin: Worker | None = None

    @property
    def is_new_run(self) -> bool:
        """Return whether a run was begun: one that was beside the slot's is older than that."""
        known = max(self.before.run, self.twin_before.run if self.twin_before else 0)
        return self.after.run > known


@record
class Escalation:
    """Why the whole service ends: a critical worker whose breaker is open.

    Attributes:
        slot: The instance that tripped last.
        critical: "any" or "all": what the pool asks for.
        failures, of, window_s: "failure 5 of 5 in 10m".
        reason: How its latest run ended: "exit 1".
    """

    slot: Slot
    critical: str
    failures: int
    of: int
    window_s: float
    reason: str


class Fleet:
    """Every worker by slot, and what the pools are to each other.

    Attributes:
        workers: Present state by slot; to be read. Only `step`, `put` and `drop` change it.
        twins: The run beside that of a slot, where there are two (`swap.py`); likewise.
        graph: The order among the pools.
        standing: How each pool stands.
    """

    def __init__(
        self,
        pools: Iterable[Pool],
        workers: Mapping[Slot, Worker],
        twins: Mapping[Slot, Worker] | None = None,
    ) -> None:
        """Begin with *workers*; each belongs to one of *pools*. *twins* stand beside some."""
        self.workers = dict(workers)
        self.twins: dict[Slot, Worker] = {}
        self.graph = Graph(pools)
        self.standing = Standing(self.graph)
        for slot, worker in self.workers.items():
            self.standing.add(slot, worker)
        for slot, twin in (twins or {}).items():
            self.put_twin(slot, twin)
        self.standing.woken.clear()

    def feed(self, slot: Slot, event: SlotEvent, *, now_s: float, rng: Rng) -> Iterator[Change]:
        """Let one event happen to one worker, and yield every change that it leads to.

        The changes happen while they are asked for: whoever stops asking owes the rest, which
        `rest` yields.

        Args:
            slot: Whose event it is.
            event: What happened.
            now_s: As for `step`; what follows in other workers happens at the same time.
            rng: As for `step`.
        """
        yield self.step(slot, event, now_s=now_s, rng=rng)
        yield from self.rest(now_s=now_s, rng=rng)

    def rest(self, *, now_s: float, rng: Rng) -> Iterator[Change]:
        """Let everybody go on whose turn may have come, until nobody moves any more."""
        woken = self.standing.woken
        while woken:
            slot = woken.popleft()
            if slot in self.workers:
                yield self.step(slot, events.GateMoved(), now_s=now_s, rng=rng)

    def step(
        self, slot: Slot, event: SlotEvent, *, now_s: float, rng: Rng, is_alone: bool = False
    ) -> Change:
        """Let one event happen to one worker, and nothing to others: see `feed`.

        With *is_alone* it does not wait for others either: a person knows better.
        """
        before, twin = self.workers[slot], self.twins.get(slot)
        gate = self.standing.gate_of(slot, is_alone=is_alone)
        if twin is not None or isinstance(event, events.ReplaceRequested):
            both = step_both(before, twin, event, now_s=now_s, rng=rng, gate=gate)
            if both.twin is not twin:
                self.put_twin(slot, both.twin)
            if both.worker is not before:
                self.put(slot, both.worker)
            return Change(slot, before, both.worker, both.actions, twin, both.twin)
        after, actions = step(before, event, now_s=now_s, rng=rng, gate=gate)
        if after is not before:
            self.put(slot, after)
        return Change(slot, before, after, actions)

    def end(self, *, is_ending: bool = True) -> None:
        """Let nobody start any more; or after all, if what was broken is not."""
        if self.standing.is_ending and not is_ending:
            self.wake_all()
        self.standing.is_ending = is_ending

    def wake_all(self) -> None:
        """Let everybody ask again whether its turn has come: after an adoption or a reload."""
        slots = self.graph.in_start_order(self.workers)
        states = [(slot, self.workers[slot].state) for slot in slots]
        woken = self.standing.woken
        woken.extend(
            slot
            for slot, state in states
            if isinstance(state, Waiting) or is_coming(self.twins.get(slot))
        )
        woken.extend(slot for slot, state in reversed(states) if getattr(state, "held_by", ""))

    def put(self, slot: Slot, worker: Worker) -> None:
        """Replace a worker, or add one; its pool must be known."""
        is_new = slot not in self.workers
        self.workers[slot] = worker
        if is_new:
            self.standing.add(slot, worker)
        else:
            self.standing.note(slot, worker)

    def put_twin(self, slot: Slot, twin: Worker | None) -> None:
        """Replace the run beside that of a slot; None: there is none any more."""
        if twin is None:
            self.twins.pop(slot, None)
        else:
            self.twins[slot] = twin
        is_waiting = twin is not None and isinstance(twin.state, Waiting)
        self.standing.note_twin(slot, is_waiting=is_waiting)

    def drop(self, slot: Slot) -> None:
        """Forget a worker that is stopped for good."""
        del self.workers[slot]
        self.standing.remove(slot)

    # -- decisions ---------------------------------------------------------------------------------

    def to_start(self, slots: Iterable[Slot], *, by_person: bool) -> list[Slot]:
        """Return what to start so that *slots* can: them, and what they require, in start order.

        A required pool that is ready, or on its way, is left alone. So is an instance that somebody
        stopped by hand, unless a person asks now; and one whose breaker is open needs its reset.

        Args:
            slots: What somebody wants up.
            by_person: Somebody typed it; else the boot or a reload wants it.
        """
        wanted = set(slots)
        pools = self.graph.required_by({slot[0] for slot in wanted})
        for slot, worker in self.workers.items() if pools else ():
            if slot[0] not in pools or is_ready(worker):
                continue
            match worker.state:
                case Stopped(by_hand=by_hand) if by_person or not by_hand:
                    wanted.add(slot)
                case Exited() if by_person:
                    wanted.add(slot)
                case _:
                    pass
        return self.graph.in_start_order(wanted)

    def is_stuck(self, slot: Slot) -> bool:
        """Return whether a worker waits for one that has given up: nothing moves by itself."""
        is_waiting = isinstance(self.workers[slot].state, Waiting)
        return is_waiting and self.standing.is_stuck(slot[0])

    def escalation(self) -> Escalation | None:
        """Return why the service must end, or None: the first critical pool that is broken."""
        name = self.standing.broken()
        if name is None:
            return None
        tripped = [
            (state.at_s, slot)
            for slot, worker in self.workers.items()
            if slot[0] == name and isinstance(state := worker.state, Tripped)
        ]
        slot = max(tripped)[1]
        worker = self.workers[slot]
        last = worker.last_exit
        return Escalation(
            slot,
            self.graph.pools[name].critical,
            len(worker.failures),
            worker.policy.max_restarts,
            worker.policy.circuit_window_s,
            "unknown" if last is None else last.reason,
        )

    def longest_stop_s(self) -> float:
        """Return how long an ordered stop of everything can take, in seconds, by its ladders.

        Each pool waits for those behind it, so it is the longest chain and not the longest ladder.
        """
        longest: dict[str, float] = dict.fromkeys(self.graph.pools, 0.0)
        for slot, worker in self.workers.items():
            own_s = sum(rung.timeout_s for rung in worker.policy.stop_ladder)
            longest[slot[0]] = max(longest[slot[0]], own_s)
        ends_s: dict[str, float] = {}
        for name in sorted(longest, key=self.graph.rank.__getitem__, reverse=True):
            behind_s = max((ends_s[each] for each in self.graph.directly_behind(name)), default=0.0)
            ends_s[name] = behind_s + longest[name]
        return max(ends_s.values(), default=0.0)
