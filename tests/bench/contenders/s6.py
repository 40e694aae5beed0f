"""s6 as Debian has it."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from tests.bench.contender import LOG_BACKUPS, LOG_MAX_BYTES, Command
from tests.bench.contenders.service_folders import ServiceFolders


class S6(ServiceFolders):
    """s6-svscan, a s6-supervise for each command, a s6-log for each logged one."""

    name = "s6"
    program = "s6-svscan"

    def logger(self, command: Command, log: Path) -> str:
        """Return s6-log's words."""
        del command
        return f"s6-log n{LOG_BACKUPS} s{LOG_MAX_BYTES} {shlex.quote(str(log))}"

    def scan(self) -> list[str]:
        """Return s6-svscan's words: room for all of them, and for one logger each."""
        most = 2 * len(list(self.services.iterdir())) + 100
        return ["s6-svscan", "-c", str(most), str(self.services)]

    def status_command(self) -> list[str]:
        """Return a loop: s6-svstat takes one folder, and there is no socket."""
        folder = shlex.quote(str(self.services))
        return ["sh", "-c", f"cd {folder} && for each in *; do s6-svstat $each || exit; done"]

    def reload(self, commands: Sequence[Command]) -> None:
        """Restart what has changed, and let it look for what is new."""
        for folder in self.changed(commands):
            self.call(["s6-svc", "-r", str(folder)])
        self.call(["s6-svscanctl", "-a", str(self.services)])
