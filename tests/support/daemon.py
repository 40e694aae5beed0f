"""The real daemon, started as a user starts it, in a folder of its own."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Self

from supervisord_lite.control.nulls import with_nulls
from tests.support import leftovers
from tests.support.wait import wait_until

MARKER = "SDL_TEST_DAEMON"
CHECKOUT = Path(__file__).parents[2]
MODULE = (sys.executable, "-m", "supervisord_lite")
_MANAGER = "io.supervisordlite.Manager"
#: What a service manager or a surrounding daemon sets would change what is tested.
_SCRUBBED = ("NOTIFY_", "LISTEN_", "WATCHDOG_", "SUPERVISORD_LITE_", "RUNTIME_DIR", "STATE_DIR",
             "LOGS_DIR", "XDG_", "INVOCATION_ID", "JOURNAL_STREAM")  # fmt: skip


class MethodFailedError(Exception):
    """The daemon answered a call with an error: its name and parameters."""


def clean_environment(extra: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """Return our environment without what would change a daemon, plus *extra* (None unsets)."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(_SCRUBBED)}
    try:
        metadata.version("supervisord-lite")
    except metadata.PackageNotFoundError:  # not installed here: run it from the checkout
        environment["PYTHONPATH"] = str(CHECKOUT)
    changed = {**environment, **(extra or {})}
    return {key: value for key, value in changed.items() if value is not None}


