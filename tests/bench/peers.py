"""Others that do the same, where they are installed; set up for their shortest waits."""

import os
import resource
import shlex
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tests.bench.contender import LOG_BACKUPS, LOG_MAX_BYTES, Command, Contender, executable


class Runit(Contender):
    """runsvdir, a runsv for each command, a svlogd for each logged one."""

    name = "runit"
    stop_signal = signal.SIGHUP
    good_ends = frozenset({111})  # runsvdir(8)

    @staticmethod
    def is_installed() -> bool:
        """Return whether it can take part."""
        return shutil.which("runsvdir") is not None

    def prepare(self, commands: Sequence[Command]) -> list[str]:
        """Make a service folder for each command."""
        services = self.folder / "services"
        for command in commands:
            service = services / command.name
            service.mkdir(parents=True)
            executable(service / "run", f"exec {shlex.join(command.argv)}")
            if command.logged:
                log = self.folder / "log" / command.name
                log.mkdir(parents=True)
                (log / "config").write_text(f"s{LOG_MAX_BYTES}\nn{LOG_BACKUPS}\n")
                (service / "log").mkdir()
                executable(service / "log/run", f"exec svlogd {shlex.quote(str(log))}")
        os.utime(services, (1, 1))  # a folder changed just now is looked at a second later
        return ["runsvdir", str(services)]

    def log_files(self, name: str) -> list[Path]:
        """Return svlogd's present file and the full ones."""
        found = (self.folder / "log" / name).iterdir()
        return [path for path in found if path.name == "current" or path.name[0] == "@"]


class PySupervisor(Contender):
    """Supervisor from PyPI, in a virtual environment of its own."""

    name = "supervisor"
    venv: ClassVar[Path]

    def prepare(self, commands: Sequence[Command]) -> list[str]:
        """Write a [program] for each command; a start counts at once (startsecs)."""
        most = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 4 * len(commands) + 1024)
        sections = [f"[supervisord]\nnodaemon=true\npidfile=pid\nlogfile=own.log\nminfds={most}\n"]
        (self.folder / "log").mkdir()
        for command in commands:
            log = self.folder / "log" / f"{command.name}.log" if command.logged else "NONE"
            sections.append(
                f"[program:{command.name}]\ncommand={shlex.join(command.argv)}\n"
                f"autorestart=true\nstartsecs=0\nredirect_stderr=true\nstdout_logfile={log}\n"
                f"stdout_logfile_maxbytes={LOG_MAX_BYTES}\nstdout_logfile_backups={LOG_BACKUPS}\n"
            )
        path = self.folder / "supervisord.conf"
        path.write_text("".join(sections))
        return [str(self.venv / "bin/supervisord"), "-c", str(path)]
