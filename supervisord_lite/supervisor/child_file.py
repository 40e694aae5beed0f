"""A small file that is kept current by a child for each writing: the loop waits for no disk."""

from collections.abc import Callable

from supervisord_lite.base.clock import Clock
from supervisord_lite.scribe.note import Note
from supervisord_lite.supervisor.escalation import StartNote
from supervisord_lite.supervisor.poller import Poller

#: Between two writings: each is a process.
EVERY_S = 0.5
#: After a writing that failed.
AGAIN_S = 30.0
#: How long the child may take: the end of the service waits for it.
_LIMIT_S = 2.0


class ChildFile:
    """One file, and the child that is at it.

    Attributes:
        path: Of the file.
        on_disk: What stands in it; None: there is no file; "": nobody knows.
        writing: What the latest child was told to write; None: to remove it.
    """

    def __init__(
        self,
        path: str,
        on_disk: str | None,
        *,
        start_note: StartNote,
        poller: Poller,
        clock: Clock,
        on_failed: Callable[[str], None],
    ) -> None:
        """Begin with nobody at it.

        Args:
            path: Of the file.
            on_disk: What may stand in it already.
            start_note: Starts the child: (path, content, now_s=, limit_s=).
            poller: Wakes the loop when the child has something to say.
            clock: Now.
            on_failed: Told why a writing has failed; nobody knows then what is on the disk.
        """
        self.path = path
        self.on_disk = on_disk
        self.writing: str | None = None
        self._start_note = start_note
        self._poller = poller
        self._clock = clock
        self._on_failed = on_failed
        self._note: Note | None = None
        # One that was given up: its disk would not answer another one either.
        self._hung: Note | None = None

    @property
    def deadline_s(self) -> float | None:
        """When a child is given up; None: there is none."""
        return None if self._note is None else self._note.deadline_s

    @property
    def is_busy(self) -> bool:
        """Whether a child is at it."""
        return self._note is not None

    def write(self, content: dict[str, object] | None, text: str | None, now_s: float) -> None:
        """Begin to write *content*, which is *text*; None: to remove the file."""
        self.on_disk, self.writing = "", text
        if self._hung is not None and not self._hung.has_ended():
            self._on_failed(self._hung.problem)
            return
        self._hung = None
        try:
            self._note = self._start_note(self.path, content, now_s=now_s, limit_s=_LIMIT_S)
        except OSError as error:
            self._on_failed(str(error))
            return
        self._poller.watch(self._note.fileno(), readable=self._receive)

    def expire(self, now_s: float) -> None:
        """Give up a child whose disk does not answer."""
        if self._note is not None and now_s >= self._note.deadline_s:
            self._receive()

    def _receive(self) -> None:
        note = self._note
        assert note is not None
        note.receive(self._clock.now_s())
        if not note.is_over:
            return
        self._poller.unwatch(note.fileno())
        note.close()
        self._note = None
        if note.is_written:
            self.on_disk = self.writing
        else:
            self._hung = note
            self._on_failed(note.problem)
