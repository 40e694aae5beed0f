"""What the scribe knows: streams, files, outputs and the keeper's orders. No disk calls here.

The writer thread (`loop`) and the watcher (`watch`) share one desk. Every method is called with
`lock` held, unless it says otherwise.
"""

from __future__ import annotations

import _thread
import os
import select

from supervisord_lite.scribe.files import LogFile, Stream
from supervisord_lite.scribe.forms import FORMS, RAW
from supervisord_lite.scribe.inherit import PATIENCE_S, Output
from supervisord_lite.scribe.link import Link
from supervisord_lite.scribe.memory import BUFFER_BYTES, Memory
from supervisord_lite.scribe.reports import TELL_S, Reports
from supervisord_lite.scribe.successor import Successor, restore
from supervisord_lite.scribe.turns import Turns, may_share
from supervisord_lite.wire.journald import fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from supervisord_lite.scribe.calls import Calls

    class Onlooker(Protocol):
        """Whoever polls streams as well: the watcher."""

        def look_at(self, stream: Stream) -> None:
            """Something about this stream has changed."""

        def forget(self, stream: Stream) -> None:
            """It will be closed."""


#: How long the end of a retired stream is waited for, in seconds (a grandchild may hold it).
RETIRED_S = 2.0
#: Most bytes that are still read of a stream when its time is over.
LAST_BYTES = 1 << 20
#: Messages of the keeper taken at once.
_MESSAGES = 64


