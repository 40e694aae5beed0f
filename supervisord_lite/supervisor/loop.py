"""The supervisor's loop: it sleeps until the next descriptor or deadline, and never elsewhere."""

import json
import socket
from typing import NoReturn

from supervisord_lite import __version__
from supervisord_lite.base.clock import Clock, Rng
from supervisord_lite.base.packets import PacketSocket
from supervisord_lite.config.loading import Loading
from supervisord_lite.control.server import Server
from supervisord_lite.core import actions
from supervisord_lite.core.states import Worker
from supervisord_lite.keeper.journal import Journal
from supervisord_lite.scribe.note import BoundNote, Note
from supervisord_lite.supervisor.adoption import Handover, build_fleet, reconcile
from supervisord_lite.supervisor.carry import CarryFile
from supervisord_lite.supervisor.daemon_state import DaemonState
from supervisord_lite.supervisor.escalation import EscalationNote, StartNote
from supervisord_lite.supervisor.heartbeats import Heartbeats
from supervisord_lite.supervisor.logs import Logs
from supervisord_lite.supervisor.outbox import Outbox, Slot
from supervisord_lite.supervisor.poller import Poller
from supervisord_lite.supervisor.reload import Reloads, StartLoading
from supervisord_lite.supervisor.rights import ADMIN, RefusedPeers, Rights
from supervisord_lite.supervisor.rolls import Rolls
from supervisord_lite.supervisor.verbs import Verbs
from supervisord_lite.supervisor.words import Words
from supervisord_lite.wire import channel

#: What is worth which level; everything else is "info".
_LEVELS = {
    "worker.failed": "warning",
    "worker.tripped": "error",
    "worker.cleared": "warning",
}


class KeeperGoneError(Exception):
    """The main process is dead: there is nothing left to supervise for."""


