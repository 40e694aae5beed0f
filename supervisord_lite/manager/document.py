"""The configuration file that a manager writes, and what is wrong with it said per worker."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from supervisord_lite.config.effective import written_text
from supervisord_lite.config.errors import ConfigurationError, Problem
from supervisord_lite.config.expand import literal_text
from supervisord_lite.config.load import load
from supervisord_lite.manager.errors import InvalidWorker
from supervisord_lite.manager.options import WorkerOptions, worker_keys
from supervisord_lite.manager.targets import Launch

#: Judged when all workers are known.
_TIES = ("requires", "after")


def worker_table(launch: Launch, options: WorkerOptions, *, inherit: bool) -> dict[str, Any]:
    """Return the table of one worker.

    Args:
        launch: Of its target.
        options: How it lives.
        inherit: Whether output goes where ours goes, each stream by itself.
    """
    table = worker_keys(options)
    if inherit:
        table["log"] = {"stdout": "inherit", "stderr": "inherit", **table.get("log", {})}
    command = launch.command
    if launch.environment and isinstance(command, list):
        command = [literal(command[0]), *command[1:]]
    table["command"] = command
    table["directory"] = options.directory or literal(str(Path.cwd()))
    environment = {**launch.environment, **options.environment}
    if environment:
        table["environment"] = environment
    return table


def literal(text: str) -> str:
    """Return what the configuration file means by exactly this text, for every instance."""
    return written_text(literal_text(text))


def document(
    workers: Mapping[str, Mapping[str, Any]], settings: Mapping[str, str], control_path: str
) -> str:
    """Return the text of the whole file.

    Args:
        workers: Their tables, by name.
        settings: Of [supervisor].
        control_path: Where the control socket is to be.
    """
    tables: dict[str, Any] = {
        "supervisor": {name: written_text(value) for name, value in settings.items()},
        "control": {"path": written_text(control_path)},
    }
    if workers:
        tables["worker"] = dict(workers)
    return tomli_w.dumps(tables)


def check_worker(name: str, table: Mapping[str, Any]) -> None:
    """Judge one worker by itself.

    Raises:
        InvalidWorker: With everything that is wrong.
    """
    alone = {key: value for key, value in table.items() if key not in _TIES}
    _check(f"worker {name}", {name: alone})


def check_workers(workers: Mapping[str, Mapping[str, Any]]) -> None:
    """Judge all workers together: whether what they require is there, and no circle.

    Raises:
        InvalidWorker: With everything that is wrong.
    """
    if workers:
        _check("the workers", workers)


def _check(subject: str, workers: Mapping[str, Mapping[str, Any]]) -> None:
    with tempfile.TemporaryDirectory(prefix="supervisord-lite-") as folder:
        path = Path(folder) / "workers.toml"
        try:
            text = tomli_w.dumps({"worker": dict(workers)})
        except TypeError as error:
            message = f"{subject}: {error}"
            raise InvalidWorker(message) from None
        path.write_text(text, encoding="utf-8")
        try:
            load(str(path), environ=os.environ, as_root=os.geteuid() == 0)
        except ConfigurationError as error:
            lines = [_told(problem) for problem in error.problems]
            message = f"{subject}: " + "\n".join(lines)
            raise InvalidWorker(message) from None


def _told(problem: Problem) -> str:
    """Return a problem as whoever wrote no file reads it."""
    hint = f" ({problem.hint})" if problem.hint else ""
    return f"{problem.message}{hint}"
