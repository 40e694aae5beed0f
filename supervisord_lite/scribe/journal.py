"""The way to one journald: entries over a datagram socket that never waits."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisord_lite.scribe.calls import Calls

#: A journal that is away is looked for again after this time, in seconds.
_RETRY_S = 1.0
_TOO_LARGE = (errno.EMSGSIZE, errno.ENOBUFS)
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


class Journal:
    """The way to one journald.

    Attributes:
        socket: To be polled for room while it is stuck; None: it is away.
        stuck_since_s: Nothing could be sent since; None: it takes what comes.
        retry_at_s: It is away: not before this time.
        why: For people.
    """

    def __init__(self, path: str, calls: Calls, now_s: Callable[[], float]) -> None:
        """Take where it listens; nothing is opened before the first line."""
        self._path = path
        self._calls = calls
        self._now_s = now_s
        self.socket: socket.socket | None = None
        self.stuck_since_s: float | None = None
        self.retry_at_s = 0.0
        self.why = ""

    def send(self, entry: bytes) -> bool:
        """Send one entry; return whether it is there.

        Raises:
            OSError: It will never take this one.
        """
        if self._now_s() < self.retry_at_s:
            return False
        try:
            if self.socket is None:
                self._connect()
            self._send(entry)
        except BlockingIOError:
            self._note_stuck("it takes no more")
            return False
        except OSError as error:
            if error.errno in (*_TOO_LARGE, errno.EINVAL):
                raise
            self.close()
            self.retry_at_s = self._now_s() + _RETRY_S
            self._note_stuck(error.strerror or str(error))
            return False
        self.stuck_since_s = None
        return True

    def has_room(self) -> bool:
        """Return whether it takes one more entry, as far as can be told; if not, it is stuck."""
        if self._now_s() < self.retry_at_s:
            return False
        if self.socket is None:
            return True  # the next entry shows
        room = select.poll()
        room.register(self.socket, select.POLLOUT)
        if not room.poll(0):
            self._note_stuck("it takes no more")
            return False
        self.stuck_since_s = None
        return True

    def _connect(self) -> None:
        own = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            own.connect(self._path)
        except OSError:
            own.close()
            raise
        self.socket = own

    def _send(self, entry: bytes) -> None:
        assert self.socket is not None
        try:
            self._calls.sendmsg(self.socket, [entry])
        except OSError as error:
            if error.errno not in _TOO_LARGE:
                raise
            self._send_memory(entry)

    def _send_memory(self, entry: bytes) -> None:
        """Send what no datagram holds, in memory that nobody can change any more."""
        assert self.socket is not None
        memory = os.memfd_create("entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            data = memoryview(entry)
            while data:
                data = data[os.write(memory, data) :]
            fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _SEALS)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, memory.to_bytes(4, "little"))]
            self._calls.sendmsg(self.socket, [], rights)
        finally:
            os.close(memory)

    def _note_stuck(self, why: str) -> None:
        self.why = why
        if self.stuck_since_s is None:
            self.stuck_since_s = self._now_s()

    def close(self) -> None:
        """Close the socket, if it is open."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None
