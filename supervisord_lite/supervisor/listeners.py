"""Who is told of events on their stdin, and of which: workers with `events` (keeper/feeds.py).

A listener hears nothing about its own pool: one that fails on the news of a failure would be told
of its own, for ever. Every instance of a pool hears all that its pool asked for.
"""

from typing import Any

from supervisord_lite.config.spec import Spec
from supervisord_lite.scribe.selection import Selection
from supervisord_lite.supervisor.events import Events
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.outbox import Outbox


class Listeners:
    """Chooses for whom each line is that goes to the journal."""

    def __init__(self, fleet: Fleet, outbox: Outbox, events: Events) -> None:
        """Listen to what *events* tells, for the listeners among the workers of *fleet*."""
        self._fleet = fleet
        self._outbox = outbox
        self._specs: dict[str, Spec] | None = None
        self._chosen: list[tuple[Spec, Selection]] = []
        self._lines: list[list[object]] = []
        outbox.fed = self._take
        events.listen(self._told)

    def tell(self) -> None:
        """Tell the keeper who listens, where that has changed: what waits for others goes."""
        if self._look():
            listening = [
                [slot[0], slot[1], self._fleet.name(slot)]
                for spec, _ in self._chosen
                for slot in self._fleet.slots(spec.pool)
            ]
            self._outbox.say("listeners", listening)

    def _look(self) -> bool:
        """Take over the specs in force; return whether they are others than before."""
        if self._specs is self._fleet.specs:
            return False
        self._specs = self._fleet.specs
        self._chosen = [
            (spec, Selection(spec.events)) for spec in self._specs.values() if spec.events
        ]
        return True

    def _told(self, line: str, event: dict[str, Any]) -> None:
        for spec, selection in self._chosen:
            if event.get("pool") != spec.pool and selection.has(event):
                self._lines += [[*slot, line] for slot in self._fleet.places(spec.pool)]

    def _take(self) -> list[list[object]]:
        lines, self._lines = self._lines, []
        return lines
