"""What the supervisor says for the event journal: from its messages into a pipe to the scribe.

A line comes in the same message as the records that it tells of, so the keeper has both or none.
From here on it is the keeper's: a supervisor that dies cannot take it back, and the pipe is a
stream like a worker's output, which the scribe copies exactly once (scribe/__init__.py).

Nobody waits for a disk. While the pipe is full, lines wait here, a few megabytes of them; what
comes after that is left out as whole lines. Events are numbered without a gap, so whoever reads
sees how many are missing.
"""

from __future__ import annotations

import fcntl
import os
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from supervisord_lite.keeper.poller import Poller
    from supervisord_lite.keeper.streams import Streams

#: Of the journal's file, and how many full ones are kept beside it.
MAX_SIZE_BYTES = 4 * 1024 * 1024
BACKUPS = 4
#: A fleet that starts or stops says a line or two for each worker.
_PIPE_BYTES = 1 << 20
#: Most bytes that wait for the pipe.
_WAITING_BYTES = 4 << 20


class EventPipe:
    """The write end, and what waits for it. Without a path nothing is kept."""

    def __init__(
        self, path: str, streams: Streams, poller: Poller, log: Callable[..., None]
    ) -> None:
        """Make the pipe.

        Args:
            path: Of the journal's file; empty: there is none.
            streams: Tells the scribe of it.
            poller: Wakes us when there is room.
            log: Takes the daemon's own lines.
        """
        self._poller = poller
        self._log = log
        self._waiting = bytearray()
        self._lost = 0
        self._is_closing = False
        self._writer = -1
        if path:
            entry: dict[str, Any] = {
                "name": "",
                "path": path,
                "max_size": MAX_SIZE_BYTES,
                "backups": BACKUPS,
            }
            _, self._writer = streams.create(entry)
            os.set_blocking(self._writer, False)
            try:
                fcntl.fcntl(self._writer, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            except OSError:
                return  # the user's pipes hold too much already: 64 KiB it is

    def pack(self, keep: Callable[[int], int]) -> dict[str, Any]:
        """Return what waits, and the pipe, as JSON; *keep* is called with its descriptor."""
        return {
            "writer": keep(self._writer),
            "waiting": self._waiting.decode("latin-1"),
            "lost": self._lost,
        }

    def unpack(self, said: dict[str, Any]) -> None:
        """Go on with what was packed; nothing is written before the pipe has room."""
        self._writer = said.get("writer", -1)
        self._waiting += said.get("waiting", "").encode("latin-1")
        self._lost = said.get("lost", 0)
        if self._writer >= 0 and self._waiting:
            self._poller.watch(self._writer, select.EPOLLOUT, self._has_room)

    def take(self, lines: list[str]) -> None:
        """Pass on whole lines, each without its end."""
        if self._writer < 0 or self._is_closing:
            return
        for line in lines:
            if len(self._waiting) > _WAITING_BYTES:
                self._flush()
            if len(self._waiting) > _WAITING_BYTES:
                self._lose()
                continue
            self._waiting += line.encode("utf-8", "backslashreplace") + b"\n"
        self._flush()

    def close(self) -> None:
        """No more will come: what waits is still passed on as the scribe reads."""
        self._is_closing = True
        self._flush()

    def _lose(self) -> None:
        self._lost += 1
        if self._lost == 1:
            self._log("error", "events.lost", reason="the disk does not take them")

    def _flush(self) -> None:
        while self._waiting and self._writer >= 0:
            try:
                count = os.write(self._writer, memoryview(self._waiting)[:_PIPE_BYTES])
            except BlockingIOError:
                self._poller.watch(self._writer, select.EPOLLOUT, self._has_room)
                return
            except OSError as error:  # cannot be while we hold the other end as well
                self._log("error", "events.lost", reason=error.strerror)
                self._waiting.clear()
                break
            del self._waiting[:count]
        if self._lost:
            self._log("warning", "events.resumed", lost=self._lost)
            self._lost = 0
        if self._writer >= 0:
            self._poller.unwatch(self._writer)
            if self._is_closing:
                os.close(self._writer)
                self._writer = -1

    def _has_room(self, _mask: int) -> None:
        self._flush()
