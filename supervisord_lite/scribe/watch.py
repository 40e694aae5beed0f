"""The second thread: keeps production going while the first one hangs in a disk call.

A frozen file system keeps a writer in the kernel until the thaw, and not even SIGKILL helps. So
this thread looks, every `LOOK_S` while there is work, whether the writer thread gets on. While that
is in disk calls, the keeper is answered from here. After `STUCK_S` this thread takes over reading:
what a worker would otherwise have to wait for is read, counted and dropped. It sleeps without a
timeout while the writer thread is idle.
"""

from __future__ import annotations

import _thread
import fcntl
import os
import select
import sys

from supervisord_lite.base import exit_codes
from supervisord_lite.scribe.memory import BUFFER_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from supervisord_lite.scribe.desk import Desk
    from supervisord_lite.scribe.files import LogFile, Stream

#: Between two looks at the writer thread, in seconds.
LOOK_S = 0.5
#: A disk call that takes longer is a disk that hangs, in seconds.
STUCK_S = 1.0
#: While a message of the keeper waits and the writer thread is between two disk calls.
_SOON_S = 0.02
#: Last words of workers that have ended wait for the disk, but of no more than so many.
_LAST_WORDS = 64
_MANY_BYTES = 1 << 30
_EDGE = select.EPOLLIN | select.EPOLLET


class Pulse:
    """How the writer thread is.

    Attributes:
        idle: It waits for something to do.
        busy_since_s: It is in disk calls since then; 0 when it is not.
        file: The log file that these are about; None for another.
        progress: Grows when it takes the lock after disk calls.
        takeovers: Grows when the watcher begins to read instead.
    """

    __slots__ = ("busy_since_s", "file", "idle", "progress", "takeovers")

    def __init__(self) -> None:
        """Begin busy with starting."""
        self.idle = False
        self.busy_since_s = 0.0
        self.file: LogFile | None = None
        self.progress = 0
        self.takeovers = 0

    def is_idle(self) -> bool:
        """Return `idle`, which another thread may change at any time."""
        return self.idle


