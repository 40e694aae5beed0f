"""`Events` and `Why`: questions about what happened, answered with the help of a child.

Few children read at a time; other questions wait for their turn, as calls do. A client that follows
is told what comes after its question as soon as the keeper has it, and before that, from the child,
what was there already.
"""

import json
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from supervisord_lite.base.clock import Clock
from supervisord_lite.base.log_line import rfc3339
from supervisord_lite.base.record import fields_of
from supervisord_lite.base.signals import name_of
from supervisord_lite.config.flat import health_keys, recycle_keys
from supervisord_lite.config.spec import Spec
from supervisord_lite.control import interface, parameters
from supervisord_lite.control.calls import Call
from supervisord_lite.core.schedule import Schedule
from supervisord_lite.core.states import (
    Backoff,
    Exited,
    Probing,
    Running,
    Scheduled,
    Starting,
    Tripped,
    Waiting,
    Worker,
)
from supervisord_lite.scribe.files import EVENTS_FILE
from supervisord_lite.scribe.reading import Reading
from supervisord_lite.scribe.selection import Selection
from supervisord_lite.supervisor.events import Events
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.launch import log_places
from supervisord_lite.supervisor.names import resolve
from supervisord_lite.supervisor.outbox import Slot
from supervisord_lite.supervisor.poller import Poller

#: Children at a time.
_MOST_READINGS = 2
#: Events in one answer.
MOST_EVENTS = 10_000
#: Of each worker in its story, and workers in one question.
_MOST_OF_EACH = 60
MOST_STORIES = 32
#: Events that wait for a client that follows, while the child reads for it.
_MOST_WAITING = 10_000

StartReading = Callable[..., Reading]
Answer = Callable[[Reading], None]


class _Follower:
    """A client that follows, and what it has not been told yet."""

    def __init__(self, selection: Selection) -> None:
        self.selection = selection
        self.waiting: deque[str] = deque(maxlen=_MOST_WAITING)
        self.is_reading = True


