"""Supervisors that keep a folder for each service, with a program `run` in it: runit, s6."""

import shlex
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

from tests.bench.contender import Command, executable
from tests.bench.contenders.peer import PackagedPeer


class ServiceFolders(PackagedPeer):
    """What they have in common. What has changed between two lists, their user finds out himself.

    Attributes:
        services: The folder of folders.
    """

    @property
    def services(self) -> Path:
        """Return the folder of folders."""
        return self.folder / "services"

    @abstractmethod
    def logger(self, command: Command, log: Path) -> str:
        """Set up *log*, a new folder; return the words of a logger that writes into it."""

    @abstractmethod
    def scan(self) -> list[str]:
        """Return the command line that runs it, all folders being there."""

    def prepare(self, commands: Sequence[Command]) -> list[str]:
        """Make a service folder for each command."""
        for command in commands:
            self._make(command)
        self._commands = list(commands)
        return self.scan()

    def _make(self, command: Command) -> None:
        service = self.services / command.name
        service.mkdir(parents=True, exist_ok=True)
        executable(service / "run", f"exec {shlex.join(command.argv)}")
        if command.logged:
            log = self.folder / "log" / command.name
            log.mkdir(parents=True)
            (service / "log").mkdir()
            executable(service / "log/run", f"exec {self.logger(command, log)}")

    def changed(self, commands: Sequence[Command]) -> list[Path]:
        """Make what is new or changed; return the folders of those that run already."""
        before = {command.name: command for command in self._commands}
        changed = []
        for command in commands:
            if before.get(command.name) != command:
                self._make(command)
                if command.name in before:
                    changed.append(self.services / command.name)
        self._commands = list(commands)
        return changed

    def log_files(self, name: str) -> list[Path]:
        """Return the logger's present file and the full ones."""
        found = (self.folder / "log" / name).iterdir()
        return [path for path in found if path.name == "current" or path.name[0] == "@"]
