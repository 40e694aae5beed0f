"""`check`: judge a configuration file, offline, with the code that the daemon reads it with."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING

from supervisord_lite.base import exit_codes
from supervisord_lite.cli.text import count, printable
from supervisord_lite.config.defaults import default_config_path
from supervisord_lite.config.errors import ConfigurationError
from supervisord_lite.config.load import load

if TYPE_CHECKING:
    from supervisord_lite.config.spec import Configuration


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `check` understands."""
    parser.add_argument("-c", "--config", metavar="FILE", help="the configuration file")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print whether the file is good, or everything that is wrong with it (exit 78)."""
    as_root = os.geteuid() == 0
    path = arguments.config or default_config_path(os.environ, as_root=as_root)
    try:
        configuration = load(path, environ=os.environ, as_root=as_root)
    except ConfigurationError as error:
        if arguments.json:
            print(_json(path, None, error))
        else:
            print(f"{error} Nothing was changed.", file=sys.stderr)
        return error.exit_code
    if arguments.json:
        print(_json(path, configuration, None))
    else:
        workers, processes = _counts(configuration)
        totals = f"{count(workers, 'worker')}, {count(processes, 'process')}"
        print(f"{printable(path)}: {totals}: ok")
    return exit_codes.OK


def _counts(configuration: Configuration) -> tuple[int, int]:
    specs = configuration.specs
    return len(specs), sum(spec.pool_size for spec in specs)


def _json(path: str, configuration: Configuration | None, error: ConfigurationError | None) -> str:
    workers, processes = _counts(configuration) if configuration else (None, None)
    found = {
        "file": path,
        "ok": error is None,
        "workers": workers,
        "processes": processes,
        "errors": [problem._asdict() for problem in error.problems] if error else [],
    }
    return json.dumps(found, ensure_ascii=False)
