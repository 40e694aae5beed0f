"""The methods of io.supervisordlite.Manager: what clients may ask, answered from the fleet."""

import signal
from collections.abc import Callable, Iterable
from functools import partial

from supervisord_lite import __version__
from supervisord_lite.base.clock import Clock
from supervisord_lite.base.record import replace
from supervisord_lite.control import interface, parameters
from supervisord_lite.control.calls import Call
from supervisord_lite.core import events
from supervisord_lite.core.meetings import Doing, rule_for
from supervisord_lite.core.standing import is_ready
from supervisord_lite.core.states import Exited, Stopped, Stopping, Tripped, Worker
from supervisord_lite.supervisor.configuration_verbs import ConfigurationVerbs
from supervisord_lite.supervisor.daemon_state import DaemonState
from supervisord_lite.supervisor.events import Events
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.generations import Generations, NotBuilt
from supervisord_lite.supervisor.in_between import looking
from supervisord_lite.supervisor.in_vain import why_stuck, why_twin
from supervisord_lite.supervisor.names import NoSuchWorkerError, is_pattern, resolve
from supervisord_lite.supervisor.orders import (
    Goal,
    Order,
    Orders,
    Outcome,
    began_after,
    outcome_report,
)
from supervisord_lite.supervisor.outbox import Slot
from supervisord_lite.supervisor.reload import Reloads
from supervisord_lite.supervisor.rights import NotPermittedError, Rights
from supervisord_lite.supervisor.rolls import Rejected, Rolls
from supervisord_lite.supervisor.status_verbs import StatusVerbs
from supervisord_lite.supervisor.stories import Stories
from supervisord_lite.supervisor.storms import Storms
from supervisord_lite.supervisor.upgrade import Upgrades
from supervisord_lite.supervisor.upgrade_verb import UpgradeVerb
from supervisord_lite.supervisor.waits import Waits
from supervisord_lite.supervisor.watchers import Watchers

#: Outcomes that a worker may have had before it was ordered.
_STANDING = ("ready", "stopped")

#: In the middle of a turn: names of whom is told at any time, and answers about more than that.
_FEW = 32
_MOST_INTERRUPTIONS = 4

#: What is wanted with each kind of order.
_ASKED: dict[type[events.Event], Doing] = {
    events.StartRequested: "start",
    events.RestartRequested: "roll",
    events.StopRequested: "stop",
}


