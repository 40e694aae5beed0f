"""What is measured: something that keeps commands alive, in a folder of its own, for one run."""

import contextlib
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import psutil

from tests.bench.births import Births
from tests.bench.native import Natives
from tests.support import leftovers
from tests.support.daemon import clean_environment
from tests.support.wait import wait_until

_MARKER = "SDL_BENCH_RUN"
_STOP_S = 60.0
_GRACE_S = 10.0  #: After a failure: it is then killed.
LOG_MAX_BYTES = 50 * 1024 * 1024
LOG_BACKUPS = 20


@dataclass(frozen=True)
class Command:
    """One command to keep alive; its output is kept in rotated log files, or thrown away."""

    name: str
    argv: tuple[str, ...]
    logged: bool = False


class Contender(ABC):
    """One of those compared. A context manager: at its end nothing of it is left.

    Attributes:
        name: In the report.
        folder: Of this run: configuration, logs, births.
        births: What its children have stamped.
        launched_ns: When it was started, on CLOCK_MONOTONIC.
        process: Its main process, once started.
    """

    name: ClassVar[str]
    #: What ends it and its children.
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    #: Exit statuses that are a good end.
    good_ends: ClassVar[frozenset[int]] = frozenset({0})

    def __init__(self, natives: Natives, parent: Path) -> None:
        """Make the folder; nothing runs yet."""
        self.natives = natives
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=parent))
        self.births = Births(self.folder / "births")
        self.launched_ns = 0
        self._token = secrets.token_hex(8)
        self.process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def prepare(self, commands: Sequence[Command]) -> list[str]:
        """Write the configuration; return the command line that runs it in the foreground."""

    def log_files(self, name: str) -> list[Path]:
        """Return where the output of a logged command is now, in any order."""
        return list((self.folder / "log").glob(f"{name}.log*"))

    def label(self, process: psutil.Process) -> str:
        """Return a word for one of its own processes."""
        return process.name()

    def facts(self) -> dict[str, object]:
        """Return what a reader should know about this run, beside its figures."""
        return {}

    # -- the run ----------------------------------------------------------------------------------

    def start(self, commands: Sequence[Command]) -> None:
        """Start it; `births` tells when which command runs."""
        argv = self.prepare(commands)
        environment = clean_environment({_MARKER: self._token})
        with (self.folder / "output").open("wb") as output:
            self.launched_ns = time.monotonic_ns()
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=environment, cwd=self.folder, start_new_session=True,
            )  # fmt: skip

    def own(self) -> dict[int, str]:
        """Return its own processes, without the commands: pid to label."""
        assert self.process is not None
        self.births.read()
        root = psutil.Process(self.process.pid)
        found = {}
        for process in [root, *root.children(recursive=True)]:
            if process.pid not in self.births.pids:
                found[process.pid] = self.label(process)
        return found

    def output(self) -> str:
        """Return what it printed itself."""
        return (self.folder / "output").read_text(errors="replace")

    def stop(self) -> None:
        """End it as its users do.

        Raises:
            AssertionError: It ended badly, or something of it is still alive.
        """
        assert self.process is not None
        self.process.send_signal(self.stop_signal)
        status = self.process.wait(_STOP_S)
        assert status in self.good_ends, f"{self.name} ended with {status}: {self.output()[-500:]}"
        wait_until(
            lambda: not self._left(), what=f"nothing of {self.name} lives",
            timeout_s=_STOP_S, every_s=0.05,
        )  # fmt: skip

    def _left(self) -> set[int]:
        return leftovers.marked(_MARKER, self._token)

    def __enter__(self) -> Self:
        """Nothing is started before `start`."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        """Stop it if it runs; kill what is left; remove the folder."""
        try:
            if kind is None and self.process is not None:
                self.stop()
        finally:
            self._clear_away()
            self.births.close()
            shutil.rmtree(self.folder)

    def _clear_away(self) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_GRACE_S)
        if self.process.poll() is None:
            leftovers.kill(set(self.own()))  # not all of them carry the marker
            self.process.wait()
        while left := self._left():  # one may just have started another
            leftovers.kill(left)


def executable(path: Path, text: str) -> None:
    """Write a shell script that may be executed."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
