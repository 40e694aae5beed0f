"""circus (circusd) from PyPI."""

import json
import shlex
from collections.abc import Sequence

from tests.bench.contender import LOG_BACKUPS, LOG_MAX_BYTES, PYTHON_FOLDER, Command
from tests.bench.contenders.peer import VenvPeer


class Circus(VenvPeer):
    """One process, a watcher for each command."""

    name = "circus"
    requirements = ("circus==0.19.0",)

    def prepare(self, commands: Sequence[Command]) -> list[str]:
        """Write a [watcher] for each command; none waits for another (warmup_delay)."""
        head = f"endpoint = {self._endpoint('c')}\npubsub_endpoint = {self._endpoint('p')}\n"
        sections = [f"[circus]\n{head}statsd = False\nwarmup_delay = 0\npidfile = pid\n"]
        (self.folder / "log").mkdir(exist_ok=True)
        for command in commands:
            program, *words = command.argv
            sections.append(
                f"[watcher:{command.name}]\ncmd = {program}\nargs = {shlex.join(words)}\n"
                "numprocesses = 1\ncopy_env = True\n"
            )
            if not command.as_shipped:
                sections.append("warmup_delay = 0\nmax_retry = -1\n")
            if command.logged:
                path = self.folder / "log" / f"{command.name}.log"
                sections.append(
                    f"stdout_stream.class = FileStream\nstdout_stream.filename = {path}\n"
                    f"stdout_stream.max_bytes = {LOG_MAX_BYTES}\n"
                    f"stdout_stream.backup_count = {LOG_BACKUPS}\n"
                )
        path = self.folder / "circus.ini"
        path.write_text("".join(sections))
        return [self.tool("circusd"), str(path)]

    def _endpoint(self, name: str) -> str:
        return f"ipc://{self.folder / name}"

    def _control(self, *words: str) -> list[str]:
        endpoint = self._endpoint("c")
        return [self.tool("circusctl"), "--endpoint", endpoint, "--timeout", "60", *words]

    def status_command(self) -> list[str]:
        """Return the command line."""
        return self._control("status")

    def ask(self, count: int) -> list[float]:
        """Send "status" with its own client."""
        program = str(PYTHON_FOLDER / "ask_circus.py")
        said = self.call([self.tool("python"), program, self._endpoint("c"), str(count)])
        took_s: list[float] = json.loads(said)
        return took_s

    def ask_states(self, count: int) -> list[float]:
        """Ask the same: its "status" tells no more."""
        return self.ask(count)

    def reload(self, commands: Sequence[Command]) -> None:
        """Write another file, and type `reloadconfig`."""
        self.prepare(commands)
        self.call(self._control("reloadconfig"))
