"""The pipes between workers and the scribe: who holds which end, and until when.

A pipe's read end stays open here until the scribe says that it has read it to its end, so that a
scribe can die at any moment and its successor finds every byte that was not written yet.
"""

from __future__ import annotations

import os

from supervisord_lite.wire import channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from supervisord_lite.keeper.calls import Calls

#: Attaches in one message: one descriptor each, and paths may be long.
_PAGE = 16
_PAGE_BYTES = channel.MAX_MESSAGE_BYTES - 1024


class Stream:
    """One pipe: `entry` is what the scribe is told, `descriptor` its read end."""

    __slots__ = ("descriptor", "entry", "retired")

    def __init__(self, descriptor: int, entry: dict[str, Any]) -> None:
        """Take over the read end."""
        self.descriptor = descriptor
        self.entry = entry
        self.retired = False


class Streams:
    """Every open stream, in the order made, and what the present scribe has not been told yet."""

    def __init__(self, calls: Calls) -> None:
        """Begin empty."""
        self._calls = calls
        self._open: dict[int, Stream] = {}
        self._untold: list[Stream] = []
        self._moved: list[Stream] = []
        self._unretired: list[int] = []
        self._next = 1

    def create(self, entry: dict[str, Any]) -> tuple[Stream, int]:
        """Make a pipe to the scribe; return the stream and the write end.

        Raises:
            OSError: No descriptor to be had.
        """
        reader, writer = self._calls.pipe2(os.O_CLOEXEC)
        return self.adopt(reader, entry), writer

    def adopt(self, reader: int, entry: dict[str, Any]) -> Stream:
        """Take over the read end of a pipe that exists already."""
        stream = Stream(reader, {"stream": self._next, **entry})
        self._open[self._next] = stream
        self._next += 1
        self._untold.append(stream)
        return stream

    def discard(self, stream: Stream) -> None:
        """The process for it could not be started: forget the pipe."""
        if stream not in self._untold:
            self.retire(stream)  # the scribe has it already, and says when it has seen its end
            return
        self._untold.remove(stream)
        del self._open[stream.entry["stream"]]
        self._calls.close(stream.descriptor)

    def move(self, stream: Stream, entry: dict[str, Any]) -> None:
        """Let a stream go elsewhere from its next line on; *entry*: path and limits."""
        was = stream.entry
        if stream.retired:
            return
        stream.entry = {"stream": was["stream"], **entry}
        for kept in ("run", "invocation"):
            if kept in was:
                stream.entry[kept] = was[kept]
        if was["path"] != entry["path"]:
            stream.entry["was"] = was["path"]
        if stream not in self._untold:
            self._moved.append(stream)

    def retire(self, stream: Stream) -> None:
        """Its writers are gone: the scribe reads to the end and says done."""
        if not stream.retired:
            stream.retired = True
            self._unretired.append(stream.entry["stream"])

    def retire_all(self) -> None:
        """Every writer is gone, or to be given up."""
        for stream in self._open.values():
            self.retire(stream)

    def done(self, number: int) -> None:
        """The scribe has read it to its end."""
        stream = self._open.pop(number, None)
        if stream is not None:
            self._calls.close(stream.descriptor)

    def unread_bytes(self) -> dict[str, int]:
        """Return for each log what is in pipes still, in bytes; "stdout" for the daemon's own."""
        unread: dict[str, int] = {}
        for stream in self._open.values():
            path = stream.entry.get("path", "stdout")
            unread[path] = unread.get(path, 0) + self._calls.readable_bytes(stream.descriptor)
        return unread

    def restart(self) -> None:
        """There is a new scribe: everything open is to be told again, in the order made."""
        self._untold = list(self._open.values())
        self._moved = []
        self._unretired = [number for number, stream in self._open.items() if stream.retired]

    def pack(self, keep: Callable[[int], int]) -> dict[str, Any]:
        """Return every open stream as JSON; *keep* is called with each descriptor."""
        streams = [
            {"descriptor": keep(each.descriptor), "entry": each.entry, "retired": each.retired}
            for each in self._open.values()
        ]
        return {"open": streams, "next": self._next}

    def unpack(self, said: dict[str, Any]) -> None:
        """Go on with what was packed; there is no scribe yet."""
        for each in said.get("open", ()):
            stream = Stream(each["descriptor"], each["entry"])
            stream.retired = each.get("retired", False)
            self._open[stream.entry["stream"]] = stream
        self._next = said.get("next", max(self._open, default=0) + 1)
        self.restart()

    def names(self, streams: list[Stream]) -> list[Any]:
        """Return as JSON which *streams* those are; their places are kept."""
        return [
            {"gone": each.entry, "retired": each.retired}
            if each.entry["stream"] not in self._open
            else each.entry["stream"]
            for each in streams
        ]

    def named(self, names: list[Any]) -> list[Stream]:
        """Return the streams that `names` has named."""
        found = []
        for name in names:
            if isinstance(name, int):
                found.append(self._open[name])
            else:
                gone = Stream(-1, name["gone"])
                gone.retired = name.get("retired", True)
                found.append(gone)
        return found

    def pages(self) -> list[tuple[dict[str, Any], list[int]]]:
        """Take what is to be told: messages with their descriptors."""
        untold, self._untold = self._untold, []
        retired, self._unretired = self._unretired, []
        moved, self._moved = self._moved, []
        messages: list[tuple[dict[str, Any], list[int]]] = [
            (
                {"do": "attach", "streams": [stream.entry for stream in page]},
                [stream.descriptor for stream in page],
            )
            for page in _fitting(untold)
        ]
        messages += [
            ({"do": "move", "streams": [stream.entry for stream in page]}, [])
            for page in _fitting(moved)
        ]
        messages += [
            ({"do": "retire", "streams": retired[start : start + 1000]}, [])
            for start in range(0, len(retired), 1000)
        ]
        return messages


def _fitting(streams: list[Stream]) -> list[list[Stream]]:
    """Return *streams* in pages that fit into a message."""
    pages: list[list[Stream]] = []
    left_bytes = 0
    for stream in streams:
        cost_bytes = len(channel.encode(stream.entry)) + 1
        if cost_bytes > left_bytes or len(pages[-1]) == _PAGE:
            pages.append([])
            left_bytes = _PAGE_BYTES
        pages[-1].append(stream)
        left_bytes -= cost_bytes
    return pages


assert channel.MAX_DESCRIPTORS >= _PAGE