class Supervisor:
    """Everything that runs in the supervisor's process."""

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
        start_note: StartNote = Note,
        start_bound_note: StartNote = BoundNote,
        start_loading: StartLoading = Loading,
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
            start_note: Writes the reason of an escalation; tests give another one.
            start_bound_note: Writes what the next service would begin with.
            start_loading: Starts what reads the configuration.
        """
        self._clock = clock
        self._journal = journal
        self._poller = Poller()
        self._channel = PacketSocket(own, channel.MAX_MESSAGE_BYTES)
        self._outbox = Outbox(self._channel.send)
        self._handover = handover
        self._logs = Logs(handover.dropped, handover.troubles)
        self._words = Words(handover.inventory)
        self._fleet = build_fleet(handover, self._outbox, clock, rng)
        self._daemon = DaemonState(
            self._fleet, self._outbox, handover.saves.get("daemon"), journal.write
        )
        self._note = EscalationNote(
            self._fleet, self._outbox, self._poller, handover, clock, journal.write, start_note
        )
        self._daemon.on_escalated = self._note.take
        self._fleet.listen(self._announce)
        self._fleet.on_fault = self._worker_fault
        self._heartbeats = Heartbeats(self._fleet, clock)
        self._rolls = Rolls(self._fleet, self._outbox, handover.saves, journal.write)
        self._reloads = Reloads(
            self._fleet, self._rolls, self._daemon, self._poller, handover.saves, clock,
            journal.write, start_loading=start_loading,
        )  # fmt: skip
        self._daemon.on_reload = self._reloads.signalled
        self._carry = CarryFile(
            self._fleet, self._reloads, self._daemon, self._poller, handover.saves, clock,
            journal.write, start_bound_note,
        )  # fmt: skip
        self._rights = Rights(self._fleet, own_uid)
        self._verbs = Verbs(
            self._fleet, self._daemon, self._reloads, handover, clock, self._logs, self._words,
            self._rolls, self._rights,
        )  # fmt: skip
        self._server = Server(
            listener, self._poller, handle=self._verbs.handle, rank=self._rights.rank,
            top_rank=ADMIN, clock_now_s=clock.now_s, version=__version__, on_fault=self._fault,
            on_refused=RefusedPeers(clock, journal.write).take,
        )  # fmt: skip
        self._said_wake_s: float | None = None

    def run(self) -> int:
        """Supervise until the daemon ends; return the verdict.

        Raises:
            KeeperGoneError: The channel has ended.
        """
        self._adopt()
        while not self._is_over(self._clock.now_s()):
            self._settle()
            self._poller.wait(self._wait_s())
            self._catch_up(self._clock.now_s())
        self._settle()
        self._send_all()
        self._verbs.deliver()
        self._server.close()
        return self._daemon.verdict

    def _catch_up(self, now_s: float) -> None:
        """Take what has happened and what is due, however late it has become."""
        # Everything that has already happened first: a fact may undo a deadline.
        self._read_keeper()
        # A critical worker that has tripped ends the service, also when its cooldown is over by
        # the time that we hear of it.
        self._daemon.decide()
        self._fleet.fire_due(now_s)
        self._heartbeats.expire(now_s)
        self._server.expire(now_s)
        self._reloads.expire(now_s)
        self._carry.expire(now_s)

    def _is_over(self, now_s: float) -> bool:
        # Asked each time: the note's deadline may come while workers still stop.
        is_written = self._note.is_written(now_s)
        return self._daemon.is_over(now_s) and is_written and self._carry.is_gone

    def _adopt(self) -> None:
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
        self._note.resume()
        if not was_stopping:
            self._daemon.begin()
        self._reloads.begin()
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
                self._journal.write("warning", "state.restored", **counts)
        else:
            self._journal.write(
                "warning", "supervisor.adopted", adoption=self._handover.adoption,
                runs=len(self._handover.inventory), facts=len(self._handover.facts),
            )  # fmt: skip

    def _settle(self) -> None:
        """Decide about the whole, and tell the keeper and systemd what this turn came to."""
        self._rolls.go_on()
        self._daemon.decide()
        self._daemon.tell()
        wake_s = self._fleet.next_deadline_s()
        if wake_s != self._said_wake_s:
            self._said_wake_s = wake_s
            self._outbox.say("wake_at_s", wake_s)
        self._fleet.flush()
        while not self._channel.is_blocked and self._verbs.deliver():
            self._fleet.flush()  # an answer lets the same client's next request begin
        # After the answers: who has given up a right is told that it is done.
        if not self._channel.is_blocked and self._rights.have_changed():
            self._server.judge_again()
        if not self._channel.is_blocked:
            self._carry.go_on(self._clock.now_s())
        self._mind()

    def _wait_s(self) -> float | None:
        deadlines = (
            self._fleet.next_deadline_s(),
            self._heartbeats.deadline_s,
            self._server.next_deadline_s(),
            self._daemon.deadline_s,
            self._note.deadline_s,
            None if self._channel.is_blocked else self._carry.deadline_s,
            self._reloads.deadline_s,
        )
        at_s = min((each for each in deadlines if each is not None), default=None)
        return None if at_s is None else at_s - self._clock.now_s()

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
        while packets := self._channel.receive():
            for data, _ in packets:
                message = channel.decode(data)
                for fact in message.get("facts", ()):
                    self._take_fact(fact)
                if "ping" in message:
                    self._outbox.say("pong", message["ping"])
                self._logs.take(message)
                self._words.take(message)
                self._heartbeats.take(message)
        if self._channel.ended:
            _give_up()

    def _take_fact(self, fact: dict[str, object]) -> None:
        number = fact["n"]
        assert isinstance(number, int)
        if fact["fact"] == "signalled":
            self._daemon.signalled(str(fact["signal"]), number)
        else:
            self._fleet.take_fact(fact)
        self._outbox.applied(number)

    # -- lines -------------------------------------------------------------------------------------

    def _announce(
        self, slot: Slot, before: Worker, after: Worker, told: tuple[actions.Announce, ...]
    ) -> None:
        del before, after
        for each in told:
            level = _LEVELS.get(each.event, "info")
            self._journal.write(level, each.event, name=self._fleet.name(slot), **dict(each.fields))

    def _worker_fault(self, slot: Slot, error: Exception) -> None:
        name = self._fleet.name(slot)
        self._journal.write("error", "worker.fault", name=name, reason=repr(error))

    def _fault(self, doing: str, error: Exception) -> None:
        self._journal.write("error", "control.fault", doing=doing, reason=repr(error))


def _give_up() -> NoReturn:
    raise KeeperGoneError