class Desk:
    """All streams and files of one scribe.

    Attributes:
        lock: Over everything here.
        link: To the keeper.
        reports: What it is to be told about files and outputs.
        poll, polled: The writer thread's poll, and the streams in it by descriptor.
        streams: By number.
        files: By path.
        outputs: The daemon's own, by descriptor number.
        writer, dropper: The writer thread's copier, and the watcher's.
        finishing: The keeper has said "finish".
        leaving: The keeper has said "leave": another scribe goes on from here.
        empty: Files that no stream needs any more.
        reopened: All files are to be closed.
        limited: Files that are to be rotated by another age, or compressed from now on.
        silent: Streams whose time is over, and which may be ended when the journal has all of it.
        ledger: One entry for each log file.
        moving: Streams that go to another file when they are at the beginning of a line.
        begun: Streams whose turn on their files has come: they are to be marked.
        late_lines: An output that is a regular file has lines to be written.
    """

    def __init__(
        self,
        channel: int,
        memory: Memory,
        calls: Calls,
        now_s: Callable[[], float],
        wall_s: Callable[[], float],
    ) -> None:
        """Begin with what a predecessor left in the memory.

        Args:
            channel: Socket to the keeper; taken over.
            memory: Shared with earlier and later scribes.
            calls: The seam.
            now_s: The monotonic clock.
            wall_s: The wall clock, for stamps.
        """
        self.lock = _thread.allocate_lock()
        self.calls = calls
        self.now_s = now_s
        self.link = Link(channel)
        self.reports = Reports(self.link, now_s)
        self.poll = select.epoll()
        self.poll.register(self.link.descriptor, select.EPOLLIN)
        self.polled: dict[int, Stream] = {}
        self.streams: dict[int, Stream] = {}
        self.files: dict[bytes, LogFile] = {}
        self.outputs: dict[int, Output] = {}
        self.finishing = False
        self.leaving = False
        self.empty: list[LogFile] = []
        self.reopened = False
        self.moving: set[Stream] = set()
        self.begun: list[Stream] = []
        self.late_lines = False
        self.limited: list[LogFile] = []
        self.onlooker: Onlooker | None = None
        self.ledger = memory.ledger
        self.silent: list[Stream] = []
        self._rooms: set[int] = set()
        self._timed: set[Stream] = set()
        self._wants_room = False
        self.turns = Turns(now_s, self._rest, self._wake)
        report = self.reports.note
        self.writer = Successor(memory, memory.writer, calls, self.lock, report, now_s, wall_s)
        self.dropper = Successor(memory, memory.watcher, calls, self.lock, report, now_s, wall_s)

    def close(self) -> None:
        """Close what the desk has opened."""
        self.poll.close()
        self.link.close()
        for stream in self.streams.values():
            if stream.descriptor >= 0:
                os.close(stream.descriptor)
        for file in self.files.values():
            file.close()
        for output in self.outputs.values():
            output.close()

    # What the keeper says.

    def attend(self) -> bool:
        """Take what the keeper says, and send what waits; return whether it may say more."""
        self.link.flush()
        for _ in range(_MESSAGES):
            received = self.link.receive()
            if received is None:
                return self.link.is_full
            self._obey(*received)
        return True

    def _obey(self, message: dict[str, Any], descriptors: list[int]) -> None:
        do = message.get("do")
        if do == "attach":
            entries = message["streams"]
            for entry, descriptor in zip(entries, descriptors, strict=False):
                self._attach(entry, descriptor)
            for entry in entries[len(descriptors) :]:
                self._refuse(entry)
            descriptors = descriptors[len(entries) :]
        for descriptor in descriptors:
            os.close(descriptor)
        if do == "retire":
            for number in message["streams"]:
                if number in self.streams:
                    self._retire(self.streams[number])
        elif do == "move":
            for entry in message["streams"]:
                moved = self.streams.get(entry["stream"])
                if moved is not None and moved.file is not None and not moved.retired:
                    self._aim(moved, moved.file, entry)
        elif do == "reopen":
            self.reopened = True
            for file in self.files.values():
                file.reopen = True
                file.retry_at_s = file.rotate_at_s = 0.0
        elif do == "finish":
            self.finishing = True
            for stream in self.streams.values():
                self._retire(stream)
        elif do == "leave":
            self.leaving = True
        elif do == "ping":
            self.link.send({"said": "pong", "id": message.get("id")})

    def _refuse(self, entry: dict[str, Any]) -> None:
        """No descriptor came with it: this process has as many as it may have."""
        reason = "Too many open files: the output of this run is not read"
        self.link.send({"said": "trouble", "path": entry.get("path", ""), "reason": reason})

    def _attach(self, entry: dict[str, Any], descriptor: int) -> None:
        number: int = entry["stream"]
        stream = self.streams.get(number)
        if stream is not None and stream.descriptor >= 0:
            os.close(descriptor)  # told twice
            return
        os.set_blocking(descriptor, False)
        if "path" not in entry:
            self._attach_output(Stream(number, descriptor, None), entry["fd"])
            return
        if stream is None:
            file = self._file_of(number, entry)
            stream = self.streams[number] = Stream(number, descriptor, file)
            restore(stream, file)
        else:
            # A predecessor was reading it; those that are not attached again wait at the end.
            assert stream.file is not None
            file = stream.file
            stream.descriptor = descriptor
            file.queue.remove(stream)
        stream.run = entry.get("run", "")
        stream.is_stderr = entry.get("is_stderr", False)
        self._aim(stream, file, entry)
        self._queue_up(stream, file)

    def _file_of(self, number: int, entry: dict[str, Any]) -> LogFile:
        """Return where a stream goes on that a predecessor may have been reading."""
        if "was" in entry:
            path = os.fsencode(entry["was"])
            known = self.ledger.entry(path)
            if known.stream == number and (known.midline or known.skip):
                return self._file_at(path)  # it died before the line was whole
        return self._file_at(os.fsencode(entry["path"]))

    def _queue_up(self, stream: Stream, file: LogFile) -> None:
        place = sum(1 for other in file.queue if other.descriptor >= 0)
        shares = may_share(stream, file)
        is_owner = bool(file.echo) and file.entry.stream == stream.number
        if shares and (stream.midline or is_owner):
            place = 0  # a predecessor was in the middle of its line, or of sending it on
        for other in file.queue if shares else ():
            other.is_marked = False  # what it says from now on is not the new run's
        file.queue.insert(place, stream)
        if place == 0 or shares:
            self._begin(stream)
        elif self.onlooker is not None:
            self.onlooker.look_at(stream)

    # Another file for a stream.

    def _aim(self, stream: Stream, file: LogFile, entry: dict[str, Any]) -> None:
        """Say where *stream*, which goes to *file* now, is to go."""
        form = FORMS.get(entry.get("format", "raw"), RAW)
        is_same = os.fsencode(entry["path"]) == file.path_bytes
        if is_same and (form == stream.form or not stream.midline):
            stream.form = form
            _let_echo(stream, entry)
            stream.target = None
            self.moving.discard(stream)
            self._limit(file, entry)
        else:
            stream.target = entry
            self.moving.add(stream)

    def move(self) -> None:
        """Let the streams go to their other files that are at the beginning of a line.

        Only the writer thread calls this, between two chunks: no record is about them then.
        """
        for stream in list(self.moving):
            if stream.retired:
                self.moving.discard(stream)  # its last words belong to the others
            elif stream.file is not None and stream.file.owes:
                continue  # what waits for the journal is of this stream
            elif not (stream.midline or stream.skip or stream.descriptor < 0):
                self._move(stream)

    def _move(self, stream: Stream) -> None:
        old, entry = stream.file, stream.target
        assert old is not None
        assert entry is not None
        self.moving.discard(stream)
        stream.target = None
        if self.polled.pop(stream.descriptor, None) is not None:
            self.poll.unregister(stream.descriptor)
        was_first = old.queue[0] is stream
        old.queue.remove(stream)
        if not old.queue:
            self.empty.append(old)
        elif was_first and old.queue[0].descriptor >= 0:
            self._begin(old.queue[0])
        self.turns.forget(stream)
        self.turns.free(old)
        stream.file = new = self._file_at(os.fsencode(entry["path"]))
        self._limit(new, entry)
        stream.form = FORMS.get(entry.get("format", "raw"), RAW)
        _let_echo(stream, entry)
        stream.is_marked = False
        self._queue_up(stream, new)

    def _limit(self, file: LogFile, entry: dict[str, Any]) -> None:
        file.max_size = entry.get("max_size", 0)
        file.backups = entry.get("backups", 0)
        echo = (entry.get("echo") or {}).get("socket", "")
        if echo != file.echo:
            file.echo, file.reopen = echo, True
        if file.entry.echoes != bool(echo):
            file.entry.echoes = bool(echo)
            self.ledger.store(file.entry.index, file.entry.image())
        compress, max_age_s = entry.get("compress", False), entry.get("max_age") or 0.0
        if (compress, max_age_s) != (file.compress, file.max_age_s):
            file.compress, file.max_age_s = compress, max_age_s
            file.aged_identity = 0
            self.limited.append(file)

    def _attach_output(self, stream: Stream, number: int) -> None:
        self.streams[stream.number] = stream
        output = self.outputs.get(number)
        if output is None:
            output = self.outputs[number] = Output(number, self.now_s)
        output.streams.add(stream)
        self.arrange(output)

    def _file_at(self, path: bytes) -> LogFile:
        file = self.files.get(path)
        if file is None:
            file = LogFile(path, self.ledger.entry(path), self.calls)
            self.files[path] = file
            self._note_dropped(file)
        return file

    def tell_what_was_dropped(self) -> None:
        """See to it that the keeper hears of what a predecessor may not have come to tell."""
        for file in self.files.values():
            self._note_dropped(file)

    def _note_dropped(self, file: LogFile) -> None:
        if file.entry.dropped_bytes:
            self.reports.note(file, "dropped", "")

    # The life of a stream.

    def _begin(self, stream: Stream) -> None:
        """It is the turn of *stream* on its file, or it takes turns with others."""
        if stream.descriptor in self.polled or self.leaving:
            return
        if stream.run:
            self.begun.append(stream)
        self.polled[stream.descriptor] = stream
        self.poll.register(stream.descriptor, select.EPOLLIN)
        if stream.retired:
            self._time(stream)
        if self.onlooker is not None:
            self.onlooker.look_at(stream)

    def _rest(self, stream: Stream) -> None:
        if self.polled.pop(stream.descriptor, None) is not None:
            self.poll.unregister(stream.descriptor)

    def _wake(self, stream: Stream) -> None:
        if stream.descriptor >= 0 and stream.descriptor not in self.polled and not self.leaving:
            self.polled[stream.descriptor] = stream
            self.poll.register(stream.descriptor, select.EPOLLIN)

    def stop_reading(self) -> None:
        """Read nobody any more, and pass on and tell what there is: another scribe goes on."""
        for stream in list(self.polled.values()):
            self._rest(stream)
        for output in self.outputs.values():
            output.take_tails()
            if not output.is_file:
                output.flush()
                self.arrange(output)
        self.reports.tell_due(self.outputs.values(), self.now_s() + TELL_S)

    def is_turn_of(self, stream: Stream) -> bool:
        """Return whether the stream may be ended: no earlier one has its file."""
        return stream.file is None or stream.file.queue[0] is stream

    def _retire(self, stream: Stream) -> None:
        if stream.retired:
            return
        stream.retired = True
        if stream.descriptor >= 0:
            if self.is_turn_of(stream) or stream.descriptor in self.polled:
                self._time(stream)
            if self.onlooker is not None:
                self.onlooker.look_at(stream)

    def _time(self, stream: Stream) -> None:
        if stream.deadline_s is None and stream.last_bytes is None:
            stream.deadline_s = self.now_s() + RETIRED_S
            self._timed.add(stream)

    def end(self, stream: Stream) -> None:
        """All of *stream* has been read: tell the keeper, and begin the next one."""
        file = stream.file
        del self.streams[stream.number]
        self._timed.discard(stream)
        self.moving.discard(stream)
        if self.polled.pop(stream.descriptor, None) is not None:
            # Before the close: the keeper has the same opening of the pipe, so that the close
            # alone would leave it in the poll.
            self.poll.unregister(stream.descriptor)
        if self.onlooker is not None:
            self.onlooker.forget(stream)
        if file is None:
            output = self.output_of(stream)
            output.end(stream)
            if output.is_file:
                self.late_lines = True
            else:
                output.flush()
                self.arrange(output)
        else:
            self.dropper.note_end(stream)
            file.queue.remove(stream)
            if not file.queue:
                self.empty.append(file)
            elif file.queue[0].descriptor >= 0:
                file.queue[0].is_marked = False  # what follows is not the ended run's
                self._begin(file.queue[0])
            self.turns.forget(stream)
            self.turns.free(file)
        os.close(stream.descriptor)
        self.link.send({"said": "done", "stream": stream.number})

    def readable_bytes(self, stream: Stream, most: int = BUFFER_BYTES) -> int:
        """Return how much of *stream* can be read now, in bytes, at most *most*. Not locked."""
        count = min(self.calls.readable_bytes(stream.descriptor), most)
        return count if stream.last_bytes is None else min(count, stream.last_bytes)

    # The daemon's own output.

    def output_of(self, stream: Stream) -> Output:
        """Return where a stream without a file goes."""
        return next(output for output in self.outputs.values() if stream in output.streams)

    def pass_on(self, stream: Stream, want: int) -> Output:
        """Copy some of a stream to its output, as far as that does not block."""
        output = self.output_of(stream)
        if not output.is_full:
            output.read(stream, want)
        if not output.is_file:
            output.flush()
            self.arrange(output)
        return output

    def arrange(self, output: Output) -> None:
        """Poll the output for room when it needs some, and its streams when it has some."""
        is_polled = output.descriptor in self._rooms
        if output.is_waiting and not is_polled:
            self._rooms.add(output.descriptor)
            self.poll.register(output.descriptor, select.EPOLLOUT)
        elif is_polled and not output.is_waiting:
            self._rooms.discard(output.descriptor)
            self.poll.unregister(output.descriptor)
        for stream in output.streams:
            is_polled = stream.descriptor in self.polled
            if output.is_full and is_polled:
                del self.polled[stream.descriptor]
                self.poll.unregister(stream.descriptor)
            elif not output.is_full and not is_polled:
                self._begin(stream)

    # What is due.

    def wait_s(self) -> float:
        """Return how long nothing is due, in seconds; -1 for ever."""
        if self.late_lines:
            return 0.0
        due_s = [stream.deadline_s for stream in self._timed if stream.deadline_s is not None]
        due_s += self.reports.due_s(self.outputs.values())
        due_s += [] if self.turns.due_s is None else [self.turns.due_s]
        for output in self.outputs.values():
            if output.is_full and output.stuck_since_s is not None:
                due_s.append(output.stuck_since_s + PATIENCE_S)
        if not due_s:
            return -1
        return max(0.0, min(due_s) - self.now_s())

    def keep_time(self) -> None:
        """Do what is due: streams whose writers do not leave, outputs, reports."""
        now_s = self.now_s()
        self.turns.expire(now_s)
        for stream in list(self._timed):
            if stream.deadline_s is not None and stream.deadline_s <= now_s:
                stream.deadline_s = None
                self._timed.discard(stream)
                stream.last_bytes = self.readable_bytes(stream, LAST_BYTES)
                if stream.last_bytes == 0 and stream.file is not None and stream.file.echo:
                    self.silent.append(stream)
                elif stream.last_bytes == 0:
                    self.end(stream)
        for output in self.outputs.values():
            if not output.is_file:
                output.flush()
                self.arrange(output)
        self.reports.tell_due(self.outputs.values(), now_s)
        if self.link.is_waiting != self._wants_room:
            self._wants_room = self.link.is_waiting
            events = select.EPOLLIN | (select.EPOLLOUT if self._wants_room else 0)
            self.poll.modify(self.link.descriptor, events)

    def is_over(self) -> bool:
        """Return whether there is nothing left to do, for ever."""
        return self.link.closed or (
            self.finishing
            and not self.link.is_waiting
            and all(stream.descriptor < 0 for stream in self.streams.values())
        )


def _let_echo(stream: Stream, entry: dict[str, Any]) -> None:
    """Say what the entries of a stream in the journal have in common."""
    echo = entry.get("echo")
    if not echo:
        stream.echo = b""
        return
    about = {"SYSLOG_IDENTIFIER": entry["name"], "WORKER": entry["name"], **echo["fields"]}
    about["RUN"] = entry.get("run", "").partition(".")[0]
    about["INVOCATION_ID"] = entry.get("invocation", "")
    about["STREAM"] = "stderr" if stream.is_stderr else "stdout"
    stream.echo = fields({name: value for name, value in about.items() if value})
    stream.has_prefix = echo["prefix"]
