"""Rolls under way: pools whose instances are replaced a few at a time (`core.roll` decides).

That a new run was rejected stands in nobody's state when it is over, so it is noted when it is
announced, and the roll ends in the same turn: its end is saved ahead of the record from which that
run is gone. Killed in between, the roll is over, and the fact comes again and ends nothing.
"""

import json
from collections.abc import Callable, Iterable, Mapping

from supervisord_lite.base.record import fields_of, record, replace
from supervisord_lite.core import actions, events, roll
from supervisord_lite.core.events import SlotEvent
from supervisord_lite.core.roll import Roll
from supervisord_lite.core.states import Worker
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.outbox import Outbox, Slot
from supervisord_lite.supervisor.outdated import Outdated

_KEY = "roll/"


@record
class Rejected:
    """What became of a new run that did not become ready: its number, and why, for people."""

    run: int
    why: str


OnFailed = Callable[[Slot, list[Slot], Rejected | None], None]


class Rolls:
    """At most one roll for each pool; saved, so that the next supervisor goes on with it.

    Attributes:
        on_failed: Told of the slot whose new run failed, of those that nobody touches now, and of
            what became of the new run where the old one goes on; None: there is no old one.
        outdated: Which runs are of an earlier configuration.
    """

    def __init__(
        self,
        fleet: Fleet,
        outbox: Outbox,
        saves: Mapping[str, str],
        log: Callable[..., None] = lambda *_, **__: None,
    ) -> None:
        """Take over what an earlier supervisor had begun; *log* takes lines."""
        self._fleet = fleet
        self._outbox = outbox
        self._rolls: dict[str, Roll] = {}
        self.on_failed: OnFailed = lambda _failed, _untouched, _why: None
        self._rejected: dict[Slot, Rejected] = {}
        self._log = log
        self.outdated = Outdated(fleet, outbox, saves)
        for key, text in saves.items():
            pool = key.removeprefix(_KEY)
            if key.startswith(_KEY) and text and pool in fleet.specs:
                self._rolls[pool] = _from_text(pool, text)
        self._moved = dict.fromkeys(self._rolls)
        fleet.listen(self._stepped)

    def is_rolling(self, pool: str) -> bool:
        """Return whether a roll of this pool is under way."""
        return pool in self._rolls

    def will_replace(self, slot: Slot) -> bool:
        """Return whether a new run of *slot* is still to come from a roll that is under way."""
        under_way = self._rolls.get(slot[0])
        if under_way is None:
            return False
        run = self._fleet.workers[slot].run
        return slot[1] in under_way.left or any(
            index == slot[1] and run <= replaced for index, replaced in under_way.going
        )

    def begin(
        self,
        pool: str,
        indexes: Iterable[int],
        going: Iterable[tuple[int, int]] = (),
        *,
        grown: Iterable[tuple[int, int]] = (),
    ) -> None:
        """Replace these instances, behind those of a roll that is under way.

        Args:
            pool: Whose instances they are.
            indexes: Which, in order.
            going: (index, run that was replaced) of those that the same order has replaced already.
            grown: (index, run before its start) of new instances, with which it begins.
        """
        spec = self._fleet.specs[pool]
        before = self._rolls.get(pool) or Roll(pool, (), tuple(going))
        before = replace(before, going=(*before.going, *grown))
        self._rolls[pool] = roll.joined(before, pool, indexes, spec.max_unavailable, spec.max_surge)
        # Now, and not with the first who is told: all may have to wait for one who is away.
        self._outbox.save(_KEY + pool, _to_text(self._rolls[pool]), first=True)
        self._moved[pool] = None
        self.go_on()

    def recycle(self, slot: Slot, why: str) -> None:
        """Let the present run of *slot* give way, when its turn comes; *why* is for people."""
        pool, index = slot
        spec = self._fleet.specs[pool]
        before = self._rolls.get(pool)
        recycle = (index, self._fleet.workers[slot].run, why)
        self._rolls[pool] = roll.with_recycle(
            before, pool, recycle, spec.max_unavailable, spec.max_surge
        )
        self._outbox.save(_KEY + pool, _to_text(self._rolls[pool]), first=True)
        self._moved[pool] = None

    def go_on(self) -> None:
        """Let every roll go on whose pool has moved."""
        while self._moved:
            pool = next(iter(self._moved))
            del self._moved[pool]
            if pool in self._rolls:
                self._go_on(self._rolls[pool])
        self._rejected.clear()
        self.outdated.save()

    def _go_on(self, before: Roll) -> None:
        pool = before.pool
        spec = self._fleet.specs.get(pool)
        if spec is not None:  # a reload may have changed them meanwhile, or taken the pool out
            before = roll.limited(before, spec.max_unavailable, spec.max_surge)
        rejected = [index for name, index in self._rejected if name == pool]
        progress = roll.go_on(before, self._fleet.workers, self._fleet.twins, rejected)
        if progress.roll is None:
            del self._rolls[pool]
            self._outbox.save(_KEY + pool, None, first=True)
        elif progress.roll != before or progress.restart or progress.swap:
            self._rolls[pool] = progress.roll
            # Before the workers' records: whoever goes on finds who was meant to be told.
            self._outbox.save(_KEY + pool, _to_text(progress.roll), first=True)
        told = [(index, self._told(progress.roll, index)) for index in progress.restart]
        told += [(index, self._told_to_swap(progress.roll, index)) for index in progress.swap]
        for index, event in told:
            # One whose step has a fault is told again when something of the pool moves, not at
            # once and for ever.
            if self._fleet.feed_guarded((pool, index), event):
                self._moved[pool] = None
        if progress.failed is not None:
            failed = (pool, progress.failed)
            untouched = [(pool, index) for index in progress.untouched]
            self._log(
                "error", "roll.stopped", name=self._fleet.name(failed),
                reason="its new run failed", not_touched=len(untouched),
            )  # fmt: skip
            self.on_failed(failed, untouched, self._rejected.get(failed))

    def _told_to_swap(self, under_way: Roll | None, index: int) -> SlotEvent:
        """Return what an instance is told whose new run comes first."""
        assert under_way is not None
        policy = self._fleet.specs[under_way.pool].policy
        return events.ReplaceRequested(policy, under_way.why(index))

    def _told(self, under_way: Roll | None, index: int) -> SlotEvent:
        """Return what an instance is told that is to be replaced."""
        why = under_way.why(index) if under_way is not None else ""
        if under_way is None or not why:
            return events.RestartRequested()
        run = self._fleet.workers[under_way.pool, index].run
        return events.RecycleRequested(run, why)

    def _stepped(
        self, slot: Slot, before: Worker, after: Worker, told: tuple[actions.Announce, ...]
    ) -> None:
        del before, after
        if slot[0] in self._rolls:
            self._moved[slot[0]] = None
            for each in told:
                if each.event == "worker.rejected":
                    self._rejected[slot] = _rejected(dict(each.fields))


