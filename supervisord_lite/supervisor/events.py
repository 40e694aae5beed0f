"""The event journal: what happened, written down once, for `events` and `why`.

Theory of operation
===================

::

    supervisor ──one message: records + lines──▶ keeper ──pipe──▶ scribe ──▶ state_dir/events.jsonl
        ▲ └──lines──▶ clients that follow                                             │
        └───────────────────── a child reads, for each question ──────────────────────┘

*Who writes, and when.* Whoever decides: the supervisor, here. An event leaves in the same message
as the record that it follows from (`outbox.py`). Killed before that message, neither has happened:
the next supervisor replays the fact and tells it. Killed after it, both have, and the fact is not
replayed. So an event is neither lost nor doubled, and nothing is compared afterwards. The keeper
puts the lines into a pipe, which is a stream like a worker's output, and the scribe copies streams
exactly once, whenever it is killed (scribe/__init__.py).

*Identity.* Each event has an `id`, "LIFE-N": LIFE tells one life of the keeper from all others, N
counts in it from 1, in the order of the file and without a gap. The last N is saved in that same
message. Whoever reads sees by a gap what is missing, and goes on after an id.

*Where it stands.* JSON lines, for their owner alone (0600), renamed to a number at 4 MiB, four full
files kept. It outlives the daemon: after a start `why` still knows what was before.

*Who reads.* Nobody here: this process reads no files. The command cannot: whoever has only the
right to read must be able to ask. Not the scribe: it may be in a disk call that does not return. So
a child reads for each question (scribe/reading.py), with a limit; it waits a moment for what was
told just before the question to be on the disk. Clients that follow get what is told after their
question from here, and what was before from the child: N says where one ends and the other begins.

*What a disk costs.* A full one: lines that could not be written are missing, as of any log. A
frozen one (also another log's: the scribe has one writer): the pipe and the keeper hold some
megabytes, then lines are left out; `why` says that the journal is not complete, and answers with
what is in memory. What the disk has not taken at the daemon's end is lost, and told on stderr.
Supervision never waits. The death of the keeper itself costs what the scribe cannot read from the
pipe at once.

*Who asked.* What people order is remembered with the worker, until it is done: also when another
supervisor comes to tell of it. Of a person the kernel knows uid and pid. A name stands here where
the configuration has it, for this process looks none up; else whoever prints does.

Causes that come with later features are events of their own: worker.oom (`cgroup` counters),
worker.recycled, job.failed. A missed heartbeat and a failed health check are worker.failed with a
`reason`, as missed deadlines are.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

from supervisord_lite.base.clock import Clock
from supervisord_lite.base.log_line import rfc3339
from supervisord_lite.base.record import fields_of, record
from supervisord_lite.control.calls import Peer
from supervisord_lite.core.actions import Announce
from supervisord_lite.core.states import Probing, Starting, Stopping, Waiting, Worker
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.outbox import Event, Outbox, Slot

#: Among the saves: what tells this life of the keeper from all others, in ids of events.
LIFE = "events/life"
#: Number of the last event, and whether it was the end of the daemon.
_NUMBER = "events"
_ASKED = "asked/"
#: Of the daemon's own lines those that are events too.
_RECORDED = frozenset(
    {
        "config.refused", "config.reloaded", "control.denied", "daemon.cleared",
        "daemon.escalated", "daemon.ready",
        "daemon.stopping", "daemon.unkillable", "daemon.upgraded", "daemon.upgrading",
        "roll.stopped", "state.restored", "supervisor.adopted", "upgrade.failed",
        "upgrade.refused",
    }
)  # fmt: skip
#: Of those what is saved ahead of the workers' records, or comes before them.
_FIRST = frozenset(
    {
        "daemon.cleared",
        "daemon.escalated",
        "daemon.stopping",
        "daemon.unkillable",
        "daemon.upgraded",
        "supervisor.adopted",
        "upgrade.failed",
    }
)
#: What is worth which level in the log; everything else is "info".
_LEVELS = {
    "worker.failed": "warning",
    "worker.rejected": "warning",
    "worker.tripped": "error",
    "worker.cleared": "warning",
    "worker.oom": "warning",
    "job.failed": "error",
    "job.missed": "warning",
    "job.skipped": "warning",
}
_LONGEST_VALUE = 500
#: Of a traceback, whose end says most.
_LONGEST_STORY = 8000
_ENDS = frozenset({"worker.failed", "worker.exited", "worker.stopped", "worker.recycled"})


@record
class Asked:
    """What a person ordered.

    Attributes:
        verb: "start", "stop", "restart" or "reset".
        user: Name, where the configuration has it.
    """

    verb: str
    uid: int
    pid: int
    user: str | None = None


class Asking:
    """One order while it is given: `settle` keeps what is still to come of it."""

    def __init__(self, events: "Events", asked: Asked, slots: Iterable[Slot]) -> None:
        """From now on what happens to *slots* is what was asked."""
        self._events = events
        workers = events.fleet.workers
        self._before = {slot: (events.asked.get(slot), workers[slot]) for slot in slots}
        for slot in self._before:
            events.asked[slot] = asked

    def settle(self, is_to_come: Callable[[Slot], bool]) -> None:
        """The order is given; *is_to_come* says of whom it will be carried out later."""
        events = self._events
        for slot, (former, worker) in self._before.items():
            now = events.fleet.workers.get(slot)
            if slot in events.asked:
                is_under_way = now is not worker and _is_under_way(now)
                if not (is_under_way or is_to_come(slot)):
                    events.asked.pop(slot)
                    if former is not None:  # the order changed nothing: an earlier one stands
                        events.asked[slot] = former
            if events.asked.get(slot) != former:
                events.save(slot)
            events.fleet.look()


class Events:
    """Tells the journal, and those who follow it.

    Attributes:
        peer: Who asks for what is done now; None: nobody.
        asked: What people have ordered and is not done yet, by slot.
    """

    def __init__(
        self,
        fleet: Fleet,
        outbox: Outbox,
        saves: dict[str, str],
        clock: Clock,
        log: Callable[..., None],
    ) -> None:
        """Go on after the last event that an earlier supervisor told.

        Args:
            fleet: Whose workers these are.
            outbox: Takes events to the keeper.
            saves: What the keeper kept.
            clock: Now.
            log: Takes the daemon's own lines.
        """
        self.fleet = fleet
        self.peer: Peer | None = None
        self.asked: dict[Slot, Asked] = {}
        self._outbox = outbox
        self._clock = clock
        self._log = log
        self._life = saves.get(LIFE, "0")
        number, _, end = saves.get(_NUMBER, "0").partition(" ")
        self._number = int(number)
        self._is_over = bool(end)
        self._listeners: list[Callable[[str, dict[str, Any]], None]] = []
        for key, text in saves.items():
            if key.startswith(_ASKED):
                pool, _, index = key.removeprefix(_ASKED).partition("/")
                self.asked[pool, int(index)] = Asked(**json.loads(text))
        outbox.seal = self._seal
        fleet.listen(self._stepped)

    @property
    def last_id(self) -> str:
        """Return the id of the last event that was told."""
        return f"{self._life}-{self._number}"

    def listen(self, listener: Callable[[str, dict[str, Any]], None]) -> None:
        """Tell *listener* of each event when the keeper is told: its line, and what is in it."""
        self._listeners.append(listener)

    # -- what happens ------------------------------------------------------------------------------

    def begin(self, **about: object) -> None:
        """The daemon has started, unless an earlier supervisor told that already."""
        if self._number == 0:
            self._note("daemon.started", about, is_first=True)

    def end(self, code: int) -> None:
        """The daemon ends with *code*: told once."""
        if not self._is_over:
            self._is_over = True
            self._note("daemon.stopped", {"code": code})

    def log(self, level: str, event: str, **fields: object) -> None:
        """Write one of the daemon's own lines, and record it where it is an event."""
        self._log(level, event, **fields)
        if event in _RECORDED:
            self._note(event, fields, is_first=event in _FIRST)

    def note(self, event: str, **fields: object) -> None:
        """Record something about the daemon, or about a pool as a whole."""
        self._note(event, fields)

    def asker(self) -> dict[str, object]:
        """Return who asks for what is done now, as events tell it; nothing: nobody."""
        return {} if self.peer is None else _by(self._asked_by(self.peer, ""))

    def log_worker(self, slot: Slot, level: str, event: str, **fields: object) -> None:
        """Write one of the daemon's own lines about a worker, and record it."""
        self._log(level, event, name=self.fleet.name(slot), **fields)
        self.note_worker(slot, event, **fields)

    def note_worker(self, slot: Slot, event: str, **fields: object) -> None:
        """Record something about one worker that is no change of its state."""
        told = {**self._about(slot), **_shown(fields), **self.asker()}
        self._outbox.record(slot, self._event(event, self._clock.now_s(), told))

    def note_story(self, fact: dict[str, object]) -> None:
        """Record the traceback of a worker that has told one with its end, ahead of that end."""
        story, pool, index = fact.get("traceback"), fact.get("pool"), fact.get("index")
        if not isinstance(story, str) or not isinstance(pool, str) or not isinstance(index, int):
            return
        slot = (pool, index)
        if slot in self.fleet.workers:
            words = str(fact.get("words") or fact.get("reason") or "")
            told = {**self._about(slot), **_shown({"run": fact["run"], "reason": words})}
            told["traceback"] = story[-_LONGEST_STORY:]
            at_s = fact["at_s"]
            assert isinstance(at_s, float)
            self._outbox.record(slot, self._event("worker.crashed", at_s, told))

    def _note(self, event: str, fields: dict[str, object], *, is_first: bool = False) -> None:
        told = self._event(event, self._clock.now_s(), {**_shown(fields), **self.asker()})
        self._outbox.record(None, told, first=is_first)

    def _event(self, event: str, at_s: float, fields: dict[str, object]) -> Event:
        ago_s = max(0.0, self._clock.now_s() - at_s)
        return {"at": rfc3339(self._clock.wall_s() - ago_s), "event": event, **fields}

    def _about(self, slot: Slot) -> dict[str, object]:
        return {"name": self.fleet.name(slot), "pool": slot[0], "instance": slot[1]}

    def _stepped(
        self, slot: Slot, before: Worker, after: Worker, told: tuple[Announce, ...]
    ) -> None:
        del before
        for each in told:
            level = _LEVELS.get(each.event, "info")
            self._log(level, each.event, name=self.fleet.name(slot), **dict(each.fields))
            fields = {**self._about(slot), **_shown(dict(each.fields))}
            fields.update(self._who(slot, each.event, fields))
            at_s = self._happened_s(each.event, fields, after)
            self._outbox.record(slot, self._event(each.event, at_s, fields))

    def _happened_s(self, event: str, fields: dict[str, object], after: Worker) -> float:
        """Return when an event happened: what waited as a fact happened before it is told."""
        now_s = self._clock.now_s()
        last = after.last_exit
        is_its_own = last is not None and last.pid == fields.get("pid")
        if event in _ENDS and "ran_s" in fields and last is not None and is_its_own:
            return min(last.at_s, now_s)
        if event == "worker.started" and fields["run"] == after.run:
            at_s: float | None = getattr(after.state, "spawned_at_s", None)
            return now_s if at_s is None else min(at_s, now_s)
        return now_s

    # -- who asked ---------------------------------------------------------------------------------

    def ask(self, peer: Peer, verb: str, slots: Iterable[Slot]) -> Asking:
        """A person orders *verb* of *slots*."""
        return Asking(self, self._asked_by(peer, verb), slots)

    def _asked_by(self, peer: Peer, verb: str) -> Asked:
        return Asked(verb, peer.uid, peer.pid, self._user(peer.uid))

    def _user(self, uid: int) -> str | None:
        if uid == 0:
            return "root"
        settings = self.fleet.settings
        grants = [*settings.admin, *settings.operate, *settings.read]
        grants += [grant for spec in self.fleet.specs.values() for grant in spec.operators]
        return next((grant.name for grant in grants if grant.uid == uid), None)

    def save(self, slot: Slot) -> None:
        """Keep what was ordered of *slot* with its record."""
        asked = self.asked.get(slot)
        text = None if asked is None else json.dumps(fields_of(asked))
        self._outbox.save_beside(slot, f"{_ASKED}{slot[0]}/{slot[1]}", text)

    def _who(self, slot: Slot, event: str, fields: dict[str, object]) -> dict[str, object]:
        """Return who ordered what an event tells; what is done then is forgotten."""
        asked = self.asked.get(slot)
        if asked is None:
            return {}
        is_up = asked.verb != "stop"
        match event:
            case "worker.stopped" if fields.get("asked") == "replaced":
                return {}
            case "worker.stopped":
                is_it, is_done = fields.get("asked") == asked.verb, not is_up
                is_done = is_done or fields.get("asked") != "restart"
            case "worker.started":
                is_it, is_done = is_up, True
            case "worker.failed":  # it was not even started
                is_it = is_done = is_up and "pid" not in fields
            case "worker.reset":
                is_it, is_done = asked.verb == "reset", False
            case "worker.waiting":
                is_it, is_done = is_up, False
            case _:
                return {}
        if is_done:
            del self.asked[slot]
            self.save(slot)
        return {**_by(asked), "by_verb": asked.verb} if is_it else {}

    # -- to the keeper -----------------------------------------------------------------------------

    def _seal(self, events: list[Event]) -> tuple[list[str], dict[str, str]]:
        lines = []
        for event in events:
            self._number += 1
            whole = {"id": self.last_id, **event}
            line = json.dumps(whole, separators=(",", ":"))
            lines.append(line)
            for listener in self._listeners:
                listener(line, whole)
        return lines, {_NUMBER: f"{self._number} over" if self._is_over else str(self._number)}


def _is_under_way(worker: Worker | None) -> bool:
    return worker is not None and isinstance(worker.state, Starting | Probing | Stopping | Waiting)


def _by(asked: Asked) -> dict[str, object]:
    told: dict[str, object] = {"by_uid": asked.uid, "by_pid": asked.pid}
    return told if asked.user is None else {"by_user": asked.user, **told}


def _shown(fields: dict[str, Any]) -> dict[str, object]:
    """Return fields as they are told: bounded, and without those that say nothing."""
    return {name: _bounded(value) for name, value in fields.items() if value is not None}


def _bounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, str) and len(value) > _LONGEST_VALUE:
        return value[:_LONGEST_VALUE] + "…"
    return value
