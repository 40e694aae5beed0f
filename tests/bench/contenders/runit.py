"""runit as Debian has it."""

import os
import shlex
import signal
from collections.abc import Sequence
from pathlib import Path

from tests.bench.contender import LOG_BACKUPS, LOG_MAX_BYTES, Command
from tests.bench.contenders.service_folders import ServiceFolders


class Runit(ServiceFolders):
    """runsvdir, a runsv for each command, a svlogd for each logged one."""

    name = "runit"
    program = "runsvdir"
    stop_signal = signal.SIGHUP
    good_ends = frozenset({111})  # runsvdir(8)

    def logger(self, command: Command, log: Path) -> str:
        """Return svlogd's words."""
        del command
        (log / "config").write_text(f"s{LOG_MAX_BYTES}\nn{LOG_BACKUPS}\n")
        return f"svlogd {shlex.quote(str(log))}"

    def scan(self) -> list[str]:
        """Return runsvdir's words."""
        os.utime(self.services, (1, 1))  # a folder changed just now is looked at a second later
        return ["runsvdir", str(self.services)]

    def status_command(self) -> list[str]:
        """Return `sv status` of all folders; there is no socket."""
        return ["sv", "status", *map(str, sorted(self.services.iterdir()))]

    def reload(self, commands: Sequence[Command]) -> None:
        """Type `sv restart` for what has changed; what is new is found by itself."""
        if changed := self.changed(commands):
            self.call(["sv", "restart", *map(str, changed)])
