"""Workers together against a model of the keeper, to test `core.fleet` without a process."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from supervisord_lite.base.clock import Rng
from supervisord_lite.core import events, states
from supervisord_lite.core.actions import Action, Announce, KillTree, SendSignal, Spawn
from supervisord_lite.core.events import Event
from supervisord_lite.core.fleet import Change, Fleet
from supervisord_lite.core.policy import Critical, Policy
from supervisord_lite.core.pools import Pool, Slot
from supervisord_lite.core.states import State, Worker
from supervisord_lite.core.step import next_deadline_s
from tests.support.core import FixedRng, a_policy, after_a_crash


@dataclass
class Company:
    """A fleet that a test drives; it keeps who lives and what was done, in order.

    Attributes:
        trees: Slot -> "asked", "alive" or "stopping" of its run; no entry: nothing of it is there.
        done: ("spawn" | "signal" | "kill", printed slot) in order.
        now_s: Only tests move it.
    """

    fleet: Fleet
    rng: Rng = field(default_factory=FixedRng)
    now_s: float = 0.0
    trees: dict[Slot, str] = field(default_factory=dict)
    done: list[tuple[str, str]] = field(default_factory=list)
    heard: list[tuple[Slot, Announce]] = field(default_factory=list)

    def tell(self, name: str, event: Event) -> None:
        """Feed an event to a worker ("web", "web-2") and everything that follows to others."""
        self.feed(slot_of(name), event)

    def feed(self, slot: Slot, event: Event) -> None:
        for change in self.fleet.feed(slot, event, now_s=self.now_s, rng=self.rng):
            self._take(change)

    def _take(self, change: Change) -> None:
        assert self.fleet.workers[change.slot] == change.after
        for action in change.actions:
            self._perform(change.slot, action)

    def _perform(self, slot: Slot, action: Action) -> None:
        match action:
            case Spawn():
                assert slot not in self.trees, "a second run while the first is alive"
                self.trees[slot] = "asked"
                self.done.append(("spawn", name_of(slot)))
            case SendSignal():
                assert self.trees[slot] in ("alive", "stopping"), "a signal to nobody"
                self.trees[slot] = "stopping"
                self.done.append(("signal", name_of(slot)))
            case KillTree():
                self.done.append(("kill", name_of(slot)))
            case Announce():
                self.heard.append((slot, action))

    # -- what happens to them ----------------------------------------------------------------------

    def spawned(self, *names: str) -> None:
        """Every spawn asked for is answered, or those of the named ones."""
        for slot in slots_of(names) or [s for s, tree in self.trees.items() if tree == "asked"]:
            self.trees[slot] = "alive"
            run = self.fleet.workers[slot].run
            self.feed(slot, events.Spawned(run, 4000 + run))

    def ready(self, *names: str) -> None:
        """Those that are starting become ready: spawned and said so."""
        self.spawned(*names)
        for slot in slots_of(names) or list(self.trees):
            self.feed(slot, events.ReadySaid(self.fleet.workers[slot].run))

    def exits(self, name: str, code: int = 1) -> None:
        slot = slot_of(name)
        del self.trees[slot]
        self.feed(slot, events.Exited(self.fleet.workers[slot].run, code, None, emptied=True))

    def wake(self, name: str) -> None:
        """Move time to when something of this worker is due."""
        slot = slot_of(name)
        due_s = next_deadline_s(self.fleet.workers[slot])
        assert due_s is not None, self.fleet.workers[slot]
        self.now_s = max(self.now_s, due_s)
        self.feed(slot, events.DeadlinePassed())

    def trip(self, name: str) -> None:
        """Let a worker that is starting or up crash until its breaker is open."""
        slot = slot_of(name)
        while not isinstance(self.fleet.workers[slot].state, states.Tripped):
            if slot not in self.trees:
                self.wake(name)
            self.spawned(name)
            self.exits(name)

    def boot(self) -> None:
        """Start every worker as the boot does."""
        for slot in self.fleet.to_start(self.fleet.workers, by_person=False):
            self.feed(slot, events.StartRequested())

    def start(self, *names: str) -> None:
        """Start what a person names, and what that requires."""
        for slot in self.fleet.to_start(slots_of(names), by_person=True):
            self.feed(slot, events.StartRequested())

    def stop(self, *names: str) -> None:
        for slot in self.fleet.graph.in_stop_order(slots_of(names)):
            self.feed(slot, events.StopRequested())

    def restart(self, *names: str) -> None:
        for slot in self.fleet.graph.in_stop_order(slots_of(names)):
            self.feed(slot, events.RestartRequested())

    def shut_down(self, *, at_once: bool = False) -> None:
        for slot in self.fleet.graph.in_stop_order(self.fleet.workers):
            self.feed(slot, events.ShutdownRequested(at_once=at_once))

    def crash_of_the_supervisor(self) -> None:
        """Another supervisor reads the records and goes on."""
        pools = list(self.fleet.graph.pools.values())
        workers = {s: after_a_crash(worker) for s, worker in self.fleet.workers.items()}
        self.fleet = Fleet(pools, workers)
        self.fleet.wake_all()
        for change in self.fleet.rest(now_s=self.now_s, rng=self.rng):
            self._take(change)

    # -- looking -----------------------------------------------------------------------------------

    def state(self, name: str) -> State:
        return self.fleet.workers[slot_of(name)].state

    def words(self) -> dict[str, str]:
        """Return the state's word of each worker."""
        return {
            name_of(slot): type(worker.state).__name__.lower()
            for slot, worker in self.fleet.workers.items()
        }

    def reason(self, name: str) -> str:
        """Return for what a worker waits."""
        state = self.state(name)
        assert isinstance(state, states.Waiting), state
        return state.reason


def slot_of(name: str) -> Slot:
    pool, _, index = name.partition("-")
    return pool, int(index or 1)


def slots_of(names: Iterable[str]) -> list[Slot]:
    return [slot_of(name) for name in names]


def name_of(slot: Slot) -> str:
    return slot[0] if slot[1] == 1 else f"{slot[0]}-{slot[1]}"


def a_pool(
    name: str,
    *,
    requires: Iterable[str] = (),
    after: Iterable[str] = (),
    critical: Critical = "no",
) -> Pool:
    return Pool(name, tuple(requires), tuple(after), critical)


def a_company(
    *pools: Pool, policy: Policy | None = None, sizes: dict[str, int] | None = None
) -> Company:
    """Return a fleet, stopped, of workers that say when they are ready."""
    each = policy or a_policy(ready_by="said")
    workers = {
        (pool.name, index): Worker(pool.name, index, each)
        for pool in pools
        for index in range(1, (sizes or {}).get(pool.name, 1) + 1)
    }
    return Company(Fleet(pools, workers))
