"""Run numbers of slots that have been forgotten: none is ever used a second time.

A run's number tells its answers, its cgroup and its requests from those of other runs of the same
slot, so a slot that comes back goes on counting where it had ended. Remembered for ever, that would
grow with each name that any configuration ever had. So the numbers of the slots forgotten last are
kept one by one, and of all others only the highest: `floor`. A slot that is none of those kept
begins behind it, and so behind whatever it may have had itself.

The floor is saved ahead of the records that it stands for, so a supervisor that dies in between
leaves both, or the number alone, but never neither. The keeper forgets a slot when it is told
to, which is behind everything that was ever asked for it, on the same channel; and a slot is
forgotten only when the keeper has said that its last tree is empty.
"""

import json
from collections.abc import Mapping

from supervisord_lite.base.newest import remember
from supervisord_lite.supervisor.outbox import Outbox, Slot

#: Key of the floor among the saves.
FLOOR = "run_floor"
#: So many slots are remembered one by one: more than people take out and put back in a day.
MOST_SLOTS = 256


class Gone:
    """The latest run of every slot that was forgotten."""

    def __init__(self, outbox: Outbox) -> None:
        """Begin with none."""
        self._outbox = outbox
        self._runs: dict[Slot, int] = {}
        self._floor = 0

    def restore(self, runs: Mapping[Slot, int], floor: int) -> None:
        """Take over what an earlier supervisor had saved."""
        self._runs = dict(runs)
        self._floor = floor

    def add(self, slot: Slot, run: int) -> None:
        """Note the latest run of a slot of which nothing is left."""
        while len(self._runs) >= MOST_SLOTS:
            oldest = next(iter(self._runs))
            self._floor = max(self._floor, self._runs.pop(oldest))
            self._outbox.save(FLOOR, str(self._floor), first=True)
            self._outbox.touch(oldest)
        remember(self._runs, slot, run, most=MOST_SLOTS)
        self._outbox.touch(slot)

    def latest(self, slot: Slot) -> int:
        """Return the number behind which the runs of a new worker begin."""
        return self._runs.get(slot, self._floor)

    def is_back(self, slot: Slot) -> None:
        """The slot has a worker again, which knows its number itself."""
        self._runs.pop(slot, None)

    def record(self, slot: Slot) -> str | None:
        """Return what is saved of a slot without a worker; None: nothing any more."""
        run = self._runs.get(slot)
        return None if run is None else json.dumps({"gone": run})
