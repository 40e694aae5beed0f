"""Supervisors that are killed between any two effects, and a keeper that stays."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from supervisord_lite.config.spec import to_json
from supervisord_lite.core import events
from supervisord_lite.core.actions import Action
from supervisord_lite.core.pools import Slot
from supervisord_lite.core.states import Worker
from supervisord_lite.core.swap import Both
from supervisord_lite.core.swap import due_s as due_of_both
from supervisord_lite.keeper.table import Key
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.wire import channel
from tests.support.simulator.clients import Talk, slot_of
from tests.support.simulator.drawn import Behaviour, a_spec, some_pools
from tests.support.simulator.force import Force
from tests.support.simulator.keeper import Keeper
from tests.support.simulator.model import SlotModel
from tests.support.simulator.order import is_ready
from tests.support.simulator.pair import PairModel
from tests.support.simulator.shell import Shell, SupervisorKilledError
from tests.support.simulator.switching import SETTINGS, SwitchingWorld
from tests.support.simulator.tap import heard_by, swaps_heard_by, switches_heard_by
from tests.support.simulator.violation import BrokenPromiseError

_STARTS = (
    events.StartRequested, events.RestartRequested, events.ReplaceRequested,
    events.ResetRequested,
)  # fmt: skip


class _Clock:
    """The world's time for the supervisor; the wall clock jumps by years."""

    def __init__(self, world: LivingWorld) -> None:
        self._world = world
        self.wall_offset_s = 1.7e9

    def now_s(self) -> float:
        return self._world.now_s

    def wall_s(self) -> float:
        return self._world.now_s + self.wall_offset_s


