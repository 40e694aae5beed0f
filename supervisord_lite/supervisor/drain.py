"""Draining: before a planned stop the daemon says "not ready", so that a balancer goes elsewhere.

While it drains nothing else changes: workers run on and are restarted as ever. When the time is
over, the stop begins. It is skipped where nobody could hear of it (no `http`, or the daemon was not
ready yet), and cut short by a second signal and by a critical worker's failure. When it ends, and
why it began, is saved, so that the next supervisor goes on with it.
"""

import json
from collections.abc import Callable

from supervisord_lite.base.clock import Clock
from supervisord_lite.supervisor.daemon_state import DaemonState
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.outbox import Outbox

#: The key of its record.
SAVED_AS = "drain"


class Drain:
    """Holds a stop back.

    Attributes:
        deadline_s: When the stop begins; None: none is held back.
    """

    def __init__(
        self,
        fleet: Fleet,
        daemon: DaemonState,
        outbox: Outbox,
        saved: str | None,
        clock: Clock,
        log: Callable[..., None],
    ) -> None:
        """Begin, or go on with what was *saved*."""
        self._fleet = fleet
        self._daemon = daemon
        self._outbox = outbox
        self._clock = clock
        self._log = log
        record = json.loads(saved) if saved else {}
        self.deadline_s: float | None = record.get("until_s")
        self._why: str = record.get("why", "")
        daemon.is_draining = self.deadline_s is not None
        daemon.on_stop_asked = self.begin

    def begin(self, why: str) -> bool:
        """Hold a stop back that is asked for; return whether it is held back."""
        if self.deadline_s is not None:
            return True
        settings = self._fleet.settings
        if not settings.http or not settings.drain_s or self._daemon.word != "running":
            return False
        self._why = why
        self.deadline_s = self._clock.now_s() + settings.drain_s
        self._outbox.save(SAVED_AS, json.dumps({"until_s": self.deadline_s, "why": why}))
        self._daemon.begin_drain(settings.drain_s)
        self._log("info", "daemon.draining", why=why, drain_s=settings.drain_s)
        return True

    def expire(self, now_s: float) -> None:
        """Begin the stop when it is due; forget it when another one has begun."""
        if self.deadline_s is None or (now_s < self.deadline_s and not self._daemon.is_stopping):
            return
        self.deadline_s = None
        self._outbox.save(SAVED_AS, None)
        self._daemon.is_draining = False
        self._daemon.begin_stop(self._why)