class Verbs:
    """Answers calls.

    Attributes:
        guard: Lets something answer a call that has had to wait, as the server does at once.
        is_interrupting: Whether a call comes in the middle of a turn (in_between.py).
    """

    def __init__(
        self,
        fleet: Fleet,
        daemon: DaemonState,
        reloads: Reloads,
        clock: Clock,
        rolls: Rolls,
        rights: Rights,
        journal: Events,
        stories: Stories,
        storms: Storms,
        generations: Generations,
        status: StatusVerbs,
        upgrades: Upgrades,
    ) -> None:
        """Take what is asked about."""
        self._fleet = fleet
        self._daemon = daemon
        self._reloads = reloads
        self.guard: Callable[[Call, Callable[[Call], None]], None] = lambda call, do: do(call)
        self.is_interrupting: Callable[[], bool] = lambda: False
        self._put_off: list[Call] = []
        self._interruptions = 0
        self._clock = clock
        self._orders = Orders(partial(why_stuck, fleet), partial(why_twin, fleet), self._look)
        self._replies: list[Callable[[], None]] = []
        fleet.listen(self._orders.stepped)
        self._watchers = Watchers(fleet)
        self._waits = Waits(fleet, daemon, clock)
        self._rolls = rolls
        self._rights = rights
        self._journal = journal
        self._stories = stories
        self._storms = storms
        self._generations = generations
        rolls.on_failed = self._roll_failed
        self._changes = ConfigurationVerbs(fleet, reloads, self._is_refused, self._replies, journal)
        self._methods: dict[str, Callable[[Call], None]] = {
            "Status": status.status,
            "States": status.states,
            "Watch": self._watchers.begin,
            "Wait": self._waits.begin,
            "Start": partial(self._order, goal="ready", event=events.StartRequested()),
            "Restart": self._restart,
            "Stop": partial(self._order, goal="stopped", event=events.StopRequested()),
            "Reset": self._reset,
            "Signal": self._signal,
            "Shutdown": self._shutdown,
            "Reload": self._changes.reload,
            "Scale": self._changes.scale,
            "SizesSaved": self._changes.sizes_saved,
            "LogFiles": status.log_files,
            "Events": stories.events,
            "Why": partial(stories.why, status_of=status.of),
            "Upgrade": UpgradeVerb(upgrades, rights, journal, self._replies).upgrade,
            "Version": _version,
        }

    def handle(self, call: Call) -> None:
        """Answer one call, now or when what it waits for has happened.

        In the middle of a turn only what changes nothing is answered, and all else put off.
        """
        if self.is_interrupting() and not self._may_interrupt(call):
            self._put_off.append(call)
        else:
            self._answer(call, self._methods[call.method])

    def _may_interrupt(self, call: Call) -> bool:
        """Return whether a call only tells, and not too much: a turn must come to its end."""
        if call.method not in ("Status", "States"):
            return call.method == "Version"
        if parameters.flag(call, "samples"):  # those are taken by a child
            return False
        names = parameters.names(call)
        if names and len(names) <= _FEW and not any(map(is_pattern, names)):
            return True
        self._interruptions += 1
        return self._interruptions <= _MOST_INTERRUPTIONS

    def _look(self) -> None:
        self._fleet.look()

    @property
    def has_put_off(self) -> bool:
        """Whether calls wait for the turn to be over."""
        return bool(self._put_off)

    def take_put_off(self) -> None:
        """Answer the calls that came in the middle of a turn, which is over."""
        calls, self._put_off = self._put_off, []
        self._interruptions = 0
        for call in calls:
            self.guard(call, self.handle)

    def _answer(self, call: Call, method: Callable[[Call], None]) -> None:
        before, self._journal.peer = self._journal.peer, call.peer
        try:
            self._rights.check(call.peer, call.method, partial(self._pools, call))
            self._look()
            method(call)
        except NotPermittedError as error:
            about: dict[str, object] = {"method": call.method, "uid": call.peer.uid}
            about["name"] = error.pool
            self._storms.denied(call.peer, call.method.lower(), error.pool)
            about |= {"allowed": error.allowed, "operates": self._rights.operates(call.peer)}
            call.error(interface.NOT_PERMITTED, about)
        except NoSuchWorkerError as error:
            call.error(
                interface.NO_SUCH_WORKER, {"name": error.name, "suggestion": error.suggestion}
            )
        finally:
            self._journal.peer = before

    def _pools(self, call: Call) -> set[str]:
        """Return the pools on which a call acts that operates workers."""
        if call.method in ("Scale", "SizesSaved"):
            return set(self._changes.sizes_of(call))
        return {pool for pool, _ in resolve(self._fleet, parameters.names(call, needed=True))}

    def deliver(self) -> bool:
        """Answer what was ordered and is saved by now; return whether anything was said.

        What a client has been told must survive our death, so the loop calls this after the flush.
        """
        replies = self._replies[:]
        self._replies.clear()
        for reply in looking(replies, self._fleet.look):
            reply()
        self._watchers.deliver()
        self._stories.deliver()
        is_told = self._waits.deliver()
        return self._orders.deliver() or is_told or bool(replies)

    def _reply(self, call: Call, parameters: dict[str, object], *, continues: bool = False) -> None:
        self._replies.append(partial(call.reply, parameters, continues=continues))

    # -- changing ----------------------------------------------------------------------------------

    def _restart(self, call: Call) -> None:
        """Load the new code before anything is stopped; where that fails, nothing is."""
        slots = resolve(self._fleet, parameters.names(call, needed=True))
        if self._is_refused(call, self._fleet.name(slots[0]), "roll"):
            return
        follow = self._followed(slots, parameters.number(call, "begun_by_s"))
        pools = dict.fromkeys(slot[0] for slot in slots if slot not in follow)
        specs = [self._fleet.specs[pool] for pool in pools if pool in self._fleet.specs]
        self._generations.build(specs, partial(self._built, call))

    def _built(self, call: Call, came: dict[str, int] | NotBuilt) -> None:
        if isinstance(came, NotBuilt):
            told = {"name": came.pool, "reason": came.message, "hint": "nothing was stopped"}
            call.error(interface.REFUSED, told)
            return
        self._generations.put({p: n for p, n in came.items() if p in self._fleet.specs})
        order = partial(self._order, goal="ready", event=events.RestartRequested())
        self.guard(call, partial(self._answer, method=order))

    def _order(self, call: Call, *, goal: Goal, event: events.Event) -> None:
        slots = resolve(self._fleet, parameters.names(call, needed=True))
        self._look()
        wait = parameters.flag(call, "wait") and call.more
        if self._is_refused(call, self._fleet.name(slots[0]), _ASKED[type(event)]):
            return
        is_alone = parameters.flag(call, "no_deps")
        needed = self._needed(slots) if goal == "ready" and not is_alone else []
        self._rights.check_pools(call.peer, (pool for (pool, _), _ in needed))
        by_s = parameters.number(call, "begun_by_s")
        now_s = self._clock.now_s()
        # Asked again after a crash of ours, it has been waited for since the first time.
        begun_s = now_s if by_s is None else min(by_s, now_s)
        waited = (*slots, *(slot for slot, _ in needed))
        self._look()
        waiting = _Waiting(call, {slot: self._fleet.name(slot) for slot in waited}, begun_s)
        done = partial(self._done, waiting)
        self._look()
        asking = self._journal.ask(call.peer, call.method.lower(), waited)
        self._look()
        orders = [self._give(slot, goal, events.StartRequested(), done) for slot, _ in needed]
        for order, (_, pool) in zip(orders, needed, strict=True):
            order.required_by = pool
        in_order = self._fleet.core.graph.in_start_order(slots)
        if not isinstance(event, events.StartRequested):
            in_order.reverse()  # whoever comes after the others is stopped before them
        # A stop or a start that is asked again has to be told again: it may have been lost.
        is_restart = isinstance(event, events.RestartRequested)
        follow = self._followed(slots, by_s) if is_restart else {}
        asked = [slot for slot in in_order if slot not in follow]
        self._look()
        rolled = self._rolled(asked, follow) if is_restart else {}
        later = [Order(slot, goal, run, done) for slot, run in follow.items()]
        later += [
            Order(slot, goal, self._fleet.workers[slot].run, done)
            for each in rolled.values()
            for slot in each
        ]
        if wait:  # before anything happens: a roll may fail at once
            for order in later:
                self._orders.add(order, self._fleet.workers[order.slot])
        for slot in asked:
            if slot not in rolled.get(slot[0], ()):
                orders.append(self._give(slot, goal, event, done, is_alone=is_alone))
            elif slot == rolled[slot[0]][-1]:
                # Where a roll failed and we died before we said so, this one fails again.
                going = [(index, run) for (pool, index), run in follow.items() if pool == slot[0]]
                self._rolls.begin(slot[0], (index for _, index in rolled[slot[0]]), going)
        asking.settle(self._rolls.will_replace)
        if not wait:
            self._reply(call, {"outcome": None, "done": True})
            return
        call.on_hang_up = partial(self._orders.forget, [*orders, *later])
        for order in looking(orders, self._look):
            self._orders.add(order, self._fleet.workers[order.slot])

    def _needed(self, slots: list[Slot]) -> list[tuple[Slot, str]]:
        """Return what must be started first, in order, each with a pool that requires it."""
        core = self._fleet.core
        named = set(slots)
        needed = [s for s in core.to_start(slots, by_person=True) if s not in named]
        if not needed:
            return []
        pools = dict.fromkeys(pool for pool, _ in slots)
        requires = {pool: core.graph.required_by([pool]) for pool in pools}
        return [(s, next(pool for pool in requires if s[0] in requires[pool])) for s in needed]

    def _followed(self, slots: list[Slot], by_s: float | None) -> dict[Slot, int]:
        """Return whom a restart that may have been ordered before need not be told again.

        Args:
            slots: Whom it is about.
            by_s: The order's time, on our clock; None: it is new.

        Returns:
            Slot -> the run after which the ordered one comes.
        """
        followed: dict[Slot, int] = {}
        if by_s is not None:
            for slot in slots:
                worker = self._fleet.workers[slot]
                if began_after(worker, by_s):
                    followed[slot] = worker.run - 1  # this run is what was ordered
                elif self._rolls.will_replace(slot):
                    followed[slot] = worker.run
        return followed

    def _rolled(self, slots: list[Slot], follow: Iterable[Slot]) -> dict[str, list[Slot]]:
        """Return which of *slots* are replaced a few at a time, by pool, the first one first."""
        rolled: dict[str, list[Slot]] = {}
        for slot in self._fleet.core.graph.in_start_order(slots):
            if slot in self._fleet.leaving:
                continue  # there is no place for another run of it
            if not isinstance(self._fleet.workers[slot].state, Stopped | Tripped):
                rolled.setdefault(slot[0], []).append(slot)
        most = {pool: self._fleet.specs[pool].max_unavailable for pool in rolled}
        for pool, _ in follow:  # of the same order, and replaced already
            if pool in most:
                most[pool] -= 1
        return {
            pool: each
            for pool, each in rolled.items()
            if len(each) > most[pool]
            or self._rolls.is_rolling(pool)
            or self._fleet.specs[pool].max_surge
        }

    def _roll_failed(self, failed: Slot, untouched: list[Slot], rejected: Rejected | None) -> None:
        why = f"not touched: the new {self._fleet.name(failed)} failed"
        kept: list[tuple[Slot, str, int | None]] = []
        if rejected is not None:
            kept.append((failed, rejected.why, rejected.run))
        kept += [(slot, why, None) for slot in untouched]
        for slot, detail, run in kept:
            worker = self._fleet.workers.get(slot)
            if worker is None:
                continue  # it had no place any more, and has gone in this very turn
            outcome = Outcome("failed", ok=False, detail=detail, run=run)
            if rejected is not None and is_ready(worker):
                pid = getattr(worker.state, "pid", None)
                outcome = replace(outcome, word="kept", pid=pid)
            self._orders.give_up(slot, worker, outcome)

    def _give(
        self,
        slot: Slot,
        goal: Goal,
        event: events.Event,
        done: Callable[[Order, Outcome], None],
        *,
        is_alone: bool = False,
    ) -> Order:
        worker = self._fleet.workers[slot]
        # A start finds its goal reached in a run that is there already.
        run = worker.run - 1 if _counts_already(worker, event) else worker.run
        order = Order(slot, goal, run, done)
        self._fleet.feed(slot, event, is_alone=is_alone)
        order.is_news = self._fleet.workers[slot] is not worker
        return order

    def _done(self, waiting: "_Waiting", order: Order, outcome: Outcome) -> None:
        waiting.left -= 1
        if waiting.call.closed:
            return
        if outcome.ok and not order.is_news and outcome.word in _STANDING:
            outcome = replace(outcome, word="unchanged")
        elapsed_s = self._clock.now_s() - waiting.begun_s
        # As it was called then: by now the pool may have another size, or be gone.
        name = waiting.names[order.slot]
        told = outcome_report(name, order.slot[0], outcome, elapsed_s, order.required_by)
        last = waiting.left == 0
        waiting.call.reply({"outcome": told, "done": last}, continues=not last)

    def _reset(self, call: Call) -> None:
        slots = resolve(self._fleet, parameters.names(call, needed=True))
        wait = parameters.flag(call, "wait") and call.more
        asking = self._journal.ask(call.peer, "reset", slots)
        for slot in slots:
            self._fleet.feed(slot, events.ResetRequested())
        asking.settle(lambda _slot: False)
        if not wait:
            self._reply(call, {"outcome": None, "done": True})
            return
        for left, slot in zip(reversed(range(len(slots))), slots, strict=True):
            told = outcome_report(self._fleet.name(slot), slot[0], Outcome("reset", ok=True), 0.0)
            self._reply(call, {"outcome": told, "done": left == 0}, continues=left > 0)

    def _signal(self, call: Call) -> None:
        name = parameters.text(call, "signal")
        number = getattr(signal, name, None) if name.startswith("SIG") else None
        if not isinstance(number, signal.Signals):
            raise parameters.InvalidParameterError("signal")
        slots = resolve(self._fleet, parameters.names(call, needed=True))
        # Of one that is being replaced both processes get it: each serves, or still works.
        told = [(slot, run) for slot in slots for run in self._fleet.send_signal(slot, number)]
        for slot, run in told:
            self._journal.note_worker(slot, "worker.signalled", run=run, signal=name)
        self._reply(call, {"sent": len(told)})

    def _shutdown(self, call: Call) -> None:
        self._daemon.ask_to_stop("shutdown by a client")
        self._reply(call, {})

    def _is_refused(self, call: Call, name: str, asked: Doing) -> bool:
        """Answer a call that may not begin while the daemon stops; return whether that was so."""
        if not self._daemon.is_stopping or rule_for(asked, ("shutdown",)) != "refused":
            return False
        reason = "the daemon is stopping"
        call.error(interface.REFUSED, {"name": name, "reason": reason, "hint": None})
        return True


class _Waiting:
    """A call that waits for some workers."""

    __slots__ = ("begun_s", "call", "left", "names")

    def __init__(self, call: Call, names: dict[Slot, str], begun_s: float) -> None:
        self.call = call
        self.names = names
        self.left = len(names)
        self.begun_s = begun_s


def _counts_already(worker: Worker, event: events.Event) -> bool:
    if not isinstance(event, events.StartRequested):
        return False
    return is_ready(worker) or not isinstance(worker.state, Stopped | Exited | Stopping | Tripped)


def _version(call: Call) -> None:
    call.reply({"version": __version__})
