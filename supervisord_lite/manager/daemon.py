"""One run of the daemon as our child: from its start to its end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from supervisord_lite.base import exit_codes
from supervisord_lite.base.errors import SupervisordLiteError
from supervisord_lite.base.own_command import own_command, without_ours
from supervisord_lite.control.client import ANSWER_TIMEOUT_S, Client
from supervisord_lite.manager.errors import CriticalWorkerFailed, DaemonFailed, ManagerError
from supervisord_lite.manager.standing import Standing, standing_of, standings_of_note
from supervisord_lite.scribe.note import LAST_ESCALATION

#: How long it may take until control answers; judging the file and its folders come first.
START_S = 30.0
#: A start that has failed: how long its end may take in order, and then by SIGKILL to all workers.
ORDERED_END_S = 15.0
END_AT_ONCE_S = 15.0
#: Between two looks for the control socket, and for the end of a daemon that does not answer.
_PAUSE_S = 0.01
_AGAIN_S = 0.1


class Daemon:
    """A daemon that belongs to this process.

    Attributes:
        control_path: Of its control socket.
        owner_pid: The process that it belongs to.
        standings: How each worker stands, by name; to be read under `changed`.
        tripped: How those stood whose breaker was found open; they may be stopped since.
        changed: Notified with each change of these, and at the end.
        error: Why it ended, if not because it was asked to; known when `done` is set.
        done: Set when it has ended.
    """

    def __init__(
        self,
        config_path: str,
        state_dir: str,
        control_path: str,
        *,
        empty_config_path: str | None,
        done: threading.Event,
        on_trip: Callable[[Standing], None],
        on_end: Callable[[ManagerError | None], None],
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            config_path: Of the configuration file.
            state_dir: As in that file.
            control_path: As in that file.
            empty_config_path: Of a file with the same folders and no workers: a daemon with it
                ends what is left by one that was killed.
            done: Set at the end.
            on_trip: Told of each breaker that opens, on the thread that follows.
            on_end: Told at the end, before *done* is set, with `error`.
        """
        self.owner_pid = os.getpid()
        self._config_path = config_path
        self._state_dir = state_dir
        self._empty_config_path = empty_config_path
        self.control_path = control_path
        self._on_trip = on_trip
        self._on_end = on_end
        self._process: subprocess.Popen[bytes] | None = None
        self._asked = threading.Event()  # to stop; in whatever thread
        self._was_signalled = False
        self._signalling = threading.RLock()  # a signal's handler may come in between
        self._starter: int | None = None  # ident of the thread
        self.standings: dict[str, Standing] = {}
        self.tripped: dict[str, Standing] = {}
        self.changed = threading.Condition()
        self.error: ManagerError | None = None
        self.done = done

    @property
    def pid(self) -> int | None:
        """Return the pid of its main process; None before it is started."""
        return None if self._process is None else self._process.pid

    def start(self, prepare: Callable[[], None]) -> None:
        """Start it, and return when control answers; or, stopped meanwhile, when it ends.

        A stop in another thread may come at any point of this. It says so first and looks for the
        process then; here it is the other way round, so that one of the two always sees the other.

        Args:
            prepare: Called first: it judges and writes the files.

        Raises:
            DaemonFailed: It has ended, or does not answer; its words are on stderr.
            ManagerError: What *prepare* raises, whatever that is.
        """
        self._starter = threading.get_ident()
        try:
            prepare()
            if self._asked.is_set():
                self._finish()
                return
            self._process = self._launched()
            self._wait_until_it_answers(self._process)
            threading.Thread(target=self._follow, daemon=True, name="supervisord-lite").start()
        except BaseException:
            self._abandon()
            raise
        finally:
            self._starter = None
        if self._asked.is_set():
            self.ask_to_stop()  # the signal may not have been heard: a child inherits SIG_IGN

    @property
    def is_starting_here(self) -> bool:
        """Whether this very thread is inside `start`, and now in the handler of a signal."""
        return self._starter == threading.get_ident()

    def _launched(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*own_command(), "run", "-c", self._config_path, "--owner", str(self.owner_pid)],
            stdin=subprocess.DEVNULL,
            env=without_ours(os.environ),
            # One Ctrl-C is one signal, and it is for this process.
            start_new_session=True,
        )

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        deadline_s = time.monotonic() + START_S
        while True:
            if self._asked.is_set():
                self._signal_once()
            status = process.poll()
            if status is not None and self._is_in_order(status):
                return
            if status is not None:
                message = f"the daemon ended with {status} before it answered"
                raise DaemonFailed(message, status, hint="what it said is on stderr")
            try:
                with Client(self.control_path) as client:
                    client.call("Version")
            except SupervisordLiteError:
                if time.monotonic() >= deadline_s:
                    message = f"the daemon does not answer at {self.control_path}"
                    raise DaemonFailed(message, 0) from None
                time.sleep(_PAUSE_S)
            else:
                return

    def ask_to_stop(self, timeout_s: float | None = None) -> None:
        """Ask for the ordered stop; harmless before its start, at its end, and a second time.

        Args:
            timeout_s: How long to wait for the answer; None: as long as for any. Without one, for
                whatever reason, a signal is left behind, which its main process keeps until
                somebody can hear it.
        """
        self._asked.set()
        limit_s = ANSWER_TIMEOUT_S if timeout_s is None else timeout_s
        limit_s = max(_PAUSE_S, min(limit_s, ANSWER_TIMEOUT_S))
        try:
            with Client(self.control_path, answer_timeout_s=limit_s) as client:
                client.call("Shutdown")
        except (SupervisordLiteError, OSError):
            # It may have ended, or just cannot be asked there: its socket was removed, say.
            self._signal_once()

    def _signal_once(self) -> None:
        process = self._process
        with self._signalling:
            if process is None or process.poll() is not None or self._was_signalled:
                return
            # Once only: a second signal would take the stop ladders from the workers.
            self._was_signalled = True
            process.terminate()

    def _is_in_order(self, status: int) -> bool:
        """Return whether a daemon that was asked to stop has done so.

        Our signal kills it only before it listens for signals, when no worker was started yet, and
        when it has done everything and its interpreter ends.
        """
        is_ours = self._was_signalled and status == -signal.SIGTERM
        return self._asked.is_set() and (is_ours or status == exit_codes.OK)

    def _abandon(self) -> None:
        """Give up a start that has failed: in order, then at once, then by force."""
        process = self._process
        try:
            if process is not None and not _ends_in_time(process):
                process.kill()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(END_AT_ONCE_S)
                self._end_what_is_left()
        finally:
            self._finish()

    def _finish(self) -> None:
        try:
            self._on_end(self.error)
        finally:
            self.done.set()
            with self.changed:
                self.changed.notify_all()

    # -- the thread that follows -------------------------------------------------------------------

    def _follow(self) -> None:
        process = self._process
        assert process is not None
        while process.poll() is None:
            try:
                with Client(self.control_path) as client:
                    for answer in client.stream("Watch", {}):
                        self._take(answer["workers"])
            except SupervisordLiteError:
                # It is about to end, or its supervisor is being replaced: it will answer again.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_AGAIN_S)
        self._end(process.returncode)

    def _take(self, workers: list[dict[str, Any]]) -> None:
        self._hear([standing_of(told) for told in workers])
        with self.changed:
            is_over = all(standing.at_rest for standing in self.standings.values())
        if is_over and not self._asked.is_set():
            self.ask_to_stop()

    def _hear(self, news: list[Standing]) -> None:
        opened = []
        with self.changed:
            for standing in news:
                known = self.tripped.get(standing.name)
                if standing.tripped and (known is None or known.run != standing.run):
                    self.tripped[standing.name] = standing
                    opened.append(standing)
                elif standing.ready:
                    self.tripped.pop(standing.name, None)
                self.standings[standing.name] = standing
            self.changed.notify_all()
        for standing in opened:
            self._on_trip(standing)

    def _end(self, status: int) -> None:
        note = self._note()
        if status == exit_codes.CRITICAL_WORKER or (note and self._is_in_order(status)):
            # It may have ended before this thread was connected: who tripped stands in the note.
            self._hear([each for each in standings_of_note(note) if each.name not in self.tripped])
            self.error = CriticalWorkerFailed(note)
        elif status != exit_codes.OK and not self._is_in_order(status):
            how = f"was killed by signal {-status}" if status < 0 else f"ended with {status}"
            self.error = DaemonFailed(f"the daemon {how}", status)
            self._end_what_is_left()
        self._finish()

    def _end_what_is_left(self) -> None:
        """Start another one on the same folders, without workers: it clears up and is done."""
        if self._empty_config_path is None:
            return
        next_one = Daemon(
            self._empty_config_path, self._state_dir, self.control_path, empty_config_path=None,
            done=threading.Event(), on_trip=lambda _: None, on_end=lambda _: None,
        )  # fmt: skip
        with contextlib.suppress(ManagerError, OSError):
            next_one.start(lambda: None)
            next_one.done.wait(START_S)

    def _note(self) -> dict[str, Any]:
        """Return what the daemon has noted of its end; empty if that is not to be had."""
        try:
            text = (Path(self._state_dir) / LAST_ESCALATION).read_text(encoding="utf-8")
            note: dict[str, Any] = json.loads(text)
            return note if note["daemon"]["pid"] == self.pid else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}


def _ends_in_time(process: subprocess.Popen[bytes]) -> bool:
    """Send SIGTERM, which asks for the ordered stop, and a second one, which kills all workers.

    No call to the control socket: a daemon that could answer one would not be given up.
    """
    for limit_s in (ORDERED_END_S, END_AT_ONCE_S):
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(limit_s)
            return True
    return False
