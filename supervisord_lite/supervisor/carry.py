"""What the next service would begin with, if the keeper died now: kept in a file.

Nobody can write it then, so it is written before: whenever a breaker opens or closes, somebody
stops or scales something by hand, or, less urgently, something fails. Whoever writes is a child
(scribe/note.py), one at a time; the latest wins, and nobody waits for a disk.

============================  =================================================================
state of the daemon           the file
============================  =================================================================
all is as it begins           there is none
something is worth carrying   boot, token of this keeper's life, records, specs, sizes by hand
it stops, for any reason      removed as soon as the stop begins; the end waits for that, but not
                              for a disk that does not answer
============================  =================================================================

So a file that `run` finds (cli/carried.py) was left by a keeper that died without a verdict. `run`
takes it away before it goes on: a record that kills supervisors is tried once. The first turn of
the supervisor writes what is in force then.

A child that outlives its keeper may write when that keeper's successor has begun. The token, which
the lock of the state folder names as well, tells whose it is: not the last keeper's is nobody's.
"""

import json
from collections.abc import Callable

from supervisord_lite.base.clock import Clock
from supervisord_lite.config.spec import to_json
from supervisord_lite.core import records
from supervisord_lite.core.actions import Announce
from supervisord_lite.core.carry import is_worth_carrying
from supervisord_lite.core.states import Stopped, Tripped, Worker
from supervisord_lite.scribe.note import Note
from supervisord_lite.supervisor.daemon_state import DaemonState
from supervisord_lite.supervisor.escalation import StartNote
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.outbox import Slot
from supervisord_lite.supervisor.poller import Poller
from supervisord_lite.supervisor.reload import Reloads

VERSION = 1
#: In the state folder.
FILE_NAME = "carry.json"
#: Keys among the saves: the token of this keeper's life; whether the file may be there.
TOKEN = "carry/token"  # noqa: S105  # no secret: it only tells two lives apart
_WRITTEN = "carry/written"
#: Failures alone are written so much later: a fleet in trouble fails all the time.
_FAILURES_EVERY_S = 5.0
#: After a writing that failed.
_AGAIN_S = 30.0
#: How long the child may take: the end of the service waits for it.
_LIMIT_S = 2.0


class CarryFile:
    """Keeps the file as the workers and the sizes are."""

    def __init__(
        self,
        fleet: Fleet,
        reloads: Reloads,
        daemon: DaemonState,
        poller: Poller,
        saves: dict[str, str],
        clock: Clock,
        log: Callable[..., None],
        start_note: StartNote,
    ) -> None:
        """Go on with what an earlier supervisor may have left on the disk.

        Args:
            fleet: Whose workers these are.
            reloads: Knows sizes set by hand.
            daemon: Knows whether it stops.
            poller: Wakes the loop when the child has something to say.
            saves: What the keeper kept.
            clock: Now.
            log: The journal.
            start_note: Starts the child that writes: (path, content, now_s=, limit_s=).
        """
        self._fleet = fleet
        self._reloads = reloads
        self._daemon = daemon
        self._poller = poller
        self._clock = clock
        self._log = log
        self._start_note = start_note
        self._path = f"{fleet.settings.state_dir}/{FILE_NAME}"
        self._token = saves.get(TOKEN, "")
        self._may_be_there = _WRITTEN in saves
        self._note: Note | None = None
        # One that was given up: its disk would not answer another one either.
        self._hung: Note | None = None
        #: On the disk, or on its way there; None: no file; "": nobody knows.
        self._said: str | None = "" if self._may_be_there else None
        self._hands = reloads.in_force.by_hand
        self._was_stopping = False
        #: When something is to be written; None: nothing is.
        self._due_s: float | None = 0.0
        fleet.listen(self._stepped)

    def _stepped(
        self, slot: Slot, before: Worker, after: Worker, told: tuple[Announce, ...]
    ) -> None:
        del slot, told
        if _down(before) != _down(after):
            self._due_s = 0.0
        elif before.failures is not after.failures:
            self._want(self._clock.now_s() + _FAILURES_EVERY_S)

    def _want(self, at_s: float) -> None:
        self._due_s = at_s if self._due_s is None else min(self._due_s, at_s)

    def go_on(self, now_s: float) -> None:
        """Begin to write what is due, unless a child is at it."""
        if self._reloads.in_force.by_hand is not self._hands:
            self._hands = self._reloads.in_force.by_hand
            self._due_s = 0.0
        if self._daemon.is_stopping and not self._was_stopping:
            self._was_stopping = True
            self._due_s = 0.0
        if self._note is not None or self._due_s is None or now_s < self._due_s:
            return
        self._due_s = None
        content = None if self._daemon.is_stopping else self._content()
        text = None if content is None else json.dumps(content)
        if text != self._said:
            self._begin(content, now_s)
            self._said = text

    def _content(self) -> dict[str, object] | None:
        workers = [
            worker
            for slot, worker in self._fleet.workers.items()
            if is_worth_carrying(worker) and slot not in self._fleet.leaving
        ]
        sizes = {pool: [hand.size, hand.file_size] for pool, hand in self._hands.items()}
        if not workers and not sizes:
            return None
        pools = dict.fromkeys(worker.pool for worker in workers)
        return {
            "v": VERSION,
            "boot_id": boot_id(),
            "token": self._token,
            "sizes": sizes,
            "specs": {pool: to_json(self._fleet.specs[pool]) for pool in pools},
            "records": [records.to_record(worker) for worker in workers],
        }

    def _begin(self, content: dict[str, object] | None, now_s: float) -> None:
        if not self._may_be_there:
            self._may_be_there = True
            self._fleet.outbox.save(_WRITTEN, "1", first=True)
        if self._hung is not None and not self._hung.has_ended():
            self._failed(self._hung.problem)
            return
        self._hung = None
        try:
            self._note = self._start_note(self._path, content, now_s=now_s, limit_s=_LIMIT_S)
        except OSError as error:
            self._failed(str(error))
            return
        self._poller.watch(self._note.fileno(), readable=self._receive)

    def _receive(self) -> None:
        note = self._note
        assert note is not None
        note.receive(self._clock.now_s())
        if not note.is_over:
            return
        self._poller.unwatch(note.fileno())
        note.close()
        self._note = None
        if not note.is_written:
            self._hung = note
            self._failed(note.problem)

    def _failed(self, reason: str) -> None:
        self._log("warning", "carry.not_written", path=self._path, reason=reason)
        self._said = ""
        if not self._daemon.is_stopping:
            self._want(self._clock.now_s() + _AGAIN_S)

    @property
    def deadline_s(self) -> float | None:
        """When to call `go_on` or `is_written` next."""
        return self._due_s if self._note is None else self._note.deadline_s

    def is_written(self, now_s: float) -> bool:
        """Return whether nobody need wait for the child any more."""
        if self._note is not None and now_s >= self._note.deadline_s:
            self._receive()
        self.go_on(now_s)
        return self._note is None


def boot_id() -> str:
    """Return what tells this boot from all others."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123  # resident
        return file.read().strip()


def _down(worker: Worker) -> str:
    """Return what keeps a worker down until somebody says otherwise, or nothing."""
    match worker.state:
        case Tripped():
            return "tripped"
        case Stopped(by_hand=True):
            return "by hand"
        case _:
            return ""
