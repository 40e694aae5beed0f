"""One question to one worker over a socket, in the supervisor's own epoll. Nothing here waits.

Whoever asks gives the time limit, and calls `close` when it has come. A private socket is asked
only where the keeper has made it: the worker's user owns the folder that it stands in, and might
have put something else there.
"""

import errno
import os
import socket
import stat
from collections.abc import Callable

from supervisord_lite.base.calls import CALLS
from supervisord_lite.base.record import record
from supervisord_lite.supervisor.poller import Poller
from supervisord_lite.wire import http_probe

_READ_BYTES = 65536
#: Of the system, or of ours: they say nothing about the worker.
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL)
_WORDS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.EPIPE: "connection reset",
    errno.EAGAIN: "its queue of connections is full",
}
_PINNED = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC

#: Told once: what is wrong, for people, or empty; and whether that says anything of the worker.
Done = Callable[[str, bool], None]


@record
class Target:
    """Where to ask, and what.

    Attributes:
        addresses: (host in digits, port), tried in order until one takes the connection.
        place: Path of a private socket, instead.
        request: What to send; empty: a connection is answer enough.
    """

    addresses: tuple[tuple[str, int], ...] = ()
    place: str = ""
    request: bytes = b""


class Question:
    """One connection, from `start` until it was answered or closed."""

    def __init__(self, poller: Poller, target: Target, done: Done) -> None:
        """Prepare; *done* may be called by `start` already."""
        self._poller = poller
        self._target = target
        self._done = done
        self._left = list(target.addresses)
        self._socket: socket.socket | None = None
        self._is_watched = False
        self._is_connected = False
        self._unsent = target.request
        self._answer = http_probe.Answer()

    @property
    def late(self) -> str:
        """What has not come until now, for people."""
        return "no answer" if self._is_connected else "no connection"

    def start(self) -> None:
        """Ask."""
        try:
            if self._target.place:
                self._connect_private()
            else:
                self._connect_next()
        except OSError as error:
            self._fail(error)

    def close(self) -> None:
        """Nobody wants an answer any more."""
        if self._socket is None:
            return
        if self._is_watched:
            self._poller.unwatch(self._socket.fileno())
            self._is_watched = False
        self._socket.close()
        self._socket = None

    # -- connecting --------------------------------------------------------------------------------

    def _connect_next(self) -> None:
        host, port = self._left.pop(0)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        own = self._open(family)
        self._connect(own, (host, port))

    def _connect_private(self) -> None:
        # The descriptor pins what was looked at: no link, and no other file by then.
        pinned = CALLS.open(self._target.place, _PINNED)
        try:
            found = os.fstat(pinned)
            if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
                self._end("its private socket is not the one that it was given")
                return
            self._connect(self._open(socket.AF_UNIX), f"/proc/self/fd/{pinned}")
        finally:
            CALLS.close(pinned)

    def _open(self, family: int) -> socket.socket:
        self._socket = CALLS.new_socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        return self._socket

    def _connect(self, own: socket.socket, address: tuple[str, int] | str) -> None:
        number = CALLS.connect_ex(own, address)
        if number == errno.EINPROGRESS:
            self._watch(own, readable=None, writable=self._connected)
        elif number:
            self._refused(number)
        else:
            self._connected()

    def _refused(self, number: int) -> None:
        self.close()
        if not self._left:
            raise OSError(number, os.strerror(number))
        self._connect_next()

    def _connected(self) -> None:
        own = self._socket
        assert own is not None
        try:
            number = CALLS.getsockopt(own, socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                self._refused(number)
                return
            if not _has_peer(own):
                return  # the wake-up was about another one, which had this descriptor before
            self._is_connected = True
            if self._unsent:
                self._send()
            else:
                self._end("")
        except OSError as error:
            self._fail(error)

    # -- asking ------------------------------------------------------------------------------------

    def _send(self) -> None:
        own = self._socket
        assert own is not None
        try:
            if self._unsent:
                self._unsent = self._unsent[CALLS.send(own, self._unsent, socket.MSG_NOSIGNAL) :]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self._unsent = b""  # it may have answered before it closed
        except OSError as error:
            self._fail(error)
            return
        self._watch(own, readable=self._read, writable=self._send if self._unsent else None)

    def _read(self) -> None:
        own = self._socket
        assert own is not None
        try:
            data = CALLS.recv(own, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(error)
            return
        if data:
            self._answer.feed(data)
        else:
            self._answer.end()
        if self._answer.is_over:
            self._end(self._answer.problem)

    def _watch(
        self,
        own: socket.socket,
        *,
        readable: Callable[[], None] | None,
        writable: Callable[[], None] | None,
    ) -> None:
        self._is_watched = True
        self._poller.watch(own.fileno(), readable=readable, writable=writable)

    # -- ends --------------------------------------------------------------------------------------

    def _fail(self, error: OSError) -> None:
        number = error.errno or 0
        # Of TCP: there is no port left on this machine to ask from.
        if number in _SHORTAGES or (number == errno.EAGAIN and not self._target.place):
            self._end(f"could not be asked: {os.strerror(number)}", counts=False)
        elif number == errno.ENOENT:
            self._end("its private socket is gone")
        else:
            self._end(_WORDS.get(number) or os.strerror(number).lower())

    def _end(self, problem: str, *, counts: bool = True) -> None:
        self.close()
        self._done(problem, counts)


def _has_peer(own: socket.socket) -> bool:
    try:
        own.getpeername()
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            return False
        raise
    return True
