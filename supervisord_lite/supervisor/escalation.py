"""Why the whole service ended: noted in a file, for whoever reads it the next morning.

The ends of critical workers are remembered as they happen, in the worker's own record: they are
known to whoever takes over, and forgotten with it. When one of them ends the service, the note is
saved with the keeper first and then written by a child (scribe/note.py): the supervisor may be
killed in between, and its successor writes it again. The end waits for the child, but no longer
than its limit: a disk in trouble costs the note, never the exit status 75.
"""

import json
from collections.abc import Callable
from typing import Any

from supervisord_lite import __version__
from supervisord_lite.base import exit_codes
from supervisord_lite.base.clock import Clock
from supervisord_lite.base.log_line import rfc3339
from supervisord_lite.base.record import fields_of, replace
from supervisord_lite.base.signals import name_of
from supervisord_lite.core.actions import Announce
from supervisord_lite.core.fleet import Escalation
from supervisord_lite.core.states import LastExit, Tripped, Worker
from supervisord_lite.scribe.note import LAST_ESCALATION, Note
from supervisord_lite.supervisor.adoption import Handover
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.launch import log_places
from supervisord_lite.supervisor.outbox import Outbox, Slot
from supervisord_lite.supervisor.poller import Poller

VERSION = 1
#: Key of the note among the saves.
_NOTE = "escalation"
#: Most of each in a note, which must fit into one message to the keeper.
_MOST_FAILURES = 10
_MOST_WORKERS = 10
_MOST_CHARACTERS = 200
_LONGEST_PATH = 500
#: How long `status` warns of an escalation after the start that followed it.
_WARN_S = 3600.0

StartNote = Callable[..., Note]


