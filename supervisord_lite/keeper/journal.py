"""The keeper's own log lines: into a pipe that the scribe copies to the daemon's stderr.

The supervisor's stderr is the same pipe. Nobody who supervises ever waits for a terminal, a disk
or a journal: when the pipe is full, a line is dropped, and counted in the next one that fits.
"""

from __future__ import annotations

import os
import time

from supervisord_lite.base.log_line import LEVELS, format_line


def open_pipe() -> tuple[int, int]:
    """Return a pipe whose write end never blocks: read end, write end."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(writer, False)
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
            style: "text" or "json".
            level: Lines below it are not written.
        """
        self.descriptor = descriptor
        self._style = style
        self._least = LEVELS.index(level)
        self._dropped = 0

    def write(self, level: str, event: str, **fields: object) -> None:
        """Write one line, or count it as dropped."""
        if LEVELS.index(level) < self._least or self.descriptor < 0:
            return
        if self._dropped:
            fields["lines_dropped_before"] = self._dropped
        line = format_line(self._style, level, event, fields, time.time())  # noqa: TID251  # for display
        try:
            os.write(self.descriptor, line.encode("utf-8", "backslashreplace")[:4000] + b"\n")
        except OSError:  # full, or nobody will ever read it
            self._dropped += 1
        else:
            self._dropped = 0

    def close(self) -> None:
        """Write no more: the scribe sees the end."""
        os.close(self.descriptor)
        self.descriptor = -1
