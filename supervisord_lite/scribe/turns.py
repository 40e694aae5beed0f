"""Whose turn it is on a file to which two runs write at once: line by line.

While a new run takes over from the old one, both live, and both have the same log. The old run's
stream does not end before the new one's first words then, so they take turns: whoever has something
to say gets to the head of the file's queue, at the beginning of a line. Only the head may have an
unfinished line in the file. Who finds one waits for its end, `LINE_S` at most; then that line is
ended where it is, and its rest becomes a line of its own, so that nobody is held up by a prompt.

Streams of one run, and those that come when the earlier run has ended, wait for each other's end as
ever. Which lines are whose says a mark at each change (`marks.py`).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisord_lite.scribe.files import LogFile, Stream

#: How long a line that is not finished holds up another run, in seconds.
LINE_S = 1.0


def may_share(stream: Stream, file: LogFile) -> bool:
    """Return whether *stream* takes turns with those before it, and need not wait for their end."""
    others = [other for other in file.queue if other is not stream and other.descriptor >= 0]
    is_other_run = all(other.run and other.run != stream.run for other in others)
    return bool(stream.run and others) and is_other_run and not any(o.retired for o in others)


class Turns:
    """Who waits for the end of a line. All of it is called with the lock held."""

    def __init__(
        self,
        now_s: Callable[[], float],
        rest: Callable[[Stream], None],
        wake: Callable[[Stream], None],
    ) -> None:
        """Take the clock, and what lets a stream be polled no more (*rest*), or again (*wake*)."""
        self._now_s = now_s
        self._rest = rest
        self._wake = wake
        #: File -> (until when its head may finish its line, who waits for that).
        self._waiting: dict[LogFile, tuple[float, set[Stream]]] = {}
        self._impatient: set[LogFile] = set()

    @property
    def due_s(self) -> float | None:
        """When to call `expire`."""
        return min((until_s for until_s, _ in self._waiting.values()), default=None)

    def ask(self, stream: Stream) -> tuple[bool, Stream | None]:
        """Return whether *stream* may be read now, and whose line must be ended before that.

        It is the head of its file's queue from now on where it may, and no line must be ended.
        """
        file = stream.file
        assert file is not None
        head = file.queue[0]
        if head is stream:
            return True, None
        if head.midline and not head.skip and not file.entry.trim:
            if file in self._impatient:
                self._impatient.discard(file)
                return True, head
            until_s, waiting = self._waiting.get(file, (self._now_s() + LINE_S, set()))
            waiting.add(stream)
            self._waiting[file] = until_s, waiting
            self._rest(stream)
            return False, None
        file.queue.remove(stream)
        file.queue.insert(0, stream)
        stream.is_marked = False
        self.free(file)
        return True, None

    def has(self, stream: Stream) -> bool:
        """Return whether *stream* waits for the end of another run's line."""
        return any(stream in waiting for _, waiting in self._waiting.values())

    def free(self, file: LogFile) -> None:
        """Nobody's line is unfinished in *file*: whoever waited for that is read again."""
        self._impatient.discard(file)
        _, waiting = self._waiting.pop(file, (0.0, ()))
        for stream in waiting:
            self._wake(stream)

    def forget(self, stream: Stream) -> None:
        """The stream has ended, or gone to another file."""
        for file, (until_s, waiting) in list(self._waiting.items()):
            waiting.discard(stream)
            if not waiting:
                del self._waiting[file]
            else:
                self._waiting[file] = until_s, waiting

    def expire(self, now_s: float) -> None:
        """Let nobody wait any longer for a line that does not end."""
        for file, (until_s, _) in list(self._waiting.items()):
            if until_s <= now_s:
                self.free(file)
                self._impatient.add(file)
