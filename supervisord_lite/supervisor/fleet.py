"""Every worker, and the one way to change one: feed it an event."""

import heapq
import json
from collections.abc import Callable, Iterable, Iterator, Mapping

from supervisord_lite.base.clock import Clock, Rng
from supervisord_lite.base.record import replace
from supervisord_lite.config.spec import Settings, Spec
from supervisord_lite.core import actions, events, fleet, records
from supervisord_lite.core.events import Event
from supervisord_lite.core.pools import Pool
from supervisord_lite.core.states import Worker
from supervisord_lite.core.step import next_deadline_s
from supervisord_lite.supervisor.launch import printed_name, spawn_request
from supervisord_lite.supervisor.outbox import Outbox, Request, Slot, record_text
from supervisord_lite.wire import channel

#: Failures kept in a record: a message has an end. Only after a crash of ours, and only where
#: `max_restarts` is larger, fewer are known than there were.
_FAILURES_SAVED = 1000
#: Told after each step: slot, the worker before, the worker now, the announcements.
Listener = Callable[[Slot, Worker, Worker, tuple[actions.Announce, ...]], None]


class Fleet:
    """Specs in force and the workers made from them, in file order.

    Attributes:
        specs: By pool.
        core: The workers and what they are to each other; what to decide about them all.
        restored: Number of the latest run that an earlier supervisor had asked for, by slot.
        unusable: Slots whose saved record could not be read, and why: they stay stopped.
        on_fault: Told of a slot and of what went wrong in our own code for it. One worker's fault
            must not end the others, and would come again with each adoption.
    """

    def __init__(
        self, settings: Settings, specs: Iterable[Spec], outbox: Outbox, clock: Clock, rng: Rng
    ) -> None:
        """Make every worker of *specs*, stopped."""
        self.settings = settings
        self.specs = {spec.pool: spec for spec in specs}
        workers = {
            (spec.pool, index): Worker(spec.pool, index, spec.policy)
            for spec in self.specs.values()
            for index in range(1, spec.pool_size + 1)
        }
        self.core = fleet.Fleet(map(_pool, self.specs.values()), workers)
        self._outbox = outbox
        self._clock = clock
        self._rng = rng
        self._seen: dict[Slot, int] = {}
        self._deadlines: list[tuple[float, Slot]] = []
        self._deadline: dict[Slot, float | None] = {}
        self._listeners: list[Listener] = []
        self.restored: dict[Slot, int] = {}
        self.unusable: dict[Slot, str] = {}
        self.on_fault: Callable[[Slot, Exception], None] = _raise

    @property
    def workers(self) -> Mapping[Slot, Worker]:
        """Present state by slot, in file order."""
        return self.core.workers

    def name(self, slot: Slot) -> str:
        """Return the printed name of a slot."""
        return printed_name(self.specs[slot[0]], slot[1])

    def listen(self, listener: Listener) -> None:
        """Tell *listener* of every step that changed or announced something."""
        self._listeners.append(listener)

    # -- events in ---------------------------------------------------------------------------------

    def feed(
        self, slot: Slot, event: Event, at_s: float | None = None, *, is_alone: bool = False
    ) -> None:
        """Let one event happen to one worker, and let others go on whose turn comes with it.

        Args:
            slot: Whose event it is.
            event: What happened.
            at_s: When; None: now.
            is_alone: What it would have to wait for is not asked.
        """
        now_s = self._clock.now_s() if at_s is None else at_s
        change = self.core.step(slot, event, now_s=now_s, rng=self._rng, is_alone=is_alone)
        self._perform(change)
        self._let_others_go_on()

    def _let_others_go_on(self) -> None:
        """Each by itself: a fault of one is not that of whoever let it go on."""
        woken = self.core.standing.woken
        while woken:
            slot = woken.popleft()
            try:
                # A stop that had to wait has its whole time from now on, not from a fact of before.
                now_s = self._clock.now_s()
                change = self.core.step(slot, events.GateMoved(), now_s=now_s, rng=self._rng)
                self._perform(change, is_news=True)
            except Exception as error:  # noqa: BLE001  # see `on_fault`
                self.on_fault(slot, error)

    def _perform(self, change: fleet.Change, *, is_news: bool = False) -> None:
        """Do and save what a step came to.

        Args:
            change: What `core` says.
            is_news: Tell the listeners also where nothing changed: what it waits for has.
        """
        slot, after = change.slot, change.after
        if after is not change.before:
            self._outbox.touch(slot)
            self._arm(slot, after)
        announcements = []
        for action in change.actions:
            if isinstance(action, actions.Announce):
                announcements.append(action)
            else:
                self._outbox.request(slot, self._request(slot, action))
        if is_news or after is not change.before or announcements:
            for listener in self._listeners:
                listener(slot, change.before, after, tuple(announcements))

    def feed_all(self, event: Event) -> None:
        """Let one event happen to every worker, in the order in which they stop."""
        for slot in self.core.graph.in_stop_order(self.workers):
            self.feed(slot, event)

    def why_stuck(self, slot: Slot) -> str:
        """Return for whom a worker waits in vain, for people; empty while it may still come."""
        if not self.core.is_stuck(slot):
            return ""
        chain = self.core.standing.chain(slot[0])
        name = chain[-1]
        root = " and ".join(dict.fromkeys(self.word(each) for each in self.slots(name)))
        through = "".join(f", which requires {each}" for each in chain[2:])
        return f"requires {chain[1]}{through}, which is {root}"

    def word(self, slot: Slot) -> str:
        """Return the state of a worker as people read it."""
        return type(self.workers[slot].state).__name__.lower()

    def wake_all(self) -> None:
        """Let everybody who waits for others ask again: after an adoption."""
        self.core.wake_all()
        self._let_others_go_on()

    def take_fact(self, fact: dict[str, object]) -> None:
        """Apply one fact of the keeper; one that a record contains already is skipped."""
        slot = (str(fact["pool"]), _number(fact["index"]))
        number = _number(fact["n"])
        if slot in self.workers and number > self._seen.get(slot, 0):
            self._seen[slot] = number
            self._outbox.touch(slot)
            at_s = fact["at_s"]
            assert isinstance(at_s, float)
            self._feed_guarded(slot, event_of(fact), at_s)

    def _feed_guarded(self, slot: Slot, event: Event, at_s: float) -> None:
        try:
            self.feed(slot, event, at_s)
        except Exception as error:  # noqa: BLE001  # see `on_fault`
            self.on_fault(slot, error)

    def fire_due(self, now_s: float) -> None:
        """Tell every worker whose deadline has passed."""
        due = []
        while self._deadlines and self._deadlines[0][0] <= now_s:
            at_s, slot = heapq.heappop(self._deadlines)
            if self._deadline.get(slot) == at_s:
                self._deadline[slot] = None
                due.append(slot)
        for slot in due:
            self._feed_guarded(slot, events.DeadlinePassed(), now_s)
            self._arm(slot, self.workers[slot])

    def next_deadline_s(self) -> float | None:
        """Return when `fire_due` is wanted next."""
        while self._deadlines:
            at_s, slot = self._deadlines[0]
            if self._deadline.get(slot) == at_s:
                return at_s
            heapq.heappop(self._deadlines)
        return None

    def _arm(self, slot: Slot, worker: Worker) -> None:
        at_s = next_deadline_s(worker)
        if at_s != self._deadline.get(slot):
            self._deadline[slot] = at_s
            if at_s is not None:
                heapq.heappush(self._deadlines, (at_s, slot))

    # -- requests out ------------------------------------------------------------------------------

    def _request(
        self, slot: Slot, action: actions.Spawn | actions.SendSignal | actions.KillTree
    ) -> Request:
        base: Request = {"pool": slot[0], "index": slot[1], "run": action.run}
        match action:
            case actions.Spawn(run):
                return spawn_request(self.specs[slot[0]], slot[1], run, self.settings.control_path)
            case actions.SendSignal(_, number, scope):
                return {"do": "signal", **base, "signal": number, "scope": scope, "stop": True}
            case actions.KillTree():
                return {"do": "kill", **base}

    def send_signal(self, slot: Slot, number: int) -> bool:
        """Send a person's signal to the leader; return whether there is one."""
        pid = getattr(self.workers[slot].state, "pid", None)
        if pid is None:
            return False
        run = self.workers[slot].run
        request: Request = {"do": "signal", "pool": slot[0], "index": slot[1], "run": run}
        self._outbox.request(slot, {**request, "signal": number, "scope": "leader"})
        return True

    def flush(self) -> None:
        """Send every record that changed, with the requests that follow from it."""
        self._outbox.flush(self._record, self._too_large)

    def _record(self, slot: Slot) -> str:
        worker = self.workers[slot]
        if len(worker.failures) > _FAILURES_SAVED:
            worker = replace(worker, failures=worker.failures[-_FAILURES_SAVED:])
        return record_text(self._seen.get(slot, 0), records.to_record(worker))

    def _too_large(self, slot: Slot, request: Request) -> None:
        if request["do"] != "spawn":
            return  # a person's signal, behind hundreds of others
        most_kib = channel.MAX_MESSAGE_BYTES // 1024
        reason = f"command line and environment are too large ({most_kib} KiB in all is the most)"
        run = _number(request["run"])
        self.feed(slot, events.SpawnFailed(run, "exec", reason, hopeless=True))

    # -- adoption ----------------------------------------------------------------------------------

    def restore(self, slot: Slot, text: str) -> None:
        """Put a worker back as a dead supervisor had saved it."""
        try:
            saved = json.loads(text)
            worker = records.from_record(saved["worker"], self.specs[slot[0]].policy)
            self._seen[slot] = saved["seen"]
        except (ValueError, KeyError, TypeError) as error:
            self.unusable[slot] = repr(error)
            self._outbox.touch(slot)
            return
        self.restored[slot] = worker.run
        self.core.put(slot, worker)
        self._arm(slot, worker)

    def kill(self, slot: Slot, run: int) -> None:
        """End a run that belongs to no usable record, and never use its number again."""
        worker = self.workers[slot]
        self.core.put(slot, replace(worker, run=max(run, worker.run)))
        self._outbox.request(slot, {"do": "kill", "pool": slot[0], "index": slot[1], "run": run})

    def slots(self, pool: str) -> Iterator[Slot]:
        """Return the slots of one pool, in order."""
        return ((pool, index) for index in range(1, self.specs[pool].pool_size + 1))


def _pool(spec: Spec) -> Pool:
    return Pool(spec.pool, spec.requires, spec.after, spec.critical)


def _raise(_slot: Slot, error: Exception) -> None:
    raise error


def event_of(fact: dict[str, object]) -> Event:
    """Return the event that a fact of the keeper means."""
    run = _number(fact["run"])
    match fact["fact"]:
        case "spawned":
            return events.Spawned(run, _number(fact["pid"]))
        case "spawn_failed":
            return events.SpawnFailed(
                run,
                str(fact["stage"]),
                str(fact["reason"]),
                missing=bool(fact["missing"]),
                hopeless=bool(fact["hopeless"]),
            )
        case "exited":
            code, signal = fact["code"], fact["signal"]
            return events.Exited(
                run,
                None if code is None else _number(code),
                None if signal is None else _number(signal),
                emptied=bool(fact["emptied"]),
            )
        case "emptied":
            killed = fact["killed"]
            assert isinstance(killed, list)
            return events.Emptied(run, tuple(map(str, killed)))
        case other:
            message = f"unknown fact {other!r}"
            raise ValueError(message)


def _number(value: object) -> int:
    assert isinstance(value, int), value
    return value
