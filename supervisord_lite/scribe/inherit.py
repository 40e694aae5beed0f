"""Workers whose output goes where the daemon's own goes: whole lines to descriptor 1 or 2.

A terminal may be stopped with Ctrl-S and a pipe may have a slow reader; neither may stop a worker
for long, nor the other logs. So nothing here blocks except on a regular file, the workers are held
back by their full pipes for `PATIENCE_S`, and after that lines are dropped, and counted. What is
under way when the scribe is killed is lost: exactness is for files.
"""

from __future__ import annotations

import os
import select
import socket
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisord_lite.scribe.files import Stream

#: How long the daemon's output may stand still before lines are dropped, in seconds.
PATIENCE_S = 5.0
_READ_BYTES = 65536
#: A line is held back until it ends, but no more than this.
_LINE_BYTES = 65536
#: What may wait for the output before its workers are no longer read; more for a regular file,
#: whose writer may stand still because of another disk.
_WAITING_BYTES = 65536
_WAITING_FILE_BYTES = 1 << 20
#: A pipe that polls as writable takes this much without blocking.
_PIPE_BUF = 4096

_FILE, _SOCKET, _OTHER, _POLLED, _GONE = range(5)


class Output:
    """One descriptor of the daemon, and the streams that are copied there.

    Attributes:
        number: 1 or 2.
        descriptor: What is written to, and polled; -1 when there is nothing.
        is_file: It is a regular file: writing may block on a disk.
        streams: Those that are copied there.
        dropped_bytes, dropped_lines: Lost since this scribe started.
        untold, told_at_s: These have grown since they were told, and when that was.
        stuck_since_s: Nothing could be written since; None while it goes on.
    """

    def __init__(self, number: int, now_s: Callable[[], float]) -> None:
        """Find out what descriptor *number* is."""
        self.number = number
        self.streams: set[Stream] = set()
        self.dropped_bytes = 0
        self.dropped_lines = 0
        self.untold = False
        self.told_at_s = 0.0
        self.stuck_since_s: float | None = None
        self._now_s = now_s
        self._waiting = bytearray()
        self._tails: dict[Stream, bytes] = {}
        self._socket: socket.socket | None = None
        self._kind, self.descriptor = self._open(number)
        self.is_file = self._kind == _FILE
        self._most_waiting_bytes = _WAITING_FILE_BYTES if self.is_file else _WAITING_BYTES

    def _open(self, number: int) -> tuple[int, int]:
        try:
            mode = os.fstat(number).st_mode
        except OSError:
            return _GONE, -1
        if stat.S_ISREG(mode):
            return _FILE, number
        if stat.S_ISSOCK(mode):
            self._socket = socket.socket(fileno=os.dup(number))
            return _SOCKET, self._socket.fileno()
        # O_NONBLOCK on the descriptor itself would be seen by everybody who shares it, such as
        # the shell; a new opening of the same pipe or terminal is ours alone.
        try:
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            return _OTHER, os.open(f"/proc/self/fd/{number}", flags)
        except OSError:
            return _POLLED, number

    @property
    def is_full(self) -> bool:
        """Whether its workers should not be read now."""
        return len(self._waiting) >= self._most_waiting_bytes and not self.is_dropping

    @property
    def is_waiting(self) -> bool:
        """Whether it should be polled for room."""
        return bool(self._waiting) and self._kind in (_SOCKET, _OTHER, _POLLED)

    @property
    def is_dropping(self) -> bool:
        """Whether patience is at an end."""
        return self.stuck_since_s is not None and self._now_s() - self.stuck_since_s > PATIENCE_S

    def read(self, stream: Stream, limit: int) -> None:
        """Take up to *limit* bytes from *stream*; whole lines go to what waits."""
        try:
            data = os.read(stream.descriptor, min(limit, _READ_BYTES))
        except BlockingIOError:
            return
        data = self._tails.pop(stream, b"") + data
        cut = data.rfind(b"\n") + 1
        if not cut and len(data) > _LINE_BYTES:
            cut = len(data)
        if cut < len(data):
            self._tails[stream] = data[cut:]
        if cut:
            self._add(data[:cut])

    def end(self, stream: Stream) -> None:
        """The stream has ended: its last line is ended for it, because others follow."""
        self.streams.discard(stream)
        tail = self._tails.pop(stream, b"")
        if tail:
            self._add(tail + b"\n")

    def take_tails(self) -> None:
        """Let what has come of lines wait too: their rest is for another scribe to read."""
        for tail in list(self._tails.values())[:-1]:
            self._add(tail + b"\n")  # others follow
        for tail in list(self._tails.values())[-1:]:
            self._add(tail)
        self._tails.clear()

    def close(self) -> None:
        """Close what was opened."""
        if self._socket is not None:
            self._socket.close()
        elif self._kind == _OTHER:
            os.close(self.descriptor)

    def _add(self, lines: bytes) -> None:
        if self._kind == _GONE or self.is_dropping:
            self.drop(lines)
        else:
            self._waiting += lines

    def drop(self, lines: bytes) -> None:
        """Count *lines* as lost."""
        self.dropped_bytes += len(lines)
        self.dropped_lines += lines.count(b"\n")
        self.untold = True

    def flush(self) -> None:
        """Write what can be written without waiting; not for a regular file."""
        while self._waiting:
            try:
                count = self._write()
            except BlockingIOError:
                if self.stuck_since_s is None:
                    self.stuck_since_s = self._now_s()
                return
            except OSError:
                # The reader is gone, or the terminal: nothing will get better by waiting.
                self.drop(self.take())
                return
            self.stuck_since_s = None
            del self._waiting[:count]

    def _write(self) -> int:
        if self._socket is not None:
            return self._socket.send(self._waiting[:_READ_BYTES], socket.MSG_DONTWAIT)
        if self._kind == _POLLED:
            poll = select.poll()
            poll.register(self.descriptor, select.POLLOUT)
            if not poll.poll(0):
                raise BlockingIOError
            return os.write(self.descriptor, self._waiting[:_PIPE_BUF])
        return os.write(self.descriptor, self._waiting[:_READ_BYTES])

    def write_rest(self) -> None:
        """Write what is left to a regular file, however long that takes."""
        if self.is_file:
            try:
                os.write(self.descriptor, self._waiting)
            except OSError:
                self._waiting.clear()

    def take(self) -> bytes:
        """Take all that waits, for a caller that may block on a regular file."""
        lines = bytes(self._waiting)
        self._waiting.clear()
        return lines
