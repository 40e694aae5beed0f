"""The control socket's server: accepts, judges peers, keeps the bounds; driven by one loop."""

from __future__ import annotations

import errno
import socket
import struct

from supervisord_lite.base.calls import CALLS
from supervisord_lite.control import interface
from supervisord_lite.control.calls import Call, Peer
from supervisord_lite.control.connection import Connection
from supervisord_lite.control.parameters import InvalidParameterError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from supervisord_lite.control.connection import Watcher

MAX_CONNECTIONS = 256
#: Nobody is accepted for this long when there is no descriptor left.
ACCEPT_PAUSE_S = 1.0
#: Most connections accepted in one turn of the loop.
ACCEPTS_PER_TURN = 64

_NOTHING_LEFT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PEER_CREDENTIALS = struct.Struct("iII")
#: Source: asm-generic/socket.h; Python has no name for it.
_SO_PEERGROUPS = 59
#: The most that `getsockopt` returns.
_MOST_GROUPS = 256


def _ignore(_what: str, _error: Exception) -> None:
    """Drop a fault that nobody asked to hear of."""


def _forget(_peer: Peer) -> None:
    """Drop a refusal that nobody asked to hear of."""


class Server:
    """Serves one listening socket; the owner of the loop calls `expire` when it is due.

    Attributes:
        watcher: The loop.
        refused: Peers that were closed at accept because they may not ask.
        expired: Connections closed because they were too slow or had to give way.
    """

    def __init__(
        self,
        listener: socket.socket,
        watcher: Watcher,
        *,
        handle: Callable[[Call], None],
        rank: Callable[[Peer], int],
        top_rank: int,
        clock_now_s: Callable[[], float],
        version: str,
        on_fault: Callable[[str, Exception], None] = _ignore,
        on_refused: Callable[[Peer], None] = _forget,
    ) -> None:
        """Begin to accept.

        Args:
            listener: Listening unix stream socket; stays the caller's and is not closed here.
            watcher: The loop.
            handle: Answers one call of the daemon's interface, now or later. Parameters that the
                definition does not name have been refused before.
            rank: How much a peer may; 0: it may not even ask.
            top_rank: Of whoever may everything: nobody else's calls keep them out.
            clock_now_s: Monotonic seconds.
            version: Of the daemon, for GetInfo.
            on_fault: Told what was being done and the exception when *handle*, *rank* or an
                `on_hang_up` raises; the client gets the error Failed and the server goes on.
            on_refused: Told of each peer that was closed because it may not ask.
        """
        self.watcher = watcher
        self.refused = 0
        self.expired = 0
        self._listener = listener
        self._handle = handle
        self._rank = rank
        self._top_rank = top_rank
        self._now_s = clock_now_s
        self._version = version
        self._on_fault = on_fault
        self._on_refused = on_refused
        # In order of arrival: at the same moment the first one gives way first.
        self._connections: dict[Connection, None] = {}
        self._paused_until_s: float | None = None
        self._closed = False
        self._accepting = False
        description = interface.manager_description()
        self._methods = interface.methods_of(description)
        self._service_methods = interface.methods_of(interface.SERVICE_DESCRIPTION)
        self._descriptions = {
            interface.SERVICE: interface.SERVICE_DESCRIPTION,
            interface.MANAGER: description,
        }
        listener.setblocking(False)
        self._rearm()

    def now_s(self) -> float:
        """Return the caller's monotonic clock, in seconds."""
        return self._now_s()

    def next_deadline_s(self) -> float | None:
        """Return when `expire` is due next, on the caller's clock; None: not before an event."""
        deadlines = [d for c in self._connections if (d := c.deadline_s()) is not None]
        if self._paused_until_s is not None:
            deadlines.append(self._paused_until_s)
        elif not self._accepting and self._has_room:
            deadlines.append(
                self._now_s()
            )  # a call was answered meanwhile: its client may give way
        return min(deadlines, default=None)

    def expire(self, now_s: float) -> None:
        """Close who is gone or too slow at *now_s*, and accept again if there is room."""
        late = [c for c in self._connections if (d := c.deadline_s()) is not None and d <= now_s]
        for connection in late:
            if connection.goes_on(now_s):
                continue
            self.expired += not connection.closed
            self._drop(connection)
        if self._paused_until_s is not None and self._paused_until_s <= now_s:
            self._paused_until_s = None
        self._rearm()

    def close(self) -> None:
        """Stop accepting and close every connection; the listening socket stays open."""
        self._closed = True
        self._rearm()
        for connection in tuple(self._connections):
            self._drop(connection)

    @property
    def _full(self) -> bool:
        return len(self._connections) >= MAX_CONNECTIONS

    @property
    def _has_room(self) -> bool:
        """Return whether somebody may be accepted, if need be in another's place."""
        if self._closed or not self._full:
            return not self._closed
        return any(c.idle or c.rank < self._top_rank for c in self._connections)

    def _make_room(self, rank: int) -> bool:
        """Find a place for one of *rank*; return whether there is one.

        Where there is no other one, that of who has no call under way, may least and has been
        silent longest; and of those who have one, only of who may less than the one who comes.
        """
        if not self._full:
            return True
        giving = [c for c in self._connections if c.rank < rank or (c.idle and c.rank == rank)]
        if giving:
            self._drop(min(giving, key=lambda c: (not c.idle, c.rank, c.silent_since_s)))
        return bool(giving)

    def _drop(self, connection: Connection) -> None:
        """Close one connection."""
        self._connections.pop(connection, None)
        try:
            connection.close()
        except Exception as error:  # noqa: BLE001  # a handler's fault must not stop supervision
            self._on_fault("on_hang_up", error)

    def _rearm(self) -> None:
        """Watch the listening socket exactly while somebody may be accepted."""
        accepting = self._paused_until_s is None and self._has_room
        if accepting == self._accepting:
            return
        self._accepting = accepting
        if accepting:
            self.watcher.watch(self._listener.fileno(), readable=self._on_connect)
        else:
            self.watcher.unwatch(self._listener.fileno())

    def _on_connect(self) -> None:
        """Accept who is waiting."""
        for _ in range(ACCEPTS_PER_TURN):
            if not self._has_room:
                break
            try:
                connected, _address = CALLS.accept(self._listener)
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                break
            except OSError as error:
                # The waiting client stays in the queue, so the listener stays ready: without a
                # pause the loop would spin.
                self._paused_until_s = self._now_s() + ACCEPT_PAUSE_S
                if error.errno not in _NOTHING_LEFT:
                    self._on_fault("accept", error)
                break
            self._welcome(connected)
        self._rearm()

    def _welcome(self, connected: socket.socket) -> None:
        """Judge one peer, before any of its bytes is read."""
        try:
            connected.setblocking(False)
            peer = _peer_of(connected)
        except Exception as error:  # noqa: BLE001  # as in _drop; who cannot be judged may not ask
            self._on_fault("accept", error)
            rank, peer = 0, Peer(pid=0, uid=-1, gid=-1)
        else:
            rank = self._judged(peer)
        if not rank:
            connected.close()
            self._refuse(peer)
            return
        self.expired += self._full
        if self._make_room(rank):
            self._connections[Connection(self, connected, peer, rank)] = None
        else:
            connected.close()

    def listen_on(self, listener: socket.socket) -> socket.socket:
        """Accept at *listener* from now on, which is watched in place of the one before.

        Who waits at that is let in first, as far as there is room; return it, to be closed.
        """
        if self._accepting:
            self._on_connect()
        if self._accepting:
            self._accepting = False
            self.watcher.unwatch(self._listener.fileno())
        before, self._listener = self._listener, listener
        listener.setblocking(False)
        self._rearm()
        return before

    def judge_again(self) -> None:
        """Judge everybody who is connected once more, and hang up on who may not ask any more."""
        for connection in tuple(self._connections):
            connection.rank = self._judged(connection.peer)
            if not connection.rank:
                self._drop(connection)
                self._refuse(connection.peer)
        self._rearm()

    def _judged(self, peer: Peer) -> int:
        try:
            return self._rank(peer)
        except Exception as error:  # noqa: BLE001  # as in _drop; who cannot be judged may not ask
            self._on_fault("accept", error)
            return 0

    def _refuse(self, peer: Peer) -> None:
        self.refused += 1
        self._on_refused(peer)

    def dispatch(self, call: Call) -> None:
        """Answer one call: ours, the handler's, or nobody's."""
        self.guard(call, self._dispatch)

    def _dispatch(self, call: Call) -> None:
        if call.interface == interface.SERVICE:
            self._serve(call)
        elif call.interface != interface.MANAGER:
            call.error(interface.INTERFACE_NOT_FOUND, {"interface": call.interface})
        elif self._known(call, self._methods):
            self._handle(call)

    def guard(self, call: Call, answer: Callable[[Call], None]) -> None:
        """Let *answer* answer a call, now or later on: its fault is that of this call alone."""
        try:
            answer(call)
        except InvalidParameterError as error:
            if not call.answered:
                call.error(interface.INVALID_PARAMETER, {"parameter": error.parameter})
        except Exception as error:  # noqa: BLE001  # as in _drop
            self._on_fault(call.method, error)
            if not call.answered:
                call.error(interface.FAILED, {"method": call.method})

    def _known(self, call: Call, methods: Mapping[str, tuple[str, ...]]) -> bool:
        """Return whether a method and its parameters are defined; answers the call if not."""
        known = methods.get(call.method)
        if known is None:
            name = f"{call.interface}.{call.method}"
            call.error(interface.METHOD_NOT_FOUND, {"method": name})
            return False
        for parameter in call.parameters:
            if parameter not in known:
                raise InvalidParameterError(parameter)
        return True

    def _serve(self, call: Call) -> None:
        """Answer a method of org.varlink.service."""
        if not self._known(call, self._service_methods):
            return
        if call.method == "GetInfo":
            call.reply(
                {
                    "vendor": "supervisord_lite",
                    "product": "supervisord-lite",
                    "version": self._version,
                    "url": "",
                    "interfaces": list(self._descriptions),
                }
            )
            return
        wanted = call.parameters.get("interface")
        if not isinstance(wanted, str):
            raise InvalidParameterError("interface")
        description = self._descriptions.get(wanted)
        if description is None:
            call.error(interface.INTERFACE_NOT_FOUND, {"interface": wanted})
        else:
            call.reply({"description": description})


def _peer_of(connected: socket.socket) -> Peer:
    """Return the credentials that the kernel kept at connect.

    They are frozen then: a process that drops its rights afterwards still shows the old ones.
    """
    size = _PEER_CREDENTIALS.size
    data = CALLS.getsockopt(connected, socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    pid, uid, gid = _PEER_CREDENTIALS.unpack(data)
    return Peer(pid=pid, uid=uid, gid=gid, groups=_groups_of(connected))


def _groups_of(connected: socket.socket) -> tuple[int, ...]:
    """Return the supplementary groups; none where they cannot be told, which gives less rights."""
    try:
        data = CALLS.getsockopt(connected, socket.SOL_SOCKET, _SO_PEERGROUPS, 4 * _MOST_GROUPS)
    except OSError:  # ERANGE: more than that; ENOPROTOOPT: a kernel before 4.13
        return ()
    return struct.unpack(f"{len(data) // 4}I", data)
