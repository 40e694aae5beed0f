"""The manager: what a program says to the daemon that it runs for itself."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from supervisord_lite.base.suggest import nearest
from supervisord_lite.config.spec import MAX_SOCKET_PATH_BYTES
from supervisord_lite.manager.daemon import Daemon
from supervisord_lite.manager.document import (
    check_settings,
    check_worker,
    check_workers,
    document,
    is_writable,
    worker_table,
)
from supervisord_lite.manager.errors import (
    AlreadyRunning,
    CircuitBreakerTripped,
    CriticalWorkerFailed,
    InvalidWorker,
    ManagerError,
    WorkerStopped,
)
from supervisord_lite.manager.options import Changes, WorkerOptions
from supervisord_lite.manager.standing import Standing, Trip
from supervisord_lite.manager.targets import Target, launch_of
from supervisord_lite.scribe.note_child import last_lines
from supervisord_lite.worker import target as worker_target

_log = logging.getLogger(__name__)
#: Below the private folder, and below the one at runtime.
_RUNTIME, _SOCKET = "runtime", "control/control.sock"
_PREFIX = "supervisord-lite-"
#: Where the private folder is made when the usual place has too long a path.
_SHORT_BASE = "/tmp"  # noqa: S108  # made by mkdtemp, closed to others
_Handler = TypeVar("_Handler", bound=Callable[..., object])
_DEFAULT = WorkerOptions()
#: How long the handler of a trip waits for the first line of a log, and between two looks.
_LAST_WORDS_S = 1.0
_PAUSE_S = 0.02


class Manager:
    """Workers of this process: registered, started, stopped, all together. Safe to use in threads.

    A context manager: leaving it stops what runs.
    """

    def __init__(
        self,
        *,
        state_dir: str | os.PathLike[str] | None = None,
        runtime_dir: str | os.PathLike[str] | None = None,
        log_dir: str | os.PathLike[str] | None = None,
        log_level: str = "warning",
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            state_dir: Where the reason of an escalation is kept; None: in a private temporary
                folder, which is removed at the end.
            runtime_dir: Where the control socket is; None: there too.
            log_dir: A file for each worker's output; None: it goes where ours goes.
            log_level: Of the daemon's own lines on stderr: "debug", "info", "warning", "error".

        Raises:
            ManagerError: There is no such level, or a folder's name is not UTF-8.
        """
        self._given = {"state_dir": state_dir, "runtime_dir": runtime_dir, "log_dir": log_dir}
        check_settings(self._given, log_level)
        self._log_level = log_level
        self._workers: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self._daemon: Daemon | None = None
        self._done = threading.Event()
        self._critical_handler: Callable[[CriticalWorkerFailed], object] | None = None
        self._trip_handler: Callable[[Trip], object] | None = None

    def __enter__(self) -> Self:
        """Return the manager itself; it is not started."""
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Stop what runs."""
        self.stop()

    # -- before the start --------------------------------------------------------------------------

    def register(
        self,
        target: Target,
        *,
        name: str = "",
        options: WorkerOptions = _DEFAULT,
        **changes: Unpack[Changes],
    ) -> str:
        """Add a worker; return its name.

        Args:
            target: A command (a list of words, or one text), a function or class that another
                process can import, or "package.module:name".
            name: Of the worker; without one, that of the program, function or class.
            options: How it lives.
            changes: Fields of *options*, to be changed for this worker.

        Raises:
            AlreadyRunning: The manager runs.
            InvalidWorker: Name, target or options are wrong, and why; nothing was added.
        """
        if worker_target.importing:
            return name  # a worker looks for its target in our caller's file, and starts nothing
        options = options.replace(changes)
        launch = launch_of(target, options.config)
        name = name or launch.name
        if not name:
            message = "a worker needs a name"
            raise InvalidWorker(message, hint='register(target, name="web")')
        table = worker_table(launch, options, inherit=not self._given["log_dir"])
        check_worker(name, table)
        with self._lock:
            if self.is_running:
                message = f"worker {name} cannot be registered: the manager is running"
                raise AlreadyRunning(message, hint="register before start(), or stop() first")
            if name in self._workers:
                message = f"there is a worker {name} already"
                raise InvalidWorker(message, hint="for more instances of one worker: pool_size=")
            self._workers[name] = table
        return name

    def on_critical_failure(self, handler: _Handler) -> _Handler:
        """Call *handler* with the `CriticalWorkerFailed`, once, when everything has been stopped.

        It runs in a thread of its own and may do anything. One handler; the last one counts.
        """
        self._critical_handler = handler
        return handler

    def on_trip(self, handler: _Handler) -> _Handler:
        """Call *handler* with a `Trip` for each breaker that opens; as above."""
        self._trip_handler = handler
        return handler

    # -- running -----------------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._daemon is not None and not self._daemon.done.is_set()

    @property
    def done(self) -> threading.Event:
        """Set when everything has ended: see the package. Each start has an event of its own."""
        return self._done

    @property
    def pid(self) -> int | None:
        """The daemon's main process; None while there is none."""
        daemon = self._daemon
        return daemon.pid if daemon is not None and not daemon.done.is_set() else None

    @property
    def control_path(self) -> str | None:
        """Its control socket, for `supervisord-lite --socket`; None before the first start."""
        return None if self._daemon is None else self._daemon.control_path

    @property
    def workers(self) -> Mapping[str, Standing]:
        """How each worker stands, by name: "web", or "web-1" … of a pool. A copy."""
        if self._daemon is None:
            return {}
        with self._daemon.changed:
            return dict(self._daemon.standings)

    def start(self) -> None:
        """Start the daemon, which starts all workers at once; return when it answers.

        A `stop` in another thread ends this too, at any point: it returns, and `done` is set.

        Raises:
            AlreadyRunning: It runs.
            InvalidWorker: Workers that were registered do not fit together.
            DaemonFailed: It could not be started.
        """
        with self._lock:
            if self.is_running:
                message = "the manager is running"
                raise AlreadyRunning(message, hint="it is started once; stop() first")
            if worker_target.importing:
                message = f"start() is called while {worker_target.importing[-1]} is being imported"
                hint = 'put it below: if __name__ == "__main__":'
                raise ManagerError(message, hint=hint)
            if self._done.is_set():
                self._done = threading.Event()
            # Known before it is started, so that a stop meanwhile finds it.
            self._daemon, prepare = self._prepared()
            self._daemon.start(prepare)

    def _prepared(self) -> tuple[Daemon, Callable[[], None]]:
        """Return a daemon, and what judges the workers and writes the files that it will read."""
        private = _private_folder()
        folders = {key: str(Path(path).absolute()) for key, path in self._given.items() if path}
        folders.setdefault("state_dir", f"{private}/state")
        folders.setdefault("runtime_dir", f"{private}/{_RUNTIME}")
        control_path = f"{folders['runtime_dir']}/{_SOCKET}"
        settings = {**folders, "log_level": self._log_level, "log_format": "text"}
        config_path, empty_path = (
            Path(private, "supervisord-lite.toml"),
            Path(private, "empty.toml"),
        )
        done = self._done

        def prepare() -> None:
            check_workers(self._workers)
            for path, workers in ((config_path, self._workers), (empty_path, {})):
                path.write_text(document(workers, settings, control_path), encoding="utf-8")

        def ended(error: ManagerError | None) -> None:
            atexit.unregister(self.stop)
            shutil.rmtree(private, ignore_errors=True)
            if isinstance(error, CriticalWorkerFailed) and self._critical_handler is not None:
                _call(self._critical_handler, lambda: error, after=done)

        def tripped(standing: Standing) -> None:
            if self._trip_handler is not None:
                _call(self._trip_handler, lambda: _trip(standing, folders.get("log_dir")))

        daemon = Daemon(
            str(config_path), folders["state_dir"], control_path,
            empty_config_path=str(empty_path), done=done, on_trip=tripped, on_end=ended,
        )  # fmt: skip
        atexit.register(self.stop)
        return daemon, prepare

    def stop(self, timeout_s: float | None = None) -> None:
        """Stop all workers in order and end the daemon; return when nothing lives.

        Fine when nothing runs, and in a forked child, to which the daemon does not belong. How long
        it takes is bounded by each worker's `stop_timeout`. In the handler of a signal that has
        interrupted `start`, it returns at once, and `start` ends when the handler has.

        Args:
            timeout_s: How long to wait; what was asked for goes on.

        Raises:
            TimeoutError: The time is over.
        """
        daemon = self._daemon
        if daemon is None or daemon.done.is_set() or os.getpid() != daemon.owner_pid:
            return  # of a forked child it is not
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        daemon.ask_to_stop(timeout_s)
        if daemon.is_starting_here:
            return  # what ends it goes on below us
        left_s = None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
        if not daemon.done.wait(left_s):
            message = f"the workers are not stopped after {timeout_s:g}s"
            raise TimeoutError(message)

    # -- waiting -----------------------------------------------------------------------------------

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until everything has ended.

        Raises:
            CriticalWorkerFailed: That is why it has ended.
            DaemonFailed: It has ended for another reason than its workers or a stop.
            TimeoutError: The time is over.
        """
        daemon = self._daemon
        if daemon is None:
            return
        if not daemon.done.wait(timeout_s):
            message = f"the workers have not ended after {timeout_s:g}s"
            raise TimeoutError(message)
        if daemon.error is not None:
            raise daemon.error

    def wait_ready(self, name: str = "", timeout_s: float | None = None) -> None:
        """Wait until a worker is ready, all of a pool, or without a name every worker.

        Raises:
            CircuitBreakerTripped: One of them has failed too often; also a critical one.
            CriticalWorkerFailed: Everything has ended because of another one.
            WorkerStopped: One of them has ended or was stopped, or nothing runs.
            TimeoutError: The time is over.
        """
        daemon = self._daemon
        if daemon is None:
            message = "the manager was not started"
            raise WorkerStopped(message)
        with daemon.changed:
            if not daemon.changed.wait_for(lambda: _is_ready(daemon, name), timeout_s):
                message = f"{name or 'the workers'} not ready after {timeout_s:g}s"
                raise TimeoutError(message)


def _is_ready(daemon: Daemon, name: str) -> bool:
    """Return whether it is; raise what means that it never will be."""
    standings = daemon.standings
    meant = [each for each in standings.values() if not name or name in (each.name, each.pool)]
    if standings and not meant:
        near = nearest(name, standings)
        message = f"no worker {name!r}"
        raise InvalidWorker(message, hint=f"did you mean {near}?" if near else "")
    for each in meant:
        # Before the end that it has led to: which of the two is heard first is chance.
        trip = daemon.tripped.get(each.name)
        if trip is not None:
            raise CircuitBreakerTripped(trip.name, trip.failures, trip.reason)
    if daemon.done.is_set() and daemon.error is not None:
        raise daemon.error
    is_over = daemon.done.is_set()
    if meant and all(each.ready for each in meant) and not is_over:
        return True
    for each in meant:
        if is_over or (each.at_rest and not each.ready):
            message = f"worker {each.name} is {each.state}"
            raise WorkerStopped(message if not each.reason else f"{message}: {each.reason}")
    if is_over:
        message = "everything has ended"
        raise WorkerStopped(message)
    return False


def _trip(standing: Standing, log_dir: str | None) -> Trip:
    lines: list[str] = []
    if log_dir is not None:
        # The end of a process may be told before its last words are on the disk.
        deadline_s = time.monotonic() + _LAST_WORDS_S
        while not lines and time.monotonic() < deadline_s:
            lines = last_lines(f"{log_dir}/{standing.name}.log")
            time.sleep(_PAUSE_S)
    return Trip(
        name=standing.name,
        reason=standing.reason,
        failures=standing.failures,
        window_s=standing.window_s,
        at=datetime.now(UTC),
        last_lines=tuple(lines),
    )


def _call(
    handler: Callable[..., object],
    argument: Callable[[], object],
    *,
    after: threading.Event | None = None,
) -> None:
    """Call a handler in a thread of its own: it may wait for what only our thread can bring.

    With *after* the thread waits for that event, which our thread is about to set. It is started
    before: once that is set the program may end, and then ends no earlier than its handlers.
    """

    def in_turn() -> None:
        if after is not None:
            after.wait()
        guarded()

    def guarded() -> None:
        try:
            handler(argument())
        except Exception:  # noqa: BLE001  # its fault is its own, and it is logged
            _log.exception("a handler of the manager failed")

    try:
        threading.Thread(target=in_turn, name="supervisord-lite-handler").start()
    except RuntimeError:  # the interpreter is about to end
        guarded()


def _private_folder() -> str:
    """Return a new folder that is closed to others, and short enough for a socket in it."""
    folder = tempfile.mkdtemp(prefix=_PREFIX)
    is_long = len(os.fsencode(f"{folder}/{_RUNTIME}/{_SOCKET}")) > MAX_SOCKET_PATH_BYTES
    if is_long or not is_writable(folder):
        Path(folder).rmdir()
        folder = tempfile.mkdtemp(prefix=_PREFIX, dir=_SHORT_BASE)
    return folder
