"""How every pool stands, counted: what a gate needs to know of others without looking at them.

Each worker that has ties is reduced to a few marks. Per pool they are counted, so that a gate costs
the same for a pool of one and of a thousand, and only a pool whose *standing* changed makes others
ask again.
"""

from collections import deque
from collections.abc import Mapping
from functools import partial

from supervisord_lite.base.record import record
from supervisord_lite.core.gates import Ask, Gate, no_start, open_gate
from supervisord_lite.core.pools import Graph, Slot
from supervisord_lite.core.states import (
    Backoff,
    Exited,
    Probing,
    Running,
    Scheduled,
    Stopped,
    Stopping,
    Tripped,
    Waiting,
    Worker,
)

# Marks of one worker, as bits.
_READY = 1
_IDLE = 2  #: nobody wants it up
_SETTLED = 4  #: ready, or it has given up, or waits longer than any start may take
_WAITING = 8
_LEAVING = 16  #: alive, and on its way down because somebody asked for it
_HELD = 32  #: leaving, but not told so yet
_TRIPPED = 64
_BITS = (_READY, _IDLE, _SETTLED, _WAITING, _LEAVING, _TRIPPED)


def is_ready(worker: Worker) -> bool:
    """Return whether it counts as ready: also a one-shot that ended well."""
    state = worker.state
    match state:
        case Running():
            return True
        case Probing(ready_at_s=ready_at_s):
            return ready_at_s is not None
        case Exited():
            return worker.policy.ready_by == "exit" and ended_well(worker)
        case _:
            return False


def ended_well(worker: Worker) -> bool:
    """Return whether the latest run ended with an ok exit code."""
    last = worker.last_exit
    return last is not None and last.code in worker.policy.ok_exit_codes


def has_had_its_chance(worker: Worker) -> bool:
    """Return whether it is ready, has given up, or waits for longer than any start may take."""
    match worker.state:
        case Stopped() | Exited() | Tripped() | Scheduled():
            return True
        case Backoff(delay_s=delay_s, after_failure=after_failure):
            # It ended well, or waits for longer than any start may take: nobody waits for it.
            return not after_failure or delay_s > worker.policy.start_timeout_s
        case _:
            return is_ready(worker)


def _marks(worker: Worker) -> int:
    state = worker.state
    if isinstance(state, Waiting):
        return _WAITING
    if isinstance(state, Stopping):
        if state.outcome in ("failed", "ended"):
            return 0
        return _LEAVING | _HELD if state.held_by else _LEAVING
    marks = _SETTLED if has_had_its_chance(worker) else 0
    if is_ready(worker):
        marks |= _READY
    elif isinstance(state, Stopped):
        marks |= _IDLE
    elif isinstance(state, Tripped):
        marks |= _TRIPPED
    return marks


@record
class Tally:
    """How one pool stands.

    Attributes:
        is_ready: Every instance that anybody wants up is ready, and there is one.
        is_served: One instance at least is ready.
        is_settled: No instance is on its way up; those that wait for others are left out.
        is_waiting: One at least waits for its turn.
        is_leaving: One at least is on its way down.
        is_tripped: The breaker of one at least is open.
        is_lost: The breakers of all that anybody wants up are open.
    """

    is_ready: bool
    is_served: bool
    is_settled: bool
    is_waiting: bool
    is_leaving: bool
    is_tripped: bool
    is_lost: bool


def _tally(counts: Mapping[int, int], size: int) -> Tally:
    """Return how a pool of *size* stands of which so many have each mark."""
    ready = counts[_READY]
    return Tally(
        is_ready=ready > 0 and ready + counts[_IDLE] == size,
        is_served=ready > 0,
        is_settled=counts[_SETTLED] + counts[_WAITING] == size,
        is_waiting=counts[_WAITING] > 0,
        is_leaving=counts[_LEAVING] > 0,
        is_tripped=counts[_TRIPPED] > 0,
        is_lost=counts[_TRIPPED] > 0 and counts[_TRIPPED] + counts[_IDLE] == size,
    )


