"""The keeper's loop: descriptors, signals and deadlines in; facts out; requests carried out."""

from __future__ import annotations

import errno
import os
import select
import signal
import time
from collections import deque

from supervisord_lite import __version__
from supervisord_lite.base import exit_codes
from supervisord_lite.base.signals import describe_end
from supervisord_lite.keeper import children, reap, succession
from supervisord_lite.keeper.events import EventPipe
from supervisord_lite.keeper.places import Places
from supervisord_lite.keeper.poller import Poller
from supervisord_lite.keeper.runs import Runs
from supervisord_lite.keeper.scribe_side import ScribeSide
from supervisord_lite.keeper.signals import HANDLED
from supervisord_lite.keeper.supervisor_side import SupervisorSide
from supervisord_lite.keeper.table import Table
from supervisord_lite.keeper.traces import now_ns
from supervisord_lite.keeper.upgrade import Upgrade
from supervisord_lite.wire.channel import PROTOCOL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from supervisord_lite.keeper.boot import Boot
    from supervisord_lite.keeper.journal import Journal
    from supervisord_lite.keeper.notify import Notifier

#: What the kernel refused for a moment is asked again after this long.
_AGAIN_S = 0.1
#: Of one turn, for those who have ended: thousands may at once.
_REAP_S = 0.02
#: At the end: for processes that were killed to go, and for the scribe to write what is left.
_LAST_KILL_S = 10.0
_LAST_WORDS_S = 5.0
#: So many scribes are given that time, one after the other.
_LAST_LIVES = 3
#: Without a supervisor that could know better: from SIGTERM to SIGKILL.
_GIVE_UP_STOP_S = 10.0
#: Of an interpreter that cannot open its script; and how long it is waited for that to be there.
_NO_SCRIPT = 2
_NO_CODE_S = 20.0
#: Being this late means that we were stopped ourselves.
_GAP_S = 1.0


