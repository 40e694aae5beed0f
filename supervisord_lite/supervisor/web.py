"""The daemon as balancers, probes and scrapers meet it: pages over HTTP, and the drain."""

import socket
from collections.abc import Callable, Mapping

from supervisord_lite.base.clock import Clock
from supervisord_lite.control.http import HttpServer
from supervisord_lite.supervisor.daemon_state import DaemonState
from supervisord_lite.supervisor.drain import SAVED_AS, Drain
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.http_pages import HttpPages
from supervisord_lite.supervisor.outbox import Outbox
from supervisord_lite.supervisor.poller import Poller
from supervisord_lite.supervisor.status_verbs import StatusVerbs


class Web:
    """Serves where an address is configured; drains in any case that a supervisor left behind."""

    def __init__(
        self,
        listener: socket.socket | None,
        fleet: Fleet,
        daemon: DaemonState,
        status: StatusVerbs,
        outbox: Outbox,
        saves: Mapping[str, str],
        poller: Poller,
        clock: Clock,
        *,
        log: Callable[..., None],
        on_fault: Callable[[str, Exception], None],
    ) -> None:
        """Begin to serve on *listener*; None: nowhere."""
        self._drain = Drain(fleet, daemon, outbox, saves.get(SAVED_AS), clock, log)
        self._server: HttpServer | None = None
        if listener is not None:
            pages = HttpPages(fleet, daemon, status.scraped)
            self._server = HttpServer(
                listener, poller, page=pages.page, clock_now_s=clock.now_s, on_fault=on_fault
            )

    @property
    def deadline_s(self) -> float | None:
        """When `expire` is due next."""
        server_s = None if self._server is None else self._server.next_deadline_s()
        deadlines = [each for each in (server_s, self._drain.deadline_s) if each is not None]
        return min(deadlines, default=None)

    def expire(self, now_s: float) -> None:
        """Close who is too slow; begin the stop that was held back, if it is due."""
        if self._server is not None:
            self._server.expire(now_s)
        self._drain.expire(now_s)

    def close(self) -> None:
        """Serve nobody any more."""
        if self._server is not None:
            self._server.close()
