"""One client of the control socket: its bytes, its requests in order, its unsent answers."""

from __future__ import annotations

import select
import socket
from collections import deque

from supervisord_lite.base.calls import CALLS
from supervisord_lite.control import interface
from supervisord_lite.control.calls import Call
from supervisord_lite.wire import varlink
from supervisord_lite.wire.errors import WireError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from supervisord_lite.control.calls import Peer

    class Watcher(Protocol):
        """The loop, as this package needs it."""

        def watch(
            self,
            fd: int,
            *,
            readable: Callable[[], None] | None = None,
            writable: Callable[[], None] | None = None,
        ) -> None:
            """Call back while *fd* is ready, level-triggered; calling again replaces."""

        def unwatch(self, fd: int) -> None:
            """Forget *fd*."""

    class Owner(Protocol):
        """The server, as one connection needs it."""

        watcher: Watcher

        def now_s(self) -> float:
            """Return the daemon's monotonic clock, in seconds."""

        def dispatch(self, call: Call) -> None:
            """Answer *call* now, or see to it that it is answered later."""


#: A request must be complete this long after its first byte.
READ_TIMEOUT_S = 5.0
#: A client must take something of its answers this often.
WRITE_TIMEOUT_S = 5.0
#: Most bytes of answers that wait for one client, where there is more than one of them: one alone
#: may be as large as the fleet.
MAX_OUTPUT_BYTES = 8 * 1024 * 1024
#: A longer answer gets a longer buffer, so that it leaves at once, as a rule: else it takes as many
#: turns of this loop as the client takes to make room. What is asked for is cut to what is allowed.
_LONG_BYTES = 96 * 1024
_BUFFER_BYTES = 1024 * 1024
#: Most bytes read at once. Small, because all of it may be requests, which take memory.
READ_BYTES = 16 * 1024
#: Most calls begun in one turn of the loop.
CALLS_PER_TURN = 16


