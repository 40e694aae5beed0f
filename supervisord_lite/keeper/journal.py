"""The keeper's own log lines: into a pipe that the scribe copies to the daemon's stderr.

The supervisor's stderr is the same pipe. Nobody who supervises ever waits for a terminal, a disk
or a journal: when the pipe is full, a line is dropped, and counted in the next one that fits.
"""

from __future__ import annotations

import fcntl
import os
import select
import time

from supervisord_lite.base.log_line import LEVELS, format_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: A thousand workers that start at once say a line or two each. The kernel takes memory for what is
#: in a pipe only, and lets everybody have so much (pipe(7)).
_PIPE_BYTES = 1 << 20
#: How long a line to stderr itself may take.
_LAST_LINE_MS = 500


def open_pipe() -> tuple[int, int]:
    """Return a pipe whose write end never blocks: read end, write end."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(writer, False)
    try:
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError:
        return reader, writer  # the user's pipes hold too much already: 64 KiB it is
    return reader, writer


class Journal:
    """Writes lines.

    Attributes:
        descriptor: The pipe's write end; -1 once closed.
    """

    def __init__(self, descriptor: int, style: str, level: str) -> None:
        """Take the write end.

        Args:
            descriptor: Must not block.
            style: As `format_line` has it.
            level: Lines below it are not written.
        """
        self.descriptor = descriptor
        self._style = style
        self._least = LEVELS.index(level)
        self._dropped = 0

    def pack(self, keep: Callable[[int], int]) -> dict[str, Any]:
        """Return what a successor of this process goes on with."""
        return {"descriptor": keep(self.descriptor), "dropped": self._dropped}

    @classmethod
    def unpacked(cls, said: dict[str, Any], style: str, level: str) -> Journal:
        """Return what was packed."""
        journal = cls(said["descriptor"], style, level)
        journal._dropped = said.get("dropped", 0)
        return journal

    def write(self, level: str, event: str, **fields: object) -> None:
        """Write one line, or count it as dropped.

        The keeper says a line or two after its `close`; the supervisor never closes.
        """
        if LEVELS.index(level) < self._least:
            return
        if self.descriptor < 0:
            self._say_without_scribe(level, event, fields)
            return
        if self._dropped:
            fields["lines_dropped_before"] = self._dropped
        try:
            os.write(self.descriptor, self._line(level, event, fields))
        except OSError:  # full, or nobody will ever read it
            self._dropped += 1
        else:
            self._dropped = 0

    def _line(self, level: str, event: str, fields: dict[str, object]) -> bytes:
        line = format_line(self._style, level, event, fields, time.time())  # noqa: TID251  # for display
        return line.encode("utf-8", "backslashreplace")[:4000] + b"\n"

    def _say_without_scribe(self, level: str, event: str, fields: dict[str, object]) -> None:
        """Write one line to stderr itself, at the daemon's end.

        In a process of its own that is waited for a moment only: stderr may be a file on the very
        disk that does not answer.
        """
        line = self._line(level, event, fields)
        try:
            pid = os.fork()
            if pid == 0:
                try:
                    os.write(2, line)
                finally:
                    os._exit(0)
            ended = select.poll()
            ended.register(os.pidfd_open(pid), select.POLLIN)
            ended.poll(_LAST_LINE_MS)
        except OSError:
            return  # nobody is left to be told

    def close(self) -> None:
        """The scribe sees the end; what is written from now on goes to stderr without it."""
        os.close(self.descriptor)
        self.descriptor = -1
