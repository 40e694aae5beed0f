"""The supervisor's loop: it sleeps until the next descriptor or deadline, and never elsewhere."""

import json
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from supervisord_lite import __version__
from supervisord_lite.base.clock import Clock, Rng
from supervisord_lite.base.give_back import give_back
from supervisord_lite.base.packets import PacketSocket
from supervisord_lite.base.wall_timer import WallTimer
from supervisord_lite.config.loading import Loading
from supervisord_lite.control.server import Server
from supervisord_lite.keeper.journal import Journal
from supervisord_lite.scribe.note import BoundNote, Note
from supervisord_lite.scribe.reading import Reading
from supervisord_lite.supervisor import garbage
from supervisord_lite.supervisor.adoption import Handover, build_fleet, reconcile
from supervisord_lite.supervisor.carry import CarryFile
from supervisord_lite.supervisor.daemon_state import DaemonState
from supervisord_lite.supervisor.escalation import EscalationNote, StartNote
from supervisord_lite.supervisor.events import Events
from supervisord_lite.supervisor.generations import Generations
from supervisord_lite.supervisor.health import Health
from supervisord_lite.supervisor.heartbeats import Heartbeats
from supervisord_lite.supervisor.in_between import InBetween
from supervisord_lite.supervisor.left_behind import LEFT_BEHIND, tell_left_behind
from supervisord_lite.supervisor.listeners import Listeners
from supervisord_lite.supervisor.logs import Logs
from supervisord_lite.supervisor.loops import Loops
from supervisord_lite.supervisor.outbox import Outbox, Slot
from supervisord_lite.supervisor.places import Places
from supervisord_lite.supervisor.poller import Poller
from supervisord_lite.supervisor.recycling import Recycling
from supervisord_lite.supervisor.reload import Reloads, StartLoading
from supervisord_lite.supervisor.rights import ADMIN, Rights
from supervisord_lite.supervisor.rolls import Rolls
from supervisord_lite.supervisor.samples import Samples, StartSampling
from supervisord_lite.supervisor.sampling import Sampling
from supervisord_lite.supervisor.schedules import Schedules, Timer
from supervisord_lite.supervisor.status_verbs import StatusVerbs
from supervisord_lite.supervisor.stories import StartReading, Stories
from supervisord_lite.supervisor.storms import Storms
from supervisord_lite.supervisor.upgrade import Upgrades
from supervisord_lite.supervisor.verbs import Verbs
from supervisord_lite.supervisor.web import Web
from supervisord_lite.supervisor.words import Words
from supervisord_lite.wire import channel


class KeeperGoneError(Exception):
    """The main process is dead: there is nothing left to supervise for."""


class Timed(Protocol):
    """A part that wants to be called when a time has come."""

    @property
    def deadline_s(self) -> float | None:
        """When to call `expire`; None: not at all."""

    def expire(self, now_s: float) -> None:
        """Do what is due."""


