"""Heartbeats: who must give signs of life, and when somebody asks whether there were any.

The signs themselves (WATCHDOG=1) stay with the keeper, which only notes when the last one came: a
worker may give as many as it likes, and nobody wakes for them. When a worker's time is up, the
keeper is asked for its last sign; it reads the socket to its end before it answers. So there are
two witnesses before anybody is judged, this clock and what the kernel has kept.

Time counts from ready. After a gap (this process or the machine was stopped) everybody looks late,
so everybody gets the whole time again.
"""

from typing import Any

from supervisord_lite.base.clock import Clock
from supervisord_lite.core import events
from supervisord_lite.core.actions import Announce
from supervisord_lite.core.standing import is_ready
from supervisord_lite.core.states import Probing, Running, Worker
from supervisord_lite.supervisor.deadlines import Deadlines
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.outbox import Slot

#: Being this late means that we were stopped ourselves.
_GAP_S = 1.0


class Heartbeats:
    """When whose last sign of life is asked for."""

    def __init__(self, fleet: Fleet, clock: Clock) -> None:
        """Watch *fleet*; those who are ready already are asked at once."""
        self._fleet = fleet
        self._clock = clock
        self._deadlines: Deadlines[Slot] = Deadlines()
        self._runs: dict[Slot, int] = {}
        for slot, worker in fleet.workers.items():
            self._follow(slot, worker)
        fleet.listen(self._stepped)

    @property
    def deadline_s(self) -> float | None:
        """When to call `expire`; None: not at all."""
        return self._deadlines.next_s()

    def _stepped(
        self, slot: Slot, before: Worker, after: Worker, told: tuple[Announce, ...]
    ) -> None:
        del before, told
        self._follow(slot, after)

    def _follow(self, slot: Slot, worker: Worker) -> None:
        timeout_s = self._timeout_s(slot)
        ready_at_s = _ready_at_s(worker)
        if timeout_s is None or ready_at_s is None:
            if self._runs.pop(slot, None) is not None:
                self._deadlines.forget(slot)
        elif self._runs.get(slot) != worker.run:
            self._runs[slot] = worker.run
            self._deadlines.put(slot, ready_at_s + timeout_s)

    def _timeout_s(self, slot: Slot) -> float | None:
        spec = self._fleet.specs.get(slot[0])
        return None if spec is None else spec.launch.heartbeat_timeout_s

    def expire(self, now_s: float) -> None:
        """Ask the keeper about everybody whose time is up."""
        first_s = self._deadlines.next_s()
        if first_s is None or now_s < first_s:
            return
        is_gap = now_s > first_s + _GAP_S
        for slot in list(self._runs) if is_gap else self._deadlines.take_due(now_s):
            timeout_s = self._timeout_s(slot)
            if slot not in self._runs or timeout_s is None:
                continue
            if is_gap:
                self._deadlines.put(slot, now_s + timeout_s)
            else:
                request: dict[str, object] = {"do": "beat", "pool": slot[0], "index": slot[1]}
                self._fleet.outbox.request(slot, {**request, "run": self._runs[slot]})

    def take(self, message: dict[str, Any]) -> None:
        """Take the keeper's answers, if *message* has any."""
        for pool, index, run, beat_s in message.get("beats", ()):
            slot = (pool, index)
            timeout_s = self._timeout_s(slot)
            ready_at_s = _ready_at_s(self._fleet.workers[slot]) if slot in self._runs else None
            if self._runs.get(slot) != run or timeout_s is None or ready_at_s is None:
                continue
            now_s = self._clock.now_s()
            last_s = max(ready_at_s, beat_s or 0.0)
            if now_s < last_s + timeout_s:
                self._deadlines.put(slot, last_s + timeout_s)
            else:
                reason = f"no heartbeat for {timeout_s:g}s"
                self._fleet.feed_guarded(slot, events.JudgedFailed(run, reason), now_s)


def _ready_at_s(worker: Worker) -> float | None:
    """Return since when a run that lives is ready."""
    state = worker.state
    if isinstance(state, Running | Probing) and is_ready(worker):
        return state.ready_at_s
    return None