class Stories:
    """Answers questions about the past, and follows events for clients."""

    def __init__(
        self,
        fleet: Fleet,
        events: Events,
        poller: Poller,
        clock: Clock,
        start_reading: StartReading = Reading,
    ) -> None:
        """Prepare.

        Args:
            fleet: Whose workers these are.
            events: Tells what happens.
            poller: Wakes the loop when a child has something to say.
            clock: Now.
            start_reading: Starts the child: (path, question, now_s=).
        """
        self._fleet = fleet
        self._events = events
        self._poller = poller
        self._clock = clock
        self._start_reading = start_reading
        self._questions: deque[tuple[Call, dict[str, Any], Answer]] = deque()
        self._readings: dict[Reading, tuple[Call, Answer]] = {}
        # Those that were given up: a disk that does not answer gets no more of them.
        self._hung: list[Reading] = []
        self._followers: dict[Call, _Follower] = {}
        events.listen(self._happened)

    @property
    def deadline_s(self) -> float | None:
        """When to call `expire` next."""
        return min((reading.deadline_s for reading in self._readings), default=None)

    def expire(self, now_s: float) -> None:
        """Give up what takes too long."""
        for reading in list(self._readings):
            if now_s >= reading.deadline_s:
                self._receive(reading)

    # -- the methods -------------------------------------------------------------------------------

    def events(self, call: Call) -> None:
        """Answer Events."""
        kinds, names = parameters.names(call, parameter="events"), parameters.names(call)
        most = parameters.number(call, "most")
        question = {
            "until": self._events.last_id,
            "most": MOST_EVENTS if most is None else max(0, min(int(most), MOST_EVENTS)),
            "events": kinds,
            "names": names,
            "after": _optional(call, "after"),
            "since": _optional(call, "since"),
        }
        if parameters.flag(call, "follow") and call.more:
            self._followers[call] = _Follower(Selection(kinds, names))
            call.on_hang_up = partial(self._forget, call)
        self._ask(call, question, partial(self._tell_events, call))

    def why(self, call: Call, status_of: Callable[[list[Slot]], list[dict[str, object]]]) -> None:
        """Answer Why; *status_of* says how workers are now (the type Worker)."""
        slots = resolve(self._fleet, parameters.names(call, needed=True))
        if len(slots) > MOST_STORIES:
            reason = f"these are {len(slots)} workers: {MOST_STORIES} stories are the most"
            told = {"name": "", "reason": reason, "hint": "name one of them"}
            call.error(interface.REFUSED, told)
            return
        now_s = self._clock.now_s()
        workers = [
            {"worker": status, **self._about(slot, now_s)}
            for slot, status in zip(slots, status_of(slots), strict=True)
        ]
        tails = []
        for slot in slots:
            if _has_last_words(self._fleet.workers[slot]):
                spec = self._fleet.spec(slot[0])
                stdout, stderr = log_places(spec, slot[1], self._fleet.settings)
                name = self._fleet.name(slot)
                files = [path for path in dict.fromkeys((stderr, stdout)) if path.startswith("/")]
                run = self._fleet.workers[slot].run
                tails += [(name, path, run) for path in files]
        question = {
            "until": self._events.last_id, "most": _MOST_OF_EACH, "slots": slots, "tails": tails,
        }  # fmt: skip
        head = {"now_s": now_s, "config": self._fleet.settings.config_path, "workers": workers}
        self._ask(call, question, partial(self._tell_why, call, head))

    def _about(self, slot: Slot, now_s: float) -> dict[str, object]:
        worker = self._fleet.workers[slot]
        spec, since_s = self._fleet.spec(slot[0]), _since_s(worker)
        since = None if since_s is None else rfc3339(self._clock.wall_s() - (now_s - since_s))
        chain = []
        if isinstance(worker.state, Waiting):
            chain = [self._link(pool) for pool in self._fleet.core.standing.chain(slot[0])[1:]]
        return {
            "since": since,
            "policy": _policy(worker, spec),
            "origin": f"{spec.origin.file}:{spec.origin.line}",
            "requires": spec.requires,
            "after": spec.after,
            "waits_for": chain,
        }

    def _link(self, pool: str) -> dict[str, object]:
        """Return how one is for whom others wait: of several instances the first not ready."""
        slots = list(self._fleet.slots(pool))
        slot = next((s for s in slots if self._fleet.word(s) != "running"), slots[0])
        last = self._fleet.workers[slot].last_exit
        return {
            "pool": pool,
            "name": self._fleet.name(slot),
            "state": self._fleet.word(slot),
            "reason": None if last is None else last.reason,
        }

    # -- the child ---------------------------------------------------------------------------------

    def _ask(self, call: Call, question: dict[str, Any], answer: Answer) -> None:
        if call.on_hang_up is None:
            call.on_hang_up = partial(self._forget, call)
        self._questions.append((call, question, answer))
        self._begin()

    def _begin(self) -> None:
        self._hung = [reading for reading in self._hung if not reading.has_ended()]
        while self._questions and len(self._readings) < _MOST_READINGS:
            call, question, answer = self._questions.popleft()
            path = f"{self._fleet.settings.state_dir}/{EVENTS_FILE}"
            try:
                if len(self._hung) >= _MOST_READINGS:
                    raise TimeoutError(0, self._hung[0].problem)
                reading = self._start_reading(path, question, now_s=self._clock.now_s())
            except OSError as error:
                answer(_Unread(error.strerror or str(error)))
                continue
            self._readings[reading] = call, answer
            self._poller.watch(reading.fileno(), readable=partial(self._receive, reading))

    def _receive(self, reading: Reading) -> None:
        reading.receive(self._clock.now_s())
        if not reading.is_over:
            return
        call, answer = self._readings.pop(reading)
        self._poller.unwatch(reading.fileno())
        reading.close()
        if not reading.has_ended():
            self._hung.append(reading)
        if not call.closed:
            answer(reading)
        self._begin()

    def _forget(self, call: Call) -> None:
        self._followers.pop(call, None)
        self._questions = deque(each for each in self._questions if each[0] is not call)

    def _tell_events(self, call: Call, reading: Reading) -> None:
        follower = self._followers.get(call)
        fields = _fields({"problem": reading.problem or None}, reading.events)
        call.reply_raw(fields, continues=follower is not None)
        if follower is not None:
            follower.is_reading = False

    def _tell_why(self, call: Call, head: dict[str, object], reading: Reading) -> None:
        about = {**head, "problem": reading.problem or None, "last_words": reading.tails}
        call.reply_raw(_fields(about, reading.events))

    # -- who follows -------------------------------------------------------------------------------

    def _happened(self, line: str, event: dict[str, Any]) -> None:
        for follower in self._followers.values():
            if follower.selection.has(event):
                follower.waiting.append(line)

    def deliver(self) -> None:
        """Tell those who follow what the keeper has been told."""
        for call, follower in list(self._followers.items()):
            if call.closed:
                self._forget(call)
            elif follower.waiting and not follower.is_reading:
                lines = [line.encode() for line in follower.waiting]
                follower.waiting.clear()
                call.reply_raw(_fields({"problem": None}, lines), continues=True)


