"""supervisord_lite itself, started as a user starts it."""

import json
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from supervisord_lite import __version__
from tests.bench.contender import LOG_BACKUPS, LOG_MAX_BYTES, PYTHON_FOLDER, Command, Contender

_MODULE = (sys.executable, "-m", "supervisord_lite")
_ROLES = ("keeper", "supervisor", "scribe", "forkserver")
_MANAGER = "io.supervisordlite.Manager"

#: Started at once and always again: the least waiting that the configuration allows.
_AT_ONCE = """
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

    @classmethod
    def version(cls) -> str:
        """Return the version."""
        return __version__

    def prepare(self, commands: Sequence[Command]) -> list[str]:
        """Write one [worker.NAME] table for each command."""
        tables = [self._head() if commands[0].as_shipped else self._head(_AT_ONCE)]
        for command in commands:
            # A list of texts is written alike in JSON and in TOML.
            tables.append(f"[worker.{command.name}]\ncommand = {json.dumps(command.argv)}\n")
            if command.logged:
                tables.append(f"log.max_size = {LOG_MAX_BYTES}\nlog.backups = {LOG_BACKUPS}\n")
            else:
                tables.append('log.stdout = "null"\nlog.stderr = "null"\n')
        return self._written("".join(tables))

    def prepare_python(self, count: int) -> list[str]:
        """Write one pool of Python workers, which share what they import."""
        return self._written(
            f"{self._head(_AT_ONCE)}"
            f'[worker.b]\npython = "target:run"\ndirectory = "{PYTHON_FOLDER}"\n'
            f'preload = ["stack", "target"]\npool_size = {count}\nconfig.births = '
            f'"{self.births.path}"\nlog.stdout = "null"\nlog.stderr = "null"\n'
        )

    def _head(self, defaults: str = "") -> str:
        folders = "".join(f'{key}_dir = "{key}"\n' for key in ("state", "runtime", "log"))
        return f'[supervisor]\n{folders}[control]\npath = "control.sock"\n[defaults]\n{defaults}'

    def _written(self, text: str) -> list[str]:
        path = self.folder / "workers.toml"
        path.write_text(text)
        return [*_MODULE, "run", "-c", str(path)]

    @property
    def _socket(self) -> str:
        return str(self.folder / "control.sock")

    def status_command(self) -> list[str]:
        """Return `status --all`, which prints a line for each."""
        return [*_MODULE, "status", "--socket", self._socket]

    def ask(self, count: int) -> list[float]:
        """Call Status over one connection; reading the answer is part of it."""
        return self._ask("Status", "workers", count)

    def ask_states(self, count: int) -> list[float]:
        """Call States, as above."""
        return self._ask("States", "states", count)

    def _ask(self, method: str, field: str, count: int) -> list[float]:
        request = {"method": f"{_MANAGER}.{method}", "parameters": {"names": []}}
        took_s = []
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(self._socket)
            for _ in range(count):
                begun_s = time.perf_counter()
                connection.sendall(json.dumps(request).encode() + b"\0")
                answer = json.loads(_until_nul(connection))
                took_s.append(time.perf_counter() - begun_s)
                assert field in answer["parameters"], answer
        return took_s

    def reload(self, commands: Sequence[Command]) -> None:
        """Write another file, and type `reload`."""
        self.prepare(commands)
        self.call([*_MODULE, "reload", "--socket", self._socket])

    def control_pid(self) -> int:
        """Return the supervisor."""
        return next(pid for pid, role in self.own().items() if role == "supervisor")

    def label(self, process: psutil.Process) -> str:
        """Return the role of one of the daemon's processes."""
        line = " ".join(process.cmdline())
        return next((role for role in _ROLES if role in line.replace("supervisord", "")), "keeper")

    def facts(self) -> dict[str, object]:
        """Tell whether each worker lives in a cgroup of its own, which costs something."""
        places = [Path(f"/proc/{pid}/cgroup") for pid in self.births.pids]
        own = Path("/proc/self/cgroup").read_text()
        return {"cgroup_each": any(p.exists() and p.read_text() != own for p in places)}


def _until_nul(connection: socket.socket) -> bytes:
    pieces = []
    while True:
        piece = connection.recv(262144)
        if not piece:
            raise ConnectionResetError
        pieces.append(piece)
        if piece.endswith(b"\0"):
            return b"".join(pieces)[:-1]