class Daemon:
    """One daemon and its files; a context manager that starts it and proves its clean end.

    Attributes:
        folder: Short; holds `supervisord-lite.toml`, `state/`, `runtime/`, `log/`,
            `c/control.sock` and `output`. Workers find it as @DIR@ in *workers*.
        process: The main process, which is the keeper.
        run_argv: The command for `run`, where it is another one.
        pass_fds: What `run` inherits.
        exit_status: What the end must bring; set it in a test that brings about another one.
    """

    def __init__(
        self,
        workers: str,
        *,
        supervisor: str = "",
        environment: Mapping[str, str | None] | None = None,
        argv: Sequence[str] = MODULE,
        log_dir: bool = True,
    ) -> None:
        """Write the configuration; nothing runs yet.

        Args:
            workers: The [worker.NAME] tables.
            supervisor: More keys of [supervisor].
            environment: Added to the daemon's; None unsets.
            argv: The command to start it, without a verb.
            log_dir: Whether the file names a log folder; without, workers inherit our output.
        """
        self.argv = tuple(argv)
        self.folder = leftovers.short_folder()
        self.folder.chmod(0o755)
        self.config = self.folder / "supervisord-lite.toml"
        self.control_path = self.folder / "c/control.sock"
        self.exit_status = 0
        self.run_argv: Sequence[str] = ()
        self.pass_fds: Sequence[int] = ()
        self._log_dir = log_dir
        self._token = secrets.token_hex(8)
        self.environment = clean_environment(environment) | {MARKER: self._token}
        self.process: subprocess.Popen[bytes] | None = None
        self._output = self.folder / "output"
        self.write(workers, supervisor=supervisor)

    def write(self, workers: str, *, supervisor: str = "") -> None:
        """Replace the configuration file."""
        folders = ["state_dir", "runtime_dir"] + ["log_dir"] * self._log_dir
        head = "".join(f'{key} = "{self.folder}/{key[:-4]}"\n' for key in folders)
        text = (
            f'[supervisor]\n{head}{supervisor}\n[control]\npath = "{self.control_path}"\n{workers}'
        )
        self.config.write_text(text.replace("@DIR@", str(self.folder)))

    # Start and end.

    def __enter__(self) -> Self:
        """Start it and wait until it answers."""
        try:
            self.start()
        except BaseException:
            self._report("the daemon did not come up")
            self.clear_away()
            raise
        return self

    def start(self) -> None:
        """Start it, again if it has ended, and wait until control answers.

        Raises:
            AssertionError: It ended, or did not answer in time.
        """
        self.launch()
        wait_until(self._is_answering, what="control answers", timeout_s=20)

    def launch(self) -> None:
        """Start it, and do not wait."""
        assert self.process is None or self.process.poll() is not None
        with self._output.open("ab") as output:
            self.process = subprocess.Popen(
                [*(self.run_argv or self.argv), "run", "-c", str(self.config)],
                pass_fds=self.pass_fds,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment,
                cwd=self.folder,
                start_new_session=True,
            )

    def _is_answering(self) -> bool:
        assert self.process is not None
        status = self.process.poll()
        assert status is None, f"the daemon ended with {status} before it answered"
        try:
            self.call("org.varlink.service.GetInfo")
        except OSError:
            return False
        return True

    def stop(self, number: signal.Signals = signal.SIGTERM, *, timeout_s: float = 20.0) -> int:
        """Send *number* to the main process; return the exit status (negative: a signal)."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout_s)

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        """End it by SIGTERM and check that its exit status is right and that nothing is left."""
        if kind is not None:
            self._report(f"the test failed: {kind.__name__}")
        try:
            self._check_end()
        except (AssertionError, subprocess.TimeoutExpired) as failure:
            if kind is None:
                self._report(f"the end failed: {failure}")
                raise
        finally:
            self.clear_away()

    def _check_end(self) -> None:
        status = self.stop()
        assert status == self.exit_status, f"exit status {status}, not {self.exit_status}"
        wait_until(
            lambda: not self.marked_pids(),
            what="no process of the daemon lives",
            timeout_s=5,
            on_timeout=lambda: "\n".join(map(leftovers.describe, self.marked_pids())),
        )

    def clear_away(self) -> None:
        """Kill whatever is left of it."""
        leftovers.kill(self.marked_pids())
        if self.process is not None:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()
        # The folder stays until the session ends: it may hold a mount of the test's.

    def _report(self, why: str) -> None:
        text = f"--- {why}; {self.config}:\n{self.config.read_text()}--- output:\n{self.output()}"
        if self.process is not None and self.process.poll() is None:
            try:
                text += f"--- status:\n{json.dumps(self.call(f'{_MANAGER}.Status', names=[]))}"
            except (OSError, MethodFailedError) as error:
                text += f"--- status: {error!r}"
        sys.stderr.write(f"{text}\n")

    # Talking to it.

    def ctl(
        self, verb: str, *arguments: str, check: bool = False, timeout_s: float = 30.0
    ) -> subprocess.CompletedProcess[str]:
        """Run `supervisord-lite VERB --socket … ARGUMENTS`; with *check* it must succeed."""
        argv = [*self.argv, verb, "--socket", str(self.control_path), *arguments]
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout_s,
            env=self.environment,
            cwd=self.folder,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{verb} {arguments}: {done.returncode}\n{done.stderr}"
        return done

    def call(self, method: str, *, timeout_s: float = 10.0, **parameters: object) -> dict[str, Any]:
        """Call a varlink method and return its (first) reply; cheap, so made for waiting.

        A status has every field, also those that are null.

        Raises:
            OSError: Nobody answers, or hangs up.
            MethodFailedError: The reply is an error.
        """
        request = json.dumps({"method": method, "parameters": parameters}).encode() + b"\0"
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(self.control_path))
            connection.sendall(request)
            received = b""
            while b"\0" not in received:
                piece = connection.recv(65536)
                if not piece:
                    raise ConnectionResetError(received)
                received += piece
        reply: dict[str, Any] = json.loads(received.partition(b"\0")[0])
        if "error" in reply:
            raise MethodFailedError(reply["error"], reply.get("parameters"))
        parameters_out: dict[str, Any] = reply.get("parameters", {})
        if method.endswith(".Status"):
            parameters_out["workers"] = [with_nulls(each) for each in parameters_out["workers"]]
        return parameters_out

    def status(self) -> dict[str, Any]:
        """Return what `status --json` prints."""
        status: dict[str, Any] = json.loads(self.ctl("status", "--json", check=True).stdout)
        return status

    def answers(self) -> bool:
        """Return whether a supervisor answers now."""
        try:
            self.workers()
        except OSError:
            return False
        return True

    def workers(self) -> dict[str, dict[str, Any]]:
        """Return the workers by name, as on the wire (`started_at_s`, not `uptime_s`)."""
        reply = self.call(f"{_MANAGER}.Status", names=[])
        return {worker["name"]: worker for worker in reply["workers"]}

    def wait_state(self, name: str, *states: str, timeout_s: float = 10.0) -> dict[str, Any]:
        """Wait until worker *name* is in one of *states*; return it."""

        def reached() -> dict[str, Any] | None:
            try:
                worker = self.workers().get(name)
            except OSError:  # the supervisor is being replaced
                return None
            return worker if worker and worker["state"] in states else None

        what = f"{name} is {' or '.join(states)}"
        return wait_until(reached, what=what, timeout_s=timeout_s)

    # Its processes and texts.

    @property
    def keeper_pid(self) -> int:
        """The main process."""
        assert self.process is not None
        return self.process.pid

    @property
    def supervisor_pid(self) -> int:
        """The keeper's child that runs as supervisor; waits while it is being replaced."""
        return self._role_pid("supervisor")

    @property
    def scribe_pid(self) -> int:
        """The keeper's child that runs as scribe; waits while it is being replaced."""
        return self._role_pid("scribe")

    def _role_pid(self, role: str) -> int:
        def find() -> int | None:
            keeper = Path(f"/proc/{self.keeper_pid}")
            for pid in (keeper / f"task/{self.keeper_pid}/children").read_text().split():
                try:
                    words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
                except OSError:  # it has ended
                    continue
                if role in words[:6] and any(word.endswith("resident.py") for word in words[:5]):
                    return int(pid)
            return None

        return wait_until(find, what=f"a {role} runs")

    def kill_supervisor(self) -> int:
        """SIGKILL the supervisor and wait until the next one answers; return the new pid."""
        return self._replace("supervisor")

    def kill_scribe(self) -> int:
        """SIGKILL the scribe and wait until the next one runs; return its pid."""
        return self._replace("scribe")

    def _replace(self, role: str) -> int:
        old = self._role_pid(role)
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: not leftovers.is_alive(old), what=f"{role} {old} is dead")
        new = self._role_pid(role)
        wait_until(self._is_answering, what="control answers")
        return new

    def marked_pids(self) -> set[int]:
        """Return the living processes that inherited this daemon's marker."""
        return leftovers.marked(MARKER, self._token)

    def output(self) -> str:
        """Return what the daemon itself printed."""
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    def events(self, *names: str) -> list[dict[str, Any]]:
        """Return what the daemon has told so far of these events; of all without names."""
        lines = [line for line in self.output().splitlines() if line.startswith("{")]
        events: list[dict[str, Any]] = [json.loads(line) for line in lines]
        return [event for event in events if not names or event["event"] in names]

    def log(self, name: str) -> str:
        """Return the current log of worker or pool *name*, empty while there is none."""
        path = self.folder / "log" / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""
