"""supervisord_lite itself, started as a user starts it."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from tests.bench.contender import LOG_BACKUPS, LOG_MAX_BYTES, Command, Contender

_ROLES = ("keeper", "supervisor", "scribe")

#: Started at once and always again: the least waiting that the configuration allows.
_DEFAULTS = """
[defaults]
restart = "always"
ready = "spawned"
stable_run_period = "1s"
max_restarts = 1000
backoff.min = "1ms"
backoff.max = "1ms"
backoff.jitter = false
"""


class Ours(Contender):
    """The daemon of this checkout."""

    name = "ours"

    def prepare(self, commands: Sequence[Command]) -> list[str]:
        """Write one [worker.NAME] table for each command."""
        folders = "".join(f'{key}_dir = "{key}"\n' for key in ("state", "runtime", "log"))
        tables = [f'[supervisor]\n{folders}[control]\npath = "control.sock"\n{_DEFAULTS}']
        for command in commands:
            # A list of texts is written alike in JSON and in TOML.
            tables.append(f"[worker.{command.name}]\ncommand = {json.dumps(command.argv)}\n")
            if command.logged:
                tables.append(f"log.max_size = {LOG_MAX_BYTES}\nlog.backups = {LOG_BACKUPS}\n")
            else:
                tables.append('log.stdout = "null"\nlog.stderr = "null"\n')
        path = self.folder / "workers.toml"
        path.write_text("".join(tables))
        return [sys.executable, "-m", "supervisord_lite", "run", "-c", str(path)]

    def label(self, process: psutil.Process) -> str:
        """Return the role of one of the daemon's processes."""
        return next((word for word in process.cmdline() if word in _ROLES), "loader")

    def facts(self) -> dict[str, object]:
        """Tell whether each worker lives in a cgroup of its own, which costs something."""
        places = [Path(f"/proc/{pid}/cgroup") for pid in self.births.pids]
        own = Path("/proc/self/cgroup").read_text()
        return {"cgroup_each": any(p.exists() and p.read_text() != own for p in places)}
