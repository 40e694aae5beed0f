"""What may happen in storms, as events: denied control, lost log lines, events nobody took.

==============  ====================================================================================
control.denied  a peer was hung up on at the door (no verb), or may not do what it asked for
log.dropped     lines of a worker's output were lost; `status` has the totals
events.dropped  a listener did not read, and its oldest lines went (keeper/feeds.py)
==============  ====================================================================================

Each is told at once, and then once a minute with the sum of what came since (coalesced.py).
"""

from collections.abc import Mapping
from typing import Any

from supervisord_lite.base.clock import Clock
from supervisord_lite.control.calls import Peer
from supervisord_lite.supervisor.coalesced import Coalesced
from supervisord_lite.supervisor.events import Events
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.launch import log_places
from supervisord_lite.supervisor.logs import Logs
from supervisord_lite.supervisor.outbox import Slot

#: Workers are as many as the file says; strangers are not.
_MOST_WORKERS = 4096


class Storms:
    """Takes what happens, and tells it often enough."""

    def __init__(self, fleet: Fleet, events: Events, clock: Clock, logs: Logs) -> None:
        """Take what is told about, and what takes it."""
        self._fleet = fleet
        self._events = events
        self._denied = Coalesced(clock, self._tell_denied)
        self._dropped = Coalesced(clock, self._tell_dropped, most_kinds=_MOST_WORKERS)
        self._unheard = Coalesced(clock, self._tell_unheard, most_kinds=_MOST_WORKERS)
        self._all = (self._denied, self._dropped, self._unheard)
        self._places: dict[str, Slot] = {}
        self._known: object = None
        logs.on_dropped = self.dropped

    @property
    def deadline_s(self) -> float | None:
        """When `expire` has something to do; None: never."""
        return min((d for each in self._all if (d := each.deadline_s) is not None), default=None)

    def expire(self, now_s: float) -> None:
        """Tell what has come since it was told last."""
        for each in self._all:
            each.expire(now_s)

    def tell_all(self) -> None:
        """This supervisor makes room for another one: tell what that one could not know of."""
        for each in self._all:
            each.tell_all()

    # -- control.denied ----------------------------------------------------------------------------

    def refused(self, peer: Peer) -> None:
        """A peer was closed unread, or hung up on."""
        self._denied.add((peer.uid, ""), {"uid": peer.uid, "pid": peer.pid})

    def denied(self, peer: Peer, verb: str, pool: str | None) -> None:
        """A peer may not do what it asked for; *pool*: of which it may not, if that is it."""
        about = {"uid": peer.uid, "pid": peer.pid, "verb": verb, "pool": pool}
        self._denied.add((peer.uid, verb), about)

    def _tell_denied(self, told: Mapping[str, object]) -> None:
        peer, self._events.peer = self._events.peer, None  # it did not ask for the event
        try:
            self._events.log("warning", "control.denied", **told)
        finally:
            self._events.peer = peer

    # -- log.dropped -------------------------------------------------------------------------------

    def dropped(self, path: str, lost_bytes: int, lost_lines: int, why: str) -> None:
        """Some of a log was lost."""
        about = {"slot": self._slot_of(path), "path": path, "reason": why}
        self._dropped.add(path, about, {"bytes": lost_bytes, "lines": lost_lines})

    def _slot_of(self, path: str) -> Slot | None:
        if self._known is not self._fleet.specs:
            self._known = self._fleet.specs
            self._places = {
                place: slot
                for slot in self._fleet.workers
                for place in log_places(self._fleet.spec(slot[0]), slot[1], self._fleet.settings)
            }
        return self._places.get(path)

    def _tell_dropped(self, told: Mapping[str, object]) -> None:
        fields: dict[str, Any] = dict(told)
        self._tell_of(fields.pop("slot"), "warning", "log.dropped", fields)

    # -- events.dropped ----------------------------------------------------------------------------

    def take(self, message: Mapping[str, Any]) -> None:
        """Take what a message of the keeper says of listeners, if anything."""
        if "unheard" in message:
            pool, index, count = message["unheard"]
            about = {"slot": (pool, index), "reason": "it does not read its stdin"}
            self._unheard.add((pool, index), about, {"count": count})

    def _tell_unheard(self, told: Mapping[str, object]) -> None:
        fields: dict[str, Any] = dict(told)
        self._tell_of(fields.pop("slot"), "warning", "events.dropped", fields)

    def _tell_of(self, slot: Slot | None, level: str, event: str, fields: dict[str, Any]) -> None:
        if slot is not None and slot in self._fleet.workers:
            self._events.log_worker(slot, level, event, **fields)
        else:
            self._events.log(level, event, **fields)
