"""What is measured: something that keeps commands alive, in a folder of its own, for one run."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import psutil

from tests.bench import sweep
from tests.bench.births import Births
from tests.bench.cost import settle
from tests.bench.native import Natives
from tests.support import leftovers
from tests.support.daemon import clean_environment
from tests.support.wait import wait_until

#: Where the Python workers are.
PYTHON_FOLDER = Path(__file__).parent / "python"
_STOP_S = 60.0
_FLEETING_S = 0.2
_LOOKS = 10
_GRACE_S = 10.0  #: After a failure: it is then killed.
_CALL_S = 120.0
LOG_MAX_BYTES = 50 * 1024 * 1024
LOG_BACKUPS = 20


@dataclass(frozen=True)
class Command:
    """One command to keep alive.

    Attributes:
        logged: Its output is kept in rotated log files; else it is thrown away.
        as_shipped: The contender's own policy of restarts holds; else it is started again at once,
            and always, or as near to that as the contender can be set.
    """

    name: str
    argv: tuple[str, ...]
    logged: bool = False
    as_shipped: bool = False


class Contender(ABC):
    """One of those compared. A context manager: at its end nothing of it is left.

    Attributes:
        name: In the report.
        patience: As given.
        abstains: Why it takes no part in a workload, by the workload's name.
        folder: Of this run: configuration, logs, births.
        births: What its children have stamped.
        launched_ns: When it was started, on CLOCK_MONOTONIC.
        process: Its main process, once started.
    """

    name: ClassVar[str]
    abstains: ClassVar[Mapping[str, str]] = {}
    #: What ends it and its children.
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    #: Exit statuses that are a good end.
    good_ends: ClassVar[frozenset[int]] = frozenset({0})
    #: Its end takes long, and is measured elsewhere: it is killed.
    ends_by_force: ClassVar[bool] = False

    def __init__(self, natives: Natives, parent: Path, *, patience: float = 1.0) -> None:
        """Make the folder *parent*/NAME-…; nothing runs yet.

        Args:
            natives: The child and the floor.
            parent: Where the folder is made.
            patience: How much of the usual waits for rest; below 1 for tests of the bench itself.
        """
        self.natives = natives
        self.patience = patience
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=parent))
        self.births = Births(self.folder / "births")
        self.births.check = self.check_lives
        self.launched_ns = 0
        self._token = f"{os.getpid()}-{secrets.token_hex(8)}"
        self.process: subprocess.Popen[bytes] | None = None

    # -- what each says of itself -----------------------------------------------------------------

    @classmethod
    def missing(cls) -> str:
        """Return why it cannot take part here, and what to do about it; empty if it can."""
        return ""

    @classmethod
    @abstractmethod
    def version(cls) -> str:
        """Return what takes part."""

    @abstractmethod
    def prepare(self, commands: Sequence[Command]) -> list[str]:
        """Write the configuration; return the command line that runs it in the foreground."""

    def prepare_python(self, count: int) -> list[str]:
        """Do the same for so many Python workers: here an interpreter for each."""
        worker = (sys.executable, str(PYTHON_FOLDER / "worker.py"), str(self.births.path))
        names = [f"b{index:04d}" for index in range(count)]
        return self.prepare([Command(name, (*worker, name)) for name in names])

    def status_command(self) -> list[str]:
        """Return the command line that shows how all commands are."""
        raise NotImplementedError

    def ask(self, count: int) -> list[float]:
        """Ask the same without a command, *count* times; return the seconds of each.

        Returns nothing where there is nobody to ask.
        """
        del count
        return []

    def ask_states(self, count: int) -> list[float]:
        """Ask only for the state of each, by name, where there is such a question."""
        del count
        return []

    def reload(self, commands: Sequence[Command]) -> None:
        """Make what runs follow another list; may return before that is done."""
        raise NotImplementedError

    def control_pid(self) -> int:
        """Return who answers `ask`."""
        raise NotImplementedError

    def request_stop(self) -> None:
        """Ask it to end, with all its children."""
        assert self.process is not None
        self.process.send_signal(self.stop_signal)

    def log_files(self, name: str) -> list[Path]:
        """Return where the output of a logged command is now, in any order."""
        return list((self.folder / "log").glob(f"{name}.log*"))

    def label(self, process: psutil.Process) -> str:
        """Return a word for one of its own processes."""
        return process.name()

    def facts(self) -> dict[str, object]:
        """Return what a reader should know about this run, beside its figures."""
        return {}

    def environment(self) -> dict[str, str]:
        """Return what its main process finds in its environment, beside the usual."""
        return {}

    # -- the run ----------------------------------------------------------------------------------

    def start(self, commands: Sequence[Command]) -> None:
        """Start it; `births` tells when which command runs."""
        self._launch(self.prepare(commands))

    def start_python(self, count: int) -> None:
        """Start it with so many Python workers."""
        self._launch(self.prepare_python(count))

    def _launch(self, argv: Sequence[str]) -> None:
        extra = {sweep.MARKER: self._token, **self.environment()}
        with (self.folder / "output").open("wb") as output:
            self.launched_ns = time.monotonic_ns()
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=clean_environment(extra), cwd=self.folder, start_new_session=True,
            )  # fmt: skip

    def call(self, argv: Sequence[str]) -> str:
        """Run a command to its end; return what it prints.

        Raises:
            AssertionError: It fails.
        """
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            env=clean_environment({sweep.MARKER: self._token}), cwd=self.folder, timeout=_CALL_S,
        )  # fmt: skip
        said = f"{done.stderr[-500:]}{done.stdout[-500:]}"
        assert done.returncode == 0, f"{argv[:4]} ended with {done.returncode}: {said}"
        return done.stdout

    def own(self) -> dict[int, str]:
        """Return its own processes, without the commands: pid to label."""
        assert self.process is not None
        self.births.read()
        root = psutil.Process(self.process.pid)
        found = {}
        for process in [root, *root.children(recursive=True)]:
            if process.pid not in self.births.pids:
                with contextlib.suppress(psutil.NoSuchProcess):
                    found[process.pid] = self.label(process)
        return found

    def lasting(self) -> dict[int, str]:
        """Return its own processes, without a command that has not yet stamped its birth."""
        found = self.own()
        self.pause(_FLEETING_S)
        again = self.own()
        return {pid: label for pid, label in found.items() if pid in again}

    def rest(self, quiet_s: float) -> None:
        """Wait until it has used (nearly) no CPU for so long; give up in silence after a while."""
        for is_last in (*[False] * _LOOKS, True):
            try:
                settle(self.own(), quiet_s=quiet_s * self.patience)
                break
            except FileNotFoundError:  # one was just ending
                if is_last:
                    raise

    def pause(self, seconds: float) -> None:
        """Let some time pass."""
        time.sleep(seconds * self.patience)

    def output(self) -> str:
        """Return what it printed itself."""
        return (self.folder / "output").read_text(errors="replace")

    def check_end(self) -> None:
        """Wait for its end after `request_stop`.

        Raises:
            AssertionError: It ended badly, or something of it is still alive.
        """
        assert self.process is not None
        try:
            status = self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired as error:
            text = f"{self.name} has not ended after {_STOP_S:g} s: {self.output()[-500:]}"
            raise AssertionError(text) from error
        assert status in self.good_ends, f"{self.name} ended with {status}: {self.output()[-500:]}"
        wait_until(
            lambda: not self._left(), what=f"nothing of {self.name} lives",
            timeout_s=_STOP_S, every_s=0.05,
        )  # fmt: skip

    def _left(self) -> set[int]:
        return leftovers.marked(sweep.MARKER, self._token)

    def __enter__(self) -> Self:
        """Nothing is started before `start`."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        """Stop it if it runs; kill what is left; remove the folder."""
        try:
            if kind is None and self.is_running() and not self.ends_by_force:
                self.request_stop()
                self.check_end()
        finally:
            self._clear_away(is_patient=kind is not None and not self.ends_by_force)
            self.births.close()
            shutil.rmtree(self.folder)

    def check_lives(self) -> None:
        """Raise AssertionError when its main process has ended."""
        status = self.process and self.process.poll()
        assert status is None, f"{self.name} has ended with {status}: {self.output()[-500:]}"

    def is_running(self) -> bool:
        """Return whether its main process lives."""
        return self.process is not None and self.process.poll() is None

    def _clear_away(self, *, is_patient: bool) -> None:
        if self.process is None:
            return
        if is_patient and self.is_running():
            self.process.send_signal(self.stop_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_GRACE_S)
        if self.is_running():
            # Its own ones first: who is dead starts nobody again. Not all carry the marker.
            leftovers.kill(set(self.own()))
            self.process.wait()
        while left := self._left():  # one may just have started another
            leftovers.kill(left)


def executable(path: Path, text: str) -> None:
    """Write a shell script that may be executed."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
