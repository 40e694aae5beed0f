"""The keeper's loop: descriptors, signals and deadlines in; facts out; requests carried out."""

from __future__ import annotations

import errno
import os
import select
import signal
import time
from collections import deque

from supervisord_lite.base import exit_codes
from supervisord_lite.base.signals import name_of
from supervisord_lite.keeper import children, reap
from supervisord_lite.keeper.runs import Runs
from supervisord_lite.keeper.table import Table
from supervisord_lite.wire import channel
from supervisord_lite.wire.errors import WireError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from supervisord_lite.base.packets import PacketSocket
    from supervisord_lite.keeper.boot import Boot
    from supervisord_lite.keeper.journal import Journal
    from supervisord_lite.keeper.notify import Notifier

#: Facts in one message, if they fit.
_PAGE = 100
#: What the kernel refused for a moment is asked again after this long.
_AGAIN_S = 0.1
#: At the end: for processes that were killed to go, and for the scribe to write what is left.
_LAST_KILL_S = 10.0
_LAST_WORDS_S = 5.0
#: Without a supervisor that could know better: from SIGTERM to SIGKILL.
_GIVE_UP_STOP_S = 10.0
#: Being this late means that we were stopped ourselves.
_GAP_S = 1.0
_SIGNALS = (
    signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2,
)  # fmt: skip


