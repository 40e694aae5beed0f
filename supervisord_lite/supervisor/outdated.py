"""Which runs are of an earlier configuration than the one in force.

A reload replaces the instances of a pool a few at a time, and stops where the first new one fails.
Those that it did not come to go on as they were; until they have a new run, somebody must know.
"""

import json
from collections.abc import Callable, Iterable, Mapping

from supervisord_lite.core import actions
from supervisord_lite.core.states import Worker
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.outbox import Outbox, Slot
from supervisord_lite.supervisor.twins import runs_of

_KEY = "outdated/"


class Outdated:
    """Slot -> run; saved by pool.

    Attributes:
        on_marked: Told of each slot whose present runs are of an earlier configuration from now on.
    """

    def __init__(self, fleet: Fleet, outbox: Outbox, saves: Mapping[str, str]) -> None:
        """Take over what an earlier supervisor knew."""
        self.on_marked: Callable[[Slot], None] = lambda _slot: None
        self._fleet = fleet
        self._outbox = outbox
        self._runs: dict[str, dict[int, int]] = {}
        self._moved: set[str] = set()  # and not saved yet
        for key, text in saves.items():
            if key.startswith(_KEY):
                runs = {int(index): run for index, run in json.loads(text).items()}
                self._runs[key.removeprefix(_KEY)] = runs
        fleet.listen(self._stepped)

    def mark(self, slots: Iterable[Slot]) -> None:
        """The present runs of *slots* are of the configuration that is being left."""
        for slot in slots:
            runs = runs_of(self._fleet.workers[slot], self._fleet.twins.get(slot))
            self._runs.setdefault(slot[0], {})[slot[1]] = max(runs, default=0)
            self._moved.add(slot[0])
            self.on_marked(slot)
        self.save()

    def save(self) -> None:
        """Save what has changed: once for many, call it before each flush.

        Not to have saved that a run has ended does no harm: its successor has a higher number.
        """
        for pool in sorted(self._moved):
            runs = self._runs.get(pool)
            self._outbox.save(_KEY + pool, json.dumps(runs) if runs else None)
            if not runs:
                self._runs.pop(pool, None)
        self._moved.clear()

    def has(self, slot: Slot) -> bool:
        """Return whether the present run of *slot* is of an earlier configuration."""
        run = self._runs.get(slot[0], {}).get(slot[1])
        worker = self._fleet.workers.get(slot)
        return run is not None and worker is not None and worker.run <= run

    def covers(self, slot: Slot, run: int) -> bool:
        """Return whether *run* of a slot is of an earlier configuration."""
        latest = self._runs.get(slot[0], {}).get(slot[1])
        return latest is not None and run <= latest

    def forget(self, pool: str) -> None:
        """The pool is gone."""
        self._moved.discard(pool)
        if self._runs.pop(pool, None) is not None:
            self._outbox.save(_KEY + pool, None)

    def _stepped(
        self, slot: Slot, before: Worker, after: Worker, told: tuple[actions.Announce, ...]
    ) -> None:
        del before, told
        run = self._runs.get(slot[0], {}).get(slot[1])
        if run is not None and (after.run > run or not hasattr(after.state, "pid")):
            del self._runs[slot[0]][slot[1]]
            self._moved.add(slot[0])