class Connection:
    """One accepted peer.

    Attributes:
        peer: Whom the kernel says it is.
        rank: How much it may; who may more goes first where there is no place for all.
        silent_since_s: When it last said something, or was answered.
    """

    def __init__(self, owner: Owner, connected: socket.socket, peer: Peer, rank: int) -> None:
        """Take a connected, non-blocking socket and begin to listen to it."""
        self.peer = peer
        self.rank = rank
        self.silent_since_s = owner.now_s()
        self._owner = owner
        self._socket = connected
        self._reader = varlink.Reader()
        self._requests: deque[dict[str, object]] = deque()
        self._call: Call | None = None
        # What waits: the rest of an answer that nobody has copied, then more of them.
        self._head = memoryview(b"")
        self._output = bytearray()
        self._has_long_buffer = False
        self._closed = False
        self._broken = False
        self._no_more_input = False
        self._pumping = False
        self._again = False
        self._reading = False
        self._watched = (False, False)
        self._read_since_s = 0.0
        self._wrote_at_s = 0.0
        self._rearm()

    @property
    def closed(self) -> bool:
        """Return whether nobody will read an answer any more."""
        return self._closed or self._broken

    @property
    def idle(self) -> bool:
        """Return whether no call is under way; part of a request is not one yet."""
        return not (self._call or self._requests or self._is_sending)

    def deadline_s(self) -> float | None:
        """Return when `expire` has something to do, on the owner's clock; None: never."""
        if self._broken:
            return 0.0
        deadlines = []
        if self._is_sending:
            deadlines.append(self._wrote_at_s + WRITE_TIMEOUT_S)
        if self._reading and self._reader.pending:
            deadlines.append(self._read_since_s + READ_TIMEOUT_S)
        return min(deadlines, default=None)

    def goes_on(self, now_s: float) -> bool:
        """Return whether a client whose time is up has taken something, and so goes on.

        The kernel calls a long buffer writable when most of it is free; a slow reader is not late
        who has only not come that far.
        """
        if self.closed or not self._is_sending:
            return False
        self._on_writable()
        deadline_s = self.deadline_s()
        return deadline_s is None or deadline_s > now_s

    def answer(self, data: bytes, *, final: bool) -> None:
        """Send *data* (empty: nothing) as far as it goes now; *final* ends the call in flight."""
        if final:
            self._call = None
        if self.closed:
            return
        if data:
            self._put(data)
        self._pump()

    def _put(self, data: bytes) -> None:
        if self._is_sending:
            self._output += data
            self._flush()
            self._broken |= len(self._head) + len(self._output) > MAX_OUTPUT_BYTES
            return
        self._wrote_at_s = self._owner.now_s()
        if len(data) > _LONG_BYTES and not self._has_long_buffer:
            self._has_long_buffer = True
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        self._head = memoryview(data)
        self._flush()

    @property
    def _is_sending(self) -> bool:
        return bool(self._head) or bool(self._output)

    def close(self) -> None:
        """Close the socket; a call in flight hears of it."""
        if self._closed:
            return
        self._closed = True
        if self._watched != (False, False):
            self._owner.watcher.unwatch(self._socket.fileno())
        self._socket.close()
        self._head = memoryview(b"")
        self._output.clear()
        self._requests.clear()
        call, self._call = self._call, None
        if call is not None and call.on_hang_up is not None:
            call.on_hang_up()

    def _on_readable(self) -> None:
        """Take what has arrived."""
        try:
            data = CALLS.recv(self._socket, READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._broken = True
            self._rearm()
            return
        if not data:
            self._on_end_of_input()
            return
        was_pending = self._reader.pending
        try:
            requests = self._reader.feed(data)
        except WireError as error:
            self.refuse(str(error))
            return
        if requests or not was_pending:
            self._read_since_s = self._owner.now_s()
        self._requests.extend(requests)
        self._pump()

    def _on_end_of_input(self) -> None:
        """Tell a client that left from one that has only said all it wanted to say."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        left = any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0))
        self._no_more_input = True
        if left:
            self._broken = True
        self._pump()

    def _on_writable(self) -> None:
        """Send on, or go on with requests that were put off for the sake of others."""
        self._again = False
        self._flush()
        self._pump()

    def refuse(self, reason: str) -> None:
        """Answer bytes that are no request, and close when the answer has left."""
        self._requests.clear()
        self._no_more_input = True
        if self._call is None:
            self.answer(varlink.error(interface.MALFORMED, {"reason": reason}), final=False)
        else:
            # An error now would be taken for the answer to the call in flight.
            self._broken = True
        self._rearm()

    def _flush(self) -> None:
        """Hand the kernel as much output as it takes."""
        while self._is_sending:
            try:
                if self._head:
                    self._head = self._head[self._send(self._head) :]
                else:
                    with memoryview(self._output) as view:
                        sent_bytes = self._send(view)
                    del self._output[:sent_bytes]
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self._broken = True
                return
            self._wrote_at_s = self._owner.now_s()

    def _send(self, data: memoryview) -> int:
        return CALLS.send(self._socket, data, socket.MSG_NOSIGNAL)

    def _pump(self) -> None:
        """Begin the next requests, as far as the one before has been answered and sent."""
        if self._pumping:
            return  # a handler that answers at once calls back into here; this keeps it flat
        if self.closed:
            self._rearm()
            return
        self._pumping = True
        begun = 0
        try:
            while self._requests and not (self._call or self._is_sending or self.closed):
                if begun == CALLS_PER_TURN:
                    self._again = True
                    break
                begun += 1
                self._begin(self._requests.popleft())
        finally:
            self._pumping = False
        if self.idle:
            self.silent_since_s = self._owner.now_s()
        if self._no_more_input and not (self._call or self._requests or self._is_sending):
            self._broken = True
        self._rearm()

    def _begin(self, message: dict[str, object]) -> None:
        """Make a call of one request and give it to the owner."""
        method = message.get("method")
        if not isinstance(method, str):
            self.refuse("a request has a method, which is a text")
            return
        parameters = message.get("parameters")
        call = Call(
            self,
            method,
            parameters if isinstance(parameters, dict) else {},
            more=message.get("more") is True,
            oneway=message.get("oneway") is True,
        )
        self._call = call
        wrong = _wrong_part(message)
        if wrong is None:
            self._owner.dispatch(call)
        else:
            call.error(interface.INVALID_PARAMETER, {"parameter": wrong})

    def _rearm(self) -> None:
        """Watch for what this connection waits for, and for nothing else."""
        if self._closed:
            return
        # With requests in store nothing more is read: the kernel's buffer is the client's bound.
        reading = not (self._broken or self._no_more_input or self._requests)
        if reading and not self._reading:
            self._read_since_s = self._owner.now_s()
        self._reading = reading
        writing = not self._broken and (self._is_sending or self._again)
        if self._watched == (reading, writing):
            return
        self._watched = (reading, writing)
        fd = self._socket.fileno()
        if reading or writing:
            self._owner.watcher.watch(
                fd,
                readable=self._on_readable if reading else None,
                writable=self._on_writable if writing else None,
            )
        else:
            self._owner.watcher.unwatch(fd)


def _wrong_part(message: dict[str, object]) -> str | None:
    """Return the part of a request that has the wrong type, or that we cannot do; else None."""
    if not isinstance(message.get("parameters"), dict | None):
        return "parameters"
    for flag in ("more", "oneway", "upgrade"):
        if not isinstance(message.get(flag), bool | None):
            return flag
    return "upgrade" if message.get("upgrade") else None