class Watch:
    """The watcher of one scribe."""

    def __init__(self, desk: Desk, pulse: Pulse) -> None:
        """Prepare; `start` makes the thread."""
        self._desk = desk
        self._pulse = pulse
        self._bell = os.eventfd(0, os.EFD_CLOEXEC)
        self._poll = select.epoll()
        self._poll.register(self._bell, select.EPOLLIN)
        # Edges: a message is an event once, whichever thread then reads it.
        self._poll.register(desk.link.descriptor, _EDGE)
        self._polled: dict[int, Stream] = {}
        self._hot: set[Stream] = set()
        self._ended = _thread.allocate_lock()
        self._watching = True
        self._over = False
        self._is_told = False
        self._taken = False
        self._hung: LogFile | None = None
        self._progress = 0

    def start(self) -> None:
        """Start the thread."""
        self._ended.acquire()
        self._watching = False
        _thread.start_new_thread(self._run, ())

    def stop(self) -> None:
        """End the thread."""
        self._over = True
        os.eventfd_write(self._bell, 1)
        self._ended.acquire()

    def close(self) -> None:
        """Close what was opened; the thread has ended, or was never started."""
        self._poll.close()
        os.close(self._bell)

    def wake(self) -> None:
        """The writer thread has something to do. One attribute is read when that was known."""
        if not self._watching:
            self._watching = True
            os.eventfd_write(self._bell, 1)

    def forget(self, stream: Stream) -> None:
        """The stream will be closed. Locked."""
        self._hot.discard(stream)
        if self._polled.pop(stream.descriptor, None) is not None:
            self._poll.unregister(stream.descriptor)

    def look_at(self, stream: Stream) -> None:
        """Something about this stream has changed. Locked."""
        if not self._taken:
            return
        if stream.descriptor not in self._polled:
            self._polled[stream.descriptor] = stream
            self._poll.register(stream.descriptor, _EDGE)
        self._hot.add(stream)

    def _run(self) -> None:
        try:
            while not self._over:
                os.eventfd_read(self._bell)
                while not self._over and self._look():
                    pass
        except BaseException:  # noqa: BLE001  # whatever it is, a scribe that is half alive is worse
            sys.excepthook(*sys.exc_info())
            os._exit(exit_codes.INTERNAL_ERROR)
        finally:
            self._ended.release()

    def _look(self) -> bool:
        """Look once; return whether to look again."""
        if self._hot:
            wait_s = 0.0
        elif self._is_told:
            wait_s = _SOON_S
        else:
            wait_s = LOOK_S
        events = self._poll.poll(wait_s)
        desk, pulse = self._desk, self._pulse
        with desk.lock:
            for descriptor, _ in events:
                if descriptor == self._bell:
                    os.eventfd_read(self._bell)
                elif descriptor == desk.link.descriptor:
                    self._is_told = True
                elif descriptor in self._polled:
                    self._hot.add(self._polled[descriptor])
            self._decide()
            # Only then: a writer thread on its way to sleep would miss a new deadline.
            if pulse.busy_since_s:
                self._is_told = desk.attend()
            if self._taken:
                self._work()
        if self._taken or not pulse.is_idle():
            return True
        # What was told stays so: the writer thread may hang before it has read all of it.
        self._watching = False
        # Asked again: it may have begun in between, and seen that somebody was watching.
        self._watching = not pulse.is_idle()
        return self._watching

    def _decide(self) -> None:
        desk, pulse = self._desk, self._pulse
        if self._taken:
            if pulse.progress != self._progress:
                self._give_back()
        elif pulse.busy_since_s and desk.now_s() - pulse.busy_since_s > STUCK_S:
            self._taken = True
            self._progress = pulse.progress
            pulse.takeovers += 1
            if pulse.file is not None and not pulse.file.entry.trouble:
                self._hung = pulse.file
                desk.reports.note(pulse.file, "hung", "the disk does not answer")
            for stream in desk.streams.values():
                if stream.descriptor >= 0:
                    self.look_at(stream)

    def _give_back(self) -> None:
        """The writer thread is back from its disk call."""
        self._taken = False
        for descriptor in self._polled:
            self._poll.unregister(descriptor)
        self._polled.clear()
        self._hot.clear()
        if self._hung is not None and not self._hung.entry.trouble:
            self._desk.reports.note(self._hung, "resumed", "")
        self._hung = None

    def _work(self) -> None:
        """Read instead of the writer thread."""
        desk = self._desk
        hot, self._hot = self._hot, set()
        retired = [s for s in desk.streams.values() if s.retired and s.descriptor >= 0]
        # The oldest first: a file's earlier stream ends before its later one.
        for stream in retired if desk.finishing else retired[:-_LAST_WORDS]:
            self._serve(stream, everything=True)
        for stream in hot:
            if desk.streams.get(stream.number) is stream:
                self._serve(stream, everything=desk.finishing)
        for output in desk.outputs.values():
            for stream in list(output.streams):
                self._serve(stream, everything=False)
        desk.keep_time()
        if desk.is_over():
            # The other thread cannot be waited for, and what it holds will not be written.
            if self._pulse.file is not None:
                self._pulse.file.entry.dropped_bytes += desk.writer.unwritten_bytes
                desk.reports.tell(self._pulse.file)
            for output in desk.outputs.values():
                output.write_rest()  # it may hang as well: nothing is left to be delayed
            os._exit(0)

    def _serve(self, stream: Stream, *, everything: bool) -> None:
        desk = self._desk
        readable_bytes = desk.readable_bytes(stream, _MANY_BYTES)
        want = min(readable_bytes, BUFFER_BYTES)
        if want == 0:
            if desk.is_turn_of(stream) and (stream.last_bytes is not None or _has_ended(stream)):
                desk.end(stream)
            return
        if stream.file is None:
            output = desk.pass_on(stream, want)
            if output.is_file and output.is_full:
                output.drop(output.take())  # this thread may not block, and a disk does hang
            if output.is_full:
                return
        elif everything if stream.retired else _may_be_full(stream, readable_bytes):
            desk.dropper.drop(stream, want)
        else:
            return
        if stream.last_bytes is not None:
            stream.last_bytes -= want
        self._hot.add(stream)


def _has_ended(stream: Stream) -> bool:
    """Return whether all writers have closed an empty pipe."""
    poll = select.poll()
    poll.register(stream.descriptor, 0)
    return bool(poll.poll(0))


def _may_be_full(stream: Stream, readable_bytes: int) -> bool:
    """Return whether a writer may be waiting for room.

    A pipe whose pages are all taken holds more than half of its capacity: a write that fits into
    the rest of the last page goes there, so two neighbours together hold more than one page.
    """
    return readable_bytes > fcntl.fcntl(stream.descriptor, fcntl.F_GETPIPE_SZ) // 2
