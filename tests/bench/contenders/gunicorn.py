"""gunicorn from PyPI: the reference for forked Python workers."""

from collections.abc import Sequence
from typing import ClassVar

from tests.bench.contender import PYTHON_FOLDER, Command
from tests.bench.contenders.peer import VenvPeer

_NO_COMMANDS = "it keeps Python workers of its own, no commands"
_OF_COMMANDS = (
    "start", "restart", "idle", "flood", "lines", "status", "reload", "stop", "storm", "adoption",
)  # fmt: skip


class Gunicorn(VenvPeer):
    """One application, preloaded, in sync workers."""

    name = "gunicorn"
    requirements = ("gunicorn==23.0.0",)
    abstains: ClassVar = dict.fromkeys(_OF_COMMANDS, _NO_COMMANDS)

    def prepare(self, commands: Sequence[Command]) -> list[str]:
        """Refuse: it abstains."""
        raise NotImplementedError

    def prepare_python(self, count: int) -> list[str]:
        """Return the command line; the application tells of its births."""
        return [
            self.tool("gunicorn"), "--preload", "--workers", str(count), "--config", "python:web",
            "--bind", f"unix:{self.folder / 's'}", "web:application",
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        """Return where the application is, and where it is to tell of births."""
        return {"PYTHONPATH": str(PYTHON_FOLDER), "BENCH_BIRTHS": str(self.births.path)}