def _rejected(fields: Mapping[str, str | int | float]) -> Rejected:
    """Return "new process 6201 failed: exit 3 after 0.9s, not ready", from an announcement."""
    run = fields["run"]
    assert isinstance(run, int)
    which = f"new process {fields['pid']}" if "pid" in fields else "a new process"
    reason = fields.get("reason") or _describe(fields.get("code"), fields.get("signal"))
    ran_s = fields.get("ran_s")
    if "pid" not in fields or ran_s is None or str(reason).startswith("not ready"):
        return Rejected(run, f"{which} failed: {reason}")
    return Rejected(run, f"{which} failed: {reason} after {float(ran_s):.1f}s, not ready")


def _describe(code: object, signal: object) -> str:
    """Return how a process ended, from the fields of an event: "exit 3" or "SIGKILL"."""
    return str(signal) if signal is not None else f"exit {code}"


def _to_text(value: Roll) -> str:
    return json.dumps(fields_of(value))


def _from_text(pool: str, text: str) -> Roll:
    saved = json.loads(text)
    going = tuple((index, run) for index, run in saved["going"])
    recycles = tuple((index, run, why) for index, run, why in saved.get("recycles", ()))
    most = saved["max_unavailable"], recycles, saved.get("max_surge", 0)
    return Roll(pool, tuple(saved["left"]), going, *most)
