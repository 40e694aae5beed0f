"""What is served over HTTP: /livez, /readyz and /metrics, for balancers, probes and scrapers.

* /livez: 200 while this loop turns.
* /readyz: 200 when everything that starts by itself is ready; 503 while the daemon starts, drains
  or stops. A stop by hand is what somebody wanted, a job that ended well is done, and one with a
  schedule comes and goes: none of these is waited for. ``/readyz?worker=NAME``: the same of one
  worker, pool or glob, which must be ready.
* /metrics: for Prometheus (`metrics.py`).
"""

from collections.abc import Callable

from supervisord_lite.control.http import PLAIN, Page
from supervisord_lite.control.parameters import InvalidParameterError
from supervisord_lite.core.standing import ended_well, is_ready
from supervisord_lite.core.states import Exited, Stopped, Worker
from supervisord_lite.supervisor.daemon_state import DaemonState
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.metrics import CONTENT_TYPE, metrics_text
from supervisord_lite.supervisor.names import NoSuchWorkerError, resolve
from supervisord_lite.supervisor.outbox import Slot
from supervisord_lite.wire.http_request import HttpRequest

#: Of workers that are not ready, so many are named.
_MOST_NAMED = 10


class HttpPages:
    """Answers requests from how the fleet is now."""

    def __init__(
        self,
        fleet: Fleet,
        daemon: DaemonState,
        whole_status: Callable[[list[Slot]], dict[str, object]],
    ) -> None:
        """Take what is asked about; *whole_status* is what clients of the control socket get."""
        self._fleet = fleet
        self._daemon = daemon
        self._whole_status = whole_status

    def page(self, request: HttpRequest) -> Page:
        """Answer one request."""
        match request.path:
            case "/livez":
                return 200, PLAIN, "ok\n"
            case "/readyz":
                return self._ready(request.query)
            case "/metrics":
                status = self._whole_status(resolve(self._fleet, ()))
                return 200, CONTENT_TYPE, metrics_text(status, self._fleet.look)
            case _:
                return 404, PLAIN, "there is /livez, /readyz, /readyz?worker=NAME and /metrics\n"

    def _ready(self, query: dict[str, str]) -> Page:
        if "worker" not in query:
            if self._daemon.word != "running":
                return 503, PLAIN, f"{self._daemon.word}\n"
            return self._page_about(list(self._fleet.workers), _is_as_wanted)
        try:
            slots = resolve(self._fleet, [query["worker"]])
        except (NoSuchWorkerError, InvalidParameterError):
            return 404, PLAIN, "no such worker\n"
        if self._daemon.word in ("draining", "stopping"):
            return 503, PLAIN, f"{self._daemon.word}\n"
        return self._page_about(slots, is_ready)

    def _page_about(self, slots: list[Slot], is_good: Callable[[Worker], bool]) -> Page:
        bad = [slot for slot in slots if not is_good(self._fleet.workers[slot])]
        if not bad:
            return 200, PLAIN, "ok\n"
        lines = [f"{self._fleet.name(slot)}: {self._fleet.word(slot)}" for slot in bad]
        if len(lines) > _MOST_NAMED:
            lines[_MOST_NAMED:] = [f"and {len(lines) - _MOST_NAMED} more"]
        return 503, PLAIN, "".join(f"{line}\n" for line in lines)


def _is_as_wanted(worker: Worker) -> bool:
    if worker.policy.schedule is not None:
        # Else each run would take the box out of its balancer until it is ready, and for as long
        # as it is tried again. How its last run ended is for `status --check`.
        return True
    match worker.state:
        case Stopped(by_hand=by_hand):
            return by_hand or not worker.policy.autostart
        case Exited():
            return ended_well(worker)
        case _:
            return is_ready(worker)
