"""The floors: a loop around vfork and exec (floor.c), a warm interpreter that forks."""

import signal
import socket
import sys
import time
from collections.abc import Sequence

from tests.bench.contender import PYTHON_FOLDER, Command, Contender

#: As long as most of the others wait by themselves before a restart.
_AGAIN_MS = 1000


class Floor(Contender):
    """The least that could do it; one process."""

    name = "floor"

    @classmethod
    def missing(cls) -> str:
        """Return nothing: without a compiler it still has its Python workers."""
        return ""

    @classmethod
    def version(cls) -> str:
        """Return what it is."""
        return "C: vfork and exec, poll, read and write; Python: a warm interpreter that forks"

    def prepare(self, commands: Sequence[Command]) -> list[str]:
        """Write the list of commands."""
        assert self.natives.floor is not None, "there is no C compiler"
        (self.folder / "log").mkdir()
        self._write(commands)
        again_ms = _AGAIN_MS if commands[0].as_shipped else 0
        return [self.natives.floor, "keep", self._list, self._socket, str(again_ms)]

    def prepare_python(self, count: int) -> list[str]:
        """Return the command line of the warm interpreter."""
        names = [f"b{index:04d}" for index in range(count)]
        program = str(PYTHON_FOLDER / "warm_floor.py")
        return [sys.executable, program, str(self.births.path), *names]

    @property
    def _list(self) -> str:
        return str(self.folder / "list")

    @property
    def _socket(self) -> str:
        return str(self.folder / "s")

    def _write(self, commands: Sequence[Command]) -> None:
        lines = []
        for command in commands:
            log = f"{self.folder}/log/{command.name}.log" if command.logged else "-"
            lines.append("\t".join((command.name, log, *command.argv)) + "\n")
        (self.folder / "list").write_text("".join(lines))

    def status_command(self) -> list[str]:
        """Return the command line of its client."""
        assert self.natives.floor is not None
        return [self.natives.floor, "ask", self._socket]

    def ask(self, count: int) -> list[float]:
        """Connect and read, each time anew."""
        return [_ask_s(self._socket) for _ in range(count)]

    def ask_states(self, count: int) -> list[float]:
        """Ask the same: it tells no more."""
        return self.ask(count)

    def reload(self, commands: Sequence[Command]) -> None:
        """Write another list, and say so."""
        assert self.process is not None
        self._write(commands)
        self.process.send_signal(signal.SIGHUP)


class AnsweringFloor(Floor):
    """The floor of an adoption: an interpreter that is started again, binds a socket, answers."""

    name = "floor"

    def prepare(self, commands: Sequence[Command]) -> list[str]:
        """Keep what answers beside the commands."""
        program = str(PYTHON_FOLDER / "answering.py")
        argv = (sys.executable, program, str(self.births.path), "answering", self._answers_at)
        return super().prepare([*commands, Command("answering", argv)])

    @property
    def _answers_at(self) -> str:
        return str(self.folder / "a")

    def ask(self, count: int) -> list[float]:
        """Ask who answers."""
        return [_ask_s(self._answers_at) for _ in range(count)]

    def control_pid(self) -> int:
        """Return the youngest that answers."""
        self.births.read()
        return self.births.latest("answering").pid


def _ask_s(path: str) -> float:
    begun_s = time.perf_counter()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(path)
        received = b""
        while piece := connection.recv(65536):
            received += piece
    took_s = time.perf_counter() - begun_s
    if not received:
        raise ConnectionResetError(path)
    return took_s