class LivingWorld(SwitchingWorld):
    """The daemon, over many lives of its supervisor and some of its own; nobody uses it yet.

    Attributes:
        models: What the present supervisor knows; `_saved` is what its successor would.
        crashes: How many supervisors were killed.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        rng = self.rng
        self.crashes = 0
        self.swaps = 0  #: how often a run has taken over from another
        self._event = 0
        self._clock = _Clock(self)
        self._call: Talk | None = None
        self._leaving_before: set[Slot] = set()
        self._sends = 0
        self._fuse: int | None = None
        self._is_fuse_for_sends = False
        self._ends_asked = 0
        #: Between two words of a person; drawn here, so that a seed means what it meant.
        self._between_s = rng.choice((0.5, 5.0, 30.0))
        self._stalled_until_s = 0.0
        self._good_specs = self.specs_of_file = [a_spec(pool, rng) for pool in some_pools(rng)]
        self.at(0.0, self._boot)
        self.at(rng.expovariate(1 / 20), self._edit)

    @contextmanager
    def telling_the_seed(self) -> Iterator[None]:
        """Hear every step meanwhile."""
        is_heard, is_switch_heard = heard_by(self._heard), switches_heard_by(self.on_switch)
        are_both_heard = swaps_heard_by(self._heard_both)
        with super().telling_the_seed(), is_heard, are_both_heard, is_switch_heard:
            yield

    # -- the daemon's life -------------------------------------------------------------------------

    def _boot(self) -> None:
        """The service is started: a new keeper, that knows the file and nothing else."""
        saves = {
            "settings": to_json(SETTINGS),
            "pools": json.dumps([spec.pool for spec in self._good_specs]),
            **{f"spec/{spec.pool}": to_json(spec) for spec in self._good_specs},
        }
        loops = {name for name in "abcde" if self.rng.random() < 0.3}
        self.keeper = Keeper(self, saves, loops)
        self._forget_all()
        self._last_force = "{}"
        self.force = self._saved_force = Force(1, self._good_specs, {}, {})
        self.models = {
            slot: PairModel(self.force.specs[slot[0]].policy) for slot in self.force.slots()
        }
        self._saved = {slot: model.copy() for slot, model in self.models.items()}
        self._down_after: dict[Slot, int] = {}  #: no run after this one, as somebody was told
        self._last_start: Counter[Slot] = Counter()
        self._orders = 0
        self._open: list[Talk] = []
        self._supervisor: Shell | None = None
        self._wake_s: float | None = None
        self._is_turn_due = False
        self._was_broken = False
        self._last_runs: dict[Slot, int] = {}  #: no run after these: the service ends
        self._ends_at_last = False
        self._ends_asked = 0
        self._start_supervisor()

    def _start_supervisor(self) -> None:
        is_fatal = self.faults.crash and self.rng.random() < 0.9
        mean = self.rng.choice((5, 50, 400))
        self._is_fuse_for_sends = False
        self._fuse = int(self.rng.expovariate(1 / mean)) if is_fatal else None
        self.models = {slot: model.copy() for slot, model in self._saved.items()}
        self._wake_s = None
        self._sends = 0
        handover = self.keeper.handover()
        self.force = self._saved_force
        tries = int(handover["saves"].get("reload_wanted") or 0)
        # A file at which three supervisors died is left alone.
        self._begin_life(wants_reload=0 < tries < 3)
        self._reorder()
        self.force.check_saves(handover["saves"], self.models)
        self._call = None
        # Of a roll that was under way: chosen already, and perhaps not told.
        self._told_again = {
            (pool, index)
            for pool in self.force.specs
            for index, _ in json.loads(handover["saves"].get(f"roll/{pool}") or "{}").get(
                "going", ()
            )
        }
        with self._mortal():
            self._is_adopting = True
            self._supervisor = Shell(self, self._clock, handover)
            self._supervisor.adopt()
            self._is_adopting = False
            self._arm()

    @contextmanager
    def _mortal(self) -> Iterator[None]:
        """Let the supervisor do something, and be killed in the middle of it."""
        try:
            yield
        except SupervisorKilledError:
            self.crashes += 1
            self.trace.add((self.now_s, "killed"))
            self._hang_up()
            self._supervisor = None
            if self.rng.random() < 0.1 and not self.is_calm:
                for _ in range(3):
                    self.keeper.kill_somebody()
                self.at(0.2, self._ask_to_end, 1)
            self.at(self.rng.choice((0.01, 0.3, 30.0)), self._start_supervisor)

    def _hang_up(self) -> None:
        for talk in self._open:
            talk.closed = True
        self._open.clear()

    def effect(self, what: str) -> None:
        """Let the supervisor be killed here, if this is the place.

        Between two messages of one turn is a good place: what they say belongs together.
        """
        self._sends += what == "send"
        if what == "send" and self._sends > 1 and self.rng.random() < self.faults.crash * 5:
            raise SupervisorKilledError(what)
        if self._fuse is not None and (what == "send" or not self._is_fuse_for_sends):
            self._fuse -= 1
            if self._fuse < 0:
                raise SupervisorKilledError(what)

    def wake_supervisor(self) -> None:
        """Let it have a turn soon."""
        if self._supervisor is not None and not self._is_turn_due:
            self._is_turn_due = True
            in_s = max(self.rng.choice((0.0, 0.0, 0.001)), self._stalled_until_s - self.now_s)
            self.at(in_s, self._turn, self._supervisor)

    def _turn(self, supervisor: Shell) -> None:
        self._is_turn_due = False
        if supervisor is not self._supervisor:
            self.wake_supervisor()  # another one; it has its own turn
            return
        if self.now_s < self._stalled_until_s:
            self.wake_supervisor()
            return
        if self.keeper.told < self.keeper.table.last:
            supervisor.facts.extend(channel.decode(channel.encode({"f": self.keeper.page()}))["f"])
        is_over = False
        self._sends = 0
        with self._mortal():
            self._read_news(supervisor)
            is_over = supervisor.turn()
            self._arm()
        if self._is_dead():
            return
        if supervisor.daemon.at_once and self._ends_asked < 2:
            message = "one signal was taken for two"
            raise BrokenPromiseError(message)
        if is_over:
            self._end()
        elif self.keeper.told < self.keeper.table.last:
            self.wake_supervisor()
        else:
            self._check_rest(supervisor)

    def _ask_to_end(self, times: int) -> None:
        """Somebody ends the service, and something ends the supervisor that is about it."""
        if self.faults.crash and self.rng.random() < 0.5:
            self._fuse, self._is_fuse_for_sends = self.rng.randint(0, 3), True
        for _ in range(times):
            self._ends_asked += 1
            self.keeper.fact("signalled", signal=self.rng.choice(("SIGTERM", "SIGINT")))

    def _is_dead(self) -> bool:
        return self._supervisor is None

    def _arm(self) -> None:
        assert self._supervisor is not None
        due_s = self._supervisor.next_deadline_s()
        if due_s is not None and due_s != self._wake_s:
            self.at(max(0.0, due_s - self.now_s), self.wake_supervisor)
        self._wake_s = due_s

    def _end(self) -> None:
        """The daemon has ended by itself."""
        for key in self.keeper.processes:
            if self.keeper.tree_of(key) != "none":
                message = f"the daemon has ended, and {key} is {self.keeper.tree_of(key)}"
                raise BrokenPromiseError(message)
        assert self._supervisor is not None
        verdict = self._supervisor.daemon.verdict
        if verdict not in (0, 75) or (verdict == 75 and not self._was_broken):
            message = f"the daemon has ended with {verdict}, and broken is {self._was_broken}"
            raise BrokenPromiseError(message)
        self._hang_up()
        self._supervisor = None
        self.trace.add((self.now_s, "ended", verdict))
        if not self._ends_at_last:
            self.at(1.0, self._boot)

    # -- what the supervisor does ------------------------------------------------------------------

    def restored(self, fleet: Fleet) -> None:
        """Compare what a new supervisor has read with what the dead one had said."""
        for slot, model in self.models.items():
            worker, twin = fleet.workers[slot], fleet.twins.get(slot)
            model.compare_twin(twin)
            model.compare(worker, due_of_both(worker, twin))

    def send(self, data: bytes) -> None:
        """Take one packet: what is in it holds, whoever dies."""
        message = channel.decode_whole(data)
        self._check_sent(message)
        self._check_told(message.get("events", ()))
        saved = message.get("save", {})
        if not self._last_runs and json.loads(saved.get("daemon", "{}")).get("stopping"):
            self._last_runs = {slot: model.last_run for slot, model in self.models.items()}
        self._note_saved(saved)
        self.keeper.send(data)

    def _check_told(self, lines: list[str]) -> None:
        """Is each event of the journal the next one?"""
        for line in lines:
            number = int(json.loads(line)["id"].rpartition("-")[2])
            if number not in (self._event + 1, 1):
                self._violation(f"event {number} is told after event {self._event}")
            self._event = number

    def _heard(
        self,
        before: Worker,
        event: events.Event,
        at_s: float,
        after: Worker,
        actions: tuple[Action, ...],
    ) -> None:
        """Check one step."""
        del before
        self._check_step(event, at_s, after, None, actions)

    def _heard_both(
        self,
        before: Worker,
        twin_before: Worker | None,
        event: events.SlotEvent,
        at_s: float,
        both: Both,
    ) -> None:
        """Check one step of a slot with two runs."""
        self._check_step(event, at_s, both.worker, both.twin, both.actions)
        if twin_before is not None and before.run < both.worker.run == twin_before.run:
            self.swaps += 1

    def _check_step(
        self,
        event: events.SlotEvent,
        at_s: float,
        after: Worker,
        twin: Worker | None,
        actions: tuple[Action, ...],
    ) -> None:
        slot = (after.pool, after.index)
        due_s = due_of_both(after, twin)
        self.trace.add(
            (
                at_s,
                *slot,
                type(event).__name__,
                type(after.state).__name__,
                after.run,
                len(actions),
                due_s,
            ),
            event,
            after.state,
            actions,
        )
        model, gate = self.models[slot], self.models[slot].gate
        if self._call is None or self._call.method == "Scale":
            self._hear_by_itself(slot, event)
        if isinstance(event, _STARTS):
            self._hear_start(slot, event)
            if self._call is not None and self._call.is_alone and slot in self._call.slots:
                model.gate = self._order_model.is_over_for
        if isinstance(event, events.RecycleRequested):
            self._check_away(slot)
        if isinstance(event, events.ShutdownRequested):
            self._order_model.is_ending = True
        if model.twin is None and not isinstance(event, events.ReplaceRequested):
            model.hear(event, at_s, after, actions, due_s)
        else:
            model.hear_both(event, at_s, after, twin, actions, due_s)
        model.gate = gate
        self._forget_if_gone(slot)
        self._was_broken = self._was_broken or self._order_model.is_broken()
        self.effect("step")

    def _hear_start(self, slot: Slot, event: events.SlotEvent) -> None:
        if self._call is not None and self._call.method != "Scale":
            self._note_start(slot)
        elif isinstance(event, events.RestartRequested):
            self._check_away(slot)
        elif isinstance(event, events.ReplaceRequested):
            self._check_seconds(slot)

    def _check_away(self, slot: Slot) -> None:
        """A roll goes on: who is away already costs nothing more."""
        if slot in self._told_again:
            return
        others = [each for each in self._places() if each[0] == slot[0] and each != slot]
        away = sum(_is_away(self.models[each]) for each in others)
        most = self.force.spec(slot[0]).max_unavailable
        is_there = self.models[slot].tree != "none" and not _is_away(self.models[slot])
        can_swap = self.models[slot].policy.schedule is None
        if is_there and away >= most and (most or can_swap):
            message = f"{slot} is restarted in a roll while {away} others are away"
            raise BrokenPromiseError(message)

    def _check_seconds(self, slot: Slot) -> None:
        """A roll goes on: so many more as there may be, and no more."""
        pool = [model for each, model in self.models.items() if each[0] == slot[0]]
        seconds = sum(model.twin is not None for model in pool)
        if seconds >= self.force.spec(slot[0]).max_surge:
            message = f"{slot} gets a second run, and {seconds} others have one"
            raise BrokenPromiseError(message)

    def _note_start(self, slot: Slot) -> None:
        """Somebody wants it up: what others were told before holds no longer."""
        self._orders += 1
        self._last_start[slot] = self._orders
        self._down_after.pop(slot, None)

    def on_call(self, talk: Talk | None) -> None:
        """A call is being handled; None: no more. What follows from it later is not in it."""
        if self._call is not None and self._call.method == "Stop":
            self._check_stop_order(self._call)
        self._call = talk
        self._leaving_before = {slot for slot, each in self.models.items() if each.is_leaving}
        if talk is None:
            return
        talk.slots = self._resolved(talk.names)
        if talk.method == "Reload":
            talk.number = self._number
            self._wants_reload |= not talk.is_dry
            self._wants_to_know |= talk.is_dry
        if talk.method in ("Start", "Restart", "Reset"):
            for slot in talk.slots:
                self._note_start(slot)
        if talk.method == "Restart":
            self._due.update(talk.slots)

    def _resolved(self, names: list[str]) -> list[Slot]:
        """Return whom printed names mean now: pools have other sizes since they were typed."""
        by_name = {self.force.name(slot): slot for slot in self.models}
        found = {by_name[name] for name in names if name in by_name}
        pools = {name for name in names if name not in by_name}
        return [slot for slot in self.models if slot in found or slot[0] in pools]

    def on_hang_up_signal(self) -> None:
        """The supervisor hears a SIGHUP."""
        self._wants_reload = True

    def _on_new(self, slot: Slot) -> None:
        self._note_start(slot)

    def _check_stop_order(self, talk: Talk) -> None:
        """Of several that are stopped together nobody is told before those that come after it."""
        told = [
            slot
            for slot in talk.slots
            if slot in self.models
            and slot not in self._leaving_before
            and self.models[slot].rung >= 0
        ]
        for slot in told:
            for other in talk.slots:
                is_first = self._order_model.is_ahead(slot[0], other[0])
                if is_first and other in self.models and self.models[other].aim:
                    message = f"{slot} is stopped while {other}, which comes after it, is there"
                    raise BrokenPromiseError(message)

    def on_answer(self, talk: Talk, outcome: dict[str, Any] | None, *, final: bool) -> None:
        """Somebody is told something: it must be true, and stay true across crashes."""
        del final
        self.effect("answer")
        if talk.method != "Stop":
            return
        for slot in talk.slots:
            if outcome is not None and slot_of(outcome["name"]) != slot:
                continue
            if outcome is not None and not outcome["ok"]:
                continue
            if outcome is not None and self.keeper.tree(slot) != "none":
                message = f"{slot} is said to be stopped, and is {self.keeper.tree(slot)}"
                raise BrokenPromiseError(message)
            if self._last_start[slot] < talk.number and slot in self.models:
                self._down_after[slot] = self.models[slot].last_run

    def may_have_two(self, slot: Slot) -> bool:
        """Return whether a run may be started beside another one of *slot*."""
        return slot in self.models and self.models[slot].spent > 0

    def on_asked(self, key: Key) -> None:
        """The keeper is about to start a run."""
        if key[2] > self._last_runs.get(key[:2], key[2]):
            message = f"{key} is started, and the end has begun"
            raise BrokenPromiseError(message)
        if key[2] > self._down_after.get(key[:2], key[2]):
            message = f"{key} is started, and somebody has been told that it is down"
            raise BrokenPromiseError(message)

    def good(self, behaviour: Behaviour) -> None:
        """Let a process be good, if faults have stopped."""
        if self.is_calm:
            behaviour.be_good()

    def _check_rest(self, supervisor: Shell) -> None:
        """When everything has been heard: is what is known what is? Has each end counted once?"""
        keeper = self.keeper
        if keeper.inbox or supervisor.talks or keeper.told < keeper.table.last:
            return
        self._check_force(supervisor)
        if keeper.table.facts or any(run.emptied for run in keeper.table.runs.values()):
            message = f"the keeper keeps what has been applied: {list(keeper.table.facts)}"
            raise BrokenPromiseError(message)
        for slot, model in self.models.items():
            for run, told in model.trees().items():
                tree = keeper.tree_of((*slot, run))
                if told != tree:
                    message = f"{slot} is {tree}, and the supervisor was told that it is {told}"
                    raise BrokenPromiseError(message)
            if keeper.count(slot) > len(model.trees()):
                message = f"{slot} is {keeper.tree(slot)}, and known are {model.trees()}"
                raise BrokenPromiseError(message)
            if model.ends != keeper.ends.get(slot, []):
                message = f"{slot} has ended {keeper.ends.get(slot)}; counted were {model.ends}"
                raise BrokenPromiseError(message)
        self._order_model.check()
        if self._order_model.is_broken() and not supervisor.daemon.is_stopping:
            message = "a critical worker's breaker is open, and the service goes on"
            raise BrokenPromiseError(message)
        for talk in self._open:
            is_open = talk.wait and not (talk.is_done or talk.closed)
            for slot in talk.slots if is_open and talk.method == "Start" else ():
                if slot not in self.models:
                    continue
                waits = self.models[slot].state_name() == "Waiting"
                in_vain = waits and self._order_model.waits_in_vain(slot[0])
                if in_vain and slot not in talk.answered:
                    message = f"{slot} waits in vain, and so does who asked for it"
                    raise BrokenPromiseError(message)
        dues_s = [model.all_due_s() for model in self.models.values()]
        due_s = min((each for each in dues_s if each is not None), default=None)
        wake_s = supervisor.next_deadline_s()
        if due_s is not None and (wake_s is None or wake_s > due_s):
            message = f"something is due at {due_s}, and the supervisor sleeps until {wake_s}"
            raise BrokenPromiseError(message)


def _is_away(model: SlotModel) -> bool:
    """Return whether it is not ready now and will come back."""
    is_over = model.tree == "none" and model.rest in ("stopped", "exited", "tripped", "scheduled")
    return not (is_over or is_ready(model))
