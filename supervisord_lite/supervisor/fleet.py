"""Every worker, and the one way to change one: feed it an event."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from supervisord_lite.base.clock import Clock, Rng
from supervisord_lite.base.record import replace
from supervisord_lite.config.spec import MAX_START_BYTES, Settings, Spec
from supervisord_lite.core import actions, events, faults, fleet
from supervisord_lite.core.events import Event, SlotEvent
from supervisord_lite.core.moves import Live
from supervisord_lite.core.pools import Pool
from supervisord_lite.core.states import Stopped, Stopping, Worker, word_of
from supervisord_lite.core.swap import due_s, run_of
from supervisord_lite.supervisor import slot_record
from supervisord_lite.supervisor.deadlines import Deadlines
from supervisord_lite.supervisor.facts import event_of
from supervisord_lite.supervisor.facts import number as number_of
from supervisord_lite.supervisor.gone import Gone
from supervisord_lite.supervisor.launch import action_request, printed_name, relog_request
from supervisord_lite.supervisor.outbox import Outbox, Request, Slot
from supervisord_lite.supervisor.twins import led_runs_of, runs_of, without_twin

_STARTS = (events.StartRequested, events.RestartRequested, events.ReplaceRequested)
#: Told after each step: slot, the worker before, the worker now, the announcements.
Listener = Callable[[Slot, Worker, Worker, tuple[actions.Announce, ...]], None]


class Fleet:
    """Specs in force and the workers made from them, in file order.

    Attributes:
        specs: By pool, in file order; sizes as they are in force.
        leaving: Slots that the configuration has no place for any more: they are on the way down
            and then forgotten.
        core: The workers and what they are to each other; what to decide about them all.
        restored: Numbers of the runs that an earlier supervisor had asked for, by slot.
        unusable: Slots whose saved record could not be read, and why: they stay stopped.
        on_fault: Told of a slot and of what went wrong in our own code for it. One worker's fault
            must not end the others, and would come again with each adoption.
        faulted: Slots of which it was told: what they wait for may never come.
        look: Called after each event: see in_between.py.
        complete: Adds to a spawn request what only others know.
        ends_of: Returns what goes into a worker's record about its failures, JSON-ready and short;
            also asked about one that has just been forgotten.
    """

    def __init__(
        self, settings: Settings, specs: Iterable[Spec], outbox: Outbox, clock: Clock, rng: Rng
    ) -> None:
        """Make every worker of *specs*, stopped."""
        self.settings = settings
        self.specs = {spec.pool: spec for spec in specs}
        self.leaving: set[Slot] = set()
        # How many of each pool those are.
        self._left: Counter[str] = Counter()
        # Of pools that are in no file any more, while something of them is leaving.
        self._former: dict[str, Spec] = {}
        self._gone = Gone(outbox)
        self.core = fleet.Fleet((), {})
        self.look: Callable[[], None] = _nothing
        self._arrange({}, self.specs, {})
        self.outbox = outbox
        self._clock = clock
        self._rng = rng
        self._seen: dict[Slot, int] = {}
        self._deadlines: Deadlines[Slot] = Deadlines()
        self._listeners: list[Listener] = []
        self._when_forgotten: list[Callable[[Slot], None]] = []
        self.restored: dict[Slot, list[int]] = {}
        self.unusable: dict[Slot, str] = {}
        self.on_fault: Callable[[Slot, Exception], None] = _raise
        self.faulted: set[Slot] = set()
        self.complete: Callable[[Slot, Request], None] = lambda _slot, _request: None
        self.ends_of: Callable[[Slot], list[object]] = _no_ends

    @property
    def workers(self) -> Mapping[Slot, Worker]:
        """Present state by slot, in file order."""
        return self.core.workers

    @property
    def twins(self) -> Mapping[Slot, Worker]:
        """The run beside that of a slot, where there are two (`core.swap`)."""
        return self.core.twins

    def spec(self, pool: str) -> Spec:
        """Return the spec of a pool, also of one that is leaving."""
        return self.specs.get(pool) or self._former[pool]

    def name(self, slot: Slot) -> str:
        """Return the printed name of a slot, also of one that has been forgotten."""
        spec = self.specs.get(slot[0]) or self._former.get(slot[0])
        return slot[0] if spec is None else printed_name(spec, slot[1])

    def listen(self, listener: Listener) -> None:
        """Tell *listener* of every step that changed or announced something."""
        self._listeners.append(listener)

    def when_forgotten(self, do: Callable[[Slot], None]) -> None:
        """Call *do* for each slot that has no place any more, when nothing of it is left."""
        self._when_forgotten.append(do)

    # -- events in ---------------------------------------------------------------------------------

    def feed(
        self, slot: Slot, event: SlotEvent, at_s: float | None = None, *, is_alone: bool = False
    ) -> None:
        """Let one event happen to one worker, and let others go on whose turn comes with it.

        Args:
            slot: Whose event it is.
            event: What happened.
            at_s: When; None: now.
            is_alone: What it would have to wait for is not asked.
        """
        if slot in self.leaving and isinstance(event, _STARTS):
            return  # it has no place any more
        now_s = self._clock.now_s() if at_s is None else at_s
        change = self.core.step(slot, event, now_s=now_s, rng=self._rng, is_alone=is_alone)
        self._perform(change)
        self._let_others_go_on()
        self.look()

    def _let_others_go_on(self) -> None:
        """Each by itself: a fault of one is not that of whoever let it go on."""
        woken = self.core.standing.woken
        while woken:
            slot = woken.popleft()
            if slot not in self.workers:
                continue
            before, event = self.workers[slot], events.GateMoved()
            try:
                # A stop that had to wait has its whole time from now on, not from a fact of before.
                now_s = self._clock.now_s()
                change = self.core.step(slot, event, now_s=now_s, rng=self._rng)
                self._perform(change, is_news=True)
            except Exception as error:  # noqa: BLE001  # see `on_fault`
                self._go_on_without(slot, event, before, error)
            self.look()

    def _perform(self, change: fleet.Change, *, is_news: bool = False) -> None:
        """Do and save what a step came to.

        Args:
            change: What `core` says.
            is_news: Tell the listeners also where nothing changed: what it waits for has.
        """
        slot, after = change.slot, change.after
        is_changed = after is not change.before or change.twin is not change.twin_before
        if is_changed:
            self.outbox.touch(slot)
            self._arm(slot)
        announcements = []
        for action in change.actions:
            if isinstance(action, actions.Announce):
                announcements.append(action)
            else:
                request = action_request(action, self.spec(slot[0]), slot[1], self.settings)
                if isinstance(action, actions.Spawn):
                    self.complete(slot, request)
                self.outbox.request(slot, request)
        if is_news or is_changed or announcements:
            for listener in self._listeners:
                listener(slot, change.before, after, tuple(announcements))
        if not isinstance(after.state, Stopping):
            self._catch_up(slot, after, is_new_run=change.is_new_run)

    def _catch_up(self, slot: Slot, worker: Worker, *, is_new_run: bool) -> None:
        """Let a new run go by the policy in force; a run of before ends by that of before."""
        if slot in self.leaving:
            if isinstance(worker.state, Stopped):
                self._forget(slot)
            return
        policy = self.specs[slot[0]].policy
        if worker.policy is not policy and (is_new_run or not isinstance(worker.state, Live)):
            changed = events.PolicyChanged(policy)
            now_s = self._clock.now_s()
            self._perform(self.core.step(slot, changed, now_s=now_s, rng=self._rng))

    def _forget(self, slot: Slot) -> None:
        self._gone.add(slot, max(self.workers[slot].run, self.workers[slot].spent))
        self.leaving.discard(slot)
        self.core.drop(slot)
        self._deadlines.forget(slot)
        self._seen.pop(slot, None)
        self.unusable.pop(slot, None)
        self.faulted.discard(slot)
        self.restored.pop(slot, None)
        for do in self._when_forgotten:
            do(slot)
        pool = slot[0]
        self._left[pool] -= 1
        if pool in self._former and not self._left[pool]:
            del self._former[pool]
            self.outbox.save(f"spec/{pool}", None)

    # -- another configuration ---------------------------------------------------------------------

    def reconfigure(self, specs: Iterable[Spec]) -> list[Slot]:
        """Put other specs in force; nobody is told yet. Return the slots that are new.

        Workers that have no place any more are `leaving`; those whose place has come back are not.
        """
        before, after = self.specs, {}
        for spec in specs:
            old = before.get(spec.pool)
            # The same policy stays the same object: that is how a worker is seen to live by it.
            is_same = old is not None and old.policy == spec.policy
            after[spec.pool] = replace(spec, policy=old.policy) if old and is_same else spec
            self.look()
        known = dict(self.workers)
        self._arrange(known, after, {**self._former, **before})
        self.look()
        former = {slot[0] for slot in self.leaving}
        self._former = {
            pool: spec
            for pool, spec in self._former.items()
            if pool in former and pool not in self.specs
        }
        new = [slot for slot in self.workers if slot not in known]
        for slot, worker in self.workers.items():
            # Also of those who live by a policy that is not their spec's any more.
            is_other = worker.policy is not self.spec(slot[0]).policy
            if slot not in known or is_other or slot in self.twins:
                self.outbox.touch(slot)
        return new

    def _arrange(
        self, known: Mapping[Slot, Worker], specs: Mapping[str, Spec], former: Mapping[str, Spec]
    ) -> None:
        """Order all workers: those that *specs* have a place for, then those that are leaving.

        *former* are other specs of these. It is seen as a whole, when it is done.
        """
        workers = {
            slot: known.get(slot)
            or Worker(spec.pool, index, spec.policy, run=self._gone.latest(slot))
            for spec in specs.values()
            for index in range(1, spec.pool_size + 1)
            if (slot := (spec.pool, index))
        }
        self.look()
        leaving = {slot for slot in known if slot not in workers}
        for slot in workers:
            self._gone.is_back(slot)
        workers.update((slot, known[slot]) for slot in leaving)
        self.look()
        core = fleet.Fleet(map(_pool, {**former, **specs}.values()), workers, self.twins)
        core.end(is_ending=self.core.standing.is_ending)
        self.specs, self._former, self.core = dict(specs), dict(former), core
        self.leaving, self._left = leaving, Counter(pool for pool, _ in leaving)

    def dismiss(self, slot: Slot) -> None:
        """Let a worker go that is leaving: down by the ladder that it knows, then forgotten."""
        self.feed(slot, events.StopRequested())
        if slot in self.leaving and isinstance(self.workers[slot].state, Stopped):
            self._forget(slot)

    def reopen_logs(self, slot: Slot) -> None:
        """Let the output of a worker that runs, or is being set up, go where its spec says now."""
        for run in runs_of(self.workers[slot], self.twins.get(slot)):
            request = relog_request(self.specs[slot[0]], slot[1], run, self.settings)
            self.outbox.request(slot, request)

    def feed_all(self, event: Event) -> None:
        """Let one event happen to every worker, in the order in which they stop."""
        for slot in self.core.graph.in_stop_order(self.workers):
            self.feed_guarded(slot, event)

    def word(self, slot: Slot) -> str:
        """Return the state of a worker as people read it."""
        return word_of(self.workers[slot].state)

    def wake_all(self) -> None:
        """Let everybody who waits for others ask again: after an adoption."""
        self.core.wake_all()
        self._let_others_go_on()

    def is_news(self, fact: Mapping[str, object]) -> bool:
        """Return whether a fact of the keeper is in no record yet: it may be told twice."""
        slot = (str(fact["pool"]), number_of(fact["index"]))
        return slot in self.workers and number_of(fact["n"]) > self._seen.get(slot, 0)

    def take_fact(self, fact: dict[str, object]) -> None:
        """Apply one fact of the keeper; one that a record contains already is skipped."""
        if self.is_news(fact):
            slot = (str(fact["pool"]), number_of(fact["index"]))
            self._seen[slot] = number_of(fact["n"])
            self.outbox.touch(slot)
            at_s = fact["at_s"]
            assert isinstance(at_s, float)
            self.feed_guarded(slot, event_of(fact), at_s)

    def feed_guarded(self, slot: Slot, event: SlotEvent, at_s: float | None = None) -> bool:
        """Feed; return whether that went well. A fault is told, and is that of one worker."""
        before = self.workers.get(slot)
        try:
            self.feed(slot, event, at_s)
        except Exception as error:  # noqa: BLE001  # see `on_fault`
            self._go_on_without(slot, event, before, error)
            self._let_others_go_on()  # who waits until this one is down, say
            return False
        return True

    def _go_on_without(
        self, slot: Slot, event: SlotEvent, before: Worker | None, error: Exception
    ) -> None:
        """Leave nobody in a state that is not true, or that nothing ends: see `core.faults`."""
        self.faulted.add(slot)
        self.on_fault(slot, error)
        worker = self.workers.get(slot)
        if worker is None or before is None:
            return
        is_lost, now_s = False, self._clock.now_s()
        is_of_twin = self._end_swap(slot, event, now_s)
        if is_of_twin or isinstance(event, events.ReplaceRequested):
            return
        if worker is before:
            is_ending = self.core.standing.is_ending
            after, must_kill = faults.without_step(before, event, now_s=now_s, is_ending=is_ending)
            if must_kill:
                self._ask_to_kill(slot, before.run)
            if after is not before:
                self._put(slot, after)
                is_lost = faults.leaves_nothing(before, event) and isinstance(after.state, Stopping)
        elif worker.run > before.run and isinstance(worker.state, Live):
            # Nobody may have been asked to start it. To be asked twice does the keeper no harm.
            is_lost = True
        if is_lost and slot in self.workers:
            lost, before = events.Lost(worker.run), self.workers[slot]
            try:
                self._perform(self.core.step(slot, lost, now_s=now_s, rng=self._rng))
            except Exception as again:  # noqa: BLE001  # see `on_fault`
                self._go_on_without(slot, lost, before, again)

    def _end_swap(self, slot: Slot, event: SlotEvent, now_s: float) -> bool:
        """Kill the run beside that of a slot; return whether the event was only about that one."""
        twin = self.twins.get(slot)
        if twin is None:
            return False
        run = run_of(twin)
        after = without_twin(
            twin, event, now_s=now_s, ask_to_kill=lambda run: self._ask_to_kill(slot, run)
        )
        self.core.put_twin(slot, after)
        self.outbox.touch(slot)
        self._arm(slot)
        state = self.workers[slot].state
        if after is None and isinstance(state, Stopping) and state.awaits_twin:
            # Nothing would tell it any more.
            self._put(slot, self.workers[slot].in_state(Stopped(state.outcome == "stopped")))
        return isinstance(event, events.OfRun) and event.run == run

    def _put(self, slot: Slot, after: Worker) -> None:
        before = self.workers[slot]
        self.core.put(slot, after)
        try:
            self._perform(fleet.Change(slot, before, after, ()))
        except Exception as error:  # noqa: BLE001  # somebody who listens: the worker is put
            self.on_fault(slot, error)

    def fire_due(self, now_s: float) -> None:
        """Tell every worker whose deadline has passed."""
        for slot in self._deadlines.take_due(now_s):
            if slot not in self.workers:
                continue
            if not self.feed_guarded(slot, events.DeadlinePassed(), now_s):
                continue  # asked again at once it would fail again: the next event arms it
            if slot in self.workers:
                self._arm(slot)

    def next_deadline_s(self) -> float | None:
        """Return when `fire_due` is wanted next."""
        return self._deadlines.next_s()

    def _arm(self, slot: Slot) -> None:
        self._deadlines.put(slot, due_s(self.workers[slot], self.twins.get(slot)))

    # -- requests out ------------------------------------------------------------------------------

    def send_signal(self, slot: Slot, number: int) -> list[int]:
        """Send a person's signal to the leader of each run; return the runs that have one."""
        runs = led_runs_of(self.workers[slot], self.twins.get(slot))
        for each in runs:
            request: Request = {"do": "signal", "pool": slot[0], "index": slot[1], "run": each.run}
            self.outbox.request(slot, {**request, "signal": number, "scope": "leader"})
        return [each.run for each in runs]

    def flush(self) -> None:
        """Send every record that changed, with the requests that follow from it."""
        self.outbox.flush(self._record, self._too_large)

    def _record(self, slot: Slot) -> str | None:
        worker, ends = self.workers.get(slot), self.ends_of(slot)
        if worker is None:
            return self._gone.record(slot)
        policy, twin = self.spec(slot[0]).policy, self.twins.get(slot)
        return slot_record.text_of(worker, twin, policy, seen=self._seen.get(slot, 0), ends=ends)

    def _too_large(self, slot: Slot, request: Request) -> None:
        if request["do"] != "spawn":
            return  # a person's signal, behind hundreds of others
        most_kib = MAX_START_BYTES // 1024
        reason = f"command line and environment are too large ({most_kib} KiB in all is the most)"
        run = number_of(request["run"])
        self.feed(slot, events.SpawnFailed(run, "exec", reason, hopeless=True))

    # -- adoption ----------------------------------------------------------------------------------

    def expect(
        self, former: Iterable[Spec], slots: Iterable[Slot], gone: dict[Slot, int], floor: int
    ) -> None:
        """Make room for workers that a dead supervisor was about to let go.

        Args:
            former: Specs of their pools that are not in force any more.
            slots: Those that were leaving.
            gone: The latest run of those that were forgotten last.
            floor: The highest of those that were forgotten before these.
        """
        self._former = {spec.pool: spec for spec in former}
        self._gone.restore(gone, floor)
        leaving = {
            slot: Worker(*slot, self.spec(slot[0]).policy)
            for slot in slots
            if slot[0] in self.specs or slot[0] in self._former
        }
        self._arrange({**self.workers, **leaving}, self.specs, self._former)

    def restore(self, slot: Slot, text: str) -> None:
        """Put a worker back as a dead supervisor had saved it."""
        try:
            saved = slot_record.read(text, self.spec(slot[0]).policy, slot)
        except slot_record.DAMAGED as error:
            self.unusable[slot] = repr(error)
            self.outbox.touch(slot)
            return
        self._seen[slot] = saved.seen
        self.restored[slot] = runs_of(saved.worker, saved.twin)
        self.core.put(slot, saved.worker)
        self.core.put_twin(slot, saved.twin)
        self._arm(slot)

    def kill(self, slot: Slot, run: int) -> None:
        """End a run that belongs to no usable record, and never use its number again."""
        worker = self.workers[slot]
        self.core.put(slot, replace(worker, run=max(run, worker.run)))
        self._ask_to_kill(slot, run)

    def _ask_to_kill(self, slot: Slot, run: int) -> None:
        self.outbox.request(slot, {"do": "kill", "pool": slot[0], "index": slot[1], "run": run})

    def places(self, pool: str) -> Iterator[Slot]:
        """Return the slots of one pool that its spec has a place for, in order."""
        size = self.specs[pool].pool_size if pool in self.specs else 0
        return ((pool, index) for index in range(1, size + 1))

    def slots(self, pool: str) -> Iterator[Slot]:
        """Return the slots of one pool, in order; those that are leaving too."""
        yield from self.places(pool)
        yield from sorted(slot for slot in self.leaving if slot[0] == pool)

    def pools(self) -> Iterable[str]:
        """Return the names of all pools, those that are leaving too."""
        return {**self.specs, **self._former}


def _pool(spec: Spec) -> Pool:
    return Pool(spec.pool, spec.requires, spec.after, spec.critical)


def _no_ends(_slot: Slot) -> list[object]:
    return []


def _nothing() -> None:
    pass


def _raise(_slot: Slot, error: Exception) -> None:
    raise error
