"""What listeners are told: events as JSON lines on the stdin of workers that asked for some.

Theory of operation
===================

A worker with `events` is a listener. The supervisor chooses: with the lines for the journal it
sends those for each listener, in the same message as the records that they follow from. So the
keeper has all of it or none, and from here on a line is the keeper's, whoever else dies.

Each slot has a *feed*, which outlives its runs: the lines that wait, at most `MOST_WAITING`. Each
run has a pipe of its own, whose write end stays here; the read end does too, for two reasons: a
listener that closes its stdin costs nobody a signal, and how much of the pipe has been read can be
asked for. Nobody waits for a listener: a line goes into the pipe when there is room.

* A run has ended: lines that it had not read to their end go back, to be told to the next run. What
  it had read was told; whether it did something with it is its own business. So a line is told
  once, or again as a whole where a run had read only a part of it.
* More than `MOST_WAITING` lines wait: the oldest go. In their place stands one line, an event
  ``events.dropped`` with their `count`, and the supervisor is told how many it has been.
* Another run of the same slot begins before an earlier one has ended: the earlier one is told no
  more, and sees the end of its stdin.
* The daemon ends: what still waits ends with it. It stands in the journal.
"""

from __future__ import annotations

import json
import os
import select
import time
from collections import deque

from supervisord_lite.base.log_line import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from supervisord_lite.keeper.calls import Calls
    from supervisord_lite.keeper.table import Key

#: Lines that wait for one listener, those in its pipe (64 KiB) not counted.
MOST_WAITING = 1000
#: Of one listener in one turn: nobody may keep the keeper from the others.
_MOST_LINES = 256

Slot = tuple[str, int]


class _Pipe:
    """The stdin of one run.

    Attributes:
        sent: Lines that it may not have read to their end, the last maybe not written to its end;
            each with what it was made of.
        written_bytes: Of them.
        rest: Of the last one, what is still to be written.
    """

    __slots__ = ("reader", "rest", "sent", "writer", "written_bytes")

    def __init__(self, reader: int, writer: int) -> None:
        self.reader = reader
        self.writer = writer
        self.sent: deque[tuple[bytes, bytes | int]] = deque()
        self.written_bytes = 0
        self.rest = b""

    def pack(self, run: int, keep: Callable[[int], int]) -> dict[str, Any]:
        return {
            "run": run,
            "reader": keep(self.reader),
            "writer": keep(self.writer),
            "sent": [[_text(line), _text(what)] for line, what in self.sent],
            "written_bytes": self.written_bytes,
            "rest": _text(self.rest),
        }

    @classmethod
    def unpacked(cls, said: dict[str, Any]) -> _Pipe:
        pipe = cls(said["reader"], said["writer"])
        for line, what in said.get("sent", ()):
            pipe.sent.append((line.encode("latin-1"), _bytes(what)))
        pipe.written_bytes = said.get("written_bytes", 0)
        pipe.rest = said.get("rest", "").encode("latin-1")
        return pipe


class _Feed:
    """What one slot is still to be told.

    Attributes:
        name: As people call it.
        waiting: Lines; a number stands where so many are missing.
        run: The latest; 0: none.
        pipes: Of each run that has not ended, by its number.
    """

    __slots__ = ("name", "pipes", "run", "waiting")

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting: deque[bytes | int] = deque()
        self.run = 0
        self.pipes: dict[int, _Pipe] = {}


