"""`reload`: put the configuration on the disk in force; only what changed is touched."""

import argparse
import json
import sys
from collections.abc import Iterable
from typing import Any

from supervisord_lite.base import exit_codes
from supervisord_lite.cli import place
from supervisord_lite.cli.text import clock_time, count, fold, printable
from supervisord_lite.control.errors import ConfigurationRefusedError, ReplacedError

#: The daemon itself gives up on a file after half a minute, and one may be read before ours.
_ANSWER_TIMEOUT_S = 75.0
#: Most columns of names.
_MAX_COLUMNS = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--dry-run", action="store_true", help="only say what would change")
    parser.add_argument(
        "--exit-code", action="store_true", help="with --dry-run: 1 if something would change"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Reload, and print what that changes."""
    with place.connect(arguments, answer_timeout_s=_ANSWER_TIMEOUT_S) as client:
        try:
            answer = client.call("Reload", {"dry_run": arguments.dry_run})
        except ConfigurationRefusedError as error:
            return _refused(arguments, error)
        except ReplacedError as error:
            error.hint = f"the old or the new file is in force, whole: {place.command(arguments)}"
            error.hint += " reload again is harmless"
            raise
    answer = {"ok": True, **answer}
    if arguments.json:
        print(json.dumps(answer))
    else:
        print("\n".join(lines_of(answer, is_dry=arguments.dry_run)))
        if answer.get("warnings"):
            print(_printable_lines(str(answer["warnings"])), file=sys.stderr)
    would_change = arguments.dry_run and arguments.exit_code and answer.get("changed")
    return exit_codes.FAILED if would_change else exit_codes.OK


def _refused(arguments: argparse.Namespace, error: ConfigurationRefusedError) -> int:
    if arguments.json:
        told = {"ok": False, "changed": False, "message": str(error), "errors": error.problems}
        print(json.dumps(told))
    else:
        # As `check` prints them: editors read "file:line:column" at the beginning.
        since = f" of {clock_time(error.since)}" if error.since else ""
        stays = f"The configuration{since} stays in force; nothing was touched."
        space = " " if str(error).endswith(".") else "\n"
        print(_printable_lines(f"{error}{space}{stays}"), file=sys.stderr)
    return exit_codes.FAILED


def _printable_lines(text: str) -> str:
    return "\n".join(printable(line) for line in text.splitlines())


def lines_of(answer: dict[str, Any], *, is_dry: bool) -> list[str]:
    """Return a plan as people read it: a line per worker, then the totals.

    Args:
        answer: Of the method Reload.
        is_dry: Nothing was changed.
    """
    added, modified, removed = (answer.get(key) or [] for key in ("added", "modified", "removed"))
    names = [str(entry.get("pool")) for entry in (*added, *modified, *removed)]
    columns = min(_MAX_COLUMNS, max((len(name) for name in names), default=0))
    lines = []
    for entry in added:
        number = count(int(entry.get("processes") or 0), "new process")
        lines += _entry("+", entry, columns, [f"{number}   {entry.get('origin')}".rstrip()])
    for entry in modified:
        lines += _entry("~", entry, columns, _changes(entry))
    for entry in removed:
        number = count(int(entry.get("processes") or 0), "process")
        lines += _entry("-", entry, columns, [f"stop {number}"])
    kept = answer.get("kept") or []
    if kept:
        lines.append(f"= {count(len(kept), 'worker')} unchanged")
    settings = answer.get("daemon") or []
    lines += [fold(f"~ {_key(key)} (live)", indent=2) for key in settings if key.get("effect")]
    daemon = [key for key in settings if not key.get("effect")]
    if daemon:
        lines.append("! needs a restart of the daemon, and is not in force until then:")
        lines += [fold(f"  {_key(key)}", indent=4) for key in daemon]
    return [*lines, "", _totals(answer, is_dry=is_dry)]


def _entry(mark: str, entry: dict[str, Any], columns: int, texts: Iterable[str]) -> list[str]:
    indent = columns + 3
    lines = []
    start = f"{mark} {printable(str(entry.get('pool'))):<{columns}} "
    for text in texts:
        lines.append(fold(start + text, indent=indent))
        start = " " * indent
    return _kept_indents(lines, indent)


def _kept_indents(lines: list[str], indent: int) -> list[str]:
    """Folding takes the spaces at a line's beginning away: give them back."""
    first, *rest = lines
    return [first, *(line if line.startswith(" ") else " " * indent + line for line in rest)]


def _changes(entry: dict[str, Any]) -> list[str]:
    """Return the lines about one worker: what happens first, then a key in each.

    A plan that is too large for an answer has no keys in it, and no place.
    """
    keys = entry.get("keys") or []
    lines = [_key(key) for key in keys]
    effects = {str(key.get("effect")) for key in keys}
    if len(effects) > 1:
        lines = [f"{_key(key)} ({key.get('effect')})" for key in keys]
    what = str(entry.get("effect"))
    if entry.get("more_first"):
        what += f", {entry['more_first']} more first"
    if entry.get("at_once"):
        what += f", {entry['at_once']} at a time"
    if entry.get("alive"):
        what += f", {count(int(entry['alive']), 'pid')} kept"
    if lines:
        what += f": {lines.pop(0)}"
    return [what, *lines, *filter(None, [entry.get("origin")])]


def _key(key: dict[str, Any]) -> str:
    """Return "stop_timeout 30s -> 45s"."""
    name, old, new = key.get("key"), key.get("old"), key.get("new")
    if str(name).startswith("secrets."):
        what = "is new" if old is None else "is no longer given" if new is None else "has changed"
        return f"secret {str(name).removeprefix('secrets.')} {what}"
    if old == new:
        return f"{name} has changed"
    return f"{name} {'unset' if old is None else old} -> {'unset' if new is None else new}"


def _totals(answer: dict[str, Any], *, is_dry: bool) -> str:
    if not answer.get("changed"):
        return "Nothing would change." if is_dry else "Nothing has changed."
    started, restarted, stopped, left = (
        int(answer.get(key) or 0) for key in ("started", "restarted", "stopped", "left_alone")
    )
    alone = count(left, "process")
    if is_dry:
        verbs = f"Would start {started}, restart {restarted}, stop {stopped} and leave"
    else:
        verbs = f"Starting {started}, restarting {restarted}, stopping {stopped} and leaving"
    return f"{verbs} {alone} alone."
