"""Supervisor (supervisord) from PyPI."""

import http.client
import resource
import shlex
import socket
import time
import xmlrpc.client
from collections.abc import Sequence
from pathlib import Path

from tests.bench.contender import LOG_BACKUPS, LOG_MAX_BYTES, Command
from tests.bench.contenders.peer import VenvPeer


class Supervisor(VenvPeer):
    """One process; a start counts at once (startsecs=0)."""

    name = "supervisor"
    requirements = ("supervisor==4.3.0", "setuptools<80")
    ends_by_force = True  # one program after another

    def prepare(self, commands: Sequence[Command]) -> list[str]:
        """Write a [program] for each command."""
        most = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 4 * len(commands) + 1024)
        factory = "supervisor.rpcinterface:make_main_rpcinterface"
        head = (
            f"[supervisord]\nnodaemon=true\npidfile=pid\nlogfile=own.log\nminfds={most}\n"
            f"[unix_http_server]\nfile={self._socket}\n"
            f"[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = {factory}\n"
            f"[supervisorctl]\nserverurl=unix://{self._socket}\n"
        )
        sections = [head]
        (self.folder / "log").mkdir(exist_ok=True)
        for command in commands:
            log = self.folder / "log" / f"{command.name}.log" if command.logged else "NONE"
            sections.append(
                f"[program:{command.name}]\ncommand={shlex.join(command.argv)}\n"
                f"redirect_stderr=true\nstdout_logfile={log}\n"
                f"stdout_logfile_maxbytes={LOG_MAX_BYTES}\nstdout_logfile_backups={LOG_BACKUPS}\n"
            )
            if not command.as_shipped:
                sections.append("autorestart=true\nstartsecs=0\n")
        self._file.write_text("".join(sections))
        return [self.tool("supervisord"), "-c", str(self._file)]

    @property
    def _file(self) -> Path:
        return self.folder / "supervisord.conf"

    @property
    def _socket(self) -> str:
        return str(self.folder / "s")

    def _control(self, *words: str) -> list[str]:
        return [self.tool("supervisorctl"), "-c", str(self._file), *words]

    def status_command(self) -> list[str]:
        """Return the command line."""
        return self._control("status")

    def ask(self, count: int) -> list[float]:
        """Call getAllProcessInfo over XML-RPC; reading the answer is part of it."""
        took_s = []
        body = xmlrpc.client.dumps((), "supervisor.getAllProcessInfo")
        connection = _UnixConnection(self._socket)
        for _ in range(count):
            begun_s = time.perf_counter()
            connection.request("POST", "/RPC2", body, {"Content-Type": "text/xml"})
            xmlrpc.client.loads(connection.getresponse().read())
            took_s.append(time.perf_counter() - begun_s)
        connection.close()
        return took_s

    def reload(self, commands: Sequence[Command]) -> None:
        """Write another file, and type `update`."""
        self.prepare(commands)
        self.call(self._control("update"))


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)
