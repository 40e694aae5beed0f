"""The real daemon on a configuration file of yours, in a folder of its own."""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any, Self

import tomli_w

from supervisord_lite.base import exit_codes
from supervisord_lite.base.errors import SupervisordLiteError
from supervisord_lite.base.own_command import own_command, without_ours
from supervisord_lite.config.effective import written_text
from supervisord_lite.config.expand import literal_text
from supervisord_lite.config.spec import MAX_SOCKET_PATH_BYTES
from supervisord_lite.control.client import Client
from supervisord_lite.control.nulls import with_nulls

_START_S = 30.0
_WAIT_S = 10.0
_STOP_S = 60.0
_PAUSE_S = 0.02
_STATES = (
    "stopped", "waiting", "starting", "running", "stopping", "backoff", "tripped", "probing",
    "exited",
)  # fmt: skip
_MOST_OUTPUT = 4000


class DaemonError(AssertionError):
    """The daemon did not do what the test expects; the message says what it said."""


class Daemon:
    """A daemon that runs between `with` and its end.

    Attributes:
        folder: State, logs (`log/NAME.log`) and what the daemon itself prints (`output`).
        control_path: For `supervisord-lite --socket`.
    """

    def __init__(
        self,
        file: str | os.PathLike[str],
        *,
        folder: str | os.PathLike[str],
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            file: The configuration; relative paths in it mean what they mean without a test.
            folder: An empty folder for everything that the daemon writes: `tmp_path`.
            env: Added to the environment, for `${NAME}` in the file and for the workers. Where the
                tests run in a virtual environment, VIRTUAL_ENV is set in any case.
        """
        self.folder = Path(folder).resolve()
        self._file = Path(file).resolve()
        self._environment = without_ours(os.environ)
        if sys.prefix != sys.base_prefix:
            self._environment.setdefault("VIRTUAL_ENV", sys.prefix)
        self._environment.update(env or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._short = ""
        self._lock = -1
        self.control_path = str(self.folder / "runtime/control/control.sock")

    def __enter__(self) -> Self:
        """Start it, and return when it answers.

        Raises:
            DaemonError: The file has errors, and the message is what `check` says; or it ended; or
                another one runs in this folder.
        """
        try:
            self._occupy()
            config = self._write()
            self._check(config)
            with (self.folder / "output").open("ab") as output:
                self._process = subprocess.Popen(
                    [*own_command(), "run", "-c", config, "--owner", str(os.getpid())],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=self._environment,
                    start_new_session=True,
                )
            self._wait_for_control(self._process)
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Stop it, in order where the test has succeeded so far."""
        try:
            if kind is None:
                self.stop()
            else:
                self._end(_STOP_S)
        finally:
            self._kill()

    # -- what a test asks --------------------------------------------------------------------------

    def status(self, name: str) -> SimpleNamespace:
        """Return how a worker stands, with the fields of `status --json` as attributes.

        Of a pool: its first instance.

        Raises:
            DaemonError: There is no such worker.
        """
        return self._all(name)[0]

    def wait(self, name: str, goal: str, *, timeout_s: float = _WAIT_S) -> SimpleNamespace:
        """Wait until a worker, or every instance of a pool, is as wanted; return `status`.

        Args:
            name: A worker or a pool.
            goal: "ready", or the name of a state: "running", "stopped", "exited", "backoff" …
            timeout_s: How long.

        Raises:
            DaemonError: Not in that time, or it cannot come any more: it has tripped.
        """
        if goal != "ready" and goal not in _STATES:
            message = f'"{goal}" is nothing to wait for: "ready", or one of {", ".join(_STATES)}'
            raise ValueError(message)
        deadline_s = time.monotonic() + timeout_s
        while True:
            found = self._all(name)
            if all(each.ready if goal == "ready" else each.state == goal for each in found):
                return found[0]
            is_late = time.monotonic() >= deadline_s
            if is_late or (goal != "tripped" and any(each.state == "tripped" for each in found)):
                how = f"not within {timeout_s:g} s" if is_late else "its breaker is open"
                message = f"{name} is not {goal}: {how}\n{self._report(found)}"
                raise DaemonError(message)
            time.sleep(_PAUSE_S)

    def kill(self, name: str) -> None:
        """Kill the process of one worker, and return when the daemon knows of it.

        Raises:
            DaemonError: It has none.
        """
        before = self.status(name)
        if before.pid is None:
            message = f"{name} has no process to kill: it is {before.state}"
            raise DaemonError(message)
        with Client(self.control_path) as client:
            client.call("Signal", {"names": [name], "signal": "SIGKILL"})
        deadline_s = time.monotonic() + _WAIT_S
        while self.status(name).pid == before.pid:
            if time.monotonic() >= deadline_s:
                message = f"{name} is still there {_WAIT_S:g} s after SIGKILL"
                raise DaemonError(message)
            time.sleep(_PAUSE_S)

    def log(self, name: str) -> str:
        """Return what a worker has printed; empty while there is nothing."""
        path = self.folder / "log" / f"{name}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def output(self) -> str:
        """Return what the daemon itself has printed."""
        path = self.folder / "output"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def stop(self) -> None:
        """Stop all workers in order, and the daemon; harmless a second time.

        Raises:
            DaemonError: It ended with another status than 0: a critical worker has failed, say.
        """
        status = self._end(_STOP_S)
        if status not in (None, exit_codes.OK):
            message = f"the daemon ended with {status}\n{self.output()[-_MOST_OUTPUT:]}"
            raise DaemonError(message)

    # -- inside ------------------------------------------------------------------------------------

    def _occupy(self) -> None:
        """Keep others out of the folder: two daemons in one would answer for each other."""
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.folder / "in-use", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            message = (
                f"another Daemon runs in {self.folder}: give each a folder of its own, "
                'such as tmp_path / "second"'
            )
            raise DaemonError(message) from None
        except BaseException:
            os.close(descriptor)
            raise
        self._lock = descriptor

    def _write(self) -> str:
        """Write a file that includes the one to be tested, and folders that beat its own."""
        runtime = self.folder / "runtime"
        # The longest name of a socket there is that of a run's own.
        if len(os.fsencode(runtime)) + len("/control/control.sock") > MAX_SOCKET_PATH_BYTES:
            self._short = tempfile.mkdtemp(prefix="supervisord-lite-", dir="/tmp")
            runtime = Path(self._short)
        self.control_path = f"{runtime}/control/control.sock"
        folders = {
            "state_dir": str(self.folder / "state"),
            "runtime_dir": str(runtime),
            "log_dir": str(self.folder / "log"),
        }
        own = {
            "supervisor": {key: _literal(path) for key, path in folders.items()},
            "control": {"path": _literal(self.control_path)},
        }
        included = [written_text(glob.escape(str(self._file))), "folders.toml"]
        (self.folder / "folders.toml").write_text(tomli_w.dumps(own), encoding="utf-8")
        path = self.folder / "daemon.toml"
        text = tomli_w.dumps({"supervisor": {"include": included}})
        path.write_text(text, encoding="utf-8")
        return str(path)

    def _check(self, config: str) -> None:
        done = subprocess.run(
            [*own_command(), "check", "-c", config], env=self._environment, check=False,
            capture_output=True, text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if done.returncode:
            raise DaemonError(done.stderr.strip() or done.stdout.strip())

    def _wait_for_control(self, process: subprocess.Popen[bytes]) -> None:
        deadline_s = time.monotonic() + _START_S
        while True:
            status = process.poll()
            if status is not None or time.monotonic() >= deadline_s:
                how = "does not answer" if status is None else f"ended with {status}"
                message = f"the daemon {how}\n{self.output()[-_MOST_OUTPUT:]}"
                raise DaemonError(message)
            try:
                with Client(self.control_path) as client:
                    client.call("Version")
            except SupervisordLiteError:
                time.sleep(_PAUSE_S)
            else:
                return

    def _all(self, name: str) -> list[SimpleNamespace]:
        try:
            with Client(self.control_path) as client:
                answer = client.call("Status", {"names": [name]})
        except SupervisordLiteError as error:
            message = f"{name}: {error}\n{self.output()[-_MOST_OUTPUT:]}"
            raise DaemonError(message) from None
        return [_namespace(with_nulls(worker)) for worker in answer["workers"]]

    def _report(self, found: list[SimpleNamespace]) -> str:
        lines = [f"{each.name}: {each.state}{_end_of(each)}" for each in found]
        for each in found:
            if not each.ready and self.log(each.name):
                lines += [f"--- {each.name}.log", self.log(each.name)[-_MOST_OUTPUT:].rstrip()]
        return "\n".join(lines)

    def _end(self, timeout_s: float) -> int | None:
        process = self._process
        if process is None:
            return None
        if process.poll() is None:
            process.terminate()
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)  # at once, now
            message = f"the daemon did not stop within {timeout_s:g} s"
            raise DaemonError(message) from None

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(_WAIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._short:
            shutil.rmtree(self._short, ignore_errors=True)
            self._short = ""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)


def _literal(text: str) -> str:
    return written_text(literal_text(text))


def _namespace(value: Any) -> Any:
    if isinstance(value, dict):
        return SimpleNamespace(**{key: _namespace(item) for key, item in value.items()})
    return [_namespace(item) for item in value] if isinstance(value, list) else value


def _end_of(worker: SimpleNamespace) -> str:
    return "" if worker.last_exit is None else f", after {worker.last_exit.reason}"