class EscalationNote:
    """The note about one escalation, if there is one, until it is written."""

    def __init__(
        self,
        fleet: Fleet,
        outbox: Outbox,
        poller: Poller,
        handover: Handover,
        clock: Clock,
        log: Callable[..., None],
        start_note: StartNote,
    ) -> None:
        """Go on with what an earlier supervisor had saved.

        Args:
            fleet: Whose critical workers are watched.
            outbox: Keeps failures and note.
            poller: Wakes the loop when the child has something to say.
            handover: With the saves.
            clock: Now.
            log: The journal.
            start_note: Starts the child that writes: (path, content, now_s=).
        """
        self._fleet = fleet
        self._outbox = outbox
        self._poller = poller
        self._handover = handover
        self._clock = clock
        self._log = log
        self._start_note = start_note
        self._note: Note | None = None
        self._failures: dict[Slot, dict[float, LastExit]] = {}
        saved = handover.saves.get(_NOTE)
        self._content: dict[str, Any] | None = json.loads(saved) if saved else None
        self._restore(handover.saves)
        fleet.ends_of = self._kept
        fleet.listen(self._stepped)

    def _restore(self, saves: dict[str, str]) -> None:
        for slot in self._fleet.workers:
            text = saves.get(f"worker/{slot[0]}/{slot[1]}", "")
            if slot in self._fleet.unusable or '"ends":' not in text:
                continue  # most have none: no record is read twice for nothing
            try:
                ends = {at_s: LastExit(**end) for at_s, end in json.loads(text).get("ends", ())}
            except (ValueError, TypeError) as error:
                name = self._fleet.name(slot)
                self._log("warning", "escalation.ends_unusable", name=name, reason=repr(error))
                continue
            self._failures[slot] = ends

    def _kept(self, slot: Slot) -> list[object]:
        """Return what is saved with a worker; what nobody will ask for is forgotten here."""
        if slot not in self._fleet.workers or self._fleet.spec(slot[0]).critical == "no":
            self._failures.pop(slot, None)
        ends = self._failures.get(slot, {})
        return [[at_s, fields_of(end)] for at_s, end in ends.items()]

    # -- what happens ------------------------------------------------------------------------------

    def _stepped(
        self, slot: Slot, before: Worker, after: Worker, told: tuple[Announce, ...]
    ) -> None:
        del told
        spec = self._fleet.specs.get(slot[0])
        if after.failures == before.failures or spec is None or spec.critical == "no":
            return
        times = after.failures[-_MOST_FAILURES:]
        known = self._failures.get(slot, {})
        ends = {at_s: known[at_s] for at_s in times if at_s in known}
        if times and times[-1] not in ends and after.last_exit is not None:
            end = after.last_exit
            ends[times[-1]] = replace(end, reason=end.reason[:_MOST_CHARACTERS])
        self._failures[slot] = ends

    def take(self, escalation: Escalation, why: str) -> None:
        """Save and write why the service ends; *why* in one sentence."""
        self._content = self._composed(escalation, why)
        self._outbox.save(_NOTE, json.dumps(self._content), first=True)
        self._write()

    def resume(self) -> None:
        """After an adoption: write what an earlier supervisor may have left unwritten."""
        if self._content is not None:
            self._write()

    # -- the note ----------------------------------------------------------------------------------

    def _composed(self, escalation: Escalation, why: str) -> dict[str, Any]:
        now_s, wall_s = self._clock.now_s(), self._clock.wall_s()
        pool = escalation.slot[0]
        tripped = [
            slot
            for slot, worker in self._fleet.workers.items()
            if slot[0] == pool and isinstance(worker.state, Tripped)
        ]
        started_at_s = self._handover.started_at_s
        return {
            "v": VERSION,
            "at": rfc3339(wall_s),
            "exit_status": exit_codes.CRITICAL_WORKER,
            "why": why[:_MOST_CHARACTERS],
            "worker": self._fleet.name(escalation.slot),
            "pool": pool,
            "critical": escalation.critical,
            "reason": escalation.reason[:_MOST_CHARACTERS],
            "failures": escalation.failures,
            "max_restarts": escalation.of,
            "circuit_window_s": escalation.window_s,
            "workers": [
                self._worker(slot, wall_s - now_s)
                for slot in sorted(tripped, key=escalation.slot.__ne__)[:_MOST_WORKERS]
            ],
            "daemon": {
                "version": __version__,
                "pid": self._handover.keeper_pid,
                "started_at": rfc3339(wall_s - (now_s - started_at_s)),
            },
        }

    def _worker(self, slot: Slot, wall_minus_now_s: float) -> dict[str, Any]:
        worker = self._fleet.workers[slot]
        times = worker.failures[-_MOST_FAILURES:]
        ends = dict(self._failures.get(slot, {}))
        if times and worker.last_exit is not None:
            ends.setdefault(times[-1], worker.last_exit)  # it tripped, so the latest end was that
        spec = self._fleet.specs.get(slot[0])  # none is in force for one that is leaving
        places = () if spec is None else reversed(log_places(spec, slot[1], self._fleet.settings))
        paths = [p for p in places if p.startswith("/") and len(p) <= _LONGEST_PATH]
        return {
            "name": self._fleet.name(slot),
            "failures": [_shown(ends.get(at_s), at_s + wall_minus_now_s) for at_s in times],
            "output": paths[0] if paths else None,
            "last_lines": [],
        }

    def _write(self) -> None:
        path = f"{self._fleet.settings.state_dir}/{LAST_ESCALATION}"
        try:
            self._note = self._start_note(path, self._content, now_s=self._clock.now_s())
        except OSError as error:
            self._log("error", "escalation.not_written", path=path, reason=str(error))
            return
        self._poller.watch(self._note.fileno(), readable=self._receive)

    def _receive(self) -> None:
        note = self._note
        assert note is not None
        note.receive(self._clock.now_s())
        if not note.is_over:
            return
        path = f"{self._fleet.settings.state_dir}/{LAST_ESCALATION}"
        if note.is_written:
            self._log("info", "escalation.written", path=path)
        else:
            self._log("error", "escalation.not_written", path=path, reason=note.problem)
        self._poller.unwatch(note.fileno())
        note.close()
        self._note = None

    @property
    def deadline_s(self) -> float | None:
        """When the child is given up."""
        return None if self._note is None else self._note.deadline_s

    def is_written(self, now_s: float) -> bool:
        """Return whether nobody need wait for the child any more."""
        if self._note is not None and now_s >= self._note.deadline_s:
            self._receive()
        return self._note is None


class LastEscalation:
    """What `run` found of an earlier one; it is in the saves, so each supervisor knows it.

    Attributes:
        shown: For `status --json`: at, worker, why, exit_status; None: there never was one.
    """

    def __init__(self, saved: str | None) -> None:
        """Take what `run` had saved."""
        found: dict[str, Any] = json.loads(saved) if saved else {}
        self._is_recent: bool = found.pop("is_recent", False)
        self.shown = found or None

    def warnings(self, uptime_s: float) -> list[str]:
        """Return a line for people, for an hour after the start that it led to."""
        if self.shown is None or not self._is_recent or uptime_s >= _WARN_S:
            return []
        return ["before this start the service ended with {exit_status} at {at}: {why}".format(
            **self.shown
        )]  # fmt: skip


def _shown(end: LastExit | None, wall_s: float) -> dict[str, Any]:
    """Return one failure for people; absent values are null."""
    shown: dict[str, Any] = {"at": rfc3339(wall_s)}
    if end is None:
        return {**shown, "code": None, "signal": None, "reason": None, "ran_s": None}
    return {
        **shown,
        "code": end.code,
        "signal": None if end.signal is None else name_of(end.signal),
        "reason": end.reason[:_MOST_CHARACTERS],
        "ran_s": round(end.ran_s, 3),
    }
