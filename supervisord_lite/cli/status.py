"""`status [NAME...]`: what runs, how it is, and what needs somebody."""

import argparse
import json
import os
import shlex
import sys
from typing import Any

from supervisord_lite import __version__
from supervisord_lite.base import exit_codes
from supervisord_lite.cli import colour, place, snapshot, table, terminal
from supervisord_lite.cli.detail import detail
from supervisord_lite.cli.disk import changed_files
from supervisord_lite.cli.text import COLUMNS, clock_time, count, fold, printable
from supervisord_lite.config.defaults import default_config_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("names", metavar="NAME", nargs="*", help="only these; default all")
    parser.add_argument("-a", "--all", action="store_true", help="a line for each instance")
    parser.add_argument(
        "--check",
        action="store_true",
        help="print only what is not as wanted, and exit 1 if there is anything; "
        "without NAME also a file that was refused",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print the status."""
    with place.connect(arguments) as client:
        answer = client.call("Status", {"names": arguments.names, "samples": True})
    status = snapshot.snapshot(answer)
    wrong = [worker for worker in status["workers"] if not snapshot.as_wanted(worker)]
    # Who asks for some workers does not ask for the file of all.
    refused = [] if arguments.names else _refused_file(status["supervisor"])
    if arguments.json:
        if arguments.check:
            status["workers"] = wrong
        print(json.dumps(status, indent=2 if sys.stdout.isatty() else None))
    elif arguments.check:
        for line in (*table.wrong_lines(wrong), *refused):
            print(line)
    else:
        print("\n".join(_text(status, arguments)))
    return exit_codes.FAILED if arguments.check and (wrong or refused) else exit_codes.OK


def _refused_file(supervisor: dict[str, Any]) -> list[str]:
    """Return what to know about a file that was refused; nothing where none was."""
    errors = supervisor["config_errors"]
    if not errors:
        return []
    what = f"the file on disk has {count(int(errors.get('count') or 1), 'error')}"
    since = clock_time(str(errors.get("at") or ""))
    path, check = str(supervisor["config"] or ""), "supervisord-lite check"
    if path and path != default_config_path(os.environ, as_root=os.geteuid() == 0):
        check += f" -c {shlex.quote(path)}"
    return [fold(f"! {what} since {since} (reload refused): {check}", indent=2)]


def _about_the_file(supervisor: dict[str, Any], command: str) -> list[str]:
    """Return what to know about a configuration that is not in force."""
    refused = _refused_file(supervisor)
    if refused:
        return refused
    changed = changed_files(supervisor["config_files"] or {})
    if not changed:
        return []
    more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
    text = f"! {changed[0]}{more} differs from what is in force: {command} reload --dry-run"
    return [fold(text, indent=2)]


def _other_version(supervisor: dict[str, Any], command: str) -> list[str]:
    """Return what to know about a daemon of another version than this command."""
    runs = supervisor["version"]
    if runs in (None, __version__):
        return []
    return [f"! version {__version__} is installed, {printable(str(runs))} runs: {command} upgrade"]


def _text(status: dict[str, Any], arguments: argparse.Namespace) -> list[str]:
    """Return the lines for people."""
    workers = status["workers"]
    assert isinstance(workers, list)
    if len(arguments.names) == 1 and not arguments.all and len({w["name"] for w in workers}) == 1:
        command, about = place.command(arguments), status["supervisor"]
        return [line for worker in workers for line in detail(worker, command, about)]
    columns_max = terminal.columns() if sys.stdout.isatty() else COLUMNS
    lines = []
    if workers:
        lines = table.table(
            workers, every_instance=arguments.all, columns_max=columns_max,
            in_colour=colour.is_wanted(),
        )  # fmt: skip
    lines.append(table.totals(status))
    troubles = table.problems(status, place.command(arguments))
    troubles += _about_the_file(status["supervisor"], place.command(arguments))
    troubles += _other_version(status["supervisor"], place.command(arguments))
    return lines + [colour.warning(line) if colour.is_wanted() else line for line in troubles]
