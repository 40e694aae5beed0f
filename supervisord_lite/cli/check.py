"""`check`: judge a configuration, offline, with the code that the daemon reads it with."""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
from typing import TYPE_CHECKING

from supervisord_lite.base import exit_codes
from supervisord_lite.base.errors import SupervisordLiteError
from supervisord_lite.base.record import fields_of
from supervisord_lite.base.suggest import nearest
from supervisord_lite.cli.errors import UsageError
from supervisord_lite.cli.text import count, fold, printable
from supervisord_lite.config.defaults import default_config_path
from supervisord_lite.config.errors import ConfigurationError, render
from supervisord_lite.config.load import judge

if TYPE_CHECKING:
    from collections.abc import Iterable

    from supervisord_lite.cli.interpreters import Imported, Interpreter
    from supervisord_lite.config.load import Judged
    from supervisord_lite.config.show import Line

    Pythons = tuple[list[Interpreter], list[Imported]]

#: Where the origins stand, and what stands behind them.
_VALUE_COLUMNS = 34
_ORIGIN_COLUMNS = 21
#: Of a target that was imported.
_TARGET_COLUMNS = 30
_MAX_NAME_COLUMNS = 20


class NoSuchWorkerError(SupervisordLiteError):
    """The configuration has no worker of that name."""

    exit_code = exit_codes.NO_SUCH_WORKER

    def __init__(self, name: str, known: Iterable[str]) -> None:
        """Take the *name* that was asked for, and those that there are."""
        near = nearest(name, known)
        super().__init__("no such worker" + (f"; did you mean {near}?" if near else ""))
        self.subject = name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `check` understands."""
    what = "the configuration file; no pipe and not -, as for run"
    parser.add_argument("-c", "--config", metavar="FILE", help=what)
    parser.add_argument(
        "--show", metavar="NAME", help="print each key of a worker, and where it comes from"
    )
    parser.add_argument(
        "--with",
        metavar="FILE=CANDIDATE",
        action="append",
        default=[],
        dest="candidates",
        help="judge the configuration as it would be with CANDIDATE in place of FILE",
    )
    what = "import each Python target in its own interpreter, and judge its arguments"
    parser.add_argument("--imports", action="store_true", help=what)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print whether the configuration is good, or everything that is wrong with it (exit 78).

    Raises:
        NoSuchWorkerError: The worker to show is not there.
        UsageError: A candidate is not for any file.
    """
    gc.disable()  # everything that is read is needed until the end
    as_root = os.geteuid() == 0
    path = arguments.config or default_config_path(os.environ, as_root=as_root)
    instead = dict(map(_candidate, arguments.candidates))
    try:
        judged = judge(path, environ=os.environ, as_root=as_root, instead=instead)
        pythons = None if arguments.show is not None else _pythons(judged, arguments)
    except ConfigurationError as error:
        if arguments.json:
            print(_json(path, None, error))
        else:
            print(f"{error} Nothing was changed.", file=sys.stderr)
        return error.exit_code
    if arguments.show is not None:
        _show(arguments.show, judged, as_json=arguments.json)
    elif arguments.json:
        print(_json(path, judged, None, pythons))
    else:
        _print(path, judged, pythons)
    return exit_codes.OK


def _pythons(judged: Judged, arguments: argparse.Namespace) -> Pythons | None:
    """Return what is known of the interpreters, and of the targets where these are imported.

    Raises:
        ConfigurationError: One is missing, or a target is not as the configuration has it.
    """
    if not any(spec.launch.python for spec in judged.configuration.specs):
        return None
    from supervisord_lite.cli.interpreters import Interpreters

    interpreters = Interpreters(judged)
    imported = []
    names = [spec.pool for spec in judged.configuration.specs if spec.launch.python]
    columns = min(max(map(len, names)), _MAX_NAME_COLUMNS)
    for each in interpreters.imports() if arguments.imports else ():
        imported.append(each)
        if not arguments.json:
            name, target = f"{each.worker:{columns}}", f"{each.target:{_TARGET_COLUMNS}}"
            line = f"{name}  {target}  ok, {each.ms:.0f} ms"
            print(fold(line, indent=2))
    if interpreters.problems:
        raise ConfigurationError(
            interpreters.problems, warnings=judged.warnings, files=judged.files
        )
    return interpreters.found, imported


def _candidate(text: str) -> tuple[str, str]:
    file, equals, candidate = text.partition("=")
    if not (file and equals and candidate):
        message = f'--with {text}: write "--with FILE=CANDIDATE"'
        raise UsageError(message)
    return os.path.abspath(file), candidate  # noqa: PTH100  # keeps symlinks


def _print(path: str, judged: Judged, pythons: Pythons | None) -> None:
    if judged.warnings:
        print(render(judged.warnings, "warning"), file=sys.stderr)
    workers, processes = _counts(judged)
    parts = [count(workers, "worker"), count(processes, "process")]
    if len(judged.files) > 1:
        parts.append(count(len(judged.files), "file"))
    verdict = "ok" if not judged.warnings else f"ok, {count(len(judged.warnings), 'warning')}"
    for each in pythons[0] if pythons else ():
        line = f"Python {each.version}: {each.path}: {', '.join(each.workers)}"
        print(fold(line, indent=2))
    print(f"{printable(path)}: {', '.join(parts)}: {verdict}")


def _show(name: str, judged: Judged, *, as_json: bool) -> None:
    if name not in judged.tables:
        raise NoSuchWorkerError(name, judged.tables)
    from supervisord_lite.config.show import show

    lines = show(name, judged, credentials=os.environ.get("CREDENTIALS_DIRECTORY"))
    if as_json:
        keys = [line._asdict() for line in lines]
        print(json.dumps({"worker": name, "keys": keys}, ensure_ascii=False))
        return
    for line in lines:
        print(_row(line))


def _row(line: Line) -> str:
    notes = (
        f"via {line.via}" if line.via else "",
        line.note,
        f"({line.beaten})" if line.beaten else "",
    )
    note = "  ".join(filter(None, notes))
    text, origin = printable(line.text()), printable(line.origin)
    where = f"{origin:{_ORIGIN_COLUMNS}}  {printable(note)}".rstrip()
    if len(text) >= _VALUE_COLUMNS:
        return f"{text}\n{'':{_VALUE_COLUMNS}}{where}"
    return f"{text:{_VALUE_COLUMNS}}{where}"


def _counts(judged: Judged) -> tuple[int, int]:
    specs = judged.configuration.specs
    return len(specs), sum(spec.pool_size for spec in specs)


def _json(
    path: str,
    judged: Judged | None,
    error: ConfigurationError | None,
    pythons: Pythons | None = None,
) -> str:
    workers, processes = _counts(judged) if judged else (None, None)
    warnings = error.warnings if error else judged.warnings if judged else ()
    found = {
        "file": path,
        "files": list(error.files if error else judged.files if judged else ()),
        "ok": error is None,
        "workers": workers,
        "processes": processes,
        "errors": [problem._asdict() for problem in error.problems] if error else [],
        "warnings": [problem._asdict() for problem in warnings],
        "interpreters": [fields_of(each) for each in pythons[0]] if pythons else [],
        "imports": [fields_of(each) for each in pythons[1]] if pythons else [],
    }
    return json.dumps(found, ensure_ascii=False)