class Standing:
    """Counts; deterministic, and it touches nothing: the same events give the same answers.

    Attributes:
        woken: Slots whose turn may have come: whoever steps owes each a `GateMoved`, in order.
        is_ending: The service ends, so nobody may start. Whoever decides about it says so at once:
            what has given up would let others start, only to be stopped again.
    """

    def __init__(self, graph: Graph) -> None:
        """Begin with no worker."""
        self._graph = graph
        self._marks: dict[Slot, int] = {}
        # Only of these: of a pool that nobody waits for there may be thousands, at a kilobyte each.
        self._counted = {
            name
            for name, pool in graph.pools.items()
            if graph.has_ties(name) or pool.critical != "no"
        }
        self._sizes = dict.fromkeys(self._counted, 0)
        self._counts = {name: dict.fromkeys(_BITS, 0) for name in self._counted}
        nobody = _tally(dict.fromkeys(_BITS, 0), 0)
        self._tallies = dict.fromkeys(graph.pools, nobody)
        self._waiting: dict[str, set[Slot]] = {name: set() for name in self._counted}
        self._held: dict[str, set[Slot]] = {name: set() for name in self._counted}
        self._twins: dict[str, set[Slot]] = {}  # of those slots the twin waits for its turn
        self.woken: deque[Slot] = deque()
        self.is_ending = False

    # -- counting ----------------------------------------------------------------------------------

    def add(self, slot: Slot, worker: Worker) -> None:
        """Count one more worker."""
        if slot[0] in self._counted:
            self._sizes[slot[0]] += 1
            self._change(slot, 0, _marks(worker))

    def remove(self, slot: Slot) -> None:
        """Count one worker less."""
        if slot[0] in self._counted:
            self._sizes[slot[0]] -= 1
            self._change(slot, self._marks[slot], 0)
            del self._marks[slot]

    def note(self, slot: Slot, worker: Worker) -> None:
        """Take in how a worker is now; whoever may have waited for that is in `woken`."""
        if slot[0] in self._counted:
            before, after = self._marks[slot], _marks(worker)
            if before != after:
                self._change(slot, before, after)

    def note_twin(self, slot: Slot, *, is_waiting: bool) -> None:
        """Take in whether the run beside that of a slot (`swap.py`) waits for its turn."""
        if is_waiting:
            self._twins.setdefault(slot[0], set()).add(slot)
        elif slot[0] in self._twins:
            self._twins[slot[0]].discard(slot)

    def _change(self, slot: Slot, before: int, after: int) -> None:
        name = slot[0]
        self._marks[slot] = after
        counts = self._counts[name]
        for bit in _BITS:
            counts[bit] += ((after & bit) - (before & bit)) // bit
        for bit, slots in ((_WAITING, self._waiting[name]), (_HELD, self._held[name])):
            if after & bit:
                slots.add(slot)
            else:
                slots.discard(slot)
        tally = _tally(self._counts[name], self._sizes[name])
        if tally != self._tallies[name]:
            self._tallies[name] = tally
            self._wake(name)

    def _wake(self, name: str) -> None:
        # Through others too: one that waits behind a pool that has given up has given up itself.
        for each in self._graph.behind(name):
            self.woken.extend(sorted(self._waiting[each].union(self._twins.get(each, ()))))
        for each in reversed(self._graph.ahead_of(name)):
            self.woken.extend(sorted(self._held[each]))

    # -- asking ------------------------------------------------------------------------------------

    def gate_of(self, slot: Slot, *, is_alone: bool = False) -> Gate:
        """Return what lets this worker start and stop in its turn; with *is_alone* at any time."""
        if is_alone or not self._graph.has_ties(slot[0]):
            return no_start if self.is_ending else open_gate
        return partial(self._why_not, slot[0])

    def _why_not(self, name: str, ask: Ask) -> str:
        if ask == "stop":
            leaving = (each for each in self._graph.behind(name) if self._tallies[each].is_leaving)
            first = next(leaving, None)
            return "" if first is None else f"{first} stops first"
        if self.is_ending:
            return no_start(ask)
        tallies, requires = self._tallies, self._graph.requires[name]
        if ask not in ("start", "due"):
            # It had its turn. But without any of what it requires it would only fail again.
            missing = [each for each in requires if not tallies[each].is_served]
            return f"requires {', '.join(missing)}" if missing else ""
        missing = [each for each in requires if not tallies[each].is_ready]
        late = [each for each in self._graph.after[name] if not self.is_settled(each)]
        words = [f"requires {', '.join(missing)}"] if missing else []
        return "; ".join([*words, f"after {', '.join(late)}"] if late else words)

    def is_ready(self, name: str) -> bool:
        """Return whether every instance of a pool that anybody wants up is ready."""
        return self._tallies[name].is_ready

    def is_settled(self, name: str) -> bool:
        """Return whether every instance of a pool is ready, has given up, or waits in vain."""
        tally = self._tallies[name]
        return tally.is_settled and not (tally.is_waiting and not self.is_stuck(name))

    def is_stuck(self, name: str) -> bool:
        """Return whether a pool waits, through others maybe, for one that has given up."""
        todo, seen = [name], {name}
        while todo:
            each = todo.pop()
            tally = self._tallies[each]
            if tally.is_waiting:  # whatever its other instances do
                ahead = [ahead for ahead in self._graph.requires[each] if ahead not in seen]
                todo += ahead
                seen.update(ahead)
            elif tally.is_settled and not tally.is_ready and each != name:
                return True
        return False

    def blocks(self, name: str) -> str | None:
        """Return a pool that *name* requires and that has given up, or waits in vain itself."""
        requires = self._graph.requires[name]
        return next((r for r in requires if self.is_settled(r) and not self.is_ready(r)), None)

    def chain(self, name: str) -> tuple[str, ...]:
        """Return a pool that waits, the one it waits for, and so on to the one that must move."""
        path = [name]
        while self._tallies[path[-1]].is_waiting:
            requires, after = self._graph.requires[path[-1]], self._graph.after[path[-1]]
            missing = [each for each in requires if not self._tallies[each].is_ready]
            late = [each for each in after if not self.is_settled(each)]
            # Rather the one that will not move by itself.
            missing.sort(key=self.is_settled, reverse=True)
            following = [each for each in (*missing, *late) if each not in path]
            if not following:
                break
            path.append(following[0])
        return tuple(path)

    def broken(self) -> str | None:
        """Return the first pool whose open breakers end the whole service, or None."""
        for name, pool in self._graph.pools.items():
            if pool.critical == "no":
                continue
            tally = self._tallies[name]
            if tally.is_lost if pool.critical == "all" else tally.is_tripped:
                return name
        return None
