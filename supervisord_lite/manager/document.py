"""The configuration file that a manager writes, and what is wrong with it said per worker."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tomli_w

from supervisord_lite.base.log_line import LEVELS
from supervisord_lite.config.effective import written_text
from supervisord_lite.config.errors import ConfigurationError, Problem
from supervisord_lite.config.expand import literal_text
from supervisord_lite.config.load import load
from supervisord_lite.manager.errors import InvalidWorker, ManagerError
from supervisord_lite.manager.options import WorkerOptions, worker_keys
from supervisord_lite.manager.targets import Launch

#: Judged when all workers are known.
_TIES = ("requires", "after")
#: No key of a worker is as deep, and no number of a configuration as long, by far.
_DEEPEST = 20
_MOST_BITS = 10_000


def worker_table(launch: Launch, options: WorkerOptions, *, inherit: bool) -> dict[str, Any]:
    """Return the table of one worker.

    Args:
        launch: Of its target.
        options: How it lives.
        inherit: Whether output goes where ours goes, each stream by itself.

    Raises:
        InvalidWorker: An option is nothing that a file could hold, or there is no folder to run in.
    """
    table = worker_keys(options)
    log, own = table.get("log", {}), table.get("environment", {})
    if inherit and isinstance(log, Mapping):
        table["log"] = {"stdout": "inherit", "stderr": "inherit", **log}
    command = launch.command
    if launch.environment and isinstance(command, list):
        command = [literal(command[0]), *command[1:]]
    table["command"] = command
    table["directory"] = options.directory or table.get("directory") or _current_folder()
    if isinstance(own, Mapping) and (launch.environment or own or options.environment):
        table["environment"] = {**launch.environment, **own, **options.environment}
    return table


def _current_folder() -> str:
    try:
        return literal(str(Path.cwd()))
    except OSError as error:
        message = f"the current folder cannot be found: {error.strerror}"
        raise InvalidWorker(message, hint="say where it runs: directory=") from None


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


def check_settings(folders: Mapping[str, str | os.PathLike[str] | None], log_level: object) -> None:
    """Judge what a manager is made with.

    Raises:
        ManagerError: With what is wrong first.
    """
    if log_level not in LEVELS:
        message = f"log_level: {log_level!a} is not a log level"
        raise ManagerError(message, hint=f"one of: {', '.join(LEVELS)}")
    for key, path in folders.items():
        if path is not None and not is_writable(os.fspath(path)):
            message = f"{key}: {os.fspath(path)!a} is not UTF-8"
            raise ManagerError(message, hint="folders are written into a file, which is UTF-8")


def check_worker(name: str, table: Mapping[str, Any]) -> None:
    """Judge one worker by itself.

    Raises:
        InvalidWorker: With everything that is wrong.
    """
    subject = f"worker {_printable(name)}"
    misfits = [*_misfits(name, ("name",)), *_misfits(table)]
    if misfits:
        message = f"{subject}: " + "\n".join(misfits)
        raise InvalidWorker(message)
    alone = {key: value for key, value in table.items() if key not in _TIES}
    _check(subject, {name: alone})


def check_workers(workers: Mapping[str, Mapping[str, Any]]) -> None:
    """Judge all workers together: whether what they require is there, and no circle.

    Raises:
        InvalidWorker: With everything that is wrong.
    """
    if workers:
        _check("the workers", workers)


def is_writable(text: str) -> bool:
    """Return whether a configuration file can hold *text*: a path need not be UTF-8."""
    return text.isascii() or _printable(text) == text


def _printable(text: object) -> str:
    return str(text).encode(errors="backslashreplace").decode()


def _misfits(value: object, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Tell what no file can hold, by its key."""
    key = ".".join(map(_printable, path))
    if len(path) > _DEEPEST:
        yield f"{'.'.join(path[:3])} …: is too deep"
    elif isinstance(value, str):
        if not is_writable(value):
            yield f"{key}: {value!a} is not UTF-8, as all that is written into a file must be"
    elif isinstance(value, int):
        if value.bit_length() > _MOST_BITS:
            yield f"{key}: got a very large number"
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            inside = (*path, str(name))
            yield from _misfits(inner if is_writable(str(name)) else name, inside)
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value, start=1):
            yield from _misfits(item, (*path, f"item {number}"))


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
