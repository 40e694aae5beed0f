"""Clients that follow how every worker stands: all of them at first, then whoever has changed.

Level, not edge: what is told is how a worker stands now. A client that was slow or cut off misses
steps in between, never the outcome; cut off, it asks again and is told all of them anew.

One step would always be missed: a critical worker whose breaker opens is stopped in the same turn,
with all others. So that its latest run has opened it is part of how a worker stands.
"""

from supervisord_lite.control.calls import Call
from supervisord_lite.core.actions import Announce
from supervisord_lite.core.breaker import is_full
from supervisord_lite.core.standing import is_ready
from supervisord_lite.core.states import Exited, Stopped, Tripped, Worker
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.in_between import looking
from supervisord_lite.supervisor.outbox import Slot


class Watchers:
    """Every client that follows, and what it has not been told yet."""

    def __init__(self, fleet: Fleet) -> None:
        """Follow *fleet* for clients to come."""
        self._fleet = fleet
        self._news: dict[Call, dict[Slot, None]] = {}
        self._told_first: set[Call] = set()
        self._tripped = {slot for slot, worker in fleet.workers.items() if _has_tripped(worker)}
        fleet.listen(self._stepped)
        fleet.when_forgotten(self._tripped.discard)

    def begin(self, call: Call) -> None:
        """Tell a client, from the next `deliver` on; one that wants a single answer, once."""
        self._news[call] = dict.fromkeys(self._fleet.workers)
        call.on_hang_up = lambda: self._forget(call)

    def _forget(self, call: Call) -> None:
        self._news.pop(call, None)
        self._told_first.discard(call)

    def _stepped(
        self, slot: Slot, before: Worker, after: Worker, told: tuple[Announce, ...]
    ) -> None:
        del before, told
        if isinstance(after.state, Tripped):
            self._tripped.add(slot)
        elif not isinstance(after.state, Stopped):
            self._tripped.discard(slot)  # started again, or about to be
        for news in self._news.values():
            news[slot] = None

    def deliver(self) -> None:
        """Tell what has changed and is saved by now."""
        for call, news in list(self._news.items()):
            if call.closed:
                self._forget(call)
                continue
            if not news and call in self._told_first:
                continue
            # A worker that was removed meanwhile is told no more.
            slots = [slot for slot in news if slot in self._fleet.workers]
            news.clear()
            if call.more:
                self._told_first.add(call)
            else:
                self._forget(call)
            standings = list(map(self._standing, looking(slots, self._fleet.look)))
            call.reply({"workers": standings}, continues=call.more)

    def _standing(self, slot: Slot) -> dict[str, object]:
        worker = self._fleet.workers[slot]
        last = worker.last_exit
        return {
            "name": self._fleet.name(slot),
            "pool": slot[0],
            "instance": slot[1],
            "state": self._fleet.word(slot),
            "ready": is_ready(worker),
            "at_rest": self._is_at_rest(slot, worker),
            # One that was removed and is back has never ended.
            "tripped": slot in self._tripped and last is not None,
            "run": worker.run,
            "failures": len(worker.failures),
            "max_restarts": worker.policy.max_restarts,
            "window_s": worker.policy.circuit_window_s,
            "reason": None if last is None else last.reason,
        }

    def _is_at_rest(self, slot: Slot, worker: Worker) -> bool:
        match worker.state:
            case Stopped() | Exited() | Tripped(probe_at_s=None):
                return True
            case _:
                return self._fleet.core.is_stuck(slot)


def _has_tripped(worker: Worker) -> bool:
    """Return whether its latest run opened the breaker, as far as its saved record tells."""
    failures, last, policy = worker.failures, worker.last_exit, worker.policy
    if not isinstance(worker.state, Stopped) or not failures or last is None:
        return isinstance(worker.state, Tripped)
    is_over = policy.restart != "never" and is_full(failures, max_restarts=policy.max_restarts)
    return is_over and last.at_s == failures[-1]
