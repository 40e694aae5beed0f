"""The whole fleet: people who use it, misfortune, and how it must all end."""

from __future__ import annotations

from supervisord_lite.base.record import replace
from supervisord_lite.config.spec import Spec
from supervisord_lite.core.pools import Slot
from tests.support.simulator.clients import Talk
from tests.support.simulator.drawn import can_be_well
from tests.support.simulator.edits import edited
from tests.support.simulator.living import LivingWorld
from tests.support.simulator.violation import BrokenPromiseError

_VERBS = ("Start", "Start", "Stop", "Restart", "Reset", "Signal", "Reload", "Scale")
#: When faults have stopped: told so four times, everything is up, each time within the first; it
#: stays so, and within the last it is down.
_UP_S, _REST_S, _END_S = 150.0, 50.0, 300.0
#: So often is looked whether everything is up.
_LOOK_S = 10.0


class WholeWorld(LivingWorld):
    """One simulation of the daemon and those who use it."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        for person in range(2):
            self.at(self.rng.expovariate(1 / self._between_s), self._person, person)
        self.at(self.rng.expovariate(1 / 20), self._misfortune)
        self.at(self.rng.expovariate(1 / 30), self._share_is_had)

    # -- the end of it -----------------------------------------------------------------------------

    def calm(self) -> None:
        """Let all faults stop; everybody is wanted up, then the daemon is told to end.

        Raises:
            BrokenPromiseError: Somebody is not up, or left, within the bound; or a call is open.
        """
        with self.telling_the_seed():
            self.faults.stop()
            self.is_calm, self._fuse = True, None
            self.pass_s(_END_S)  # a service that was ending has ended, and is there again
            for _ in range(4):
                self._say_to_all("Reset")
                self.at(1.0, self._say_to_all, "Start")
                if self._comes_up(_UP_S):
                    break
            self.pass_s(_REST_S)
            self._require_all_up()
            self._reload_all()
            self._roll_all()
            assert self._supervisor is not None
            self._ask_to_end(1)
            self._ends_at_last = True
            self.pass_s(_END_S)
            if self._supervisor is not None:
                message = "the daemon was told to end, and has not"
                raise BrokenPromiseError(message)

    def _roll_all(self) -> None:
        """Restart everything; the supervisor dies once meanwhile, and what was said holds."""
        before = {slot: model.run for slot, model in self.models.items()}
        self._fuse, self._is_fuse_for_sends = self.rng.randint(0, 60), False
        self._say_to_all("Restart")
        talk = self._open[-1]
        self.pass_s(_END_S)
        self._fuse = None
        self._require_all_up()
        for slot, run in before.items():
            if talk.is_done and self._can_be_well(slot[0]) and self.models[slot].run == run:
                message = f"{slot} was to be restarted, and runs on as {run}"
                raise BrokenPromiseError(message)

    def _say_to_all(self, method: str) -> None:
        self._say(method, list(self.models), wait=False)

    def _can_be_well(self, pool: str) -> bool:
        """Return whether a good program of this pool comes up and stays, by the file in force."""
        ahead = self._order_model.all_ahead(pool)
        return all(can_be_well(self.force.specs[each].policy) for each in ahead)

    def _reload_all(self) -> None:
        """A storm of SIGHUP, and one death meanwhile: the file is in force, and runs."""
        specs = edited(self._good_specs, self.rng)
        self._good_specs = self.specs_of_file = [_with_other_program(spec) for spec in specs]
        self._fuse, self._is_fuse_for_sends = self.rng.randint(0, 60), False
        for _ in range(20):
            self.keeper.fact("signalled", signal="SIGHUP")
        self.pass_s(_END_S)
        self._fuse = None
        if list(self.force.file.values()) != self.specs_of_file:
            message = "the file on the disk is not in force after a SIGHUP"
            raise BrokenPromiseError(message)
        self._say_to_all("Reset")
        self._say_to_all("Start")
        self._comes_up(_END_S)
        self.pass_s(_REST_S)
        self._require_all_up()
        for slot in self.force.slots():
            if self._can_be_well(slot[0]) and (slot, self.models[slot].run) in self._stale:
                message = f"{slot} still runs what was in force before"
                raise BrokenPromiseError(message)

    def _comes_up(self, most_s: float) -> bool:
        """Let time pass until all are up, not more than so much; return whether they are."""
        until_s = self.now_s + most_s
        while self.now_s < until_s:
            self.pass_s(_LOOK_S)
            if not self._what_is_missing():
                return True
        return False

    def _require_all_up(self) -> None:
        missing = self._what_is_missing()
        if missing:
            raise BrokenPromiseError(missing)

    def _what_is_missing(self) -> str:
        """Return what is not as it must be when all are wanted up; empty: nothing."""
        if set(self.models) != self._places():
            return f"{set(self.models) - self._places()} have no place, and are still there"
        for slot, model in self.models.items():
            is_up = model.ready and self.keeper.tree(slot) == "alive"
            if self._can_be_well(slot[0]) and not is_up:
                return f"{slot} is wanted, and is {model.state_name()}"
        for talk in self._open:
            # Whoever waits for a program that is never ready waits as long as that is tried.
            pools = {pool for pool, _ in talk.slots}
            if not pools <= self.force.specs.keys():
                # One that is gone may have required anybody: who was started for it is waited for.
                pools = set(self.force.specs)
            has_end = talk.method == "Stop" or all(map(self._can_be_well, pools))
            if has_end and not (talk.is_done or talk.closed):
                return f"{talk.method} of {talk.slots} is not answered"
        return ""

    # -- people, and misfortune --------------------------------------------------------------------

    def _person(self, person: int) -> None:
        rng = self.rng
        if self.is_calm:
            return
        self.at(rng.expovariate(1 / self._between_s), self._person, person)
        slots: list[Slot] = [rng.choice(list(self.models))]
        if rng.random() < 0.2:
            slots = list(self.models)
        self._say(rng.choice(_VERBS), slots, rng.random() < 0.5)
        for talk in self._open:
            if rng.random() < 0.02 and not talk.closed:
                talk.hang_up()

    def _say(self, method: str, slots: list[Slot], wait: bool) -> None:
        if self._supervisor is None:
            return
        wait = wait and method in ("Start", "Stop", "Restart", "Reset")
        names = [self.force.name(slot) for slot in slots]
        is_alone = method == "Start" and self.rng.random() < 0.1 and not self.is_calm
        sizes = {pool: self.rng.choice((1, 2, 3, 4)) for pool, _ in slots}
        is_dry = self.rng.random() < 0.3
        talk = Talk(
            self, method, slots, names=names, wait=wait, is_alone=is_alone, is_dry=is_dry,
            sizes=sizes,
        )  # fmt: skip
        self._orders += 1
        talk.number = self._orders
        self._open = [each for each in self._open if not (each.is_done or each.closed)]
        self._open.append(talk)
        self._supervisor.talks.append(talk)
        self.wake_supervisor()

    def _misfortune(self) -> None:
        rng = self.rng
        if self.is_calm:
            return
        self.at(rng.expovariate(1 / 20), self._misfortune)
        draw = rng.random()
        if draw < 0.2:
            self.keeper.kill_somebody()
        elif draw < 0.4 and self.faults.stall:
            self._stalled_until_s = self.now_s + rng.choice((0.5, 5.0, 100.0))
        elif draw < 0.6:
            self._clock.wall_offset_s += rng.uniform(-3e8, 3e8)
        elif draw < 0.8:
            for _ in range(rng.choice((1, 20))):
                self.keeper.fact("signalled", signal="SIGHUP")
        elif draw < 0.9:
            self._ask_to_end(rng.choice((1, 1, 2, 3)))
        elif draw < 0.93:
            self._say("Shutdown", [], wait=False)

    def _share_is_had(self) -> None:
        """Some are due for a fresh run, of a pool or of several."""
        if self.is_calm:
            return
        self.at(self.rng.expovariate(1 / 30), self._share_is_had)
        if self._supervisor is not None:
            most = self.rng.choice((1, 2, 8))
            self._supervisor.due += self.rng.choices(list(self.models), k=most)
            self.wake_supervisor()


def _with_other_program(spec: Spec) -> Spec:
    argv = ("y", *spec.launch.argv)
    return replace(spec, launch=replace(spec.launch, argv=argv))
