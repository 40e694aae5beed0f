"""What changes in the whole world when another configuration comes in force, and what may not."""

from __future__ import annotations

import json
from typing import Any

from supervisord_lite.config.spec import Settings, Spec
from supervisord_lite.core import events
from supervisord_lite.core.pools import Slot
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.reload import Reading
from tests.support.simulator.clients import Talk
from tests.support.simulator.edits import SimulatedReading, edited
from tests.support.simulator.engine import World
from tests.support.simulator.force import Force, log_of, needs_new_run
from tests.support.simulator.keeper import Keeper
from tests.support.simulator.order import OrderModel
from tests.support.simulator.pair import PairModel
from tests.support.simulator.shell import Shell
from tests.support.simulator.violation import BrokenPromiseError

SETTINGS = Settings("/etc/x.toml", "/state", "/run/x", None, "/run/x/control.sock")


class SwitchingWorld(World):
    """A world with a file that people edit, and sizes that they change.

    Attributes:
        specs_of_file: What the file says now; None: nothing good.
        force: What is in force for the present supervisor; `_saved_force` is for its successor.
        models: Everybody who is there, also those who are leaving.
    """

    keeper: Keeper
    models: dict[Slot, PairModel]
    force: Force
    _saved_force: Force
    _order_model: OrderModel
    _supervisor: Shell | None
    _call: Talk | None

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.specs_of_file: list[Spec] | None = None
        self._good_specs: list[Spec] = []
        self.reloads = 0  #: how many files were put in force
        self._forget_all()

    def wake_supervisor(self) -> None:
        """Let it have a turn soon."""
        raise NotImplementedError

    def _forget_all(self) -> None:
        """The service is started: nothing is remembered."""
        self._gone: dict[Slot, tuple[int, list[int]]] = {}  #: their latest run, and all ends
        self._saved_gone = dict(self._gone)
        self._stale: set[tuple[Slot, int]] = set()  #: runs of a program that is not in force
        self._saved_stale = set(self._stale)
        self._due: set[Slot] = set()  #: whom a roll may still restart
        self._begin_life(wants_reload=False)

    def _begin_life(self, *, wants_reload: bool) -> None:
        """A supervisor begins: what the dead one had not saved has not been."""
        self._readings: list[SimulatedReading] = []
        self._judged: list[SimulatedReading] = []
        self._judging: SimulatedReading | None = None
        self._wants_reload = wants_reload
        self._wants_to_know = False  #: somebody asks what a reload would change
        self._in_switch = self._is_adopting = False
        self._changed: set[str] = set()
        self._to_start: set[Slot] = set()
        self._to_stop: set[Slot] = set()
        self._was_new: set[Slot] = set()
        self._stale = set(self._saved_stale)
        self._gone = dict(self._saved_gone)

    def _violation(self, message: str) -> None:
        raise BrokenPromiseError(message)

    # -- the file, and who reads it ----------------------------------------------------------------

    def _edit(self) -> None:
        if not self.is_calm:
            draw = self.rng.random()
            if draw < 0.8:
                self._good_specs = edited(self._good_specs, self.rng)
            self.specs_of_file = None if draw > 0.85 else self._good_specs
            self.at(self.rng.expovariate(1 / 20), self._edit)

    def start_loading(self, path: str, *, environ: dict[str, str], now_s: float) -> Reading:
        """A child is started that reads the file.

        Raises:
            OSError: No process can be started.
        """
        del path, environ
        if not (self._wants_reload or self._wants_to_know):
            self._violation("the file is read, and nobody has asked for it")
        if any(not reading.is_over for reading in self._readings):
            self._violation("the file is read twice at once")
        self._number += 1
        reading = SimulatedReading(self, SETTINGS, self._number, now_s, is_real=self._wants_reload)
        self._wants_reload = self._wants_to_know = False
        if not self.is_calm and self.rng.random() < 0.03:
            self._judged.append(reading)
            raise OSError(11, "no process")
        self._readings.append(reading)
        return reading

    def _read_news(self, supervisor: Shell) -> None:
        """Let the supervisor hear what its child has said."""
        for reading in list(self._readings):
            if reading.has_news and not reading.is_over:
                supervisor.readable(reading.number)
                self._check_judged(reading, supervisor)
        self._readings = [each for each in self._readings if not each.is_over]

    def _check_judged(self, reading: SimulatedReading, supervisor: Shell) -> None:
        judging, self._judging = self._judging, None
        is_due = reading.is_real and reading.specs is not None and not supervisor.daemon.is_stopping
        if judging is reading and is_due and list(self.force.file.values()) != reading.specs:
            self._violation("a good file was read for a reload, and is not in force")

    def on_judged(self, reading: SimulatedReading) -> None:
        """The supervisor hears what is in the file."""
        self._judged.append(reading)
        self._judging = reading

    def on_reloaded(self, talk: Talk, generation: int | None) -> None:
        """Somebody is told that the file is in force: it must be, whoever dies now."""
        since = [each for each in self._judged if each.number > talk.number]
        if not any((each.specs is None) == (generation is None) for each in since):
            self._violation(f"a reload is answered with {generation}, and no such file was read")
        is_real = generation is not None and not talk.is_dry
        assert self._supervisor is not None
        if is_real and not self._supervisor.daemon.is_stopping:
            saved = json.loads(self._last_force).get("generation", 1)
            if generation is None or saved < generation:
                self._violation(f"generation {generation} is told, and {saved} is saved")

    # -- the switch --------------------------------------------------------------------------------

    def on_switch(self, fleet: Fleet) -> None:
        """Another configuration comes in force: is it the right one?"""
        assert self._supervisor is not None
        if self._supervisor.daemon.is_stopping:
            self._violation("the configuration changes while the service ends")
        before, leaving = self.force, set(self.models) - set(self.force.slots())
        if self._call is not None and self._call.method == "Scale":
            self.force = before.scaled(self._call.sizes, leaving)
        elif self._judging is None or self._judging.specs is None or not self._judging.is_real:
            self._violation("the configuration changes, and no good file was read for that")
        else:
            self.reloads += 1
            self.force = before.reloaded(self._judging.specs, leaving)
        self.trace.add((self.now_s, "switch", self.force.generation))
        self.force.check(fleet.specs.values())
        self._in_switch = True
        self._note_new(before, leaving)
        self._note_changed(before)
        self._reorder()

    def _note_new(self, before: Force, leaving: set[Slot]) -> None:
        places = self.force.slots()
        down = {
            pool
            for pool in self.force.specs
            if (there := [s for s in places if s[0] == pool and s in self.models])
            and all(_is_stopped_by_hand(self.models[slot]) for slot in there)
        }
        new = [slot for slot in places if slot not in self.models]
        for slot in new:
            run, ends = self._gone.pop(slot, (0, []))
            model = PairModel(self.force.specs[slot[0]].policy)
            model.run, model.ends = run, list(ends)
            self.models[slot] = model
        for slot in (*new, *leaving.intersection(places)):
            spec = self.force.specs[slot[0]]
            if slot[0] not in down and spec.policy.autostart:
                self._to_start.add(slot)
            self._on_new(slot)
        self._was_new.update(new)
        self._to_stop |= set(before.slots()) - set(places)
        self._to_start.intersection_update(places)
        self._to_stop.difference_update(places)

    def _on_new(self, slot: Slot) -> None:
        """A slot has a place again: what was said of it before has no meaning any more."""
        raise NotImplementedError

    def _note_changed(self, before: Force) -> None:
        for pool, spec in self.force.specs.items():
            old = before.specs.get(pool)
            if old is None:
                self._changed.add(pool)
                continue
            if spec != old:
                self._changed.add(pool)
            for slot in self.models if needs_new_run(old, spec) else ():
                if slot[0] == pool and slot not in self._was_new:
                    self._due.add(slot)
                    self._stale.update((slot, run) for run in self.models[slot].trees())

    def _reorder(self) -> None:
        self._order_model = OrderModel(self.force.pools(), self.models, has_end=True)

    def _hear_by_itself(self, slot: Slot, event: events.SlotEvent) -> None:
        """Somebody is told something that no person has asked for just now."""
        model = self.models[slot]
        has_place = slot in self._places()
        match event:
            case events.StopRequested():
                if has_place:
                    self._violation(f"{slot} is stopped, and nobody has asked for it")
                self._to_stop.discard(slot)
            case events.StartRequested():
                if not (self._in_switch or self._is_adopting):
                    self._violation(f"{slot} is started, and nobody has asked for it")
                if _is_stopped_by_hand(model):
                    self._violation(f"{slot} was stopped by hand, and is started again")
                self._to_start.discard(slot)
            case events.RestartRequested() | events.ReplaceRequested(recycle=""):
                if slot not in self._due:
                    self._violation(f"{slot} is restarted, and nothing of it has changed")
            case events.ResetRequested():
                if not self._in_switch or slot[0] not in self._changed:
                    self._violation(f"{slot} is reset, and nothing of it has changed")
            case events.PolicyChanged(policy=policy):
                if policy != self.force.spec(slot[0]).policy:
                    self._violation(f"{slot} is told of a policy that is not in force")
            case _:
                pass

    def _places(self) -> set[Slot]:
        return set(self.force.slots())

    def _forget_if_gone(self, slot: Slot) -> None:
        """Whoever has no place is forgotten with the last of its tree."""
        model = self.models[slot]
        if model.tree != "none" or model.rest != "stopped" or slot in self._places():
            return
        if slot in self._to_stop:
            return  # it is told in a moment
        if self.keeper.tree(slot) != "none":
            self._violation(f"{slot} is forgotten, and is {self.keeper.tree(slot)}")
        self._gone[slot] = (model.last_run, model.ends)
        del self.models[slot]
        self._reorder()

    def _check_sent(self, message: dict[str, Any]) -> None:
        """Is the whole of a switch in one message?"""
        saved = message.get("save", {})
        if not self._in_switch:
            if "pools" in saved or "by_hand" in saved:
                self._violation("a configuration is saved, and none has come in force")
            return
        missing = {"pools", "force", "by_hand"} - set(saved)
        if missing:
            self._violation(f"half of a configuration is sent: without {sorted(missing)}")
        if self._to_start or self._to_stop:
            self._violation(f"not started: {self._to_start}, not stopped: {self._to_stop}")
        self._in_switch = False
        self._changed.clear()
        self._was_new.clear()
        self._saved_force, self._saved_stale = self.force, set(self._stale)

    def _note_saved(self, saved: dict[str, str | None]) -> None:
        for name, text in saved.items():
            if name == "force":
                self._last_force = text or "{}"
            if name.startswith("spec/") and text is None:
                left = [pool for pool in self._saved_force.former if f"spec/{pool}" != name]
                self._saved_force = self._saved_force.narrowed(left)
            if name.startswith("worker/"):
                slot = (name.split("/")[1], int(name.split("/")[2]))
                if slot in self.models:
                    self._saved[slot] = self.models[slot].copy()
                    self._saved_gone.pop(slot, None)
                else:
                    self._saved.pop(slot, None)
                    self._saved_gone[slot] = self._gone[slot]

    _saved: dict[Slot, PairModel]
    _last_force = "{}"

    # -- at rest -----------------------------------------------------------------------------------

    def _check_force(self, supervisor: Shell) -> None:
        """When everything has been heard: does everybody live by what is in force?"""
        self.force.check(supervisor.fleet.specs.values())
        if set(supervisor.fleet.workers) != set(self.models):
            there = set(supervisor.fleet.workers)
            self._violation(f"{sorted(there)} are there, and not {sorted(self.models)}")
        for key, process in self.keeper.processes.items():
            if key[:2] not in self.models and process.stage != "gone":
                self._violation(f"{key} is forgotten, and is {process.stage}")
        saves = self.keeper.table.saves
        self._due = {slot for slot in self._due if saves.get(f"roll/{slot[0]}")}
        for slot in self.force.slots():
            model, spec = self.models[slot], self.force.specs[slot[0]]
            is_there = model.tree != "none"
            if is_there and (model.is_leaving or (slot, model.run) in self._stale):
                continue
            if model.policy != spec.policy:
                self._violation(f"{slot} lives by a policy that is not in force")
            if is_there:
                self._check_process(slot, spec)

    def _check_process(self, slot: Slot, spec: Spec) -> None:
        process = self.keeper.processes[(*slot, self.models[slot].run)]
        if process.stage == "alive" and process.program != spec.launch.argv:
            self._violation(f"{slot} runs {process.program}, and not {spec.launch.argv}")
        log = log_of(spec, slot[1])
        if process.stage == "alive" and process.log != log:
            self._violation(f"{slot} writes to {process.log}, and not to {log}")


def _is_stopped_by_hand(model: PairModel) -> bool:
    return model.tree == "none" and model.rest == "stopped" and model.by_hand
