"""One life of the supervisor: the real parts, in the order of the real loop, without sockets."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from supervisord_lite.base.clock import Clock, Rng
from supervisord_lite.base.memory_files import memory_content
from supervisord_lite.base.stalls import Stalls
from supervisord_lite.core.states import Running
from supervisord_lite.supervisor.adoption import Handover, build_fleet, reconcile
from supervisord_lite.supervisor.daemon_state import DaemonState
from supervisord_lite.supervisor.events import Events
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.generations import Generations
from supervisord_lite.supervisor.health import Health
from supervisord_lite.supervisor.logs import Logs
from supervisord_lite.supervisor.loops import Loops
from supervisord_lite.supervisor.outbox import Outbox, Slot
from supervisord_lite.supervisor.places import Places
from supervisord_lite.supervisor.poller import Poller
from supervisord_lite.supervisor.reload import Reading, Reloads
from supervisord_lite.supervisor.rights import Rights
from supervisord_lite.supervisor.rolls import Rolls
from supervisord_lite.supervisor.samples import Samples
from supervisord_lite.supervisor.schedules import Schedules
from supervisord_lite.supervisor.status_verbs import StatusVerbs
from supervisord_lite.supervisor.stories import Stories
from supervisord_lite.supervisor.storms import Storms
from supervisord_lite.supervisor.upgrade import Upgrades
from supervisord_lite.supervisor.verbs import Verbs
from supervisord_lite.supervisor.words import Words
from tests.support.simulator.clients import Talk


class SupervisorKilledError(BaseException):
    """The supervisor is killed here, between two things that it does. Nothing may catch it."""


class Around(Protocol):
    """What a supervisor needs of the world around it."""

    @property
    def rng(self) -> Rng:
        """Return where chance comes from."""

    def effect(self, what: str) -> None:
        """Something is about to be done; it may be killed before that."""

    def on_call(self, talk: Talk | None) -> None:
        """A call is being handled; None: no more."""

    def send(self, data: bytes) -> None:
        """A packet leaves for the keeper."""

    def on_hang_up_signal(self) -> None:
        """It hears a SIGHUP."""

    def restored(self, fleet: Fleet) -> None:
        """It has read what was saved."""

    def start_loading(self, path: str, *, environ: dict[str, str], now_s: float) -> Reading:
        """A child is started that reads the file."""


def no_child(path: str, question: dict[str, Any], *, now_s: float) -> NoReturn:
    """Nobody reads the journal."""
    del path, question, now_s
    raise OSError(errno.EAGAIN, "no process")


def no_note(*_about: object, **_more: object) -> NoReturn:
    """Nobody writes files."""
    raise OSError(errno.EAGAIN, "no process")


def no_timer() -> NoReturn:
    """No kernel watches the wall clock."""
    raise OSError(errno.EMFILE, "no descriptor")


class _Watching(Poller):
    """Knows what is to be called, and waits for nothing."""

    def __init__(self) -> None:
        self.readable: dict[int, Callable[[], None] | None] = {}

    def watch(
        self,
        fd: int,
        *,
        readable: Callable[[], None] | None = None,
        writable: Callable[[], None] | None = None,
    ) -> None:
        assert writable is None
        self.readable[fd] = readable

    def unwatch(self, fd: int) -> None:
        del self.readable[fd]


class Shell:
    """A supervisor. It is killed by an exception, and then simply dropped."""

    def __init__(self, world: Around, clock: Clock, handover: dict[str, Any]) -> None:
        self._world = world
        self._clock = clock
        self._handover = told = Handover(**handover)
        self.facts: deque[dict[str, Any]] = deque()
        self.talks: deque[Talk] = deque()
        self.due: deque[Slot] = deque()
        self._outbox = Outbox(self._send)
        self.fleet = build_fleet(told, self._outbox, clock, world.rng)
        world.restored(self.fleet)
        journal = Events(self.fleet, self._outbox, told.saves, clock, lambda *_, **__: None)
        saved = told.saves.get("daemon")
        self.daemon = DaemonState(self.fleet, self._outbox, saved, journal.log)
        self._rolls = Rolls(self.fleet, self._outbox, told.saves)
        self._watching = _Watching()
        generations = Generations(self.fleet, self._outbox, told.saves, lambda *_, **__: None)
        self._reloads = Reloads(
            self.fleet, self._rolls, self.daemon, self._watching, told.saves, clock,
            lambda *_, **__: None, generations, start_loading=world.start_loading,
        )  # fmt: skip
        self.daemon.on_reload = self._reloads.signalled
        self._schedules = Schedules(
            self.fleet, self.daemon, self._watching, told.saves, clock, lambda *_, **__: None,
            no_note, make_timer=no_timer,
        )  # fmt: skip
        logs = Logs({}, {})
        status = StatusVerbs(
            self.fleet, self.daemon, self._reloads, told, clock, logs, Words(()), self._rolls,
            Health(self.fleet, self._watching, clock),
            Samples(self.fleet, self._watching, clock, keeper_pid=1, start=no_child),
            generations, Loops(Stalls()), Places(None),
        )  # fmt: skip
        self._verbs = Verbs(
            self.fleet, self.daemon, self._reloads, clock, self._rolls,
            Rights(self.fleet, own_uid=0), journal,
            Stories(self.fleet, journal, self._watching, clock, no_child),
            Storms(self.fleet, journal, clock, logs), generations, status,
            Upgrades(self.fleet, self.daemon, self._reloads, told, clock, journal.log),
        )  # fmt: skip

    def adopt(self) -> None:
        """Take over."""
        was_stopping = self.daemon.is_stopping
        if was_stopping:
            self.daemon.begin()
        for fact in self._handover.facts:
            self._take_fact(fact)
        self._outbox.applied(self._handover.applied)
        reconcile(self.fleet, self._handover)
        if not was_stopping:
            self.daemon.begin()
        self._reloads.begin()
        self.daemon.tell(anew=True)
        self._settle()

    def turn(self) -> bool:
        """Do what there is to do; return whether the daemon has ended."""
        while self.talks:
            self._world.effect("call")
            talk = self.talks.popleft()
            self._world.on_call(talk)
            self._verbs.handle(talk.call)
            self._world.on_call(None)
        while self.facts:
            self._take_fact(self.facts.popleft())
        while self.due:
            self._recycle(self.due.popleft())
        now_s = self._clock.now_s()
        self.daemon.decide()
        self.fleet.fire_due(now_s)
        self._schedules.expire(now_s)
        self._reloads.expire(now_s)
        self._settle()
        return self.daemon.is_over(self._clock.now_s())

    def _recycle(self, slot: Slot) -> None:
        """Ask for a fresh run where `recycling.py` would."""
        self._world.effect("due")
        worker = self.fleet.workers.get(slot)
        if worker is None or slot in self.fleet.leaving or self._rolls.will_replace(slot):
            return
        if isinstance(worker.state, Running):
            self._rolls.recycle(slot, "age 24h")

    def readable(self, number: int) -> None:
        """A child that reads the file has something to say."""
        self._world.effect("read")
        callback = self._watching.readable[number]
        assert callback is not None
        callback()

    def next_deadline_s(self) -> float | None:
        """Return when it wants to be woken."""
        reload_s = self._reloads.deadline_s
        job_s = self._schedules.deadline_s
        times = (self.fleet.next_deadline_s(), self.daemon.deadline_s, reload_s, job_s)
        return min((each for each in times if each is not None), default=None)

    def _settle(self) -> None:
        self._rolls.go_on()
        self.daemon.decide()
        self._schedules.go_on()
        self.daemon.tell()
        self.fleet.flush()
        while self._verbs.deliver():
            self.fleet.flush()

    def _take_fact(self, fact: dict[str, Any]) -> None:
        self._world.effect("fact")
        if fact["fact"] == "signalled":
            if fact["signal"] == "SIGHUP":
                self._world.on_hang_up_signal()
            self.daemon.signalled(fact["signal"], fact["n"])
        else:
            self.fleet.take_fact(fact)
        self._outbox.applied(fact["n"])

    def _send(self, data: bytes, descriptors: tuple[int, ...] = (), *, owned: bool = False) -> None:
        assert owned == bool(descriptors)
        for descriptor in descriptors:
            data = memory_content(descriptor)
            os.close(descriptor)
        self._world.effect("send")
        self._world.send(data)