class Keeper:
    """The main process of the daemon."""

    def __init__(self, boot: Boot, journal: Journal, notifier: Notifier) -> None:
        """Take over what `run` prepared. Nothing is started yet."""
        self._boot = boot
        self._calls = boot.calls
        self._journal = journal
        self._notifier = notifier
        self._table = Table(boot.saves)
        self._poller = poller = Poller(self._calls)
        self._known: set[int] = set()
        self._runs = Runs(
            self._calls, boot, self._table, self._known, poller.watch, poller.unwatch,
            lambda message: self._supervisor.note(message),
        )  # fmt: skip
        self._runs.traces.when_failed = lambda why: journal.write(
            "warning", "traces.not_written", reason=why
        )
        events = boot.events if boot.state is None else ""  # there is a pipe already
        self._events = EventPipe(events, self._runs.streams, poller, journal.write)
        self._supervisor = SupervisorSide(
            boot, journal, notifier, poller, self._table,
            runs=self._runs, record=self._events.take,
            now_s=time.monotonic,
        )  # fmt: skip
        self._places = Places(
            boot, journal, poller, self._runs.voices, self._supervisor.note, self._serve_at
        )  # fmt: skip
        self._scribe = ScribeSide(boot, journal, poller, self._runs.streams, self._supervisor.note)
        self._upgrade = Upgrade(
            boot, journal, poller, self._supervisor, self._scribe,
            started=self._known.add, copies=self._copies, succeed=self._succeed,
        )  # fmt: skip
        self._supervisor.when_obeyed = self._upgrade.obey
        # While there is a way back: with nothing to be had here, another one may go on.
        self._woken, self._waker = self._calls.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._kick_at_s: float | None = None
        self._again_at_s: float | None = None
        self._signals: deque[int] = deque(maxlen=100)
        self._stop_asked = False
        self._no_code_since_s: float | None = None
        self._ending: int | None = None
        self._end_at_s: float | None = None
        self._finishing = False
        self._last_at_s = 0.0
        self._started_at_s = time.monotonic()
        if notifier.watchdog_s is not None:
            self._kick_at_s = self._started_at_s

    # -- the loop ---------------------------------------------------------------------------------

    def run(self) -> int:
        """Run until the daemon ends; return its exit code."""
        self._listen_for_signals()
        self._poller.watch(self._boot.listener, select.EPOLLIN | select.EPOLLET, self._client_came)
        if self._boot.owner is not None:
            self._poller.watch(self._boot.owner, select.EPOLLIN, self._owner_ended)
        self._places.begin(time.monotonic())
        planned_s: float | None = None
        while True:
            now_s = time.monotonic()
            if planned_s is not None and now_s > planned_s + _GAP_S:
                self._supervisor.pulse.forgive(now_s)
                self._scribe.pulse.forgive(now_s)
                self._runs.probes.forgive(now_s)
                self._runs.servers.forgive(now_s)
            self._turn(now_s)
            if self._is_over(now_s):
                break
            next_s = self._next_deadline_s()
            planned_s = next_s
            timeout_s = -1.0 if next_s is None else max(0.0, next_s - time.monotonic())
            self._poller.wait(timeout_s)
        # The interpreter takes the handlers away before it ends, and the exit status must be ours.
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        assert self._ending is not None
        return self._ending

    def _turn(self, now_s: float) -> None:
        self._again_at_s = None
        self._supervisor.go_on()
        self._take_signals(now_s)
        if not self._runs.leave():
            self._again_at_s = now_s + _AGAIN_S
        self._reap(now_s)
        self._runs.turn(now_s)
        self._upgrade.turn(now_s)
        self._start_children(now_s)
        self._check_pulse(now_s)
        if self._ending is None:
            self._places.turn(now_s)
        else:
            self._end_turn(now_s)
        self._scribe.tell()
        self._runs.voices.tell()
        if self._supervisor.tell():
            self._ask(now_s)
        if self._supervisor.is_behind:
            self._again_at_s = now_s

    def _next_deadline_s(self) -> float | None:
        # Who may not be started yet is no reason to wake.
        starts = (self._supervisor.start_at_s, self._scribe.start_at_s)
        deadlines = (
            self._runs.next_round_s,
            *(() if self._upgrade.holds else starts),
            self._supervisor.pulse.deadline_s,
            self._scribe.pulse.deadline_s,
            self._supervisor.oversleep_at_s,
            self._kick_at_s,
            self._again_at_s,
            self._end_at_s,
            self._upgrade.deadline_s,
            self._places.look_at_s if self._ending is None else None,
        )
        return min((at_s for at_s in deadlines if at_s is not None), default=None)

    # -- signals ----------------------------------------------------------------------------------

    def _listen_for_signals(self) -> None:
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        for number in HANDLED:
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue  # nohup: whoever started us wants it so
            signal.signal(number, lambda number, _frame: self._signals.append(number))
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        # Whoever started us may have blocked some, as a keeper before us has; not before there are
        # handlers: what PID 1 has none for is lost, see cli/first_process.
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        self._poller.watch(self._woken, select.EPOLLIN, lambda _mask: _drain(self._woken))

    def _take_signals(self, now_s: float) -> None:
        """Take what has come until now: a storm of signals must not keep us from all else.

        More than two of a kind mean no more than two: the second one is impatience.
        """
        came = [self._signals.popleft() for _ in range(len(self._signals))]
        for number in dict.fromkeys(came):
            for _ in range(min(2, came.count(number))):
                self._signalled(number, now_s)

    def _signalled(self, number: int, now_s: float) -> None:
        name = signal.Signals(number).name
        if number == signal.SIGHUP and self._boot.has_terminal and not _terminal_is_open():
            name = "SIGTERM"  # the terminal was closed: stop, as a shell job would
        if number == signal.SIGQUIT:
            name = "SIGTERM"  # Ctrl-\ on a terminal must not leave the workers alone
        self._journal.write("info", "signal.received", signal=name)
        if name == "SIGUSR1":
            self._scribe.reopen()
        elif self._ending is None:
            self._stop_asked = self._stop_asked or name in ("SIGTERM", "SIGINT")
            self._table.fact("signalled", now_s, signal=name)

    def _owner_ended(self, _mask: int) -> None:
        """Whoever started us for itself is gone, and nobody else would ever stop us."""
        assert self._boot.owner is not None
        self._poller.unwatch(self._boot.owner)
        self._journal.write("warning", "owner.ended", next="stop")
        if self._ending is None:
            self._stop_asked = True
            self._table.fact("signalled", time.monotonic(), signal="SIGTERM")

    # -- the dead ---------------------------------------------------------------------------------

    def _reap(self, now_s: float) -> None:
        """Bury who has ended, as many as one turn has time for."""
        until_s = time.monotonic() + _REAP_S
        try:
            while (dead := reap.ended(self._calls)) is not None:
                if dead.pid == self._supervisor.pid:
                    # What it had said before it died still counts, and comes first.
                    self._supervisor.read()
                    is_heard = self._supervisor.hear_out()
                    if not is_heard or (self._upgrade.holds and self._supervisor.is_behind):
                        return
                if dead.pid not in self._known:
                    self._runs.servers.listen()  # it may be one that has said hello
                reap.reap(self._calls, dead.pid)
                self._buried(dead, now_s)
                if time.monotonic() >= until_s:
                    self._again_at_s = now_s
                    return
        except OSError:
            self._again_at_s = now_s + _AGAIN_S

    def _buried(self, dead: reap.Ended, now_s: float) -> None:
        self._known.discard(dead.pid)
        if dead.pid == self._supervisor.pid:
            self._runs.traces.gone("supervisor")
            self._supervisor_died(dead, now_s)
        elif dead.pid == self._scribe.pid:
            self._runs.traces.gone("scribe")
            self._ended(self._scribe, dead)
            self._scribe.buried(dead, now_s)
        elif not self._upgrade.takes(dead):
            self._runs.reaped(dead, now_s)

    def _ended(self, child: children.Child, dead: reap.Ended) -> None:
        if self._ending is None:
            self._upgrade.died(child, dead)
        child.last_end = child.killed_because or describe_end(dead.code, dead.signal)

    def _supervisor_died(self, dead: reap.Ended, now_s: float) -> None:
        is_leaving = self._supervisor.is_leaving
        self._ended(self._supervisor, dead)
        self._supervisor.buried(now_s)
        self._runs.probes.end_all(now_s)
        self._upgrade.supervisor_ended()
        if self._ending is not None:
            self._supervisor.start_at_s = None
            return
        is_verdict = dead.code is not None and dead.code in exit_codes.VERDICTS
        if is_verdict and not self._upgrade.is_no_verdict():
            assert dead.code is not None
            self._end(dead.code, now_s)
            return
        if is_leaving or self._waits_for_code(dead, now_s):
            return
        if self._supervisor.early_deaths >= children.MOST_EARLY_DEATHS:
            self._journal.write(
                "error", "supervisor.given_up", deaths=self._supervisor.early_deaths, **dead.how()
            )
            self._give_up(now_s)
            return
        wait_s = (self._supervisor.start_at_s or now_s) - now_s
        self._journal.write(
            "error", "supervisor.died", pid=dead.pid, **dead.how(), next_in_s=wait_s
        )

    def _waits_for_code(self, dead: reap.Ended, now_s: float) -> bool:
        """Return whether its files are just not there, as while they are being replaced.

        That is no death of a supervisor, and no reason to end any worker, for `_NO_CODE_S`. Where
        there is other code to go back to it is one: see upgrade.py.
        """
        own = self._supervisor
        is_missing = dead.code == _NO_SCRIPT and not own.has_spoken and not self._upgrade.has_former
        if not is_missing:
            self._no_code_since_s = None
            return False
        if self._no_code_since_s is None:
            self._no_code_since_s = now_s
        if self._stop_asked or now_s >= self._no_code_since_s + _NO_CODE_S:
            self._journal.write("error", "supervisor.given_up", reason="its files are gone")
            self._give_up(now_s)
        else:
            own.early_deaths -= 1
            own.not_started(now_s)
            self._journal.write("error", "supervisor.not_started", reason="its files are gone")
        return True

    # -- the daemon's own processes ---------------------------------------------------------------

    def _start_children(self, now_s: float) -> None:
        if self._upgrade.holds:
            return
        for child, start in (
            (self._scribe, self._start_scribe),
            (self._supervisor, self._start_supervisor),
        ):
            if not _is_due(child.start_at_s, now_s):
                continue
            try:
                if not self._runs.leave():
                    raise BlockingIOError(errno.EBUSY, "the keeper cannot leave a run's cgroup")
                start(now_s)
            except OSError as error:
                self._journal.write("error", f"{child.role}.not_started", reason=error.strerror)
                child.not_started(now_s)
                if child is self._supervisor:
                    self._cannot_start(error, now_s)

    def _cannot_start(self, error: OSError, now_s: float) -> None:
        """No supervisor can be started: nobody but us can obey, or see that it is hopeless."""
        hopeless = error.errno in (errno.ENOENT, errno.EACCES, errno.ENOEXEC)
        self._supervisor.early_deaths += hopeless
        self._supervisor.last_end = str(error.strerror)
        if self._stop_asked or self._supervisor.early_deaths >= children.MOST_EARLY_DEATHS:
            self._give_up(now_s)

    def _start_scribe(self, now_s: float) -> None:
        from_ns = now_ns()
        self._scribe.begin(now_s)
        self._runs.traces.own("scribe", self._scribe.pid, from_ns)
        self._known.add(self._scribe.pid)
        if self._finishing:
            self._end_at_s = min(now_s + _LAST_WORDS_S, self._last_at_s)

    def _start_supervisor(self, now_s: float) -> None:
        from_ns = now_ns()
        self._supervisor.begin(**self._about())
        self._runs.traces.own("supervisor", self._supervisor.pid, from_ns)
        self._known.add(self._supervisor.pid)
        self._ask(now_s)

    def _about(self) -> dict[str, object]:
        """Return what a supervisor is told of the keeper itself."""
        cgroups = self._runs.cgroups
        return {
            "keeper_pid": os.getpid(),
            "keeper_version": __version__,
            "protocol": PROTOCOL,
            "started_at_s": self._started_at_s,
            "has_cgroups": cgroups is not None,
            "cgroup_runs": None if cgroups is None else cgroups.workers,
            "controllers": [] if cgroups is None else list(cgroups.controllers),
            "dropped": self._scribe.dropped,
            "troubles": self._scribe.troubles,
            "places": self._places.troubles,
            "fell_back": self._upgrade.fell_back,
            "takes_lines": True,
        }

    # -- succession -------------------------------------------------------------------------------

    def pack(self, keep: Callable[[int], int]) -> dict[str, Any]:
        """Return all that a keeper after this one must know, as JSON, but what is of the moment.

        *keep* is called with each descriptor that goes with it.
        """
        more: dict[str, Any] = {}
        if self._runs.traces.descriptor >= 0:
            more["traces"] = self._runs.traces.pack(keep)
        if held := self._runs.held.pack():
            more["held"] = held
        return {
            **more,
            "boot": self._boot.pack(keep),
            "journal": self._journal.pack(keep),
            "table": self._table.pack(),
            "runs": self._runs.pack(keep),
            "events": self._events.pack(keep),
            "supervisor": self._supervisor.pack(),
            "scribe": self._scribe.pack(),
            "upgrade": self._upgrade.pack(),
            "keeper": {"started_at_s": self._started_at_s, "stop_asked": self._stop_asked},
        }

    def unpack(self, state: dict[str, Any], refused: str = "") -> None:
        """Go on with the state of the keeper before this one; nothing is done yet.

        *refused*: why another one could not, where we are the code before.
        """
        self._table.unpack(state["table"], self._runs.unpack(state["runs"]))
        self._events.unpack(state.get("events", {}))
        self._supervisor.unpack(state.get("supervisor", {}))
        self._scribe.unpack(state.get("scribe", {}))
        self._upgrade.unpack(state.get("upgrade", {}), refused)
        own = state.get("keeper", {})
        self._started_at_s = own.get("started_at_s", self._started_at_s)
        self._stop_asked = own.get("stop_asked", False)

    def _copies(self) -> list[int]:
        """Return what a dry start reads: what a new supervisor would be told, and a new keeper."""
        handover = self._supervisor.handover(self._about())
        try:
            return [handover, succession.write(self._calls, succession.stated(self.pack))]
        except OSError:
            self._calls.close(handover)
            raise

    def _succeed(self, interpreter: str, resident: str) -> str:
        """Let other code take the place of this (succession.py); return why that failed.

        Supervisor and scribe have ended.
        """
        assert not self._supervisor.pid
        assert not self._scribe.pid
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, succession.SIGNALS)
        try:
            self._take_signals(time.monotonic())
            if self._ending is not None:
                return "the daemon ends"
            if not self._runs.leave():
                return "the keeper cannot leave a run's cgroup"
            if self._notifier.watchdog_s is not None:
                self._notifier.send("WATCHDOG=1")
            state = succession.stated(self.pack)
            environment = self._boot.environment
            succession.step_over(self._calls, state, interpreter, resident, environment)
        except OSError as error:
            return f"{error.strerror}: {error.filename or interpreter}"
        except ValueError as error:  # a NUL byte
            return str(error)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        raise AssertionError  # execve does not return

    # -- are they live? ---------------------------------------------------------------------------

    def _serve_at(self, listener: int) -> None:
        """The control socket had to be made again: *listener* is the one of now."""
        before, self._boot.listener = self._boot.listener, listener
        self._poller.unwatch(before)
        self._poller.watch(listener, select.EPOLLIN | select.EPOLLET, self._client_came)
        self._supervisor.serve_at(listener)
        self._calls.close(before)

    def may_remove(self, path: str) -> bool:
        """Return whether what stands there at the end is not somebody else's."""
        return self._places.may_remove(path)

    def _client_came(self, _mask: int) -> None:
        self._ask(time.monotonic())

    def _ask(self, now_s: float) -> None:
        self._supervisor.ask(now_s)
        self._scribe.ask(now_s)

    def _check_pulse(self, now_s: float) -> None:
        self._scribe.check(now_s)
        if _is_due(self._kick_at_s, now_s):
            assert self._notifier.watchdog_s is not None
            self._kick_at_s = now_s + self._notifier.watchdog_s / 3
            self._ask(now_s)
            if self._ending is not None:
                self._notifier.send("WATCHDOG=1")
        self._supervisor.check(now_s)

    # -- the end ----------------------------------------------------------------------------------

    def _end(self, code: int, now_s: float) -> None:
        """Whatever still lives is killed, the last words are written, and the daemon ends."""
        self._ending = code
        self._supervisor.start_at_s = None
        self._supervisor.drop()
        self._supervisor.kill()
        self._runs.kill_all(now_s)
        self._end_at_s = now_s + _LAST_KILL_S

    def _give_up(self, now_s: float) -> None:
        self._ending = exit_codes.INTERNAL_ERROR
        self._supervisor.start_at_s = None
        self._supervisor.drop()
        self._notifier.send(
            "STOPPING=1\nSTATUS=the supervisor cannot be started; stopping all workers"
        )
        self._runs.signal_all(signal.SIGTERM)
        self._end_at_s = now_s + _GIVE_UP_STOP_S

    def _end_turn(self, now_s: float) -> None:
        assert self._ending is not None
        if not self._finishing:
            if self._runs.are_gone:
                self._finishing = True
                self._end_at_s = now_s + _LAST_WORDS_S
                self._last_at_s = now_s + _LAST_LIVES * _LAST_WORDS_S
                self._journal.write("info", "daemon.stopped", code=self._ending)
                self._journal.close()
                self._events.close()
                self._scribe.finish(now_s)
            elif _is_due(self._end_at_s, now_s):
                if self._ending == exit_codes.INTERNAL_ERROR and not self._runs.killing:
                    self._end(self._ending, now_s)
                else:
                    self._finishing = True
                    self._end_at_s = now_s

    def _is_over(self, now_s: float) -> bool:
        if self._ending is None or not self._finishing:
            return False
        is_written = not self._scribe.pid and self._scribe.start_at_s is None
        if not is_written and not _is_due(self._end_at_s, now_s):
            return False
        self._scribe.kill()
        for path, count in self._scribe.lost_at_the_end().items():
            self._journal.write("error", "log.lost", path=path, bytes=count)
        self._runs.close()
        return True


def _is_due(at_s: float | None, now_s: float) -> bool:
    return at_s is not None and now_s >= at_s


def _drain(descriptor: int) -> None:
    try:
        while os.read(descriptor, 4096):
            pass
    except BlockingIOError:
        return


def _terminal_is_open() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