class Supervisor:
    """Everything that runs in the supervisor's process."""

    _said_wake_s: float | None = None

    def __init__(
        self,
        own: socket.socket,
        listener: socket.socket,
        handover: Handover,
        *,
        clock: Clock,
        rng: Rng,
        journal: Journal,
        own_uid: int,
        http_listener: socket.socket | None = None,
        start_note: StartNote = Note,
        start_bound_note: StartNote = BoundNote,
        start_loading: StartLoading = Loading,
        start_reading: StartReading = Reading,
        start_sampling: StartSampling = Sampling,
        make_timer: Callable[[], Timer] = WallTimer,
    ) -> None:
        """Take over; nothing is said to anybody yet.

        Args:
            own: Our end of the channel to the keeper.
            listener: The control socket, listening.
            handover: What the keeper kept.
            clock: Now.
            rng: Chance, for jitter.
            journal: For our own lines.
            own_uid: Who may everything, beside root.
            http_listener: Where health and metrics are served, listening.
            start_note: Writes the reason of an escalation; tests give another one.
            start_bound_note: Writes what the next service would begin with.
            start_loading: Starts what reads the configuration.
            start_reading: Starts what reads the event journal.
            start_sampling: Starts what looks at processes.
            make_timer: Makes what watches the wall clock.
        """
        self._clock = clock
        self._journal = journal
        self._poller = Poller()
        self._callers = Poller()
        self._connect(own, handover)
        self._handover = handover
        self._logs = Logs(handover.dropped, handover.troubles)
        self._loops = Loops(self._poller.stalls)
        self._places = Places(handover.places)
        self._words = Words(handover.inventory)
        self._fleet = build_fleet(handover, self._outbox, clock, rng)
        self._fleet.when_forgotten(self._words.forget)
        self._fleet.look = self._between.look
        self._events = Events(self._fleet, self._outbox, handover.saves, clock, journal.write)
        saves, log = handover.saves, self._events.log
        self._daemon = DaemonState(self._fleet, self._outbox, saves.get("daemon"), log)
        self._note = EscalationNote(
            self._fleet, self._outbox, self._poller, handover, clock, log, start_note
        )
        self._daemon.on_escalated = self._note.take
        self._fleet.on_fault = self._worker_fault
        self._heartbeats = Heartbeats(self._fleet, clock)
        self._rolls = Rolls(self._fleet, self._outbox, saves, log)
        self._generations = Generations(self._fleet, self._outbox, saves, log)
        self._health = Health(self._fleet, self._poller, clock, self._rolls.outdated.covers)
        self._reloads = Reloads(
            self._fleet, self._rolls, self._daemon, self._poller, saves, clock, log,
            self._generations, start_loading=start_loading,
        )  # fmt: skip
        self._daemon.on_reload = self._reloads.signalled
        self._follow(start_bound_note, start_sampling, make_timer)
        self._rights = Rights(self._fleet, own_uid)
        self._serve_people(listener, http_listener, start_reading)

    def _connect(self, own: socket.socket, handover: Handover) -> None:
        """Prepare the talk with the keeper, also in the middle of a turn."""
        self._channel = PacketSocket(own, channel.MAX_MESSAGE_BYTES)
        self._inbox: deque[tuple[dict[str, Any], list[int]]] = deque()
        self._between = InBetween(self._poller.stalls, self._hear, self._callers.serve)
        self._outbox = Outbox(
            self._channel.send, look=self._between.look, in_lines=handover.takes_lines
        )

    def _follow(
        self,
        start_bound_note: StartNote,
        start_sampling: StartSampling,
        make_timer: Callable[[], Timer],
    ) -> None:
        """Begin with what time brings about: notes, samples, fresh runs and jobs."""
        clock, handover, log = self._clock, self._handover, self._events.log
        self._daemon.on_ready = give_back  # the requests of all those starts are sent
        self._upgrades = Upgrades(self._fleet, self._daemon, self._reloads, handover, clock, log)
        self._daemon.on_upgrade = self._upgrades.signalled
        self._carry = CarryFile(
            self._fleet, self._reloads, self._daemon, self._poller, handover.saves, clock, log,
            start_bound_note,
        )  # fmt: skip
        self._samples = Samples(
            self._fleet, self._poller, clock, keeper_pid=handover.keeper_pid,
            cgroups=handover.cgroup_runs, start=start_sampling,
        )  # fmt: skip
        self._recycling = Recycling(self._fleet, self._rolls, self._samples, self._words, clock)
        self._schedules = Schedules(
            self._fleet, self._daemon, self._poller, handover.saves, clock, log,
            start_bound_note, make_timer,
        )  # fmt: skip

    def _serve_people(
        self,
        listener: socket.socket,
        http_listener: socket.socket | None,
        start_reading: StartReading,
    ) -> None:
        self._stories = Stories(self._fleet, self._events, self._poller, self._clock, start_reading)
        self._storms = Storms(self._fleet, self._events, self._clock, self._logs)
        self._upgrades.before_leaving = self._storms.tell_all
        self._listeners = Listeners(self._fleet, self._outbox, self._events)
        self._status = status = StatusVerbs(
            self._fleet, self._daemon, self._reloads, self._handover, self._clock, self._logs,
            self._words, self._rolls, self._health, self._samples, self._generations, self._loops,
            self._places,
        )  # fmt: skip
        self._verbs = Verbs(
            self._fleet, self._daemon, self._reloads, self._clock, self._rolls, self._rights,
            self._events, self._stories, self._storms, self._generations, status, self._upgrades,
        )  # fmt: skip
        self._server = self._serve(listener)
        self._verbs.guard = self._server.guard
        self._verbs.is_interrupting = lambda: self._between.depth > 0
        self._poller.watch(self._callers.fileno(), readable=self._callers.serve)
        self._web = Web(
            http_listener, self._fleet, self._daemon, status, self._outbox,
            self._handover.saves, self._poller, self._clock,
            log=self._events.log, on_fault=self._fault,
        )  # fmt: skip
        # In this order: what is judged before what is asked for because of it.
        self._timed: tuple[Timed, ...] = (
            self._schedules, self._heartbeats, self._health, self._samples, self._recycling,
            self._web, self._reloads, self._stories, self._storms, self._upgrades, status.kept,
        )  # fmt: skip

    def _serve(self, listener: socket.socket) -> Server:
        return Server(
            listener, self._callers, handle=self._verbs.handle, rank=self._rights.rank,
            top_rank=ADMIN, clock_now_s=self._clock.now_s, version=__version__,
            on_fault=self._fault, on_refused=self._storms.refused,
        )  # fmt: skip

    def run(self) -> int:
        """Supervise until the daemon ends; return the verdict.

        Or until another supervisor is to go on from here: then `channel.MADE_ROOM`.

        Raises:
            KeeperGoneError: The channel has ended.
        """
        self._adopt()
        garbage.settle()
        while not self._is_over(self._clock.now_s()):
            self._settle()
            if self._upgrades.is_leaving:
                return self._leave(channel.MADE_ROOM)
            garbage.between_turns(len(self._fleet.workers))
            self._poller.wait(self._wait_s())
            if self._callers.again_s is not None:
                self._callers.serve()
            self._verbs.take_put_off()
            self._catch_up(self._clock.now_s())
        self._storms.tell_all()
        self._events.end(self._daemon.verdict)
        self._settle()
        return self._leave(self._daemon.verdict)

    def _leave(self, status: int) -> int:
        self._send_all()
        self._verbs.deliver()
        self._server.close()
        self._web.close()
        return status

    def rehearse(self) -> dict[str, str]:
        """Do what comes before the first turn; return whose record cannot be read, and why.

        For a dry start (trial.py): nobody may hear of what is said, and a fault is not survived.
        """
        self._fleet.on_fault = _raise
        self._adopt()
        self._fleet.flush()
        self._status.answer(list(self._fleet.workers))
        return {f"{pool}/{index}": why for (pool, index), why in self._fleet.unusable.items()}

    def _catch_up(self, now_s: float) -> None:
        """Take what has happened and what is due, however late it has become."""
        # Everything that has already happened first: a fact may undo a deadline.
        self._read_keeper()
        # A critical worker that has tripped ends the service, also when its cooldown is over by
        # the time that we hear of it.
        self._daemon.decide()
        self._fleet.fire_due(now_s)
        for part in self._timed:
            part.expire(now_s)
        self._server.expire(now_s)
        self._carry.expire(now_s)
        self._schedules.file.expire(now_s)

    def _is_over(self, now_s: float) -> bool:
        # Asked each time: the note's deadline may come while workers still stop.
        is_written = self._note.is_written(now_s)
        is_noted = is_written and self._carry.is_gone and self._schedules.file.is_written
        return self._daemon.is_over(now_s) and is_noted

    def _adopt(self) -> None:
        self._events.begin(version=__version__, pid=self._handover.keeper_pid)
        was_stopping = self._daemon.is_stopping
        if was_stopping:
            # Before anything else: what happened since must not start anybody.
            self._daemon.begin()
        for fact in self._handover.facts:
            self._take_fact(fact)
        self._outbox.applied(self._handover.applied)
        reconcile(self._fleet, self._handover)
        for slot, reason in self._fleet.unusable.items():
            name = self._fleet.name(slot)
            self._journal.write("error", "worker.unusable", name=name, reason=reason)
            self._events.note_worker(slot, "worker.unusable", reason=reason)
        self._note.resume()
        if not self._handover.adoption:
            tell_left_behind(self._handover.saves.get(LEFT_BEHIND), self._fleet, self._events)
        if not was_stopping:
            self._daemon.begin()
        self._reloads.begin()
        self._recycling.begin()
        self._daemon.tell(anew=True)
        if not self._handover.adoption:
            self._journal.write(
                "info", "daemon.started", version=__version__, pid=self._handover.keeper_pid,
                config=self._fleet.settings.config_path, processes=len(self._fleet.workers),
                socket=self._fleet.settings.control_path,
                cgroups="yes" if self._handover.has_cgroups else "no",
            )  # fmt: skip
            if "restored" in self._handover.saves:
                counts = json.loads(self._handover.saves["restored"])
                self._events.log("warning", "state.restored", **counts)
        elif not self._upgrades.begin():
            self._events.log(
                "warning", "supervisor.adopted", adoption=self._handover.adoption,
                runs=len(self._handover.inventory), facts=len(self._handover.facts),
            )  # fmt: skip
        self._handover.forget()

    def _settle(self) -> None:
        """Decide about the whole, and tell the keeper and systemd what this turn came to."""
        look = self._between.look
        self._rolls.go_on()
        self._daemon.decide()
        self._schedules.go_on()
        look()
        self._daemon.tell()
        look()
        self._health.follow()
        look()
        wake_s = self._fleet.next_deadline_s()
        if wake_s != self._said_wake_s:
            self._said_wake_s = wake_s
            self._outbox.say("wake_at_s", wake_s)
        self._listeners.tell()
        self._generations.tell()
        self._fleet.flush()
        while not self._channel.is_blocked and self._verbs.deliver():
            look()
            self._fleet.flush()  # an answer lets the same client's next request begin
        # After the answers: who has given up a right is told that it is done.
        if not self._channel.is_blocked and self._rights.have_changed():
            self._server.judge_again()
        look()
        if not self._channel.is_blocked:
            self._carry.go_on(self._clock.now_s())
            self._schedules.file.go_on(self._clock.now_s())
        self._mind()

    def _wait_s(self) -> float | None:
        if self._inbox or self._verbs.has_put_off:
            return 0.0
        deadlines = (
            self._fleet.next_deadline_s(),
            *(part.deadline_s for part in self._timed),
            self._server.next_deadline_s(),
            self._daemon.deadline_s,
            self._note.deadline_s,
            None if self._channel.is_blocked else self._carry.deadline_s,
            None if self._channel.is_blocked else self._schedules.file.deadline_s,
        )
        at_s = min((each for each in deadlines if each is not None), default=None)
        again_s = self._callers.again_s
        if at_s is None:
            return again_s
        wait_s = at_s - self._clock.now_s()
        return wait_s if again_s is None else min(wait_s, again_s)

    # -- the keeper --------------------------------------------------------------------------------

    def _mind(self) -> None:
        self._channel.flush()
        writable = self._channel.flush if self._channel.is_blocked else None
        self._poller.watch(self._channel.fileno(), readable=self._read_keeper, writable=writable)

    def _send_all(self) -> None:
        while self._channel.is_blocked and not self._channel.ended:
            self._mind()
            self._poller.wait(1.0)

    def _read_keeper(self) -> None:
        """Take all that the keeper has said by now; what it says meanwhile is for the next turn."""
        self._inbox.extend((channel.decode(data), more) for data, more in self._channel.receive())
        for _ in range(len(self._inbox)):
            self._take_message(*self._inbox.popleft())
        if self._channel.ended and not self._inbox:
            _give_up()

    def _hear(self) -> None:
        """Keep what the keeper says in the middle of a turn, see in_between.py."""
        for data, descriptors in self._channel.receive():
            message = channel.decode(data)
            if "ping" in message:
                self._channel.send(channel.encode({"pong": message.pop("ping")}))
            self._inbox.append((message, descriptors))

    def _take_message(self, message: dict[str, Any], descriptors: list[int]) -> None:
        for fact in message.get("facts", ()):
            self._take_fact(fact)
        if "ping" in message:
            self._outbox.say("pong", message["ping"])
        self._serve_at(descriptors)
        self._loops.take(message)
        self._places.take(message)
        self._logs.take(message)
        self._storms.take(message)
        self._words.take(message)
        self._heartbeats.take(message)
        self._health.take(message)
        self._recycling.take(message)
        self._generations.take(message)
        self._upgrades.take(message)

    def _serve_at(self, descriptors: list[int]) -> None:
        """The one descriptor that the keeper ever sends is a control socket in place of ours."""
        for descriptor in descriptors:
            self._server.listen_on(socket.socket(fileno=descriptor)).close()

    def _take_fact(self, fact: dict[str, object]) -> None:
        number = fact["n"]
        assert isinstance(number, int)
        if fact["fact"] == "signalled":
            self._daemon.signalled(str(fact["signal"]), number)
        elif self._fleet.is_news(fact):
            self._events.note_story(fact)
            self._fleet.take_fact(fact)
        self._outbox.applied(number)

    # -- lines -------------------------------------------------------------------------------------

    def _worker_fault(self, slot: Slot, error: Exception) -> None:
        name = self._fleet.name(slot)
        self._journal.write("error", "worker.fault", name=name, reason=repr(error))

    def _fault(self, doing: str, error: Exception) -> None:
        self._journal.write("error", "control.fault", doing=doing, reason=repr(error))


def _raise(_slot: Slot, error: Exception) -> NoReturn:
    raise error


def _give_up() -> NoReturn:
    raise KeeperGoneError