class Feeds:
    """Every feed, by slot."""

    def __init__(
        self,
        calls: Calls,
        watch: Callable[[int, int, Callable[[int], None]], None],
        unwatch: Callable[[int], None],
        tell: Callable[[dict[str, Any]], None],
    ) -> None:
        """Begin with none; *tell* takes what a supervisor need not know for certain."""
        self._calls = calls
        self._watch = watch
        self._unwatch = unwatch
        self._tell = tell
        self._feeds: dict[Slot, _Feed] = {}
        self._watched: set[int] = set()

    # -- what the supervisor says -----------------------------------------------------------------

    def keep(self, slots: list[list[Any]]) -> None:
        """These are all who listen: [pool, index, name] each. What others had waiting goes."""
        names = {(pool, index): name for pool, index, name in slots}
        for slot in [slot for slot in self._feeds if slot not in names]:
            feed = self._feeds.pop(slot)
            for pipe in feed.pipes.values():
                self._close(pipe)
        for slot, name in names.items():
            self._feeds.setdefault(slot, _Feed(name)).name = name

    def take(self, lines: list[list[Any]]) -> None:
        """Tell lines, [pool, index, line] each; `keep` comes with them, or behind them."""
        told: dict[Slot, _Feed] = {}
        for pool, index, line in lines:
            slot = (pool, index)
            feed = told[slot] = self._feeds.setdefault(slot, _Feed(pool))
            feed.waiting.append(line.encode("utf-8", "backslashreplace") + b"\n")
        for slot, feed in told.items():
            self._flush(feed)
            self._thin(slot, feed)

    def pack(self, keep: Callable[[int], int]) -> list[dict[str, Any]]:
        """Return every feed as JSON; *keep* is called with each descriptor."""
        return [
            {
                "slot": slot,
                "name": feed.name,
                "run": feed.run,
                "waiting": [_text(what) for what in feed.waiting],
                "pipes": [pipe.pack(run, keep) for run, pipe in feed.pipes.items()],
            }
            for slot, feed in self._feeds.items()
        ]

    def unpack(self, said: list[dict[str, Any]]) -> None:
        """Go on with what was packed; nothing is written before a pipe has room."""
        for each in said:
            pool, index = each["slot"]
            feed = self._feeds[pool, index] = _Feed(each["name"])
            feed.run = each.get("run", 0)
            feed.waiting.extend(_bytes(what) for what in each.get("waiting", ()))
            for one in each.get("pipes", ()):
                feed.pipes[one["run"]] = _Pipe.unpacked(one)
            pipe = feed.pipes.get(feed.run)
            if pipe is not None and pipe.writer >= 0 and (pipe.rest or feed.waiting):
                self._mind(feed, pipe, wanted=True)

    # -- runs -------------------------------------------------------------------------------------

    def open(self, key: Key, name: str) -> int:
        """Make the stdin of a run that is about to be started; return its read end, ours to keep.

        Raises:
            OSError: No descriptor to be had.
        """
        pool, index, run = key
        feed = self._feeds.setdefault((pool, index), _Feed(name))
        pipe = _Pipe(*self._calls.pipe2(os.O_CLOEXEC))
        os.set_blocking(pipe.writer, False)
        feed.pipes[run] = pipe
        return pipe.reader

    def begin(self, key: Key) -> None:
        """The run is there: from now on it is the one that is told."""
        pool, index, run = key
        feed = self._feeds.get((pool, index))
        if feed is None or run not in feed.pipes:
            return
        before = feed.pipes.get(feed.run)
        if before is not None:
            self._close_writer(before)
        feed.run = run
        self._flush(feed)

    def end(self, key: Key) -> None:
        """Nothing of the run is alive, or it was never started: what it has not read goes back."""
        pool, index, run = key
        feed = self._feeds.get((pool, index))
        pipe = None if feed is None else feed.pipes.pop(run, None)
        if feed is None or pipe is None:
            return
        self._forget_read(pipe)
        feed.waiting.extendleft(what for _, what in reversed(pipe.sent))
        self._close(pipe)
        if feed.run == run:
            feed.run = 0
        self._flush(feed)
        self._thin((pool, index), feed)

    # -- telling ----------------------------------------------------------------------------------

    def _flush(self, feed: _Feed) -> None:
        """Write what the pipe takes."""
        pipe = feed.pipes.get(feed.run)
        if pipe is None or pipe.writer < 0:
            return
        self._forget_read(pipe)
        for _ in range(_MOST_LINES):
            if not pipe.rest:
                if not feed.waiting:
                    self._mind(feed, pipe, wanted=False)
                    return
                what = feed.waiting.popleft()
                pipe.rest = what if isinstance(what, bytes) else self._gap_line(feed, what)
                pipe.sent.append((pipe.rest, what))
            try:
                count = self._calls.write(pipe.writer, pipe.rest)
            except BlockingIOError:
                break
            except OSError:  # cannot be while we hold the other end as well
                self._close_writer(pipe)
                return
            pipe.written_bytes += count
            pipe.rest = pipe.rest[count:]
        self._mind(feed, pipe, wanted=True)

    def _gap_line(self, feed: _Feed, count: int) -> bytes:
        """Return the event that says how many are missing: it is this listener's alone."""
        slot = next(slot for slot, each in self._feeds.items() if each is feed)
        at = rfc3339(time.time())  # noqa: TID251  # for display
        event = {
            "id": None, "at": at, "event": "events.dropped", "name": feed.name,
            "pool": slot[0], "instance": slot[1], "count": count,
        }  # fmt: skip
        return json.dumps(event, separators=(",", ":")).encode() + b"\n"

    def _thin(self, slot: Slot, feed: _Feed) -> None:
        """Let the oldest go where too many wait."""
        missing = lost = 0
        while len(feed.waiting) > MOST_WAITING or (missing and isinstance(feed.waiting[0], int)):
            what = feed.waiting.popleft()
            lost += isinstance(what, bytes)
            missing += 1 if isinstance(what, bytes) else what
        if missing:
            feed.waiting.appendleft(missing)
            self._tell({"unheard": [slot[0], slot[1], lost]})

    def _forget_read(self, pipe: _Pipe) -> None:
        """Forget the lines that have been read to their end."""
        if not pipe.sent:
            return
        read_bytes = pipe.written_bytes - self._calls.readable_bytes(pipe.reader)
        while pipe.sent and len(pipe.sent[0][0]) <= read_bytes:
            size = len(pipe.sent.popleft()[0])
            read_bytes -= size
            pipe.written_bytes -= size

    def _mind(self, feed: _Feed, pipe: _Pipe, *, wanted: bool) -> None:
        is_watched = pipe.writer in self._watched
        if wanted and not is_watched:
            self._watched.add(pipe.writer)
            self._watch(pipe.writer, select.EPOLLOUT, lambda _mask: self._flush(feed))
        elif is_watched and not wanted:
            self._watched.discard(pipe.writer)
            self._unwatch(pipe.writer)

    def _close_writer(self, pipe: _Pipe) -> None:
        if pipe.writer >= 0:
            if pipe.writer in self._watched:
                self._watched.discard(pipe.writer)
                self._unwatch(pipe.writer)
            self._calls.close(pipe.writer)
            pipe.writer = -1

    def _close(self, pipe: _Pipe) -> None:
        self._close_writer(pipe)
        self._calls.close(pipe.reader)

    def close(self) -> None:
        """Close every pipe; for tests, where the process goes on."""
        self.keep([])


def _text(what: bytes | int) -> str | int:
    """Return a line, which may be cut anywhere, as what JSON can say; a number is one."""
    return what if isinstance(what, int) else what.decode("latin-1")


def _bytes(said: str | int) -> bytes | int:
    return said if isinstance(said, int) else said.encode("latin-1")
