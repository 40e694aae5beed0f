"""Serves pages over HTTP to whoever can reach the address: short answers, and the bounds.

One request for each connection. At most `MAX_CONNECTIONS` at a time: who comes then takes the place
of the oldest. A request must be complete `READ_TIMEOUT_S` after the connection, an answer must be
taken `WRITE_TIMEOUT_S` after it was given; so nobody can hold anything for long.
"""

from __future__ import annotations

import socket

from supervisord_lite.base.calls import CALLS
from supervisord_lite.wire.http_request import (
    MAX_HEAD_BYTES,
    BadRequestError,
    HttpRequest,
    answer,
    read_request,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisord_lite.control.connection import Watcher

MAX_CONNECTIONS = 64
#: Nobody is accepted for this long when there is no descriptor left.
ACCEPT_PAUSE_S = 1.0
READ_TIMEOUT_S = 5.0
WRITE_TIMEOUT_S = 10.0
#: After an answer: for what the other side still sends. Closed before, it might lose the answer.
LINGER_S = 1.0

PLAIN = "text/plain; charset=utf-8"

#: Status, content type, text.
Page = tuple[int, str, str]


class HttpServer:
    """Serves one listening socket; the owner of the loop calls `expire` when it is due."""

    def __init__(
        self,
        listener: socket.socket,
        watcher: Watcher,
        *,
        page: Callable[[HttpRequest], Page],
        clock_now_s: Callable[[], float],
        on_fault: Callable[[str, Exception], None],
    ) -> None:
        """Begin to accept.

        Args:
            listener: Listening stream socket; stays the caller's and is not closed here.
            watcher: The loop.
            page: Answers one request at once.
            clock_now_s: Monotonic seconds.
            on_fault: Told the path and the exception when *page* raises; the client gets 500.
        """
        self.watcher = watcher
        self._listener = listener
        self._page = page
        self.now_s = clock_now_s
        self._on_fault = on_fault
        self._clients: dict[_Client, None] = {}  # the oldest first
        self._paused_until_s: float | None = None
        listener.setblocking(False)
        watcher.watch(listener.fileno(), readable=self._on_connect)

    def next_deadline_s(self) -> float | None:
        """Return when `expire` is due next, on the caller's clock; None: not before an event."""
        deadlines = [client.deadline_s for client in self._clients]
        if self._paused_until_s is not None:
            deadlines.append(self._paused_until_s)
        return min(deadlines, default=None)

    def expire(self, now_s: float) -> None:
        """Close who is too slow at *now_s*, and accept again after a pause."""
        for client in [each for each in self._clients if each.deadline_s <= now_s]:
            self.drop(client)
        if self._paused_until_s is not None and self._paused_until_s <= now_s:
            self._paused_until_s = None
            self.watcher.watch(self._listener.fileno(), readable=self._on_connect)

    def close(self) -> None:
        """Stop accepting and close every connection; the listening socket stays open."""
        if self._paused_until_s is None:
            self.watcher.unwatch(self._listener.fileno())
        self._paused_until_s = None
        for client in list(self._clients):
            self.drop(client)

    def _on_connect(self) -> None:
        for _ in range(MAX_CONNECTIONS):
            try:
                connected, _address = CALLS.accept(self._listener)
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                # No descriptor is left, say: whoever waits stays in the queue.
                self._paused_until_s = self.now_s() + ACCEPT_PAUSE_S
                self.watcher.unwatch(self._listener.fileno())
                return
            if len(self._clients) >= MAX_CONNECTIONS:
                self.drop(next(iter(self._clients)))
            self._clients[_Client(self, connected)] = None

    def drop(self, client: _Client) -> None:
        """Close one connection."""
        self._clients.pop(client, None)
        client.close()

    def answer_to(self, data: bytes) -> bytes | None:
        """Return the whole answer to what a client has sent; None: there must come more."""
        try:
            request = read_request(data)
        except BadRequestError as error:
            return answer(error.status, PLAIN, f"{error}\n".encode())
        if request is None:
            return None
        try:
            status, content_type, text = self._page(request)
        except Exception as error:  # noqa: BLE001  # a page's fault must not stop supervision
            self._on_fault(request.path, error)
            status, content_type, text = 500, PLAIN, "this page has a fault: see the log\n"
        has_body = request.method != "HEAD"
        return answer(status, content_type, text.encode(), has_body=has_body)


class _Client:
    """One connection: it reads, then it writes, then it waits for the other side to close."""

    def __init__(self, owner: HttpServer, connected: socket.socket) -> None:
        self.deadline_s = owner.now_s() + READ_TIMEOUT_S
        self._owner = owner
        self._socket = connected
        self._input = b""
        self._output = memoryview(b"")
        connected.setblocking(False)
        owner.watcher.watch(connected.fileno(), readable=self._read)

    def close(self) -> None:
        self._owner.watcher.unwatch(self._socket.fileno())
        self._socket.close()

    def _read(self) -> None:
        data = self._received()
        if data is None:
            return
        self._input += data
        reply = self._owner.answer_to(self._input)
        if reply is None:
            if not data:
                self._owner.drop(self)
            return
        self._input = b""
        self._output = memoryview(reply)
        self.deadline_s = self._owner.now_s() + WRITE_TIMEOUT_S
        self._write()

    def _received(self) -> bytes | None:
        """Return what has arrived, empty at its end; None: nothing, or the other side is gone."""
        try:
            return CALLS.recv(self._socket, MAX_HEAD_BYTES + 1)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            self._owner.drop(self)
            return None

    def _write(self) -> None:
        try:
            while self._output:
                self._output = self._output[CALLS.send(self._socket, self._output) :]
        except (BlockingIOError, InterruptedError):
            self._owner.watcher.watch(self._socket.fileno(), writable=self._write)
            return
        except OSError:
            self._owner.drop(self)
            return
        try:
            CALLS.shutdown(self._socket, socket.SHUT_WR)
        except OSError:  # it is gone already
            self._owner.drop(self)
            return
        self.deadline_s = self._owner.now_s() + LINGER_S
        self._owner.watcher.watch(self._socket.fileno(), readable=self._linger)

    def _linger(self) -> None:
        if self._received() == b"":
            self._owner.drop(self)