class _Unread(Reading):
    """A reading for which there is no child."""

    def __init__(self, problem: str) -> None:
        self.events, self.tails, self.problem = [], [], problem


def _fields(about: dict[str, object], events: list[bytes]) -> bytes:
    """Return parameters as JSON; *events* are JSON already."""
    head = json.dumps(about, default=fields_of).encode()
    return head[:-1] + b',"events":[' + b",".join(events) + b"]}"


def _optional(call: Call, parameter: str) -> str | None:
    return None if call.parameters.get(parameter) is None else parameters.text(call, parameter)


def _has_last_words(worker: Worker) -> bool:
    """Return whether the end of its log is what its latest run has said."""
    last = worker.last_exit
    if last is None or last.pid is None or last.code in worker.policy.ok_exit_codes:
        return False
    return isinstance(worker.state, Backoff | Tripped | Exited | Waiting | Scheduled)


def _since_s(worker: Worker) -> float | None:
    """Return since when it is as it is, on the daemon's clock; None where only events say."""
    match worker.state:
        case Running(spawned_at_s=at_s) | Tripped(at_s=at_s) | Exited(at_s=at_s):
            return at_s
        case Starting(asked_at_s=at_s) | Probing(asked_at_s=at_s):
            return at_s
        case Backoff(retry_at_s=at_s, delay_s=delay_s):
            return at_s - delay_s
        case Scheduled():
            return None if worker.last_exit is None else worker.last_exit.at_s
        case _:
            return None


def _schedule(schedule: Schedule | None) -> dict[str, object] | None:
    if schedule is None:
        return None
    return {
        "cron": None if schedule.cron is None else schedule.cron.text,
        "every_s": schedule.every_s,
        "timezone": schedule.zone.name or None,
        "overlap": schedule.overlap,
        "missed": schedule.missed,
    }


def _policy(worker: Worker, spec: Spec) -> dict[str, object]:
    """Return what decides about a worker's life, as far as a story needs it."""
    policy, backoff = worker.policy, worker.policy.backoff
    return {
        "restart": policy.restart,
        "ok_exit_codes": policy.ok_exit_codes,
        "max_restarts": policy.max_restarts,
        "circuit_window_s": policy.circuit_window_s,
        "circuit_cooldown_s": policy.circuit_cooldown_s,
        "stable_run_period_s": policy.stable_run_period_s,
        "start_timeout_s": policy.start_timeout_s,
        "run_timeout_s": policy.run_timeout_s,
        "autostart": policy.autostart,
        "stop_signals": [name_of(rung.signal) for rung in policy.stop_ladder],
        "backoff": fields_of(backoff),
        "heartbeat_timeout_s": spec.launch.heartbeat_timeout_s,
        "health": {key[1]: value for key, value in health_keys(spec.health).items()} or None,
        "recycle": {key[1]: value for key, value in recycle_keys(spec.recycle).items()},
        "schedule": _schedule(policy.schedule),
    }
