"""Rolls under way: pools whose instances are replaced a few at a time (`core.roll` decides)."""

import json
from collections.abc import Callable, Iterable, Mapping

from supervisord_lite.base.record import fields_of, replace
from supervisord_lite.core import actions, events, roll
from supervisord_lite.core.roll import Roll
from supervisord_lite.core.states import Worker
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.outbox import Outbox, Slot
from supervisord_lite.supervisor.outdated import Outdated

_KEY = "roll/"


class Rolls:
    """At most one roll for each pool; saved, so that the next supervisor goes on with it.

    Attributes:
        on_failed: Told of the slot whose new run failed, and of those that nobody touches now.
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
        self.on_failed: Callable[[Slot, list[Slot]], None] = lambda _failed, _untouched: None
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
        most = self._fleet.specs[pool].max_unavailable
        before = self._rolls.get(pool) or Roll(pool, (), tuple(going))
        before = replace(before, going=(*before.going, *grown))
        self._rolls[pool] = roll.joined(before, pool, indexes, most)
        # Now, and not with the first who is told: all may have to wait for one who is away.
        self._outbox.save(_KEY + pool, _to_text(self._rolls[pool]), first=True)
        self._moved[pool] = None
        self.go_on()

    def recycle(self, slot: Slot, why: str) -> None:
        """Let the present run of *slot* give way, when its turn comes; *why* is for people."""
        pool, index = slot
        most = self._fleet.specs[pool].max_unavailable
        before = self._rolls.get(pool)
        recycle = (index, self._fleet.workers[slot].run, why)
        self._rolls[pool] = roll.with_recycle(before, pool, recycle, most)
        self._outbox.save(_KEY + pool, _to_text(self._rolls[pool]), first=True)
        self._moved[pool] = None

    def go_on(self) -> None:
        """Let every roll go on whose pool has moved."""
        while self._moved:
            pool = next(iter(self._moved))
            del self._moved[pool]
            if pool in self._rolls:
                self._go_on(self._rolls[pool])

    def _go_on(self, before: Roll) -> None:
        pool = before.pool
        progress = roll.go_on(before, self._fleet.workers)
        if progress.roll is None:
            del self._rolls[pool]
            self._outbox.save(_KEY + pool, None, first=True)
        elif progress.roll != before or progress.restart:
            self._rolls[pool] = progress.roll
            # Before the workers' records: whoever goes on finds who was meant to be told.
            self._outbox.save(_KEY + pool, _to_text(progress.roll), first=True)
        for index in progress.restart:
            # One whose step has a fault is told again when something of the pool moves, not at
            # once and for ever.
            if self._fleet.feed_guarded((pool, index), self._told(progress.roll, index)):
                self._moved[pool] = None
        if progress.failed is not None:
            untouched = [(pool, index) for index in progress.untouched]
            self._log(
                "error", "roll.stopped", name=self._fleet.name((pool, progress.failed)),
                reason="its new run failed", not_touched=len(untouched),
            )  # fmt: skip
            self.on_failed((pool, progress.failed), untouched)

    def _told(self, under_way: Roll | None, index: int) -> events.Event:
        """Return what an instance is told that is to be replaced."""
        why = under_way.why(index) if under_way is not None else ""
        if under_way is None or not why:
            return events.RestartRequested()
        run = self._fleet.workers[under_way.pool, index].run
        return events.RecycleRequested(run, why)

    def _stepped(
        self, slot: Slot, before: Worker, after: Worker, told: tuple[actions.Announce, ...]
    ) -> None:
        del before, after, told
        if slot[0] in self._rolls:
            self._moved[slot[0]] = None


def _to_text(value: Roll) -> str:
    return json.dumps(fields_of(value))


def _from_text(pool: str, text: str) -> Roll:
    saved = json.loads(text)
    going = tuple((index, run) for index, run in saved["going"])
    recycles = tuple((index, run, why) for index, run, why in saved.get("recycles", ()))
    return Roll(pool, tuple(saved["left"]), going, saved["max_unavailable"], recycles)
