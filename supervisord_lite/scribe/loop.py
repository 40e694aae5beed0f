"""The writer thread: it reads pipes and writes files, and is the only one that touches a disk."""

from __future__ import annotations

import os
import select
import time

from supervisord_lite.scribe.ages import Ages
from supervisord_lite.scribe.calls import Calls
from supervisord_lite.scribe.compressing import Compressing, Compression
from supervisord_lite.scribe.desk import LAST_BYTES, Desk
from supervisord_lite.scribe.echo import Echoes, most_bytes
from supervisord_lite.scribe.forms import RAW_BYTES
from supervisord_lite.scribe.marks import Marks
from supervisord_lite.scribe.memory import BUFFER_BYTES, NONCE_BYTES, Memory
from supervisord_lite.scribe.watch import Pulse, Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisord_lite.scribe.compressing import Child
    from supervisord_lite.scribe.files import LogFile, Stream
    from supervisord_lite.scribe.inherit import Output

_END = select.EPOLLHUP | select.EPOLLERR


class Scribe:
    """One scribe, from its start to "finish" or to the keeper's end."""

    def __init__(
        self,
        channel: int,
        memory: int,
        *,
        calls: Calls | None = None,
        now_s: Callable[[], float] = time.monotonic,
        wall_s: Callable[[], float] = time.time,  # noqa: TID251  # it is injected here
        start_compression: Callable[..., Child] = Compression,
    ) -> None:
        """Begin with what a predecessor left in the memory.

        Args:
            channel: Descriptor of the socket to the keeper; taken over.
            memory: Descriptor of the memory, of `memory.SCRIBE_MEMORY_BYTES`; not closed.
            calls: The seam.
            now_s: The monotonic clock.
            wall_s: The wall clock, for marks and stamps.
            start_compression: Starts a child that compresses a full file.
        """
        mapped = Memory(memory, os.urandom(NONCE_BYTES))
        self._desk = desk = Desk(channel, mapped, calls or Calls(), now_s, wall_s)
        self._marks = Marks(desk.calls, now_s, wall_s)
        self._ages = Ages(desk.calls, now_s, wall_s)
        self._compressing = Compressing(
            desk.writer.segments, self._report, lambda fd: desk.poll.register(fd, select.EPOLLIN),
            desk.poll.unregister, start_compression,
        )  # fmt: skip
        desk.writer.on_segment = self._compressing.want
        self._echoes = Echoes(desk, desk.calls, now_s)
        self._pulse = Pulse()
        self._takeovers = 0
        self._watch = desk.onlooker = Watch(desk, self._pulse)
        self._left = desk.writer.recovered(desk.files, desk.streams)
        with desk.lock:
            # What the watcher was doing is only counting, so it is finished at once.
            stream = desk.dropper.recovered(desk.files, desk.streams)
            if stream is not None:
                desk.dropper.finish_drop(stream)
            desk.tell_what_was_dropped()

    def run(self) -> None:
        """Work until the keeper says finish, or is gone."""
        self._watch.start()
        try:
            self.recover()
            while not self._desk.is_over() and not self._makes_room():
                self.turn(self.wait_s())
            if not self._desk.leaving:
                self._leave()
        finally:
            self._watch.stop()

    def _makes_room(self) -> bool:
        """Return whether to leave all that there is to the next scribe: between two chunks."""
        desk = self._desk
        if not desk.leaving:
            return False
        with desk.lock:
            desk.stop_reading()
        for output in desk.outputs.values():
            if output.is_file:
                self._write_lines(output)
        with desk.lock:
            return not desk.link.is_waiting and not any(o.is_waiting for o in desk.outputs.values())

    def close(self) -> None:
        """Close what was opened; for tests, where the process goes on."""
        self._watch.close()
        self._echoes.close()
        self._desk.close()

    def recover(self) -> None:
        """Finish the chunk that a predecessor had begun."""
        stream, self._left = self._left, None
        if stream is not None:
            self._enter_disk(stream.file)
            self._desk.writer.resume(stream)
            self._leave_disk()

    @property
    def descriptor(self) -> int:
        """What is readable when `turn` need not wait."""
        return self._desk.poll.fileno()

    def wait_s(self) -> float:
        """Return how long nothing is due, in seconds; -1 for ever."""
        desk = self._desk
        own = (self._ages.deadline_s, self._compressing.deadline_s, self._echoes.deadline_s)
        due_s = [at_s for at_s in own if at_s is not None]
        least_s = 0.0 if desk.begun else desk.wait_s()
        if due_s:
            own_s = max(0.0, min(due_s) - desk.now_s())
            least_s = own_s if least_s < 0 else min(least_s, own_s)
        return least_s

    def turn(self, wait_s: float) -> int:
        """Wait once and serve what came.

        Args:
            wait_s: How long at most, in seconds; -1: as long as it takes.

        Returns:
            How many descriptors had something.
        """
        desk, pulse = self._desk, self._pulse
        pulse.idle = True
        events = desk.poll.poll(wait_s)
        pulse.idle = False
        self._watch.wake()
        takeovers = pulse.takeovers
        for descriptor, event in events:
            stream = desk.polled.get(descriptor)
            if stream is not None:
                self._serve(stream, hangup=bool(event & _END))
            if pulse.takeovers != takeovers:
                return len(events)  # what the events say is no longer so
        with desk.lock:
            # The channel last: it may close descriptors whose numbers are in these events.
            if any(descriptor == desk.link.descriptor for descriptor, _ in events):
                desk.attend()
            if desk.moving:
                desk.move()
            desk.keep_time()
        while desk.silent:
            self._end(desk.silent.pop())
        if desk.begun:
            self._mark_begun()
        self._keep_files(events)
        if self._echoes.is_waiting:
            self._send_on()  # after all else that may find the journal full
        if desk.empty or desk.reopened or desk.late_lines:
            self._tidy()
        return len(events)

    def _send_on(self) -> None:
        """Send on what waits for the journal; end and move streams that waited for that."""
        desk = self._desk
        self._enter_disk()
        ended = self._echoes.go_on()
        self._leave_disk()
        with desk.lock:
            for stream in ended:
                desk.end(stream)
            desk.move()

    def _keep_files(self, events: list[tuple[int, int]]) -> None:
        """Rotate what has become old, and let what is full be compressed."""
        for file in self._ages.old():
            self._enter_disk(file)
            self._desk.writer.rotate_old(file)
            file.aged_identity = 0  # whatever came of it
            self._ages.look(file)
            self._leave_disk()
        if self._desk.limited:
            with self._desk.lock:
                limited, self._desk.limited = self._desk.limited, []
            for file in limited:
                self._enter_disk(file)
                self._ages.look(file)
                self._compressing.want(file)
                self._leave_disk()
        own, now_s = self._compressing, self._desk.now_s()
        is_due = own.deadline_s is not None and now_s >= own.deadline_s
        if own.is_waiting or is_due or any(own.has(descriptor) for descriptor, _ in events):
            self._enter_disk()
            own.go_on(now_s)
            self._leave_disk()

    def _report(self, file: LogFile, what: str, reason: str) -> None:
        with self._desk.lock:
            self._desk.reports.note(file, what, reason)

    def _mark_begun(self) -> None:
        desk = self._desk
        with desk.lock:
            begun, desk.begun = desk.begun, []
        for stream in begun:
            self._enter_disk(stream.file)
            self._marks.begin(stream)
            if stream.file is not None:
                self._ages.look(stream.file)
                self._compressing.want(stream.file)
                self._echoes.look(stream)
            self._leave_disk()

    def _serve(self, stream: Stream, *, hangup: bool) -> None:
        desk, pulse = self._desk, self._pulse
        want = desk.readable_bytes(stream, _most_bytes(stream))
        if want == 0:
            if hangup or stream.last_bytes is not None:
                self._end(stream)
            return
        takeovers = pulse.takeovers
        if stream.file is not None and not self._has_turn(stream):
            return
        if stream.file is None:
            with desk.lock:
                output = desk.pass_on(stream, want)
            if output.is_file:
                self._write_lines(output)
        else:
            self._enter_disk(stream.file)
            if not self._echoes.may_read(stream, want):
                self._leave_disk()
                return
            self._ages.look(stream.file)
            self._marks.before(stream)
            desk.writer.copy(stream, want, lambda: self._is_current(takeovers))
            self._ages.wrote(stream.file)
            self._marks.after(stream)
            self._echoes.look(stream)
            self._leave_disk()
        if stream.file is not None and not stream.midline and len(stream.file.queue) > 1:
            with desk.lock:
                desk.turns.free(stream.file)
        if stream.last_bytes is not None and pulse.takeovers == takeovers:
            stream.last_bytes -= want

    def _has_turn(self, stream: Stream) -> bool:
        """Return whether a stream may be read now; another run's unfinished line is ended first."""
        desk = self._desk
        self._enter_disk(stream.file)
        is_free = self._echoes.may_turn(stream)
        self._leave_disk()
        if not is_free:
            return False
        with desk.lock:
            may_read, unfinished = desk.turns.ask(stream)
        if unfinished is None:
            return may_read
        self._enter_disk(stream.file)
        desk.writer.close_line(unfinished)
        unfinished.midline = False
        self._echoes.look(unfinished)
        is_free = self._echoes.may_turn(stream)
        self._leave_disk()
        with desk.lock:
            return is_free and desk.turns.ask(stream)[0]

    def _end(self, stream: Stream) -> None:
        """End a stream of which all has been read, when the journal has its last words."""
        self._close_line(stream)
        self._enter_disk(stream.file)
        is_over = self._echoes.finish(stream)
        self._leave_disk()
        if is_over:
            with self._desk.lock:
                self._desk.end(stream)

    def _close_line(self, stream: Stream) -> None:
        """What a stream ends with is a whole line, where that is for others to go on from.

        That is where lines are written in another form, and where another run takes turns with it.
        """
        desk, file = self._desk, stream.file
        others = () if file is None else file.queue[1:]
        is_whole = stream.form or any(
            other.descriptor in desk.polled or desk.turns.has(other) for other in others
        )
        is_open = stream.midline and not stream.skip and self._desk.is_turn_of(stream)
        if is_whole and is_open:
            self._enter_disk(stream.file)
            self._desk.writer.close_line(stream)
            self._leave_disk()

    def _is_current(self, takeovers: int) -> bool:
        self._pulse.progress += 1
        self._pulse.busy_since_s = self._desk.now_s()
        return self._pulse.takeovers == takeovers

    def _enter_disk(self, file: LogFile | None = None) -> None:
        self._pulse.file = file
        self._pulse.busy_since_s = self._desk.now_s()

    def _leave_disk(self) -> None:
        desk, pulse = self._desk, self._pulse
        with desk.lock:
            pulse.progress += 1
            pulse.busy_since_s = 0.0
            if pulse.takeovers != self._takeovers:
                # The watcher has read the daemon's own lines, and left them to be written here.
                self._takeovers = pulse.takeovers
                desk.late_lines = any(output.is_file for output in desk.outputs.values())

    def _write_lines(self, output: Output) -> None:
        """Write what waits for an output that is a regular file."""
        with self._desk.lock:
            lines = output.take()
        self._enter_disk()
        try:
            while lines:
                lines = lines[os.write(output.descriptor, lines) :]
        except OSError:
            with self._desk.lock:
                output.drop(lines)
        self._leave_disk()

    def _tidy(self) -> None:
        """Close files that no stream needs, and all of them after "reopen"."""
        desk = self._desk
        for output in list(desk.outputs.values()):
            if output.is_file:
                self._write_lines(output)
        self._enter_disk()
        for file in list(desk.empty):
            if file.entry.trim:
                desk.writer.prepare(file)
        with desk.lock:
            empty = [file for file in desk.empty if not file.queue]
            desk.empty = []
            for file in empty:
                if desk.files.pop(file.path_bytes, None) is not None and file.untold:
                    desk.reports.tell(file)
            closing = list(desk.files.values()) if desk.reopened else []
            desk.reopened = desk.late_lines = False
        if closing:
            desk.writer.segments.forget()
        for file in empty + closing:
            file.close()
        for file in empty:
            self._marks.forget(file)
            self._ages.forget(file)
            self._echoes.forget(file)
        self._leave_disk()

    def _leave(self) -> None:
        """Nobody is there any more: what can be read without waiting is still written."""
        for stream in list(self._desk.streams.values()):
            left = LAST_BYTES if stream.descriptor >= 0 and stream.file is not None else 0
            if left and stream.file is not None:
                stream.file.queue.remove(stream)
                stream.file.queue.insert(0, stream)
            while left > 0:
                want = min(self._desk.readable_bytes(stream, _most_bytes(stream)), left)
                if want == 0:
                    break
                self._desk.writer.copy(stream, want, lambda: True)
                left -= want
            self._close_line(stream)
            if stream.descriptor >= 0:
                self._echoes.look(stream)
        for file in self._desk.files.values():
            file.close()


def _most_bytes(stream: Stream) -> int:
    """Return how much of a stream is read at once."""
    if stream.file is not None and stream.file.echo:
        return most_bytes(stream.file)
    return RAW_BYTES if stream.form else BUFFER_BYTES