class Keeper:
    """The main process of the daemon."""

    def __init__(self, boot: Boot, journal: Journal, notifier: Notifier) -> None:
        """Take over what `run` prepared. Nothing is started yet."""
        self._boot = boot
        self._calls = boot.calls
        self._journal = journal
        self._notifier = notifier
        self._table = Table(boot.saves)
        self._poll = select.epoll()
        self._callbacks: dict[int, Callable[[int], None]] = {}
        self._masks: dict[int, int] = {}
        self._known: set[int] = set()
        self._supervisor = children.Child(self._calls, "supervisor", journal.descriptor)
        self._scribe = children.Child(self._calls, "scribe", 2)
        self._scribe_pulse = children.Pulse(self._calls)
        self._pulse = children.Pulse(self._calls, notifier.watchdog_s)
        self._runs = Runs(self._calls, boot, self._table, self._known, self._watch, self._unwatch)
        self._told = 0
        self._oversleep_at_s: float | None = None
        self._kick_at_s: float | None = None
        self._again_at_s: float | None = None
        self._dropped: dict[str, list[int]] = {}
        self._untold_notes: deque[dict[str, Any]] = deque(maxlen=1000)
        self._signals: deque[int] = deque(maxlen=100)
        self._stop_asked = False
        self._ending: int | None = None
        self._end_at_s: float | None = None
        self._finishing = False
        self._started_at_s = time.monotonic()
        if notifier.watchdog_s is not None:
            self._kick_at_s = self._started_at_s

    # -- the loop ---------------------------------------------------------------------------------

    def run(self) -> int:
        """Run until the daemon ends; return its exit code."""
        self._listen_for_signals()
        self._watch(self._boot.listener, select.EPOLLIN | select.EPOLLET, self._client_came)
        planned_s: float | None = None
        while True:
            now_s = time.monotonic()
            if planned_s is not None and now_s > planned_s + _GAP_S:
                self._pulse.forgive(now_s)
                self._scribe_pulse.forgive(now_s)
            self._turn(now_s)
            if self._is_over(now_s):
                break
            next_s = self._next_deadline_s()
            planned_s = next_s
            timeout_s = -1.0 if next_s is None else max(0.0, next_s - time.monotonic())
            for descriptor, mask in self._poll.poll(timeout_s):
                callback = self._callbacks.get(descriptor)
                if callback is not None:
                    callback(mask)
        assert self._ending is not None
        return self._ending

    def _turn(self, now_s: float) -> None:
        self._again_at_s = None
        while self._signals:
            self._signalled(self._signals.popleft(), now_s)
        if not self._runs.leave():
            self._again_at_s = now_s + _AGAIN_S
        self._reap(now_s)
        self._runs.turn(now_s)
        self._start_children(now_s)
        self._check_pulse(now_s)
        if self._ending is not None:
            self._end_turn(now_s)
        self._tell_scribe()
        self._tell_supervisor(now_s)

    def _next_deadline_s(self) -> float | None:
        deadlines = (
            self._runs.next_round_s,
            self._supervisor.start_at_s,
            self._scribe.start_at_s,
            self._pulse.deadline_s,
            self._scribe_pulse.deadline_s,
            self._oversleep_at_s,
            self._kick_at_s,
            self._again_at_s,
            self._end_at_s,
        )
        return min((at_s for at_s in deadlines if at_s is not None), default=None)

    def _watch(self, descriptor: int, mask: int, callback: Callable[[int], None]) -> None:
        before = self._masks.get(descriptor)
        if before is None:
            self._poll.register(descriptor, mask)
        elif before != mask:
            self._poll.modify(descriptor, mask)
        self._masks[descriptor] = mask
        self._callbacks[descriptor] = callback

    def _unwatch(self, descriptor: int) -> None:
        if self._callbacks.pop(descriptor, None) is not None:
            del self._masks[descriptor]
            self._poll.unregister(descriptor)

    # -- signals ----------------------------------------------------------------------------------

    def _listen_for_signals(self) -> None:
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())  # whoever started us may have blocked some
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in _SIGNALS:
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue  # nohup: whoever started us wants it so
            signal.signal(number, lambda number, _frame: self._signals.append(number))
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        self._watch(reader, select.EPOLLIN, lambda _mask: _drain(reader))

    def _signalled(self, number: int, now_s: float) -> None:
        name = signal.Signals(number).name
        if number == signal.SIGHUP and self._boot.has_terminal and not _terminal_is_open():
            name = "SIGTERM"  # the terminal was closed: stop, as a shell job would
        self._journal.write("info", "signal.received", signal=name)
        if name == "SIGUSR1":
            self._send_to_scribe({"do": "reopen"})
        elif self._ending is None:
            self._stop_asked = self._stop_asked or name in ("SIGTERM", "SIGINT")
            self._table.fact("signalled", now_s, signal=name)

    # -- the dead ---------------------------------------------------------------------------------

    def _reap(self, now_s: float) -> None:
        try:
            while (dead := reap.ended(self._calls)) is not None:
                if dead.pid == self._supervisor.pid:
                    # What it had said before it died still counts.
                    self._read_supervisor()
                reap.reap(self._calls, dead.pid)
                self._buried(dead, now_s)
        except OSError:
            self._again_at_s = now_s + _AGAIN_S

    def _buried(self, dead: reap.Ended, now_s: float) -> None:
        self._known.discard(dead.pid)
        if dead.pid == self._supervisor.pid:
            self._supervisor_died(dead, now_s)
        elif dead.pid == self._scribe.pid:
            self._scribe_died(dead, now_s)
        else:
            self._runs.reaped(dead, now_s)

    def _supervisor_died(self, dead: reap.Ended, now_s: float) -> None:
        self._close_channel(self._supervisor)
        self._pulse.forget()
        self._oversleep_at_s = None
        self._supervisor.died(now_s)
        if self._ending is not None:
            self._supervisor.start_at_s = None
            return
        if dead.code is not None and dead.code in exit_codes.VERDICTS:
            self._end(dead.code, now_s)
            return
        if self._supervisor.early_deaths >= children.MOST_EARLY_DEATHS:
            self._journal.write(
                "error", "supervisor.given_up", deaths=self._supervisor.early_deaths, **_how(dead)
            )
            self._give_up(now_s)
            return
        wait_s = (self._supervisor.start_at_s or now_s) - now_s
        self._journal.write(
            "error", "supervisor.died", pid=dead.pid, **_how(dead), next_in_s=wait_s
        )

    def _scribe_died(self, dead: reap.Ended, now_s: float) -> None:
        self._read_scribe()
        self._close_channel(self._scribe)
        self._scribe_pulse.forget()
        self._scribe.died(now_s)
        if self._finishing and dead.code == 0:
            self._scribe.start_at_s = None
            return
        self._journal.write("error", "scribe.died", pid=dead.pid, **_how(dead))

    # -- the daemon's own processes ---------------------------------------------------------------

    def _start_children(self, now_s: float) -> None:
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
        if self._stop_asked or self._supervisor.early_deaths >= children.MOST_EARLY_DEATHS:
            self._give_up(now_s)

    def _start_scribe(self, _now_s: float) -> None:
        if self._scribe.early_deaths >= children.MOST_EARLY_DEATHS:
            # It dies of what its memory holds: a chunk may be lost, but not all logs for ever.
            self._journal.write("error", "scribe.memory_discarded")
            memory = self._calls.memfd_create("scribe", os.MFD_CLOEXEC)
            self._calls.close(self._boot.scribe_memory)
            self._boot.scribe_memory = memory
            self._scribe.early_deaths = 0
        self._start(self._scribe, [self._boot.scribe_memory], self._scribe_readable)
        self._runs.streams.restart()
        self._ask_scribe(time.monotonic())
        if self._finishing:
            self._tell_scribe()
            self._send_to_scribe({"do": "finish"})

    def _start_supervisor(self, now_s: float) -> None:
        handover = self._handover()
        try:
            descriptors = [handover, self._boot.listener]
            self._start(self._supervisor, descriptors, self._supervisor_readable)
        finally:
            self._calls.close(handover)
        self._told = self._table.last
        self._untold_notes.clear()
        self._ask(now_s)

    def _start(
        self, child: children.Child, descriptors: list[int], readable: Callable[[int], None]
    ) -> None:
        child.start(descriptors)
        self._known.add(child.pid)
        assert child.channel is not None
        self._watch(child.channel.fileno(), select.EPOLLIN, readable)

    def _close_channel(self, child: children.Child) -> None:
        if child.channel is not None:
            self._unwatch(child.channel.fileno())
            child.channel.close()
            child.channel = None

    def _handover(self) -> int:
        text = self._table.handover(
            keeper_pid=os.getpid(),
            started_at_s=self._started_at_s,
            adoption=self._supervisor.lives,
            has_cgroups=self._runs.cgroups is not None,
            controllers=list(self._runs.cgroups.controllers) if self._runs.cgroups else [],
            dropped=self._dropped,
        )
        descriptor = self._calls.memfd_create("handover", os.MFD_CLOEXEC)
        data = memoryview(text.encode())
        try:
            while data:
                data = data[self._calls.write(descriptor, data) :]
        except OSError:
            self._calls.close(descriptor)
            raise
        os.lseek(descriptor, 0, os.SEEK_SET)
        return descriptor

    # -- talk with the supervisor -----------------------------------------------------------------

    def _supervisor_readable(self, _mask: int) -> None:
        self._read_supervisor()

    def _read_supervisor(self) -> None:
        own = self._supervisor.channel
        while own is not None and (packets := own.receive()):
            for data, _ in packets:
                self._take(data)
        if own is not None:
            self._mind(own, self._supervisor_readable)
            if own.ended:
                self._ask(time.monotonic())  # it is about to be reaped, or it hangs

    def _take(self, data: bytes) -> None:
        try:
            message = channel.decode(data)
            self._obey(message)
        except Exception as error:  # noqa: BLE001  # the keeper outlives whatever is said to it
            self._journal.write("error", "supervisor.bad_message", reason=repr(error))

    def _obey(self, message: dict[str, Any]) -> None:
        if "save" in message or "applied" in message:
            self._table.save(message.get("save", {}), message.get("applied", 0))
        if "do" in message:
            self._runs.carry_out(message["do"], time.monotonic())
        if "notify" in message:
            self._notifier.send(message["notify"])
        if "wake_at_s" in message:
            wake_at_s = message["wake_at_s"]
            self._oversleep_at_s = None
            if wake_at_s is not None:
                self._oversleep_at_s = wake_at_s + children.OVERSLEPT_S
        if "pong" in message and self._pulse.answered(message["pong"]):
            self._supervisor.settled()
            if self._notifier.watchdog_s is not None:
                self._notifier.send("WATCHDOG=1")

    def _tell_supervisor(self, now_s: float) -> None:
        own = self._supervisor.channel
        if own is None:
            return
        while not own.is_blocked and self._untold_notes:
            own.send(channel.encode(self._untold_notes.popleft()))
        self._told = max(self._told, self._table.applied)
        while not own.is_blocked and self._told < self._table.last:
            own.send(self._next_page())
            self._ask(now_s)
        self._mind(own, self._supervisor_readable)

    def _next_page(self) -> bytes:
        most = _PAGE
        while True:
            page = self._table.page(self._told, most)
            try:
                data = channel.encode({"facts": page})
            except WireError:
                assert most > 1, "one fact fits"
                most //= 2
                continue
            self._told = page[-1]["n"]
            return data

    def _mind(self, own: PacketSocket, readable: Callable[[int], None]) -> None:
        """Watch for what matters now: the peer's end is told by its reaping."""
        if own.ended:
            # Its end would be told again and again, whatever is watched for.
            self._unwatch(own.fileno())
            return
        mask = select.EPOLLIN
        if own.is_blocked:
            own.flush()
            mask |= select.EPOLLOUT if own.is_blocked else 0
        self._watch(own.fileno(), mask, readable)

    # -- is the supervisor's loop live? -----------------------------------------------------------

    def _client_came(self, _mask: int) -> None:
        self._ask(time.monotonic())

    def _ask(self, now_s: float) -> None:
        own = self._supervisor.channel
        if own is not None and (ping := self._pulse.ask(self._supervisor.pid, now_s)) is not None:
            own.send(channel.encode(ping))
            self._ask_scribe(now_s)

    def _ask_scribe(self, now_s: float) -> None:
        if self._scribe.channel is None:
            return
        if (ping := self._scribe_pulse.ask(self._scribe.pid, now_s)) is not None:
            self._send_to_scribe({"do": "ping", "id": ping["ping"]})

    def _check_pulse(self, now_s: float) -> None:
        if _is_due(self._scribe_pulse.deadline_s, now_s):
            self._read_scribe()  # its answer may be there already
        if self._scribe_pulse.is_hung(now_s):
            # Its watcher answers during a disk call, however long; so this one is stopped or stuck.
            self._scribe_pulse.forget()
            self._journal.write("error", "scribe.hung", pid=self._scribe.pid)
            self._scribe.kill()
        if _is_due(self._kick_at_s, now_s):
            assert self._notifier.watchdog_s is not None
            self._kick_at_s = now_s + self._notifier.watchdog_s / 3
            self._ask(now_s)
            if self._ending is not None:
                self._notifier.send("WATCHDOG=1")
        if _is_due(self._oversleep_at_s, now_s):
            self._oversleep_at_s = None
            self._ask(now_s)
        if _is_due(self._pulse.deadline_s, now_s):
            self._read_supervisor()  # its answer may be there already
        if self._pulse.is_hung(now_s):
            self._pulse.forget()
            self._journal.write("error", "supervisor.hung", pid=self._supervisor.pid)
            self._supervisor.kill()

    # -- talk with the scribe ---------------------------------------------------------------------

    def _scribe_readable(self, _mask: int) -> None:
        self._read_scribe()

    def _read_scribe(self) -> None:
        own = self._scribe.channel
        while own is not None and (packets := own.receive()):
            for data, _ in packets:
                try:
                    self._hear(channel.decode(data))
                except Exception as error:  # noqa: BLE001  # as above
                    self._journal.write("error", "scribe.bad_message", reason=repr(error))
        if own is not None:
            self._mind(own, self._scribe_readable)

    def _hear(self, message: dict[str, Any]) -> None:
        said = message["said"]
        if said == "pong":
            if self._scribe_pulse.answered(message["id"]):
                self._scribe.settled()
        elif said == "done":
            self._runs.streams.done(message["stream"])
        elif said == "dropped":
            self._dropped[message["path"]] = [message["bytes"], message["lines"]]
            self._untold_notes.append({"dropped": {message["path"]: message["bytes"]}})
        elif said in ("trouble", "resumed"):
            level = "error" if said == "trouble" else "info"
            self._journal.write(
                level, f"log.{said}", path=message["path"], reason=message.get("reason")
            )

    def _send_to_scribe(self, message: dict[str, Any]) -> None:
        if self._scribe.channel is not None:
            self._scribe.channel.send(channel.encode(message))

    def _tell_scribe(self) -> None:
        own = self._scribe.channel
        if own is None or own.is_blocked:
            return
        for message, descriptors in self._runs.streams.pages():
            own.send(channel.encode(message), descriptors)
        self._mind(own, self._scribe_readable)

    # -- the end ----------------------------------------------------------------------------------

    def _end(self, code: int, now_s: float) -> None:
        """Whatever still lives is killed, the last words are written, and the daemon ends."""
        self._ending = code
        self._supervisor.start_at_s = None
        self._supervisor.kill()
        self._runs.kill_all(now_s)
        self._end_at_s = now_s + _LAST_KILL_S

    def _give_up(self, now_s: float) -> None:
        self._ending = exit_codes.INTERNAL_ERROR
        self._supervisor.start_at_s = None
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
                self._journal.close()
                self._runs.streams.retire_all()
                self._tell_scribe()
                self._send_to_scribe({"do": "finish"})
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
        self._runs.close()
        return True


def _is_due(at_s: float | None, now_s: float) -> bool:
    return at_s is not None and now_s >= at_s


def _how(dead: reap.Ended) -> dict[str, object]:
    if dead.signal is not None:
        return {"signal": name_of(dead.signal)}
    return {"code": dead.code}


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
