"""`logs [NAME...]`: the last lines of output, and with -f what comes next.

The daemon only says where the files are; they are read here, with the rights of whoever asks. With
-f a connection is held, for its end may be the daemon's; a replaced supervisor is none.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from supervisord_lite.base import exit_codes
from supervisord_lite.base.errors import SupervisordLiteError
from supervisord_lite.cli import place, since, tell
from supervisord_lite.cli.errors import UsageError
from supervisord_lite.cli.logfiles import LogFile
from supervisord_lite.cli.logspan import NoSuchPartError, Wanted, has_marks
from supervisord_lite.cli.printers import JsonLines, Lines, Printer, Raw, Terminal
from supervisord_lite.cli.text import printable
from supervisord_lite.control.client import Client

#: Of each log, where nothing else says how much.
_LINES = 50
#: Between two looks while nothing new comes.
_POLL_S = 0.1
#: Between two looks whether the daemon still lives. Each may take a connection from somebody who
#: is silent, so it is not much more often.
_LOOK_S = 1.0

_NO_FILE = {
    "inherit": "goes where the daemon's own output goes: journalctl -u supervisord-lite",
    "null": "is thrown away",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("names", metavar="NAME", nargs="*", help="only these; default all")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes next")
    parser.add_argument(
        "-n",
        "--lines",
        metavar="N",
        type=_line_count,
        help="this many lines of each, rotated files included (default 50, but all of --run and "
        "--since)",
    )
    parser.add_argument(
        "--run",
        metavar="N",
        type=_run_number,
        help="of one run: 0 is the latest, -1 the one before it, 7 is run 7 of `status NAME`",
    )
    parser.add_argument(
        "--since",
        metavar="WHEN",
        type=since.moment_s,
        help="what was written since: 10m, 14:20, 2026-11-21, 2026-11-21T14:20:00Z",
    )
    parser.add_argument("--stderr", action="store_true", help="standard error, where it is apart")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def _line_count(text: str) -> int:
    """Return a number of lines."""
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        message = f'"{text}" is no number of lines'
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _run_number(text: str) -> int:
    """Return which run."""
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 9:
        message = f'"{text}" is no run: 0, -1, or its number'
        raise argparse.ArgumentTypeError(message)
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Print the logs."""
    if arguments.follow and arguments.run:
        text = "a run that is over has nothing to follow"
        raise UsageError(text, hint="without --run it goes on with whatever comes next")
    with place.connect(arguments) as client:
        targets = client.call("LogFiles", {"names": arguments.names}).get("files") or []
        client.close()
        stream = "stderr" if arguments.stderr else "stdout"
        files = [target for target in targets if target.get(stream) not in _NO_FILE]
        for target in targets:
            if target.get(stream) in _NO_FILE:
                _tell_no_file(target, stream)
        good = _show(files, stream, arguments, client) if files else True
    return exit_codes.OK if good and len(files) == len(targets) else exit_codes.FAILED


def _tell_no_file(target: dict[str, Any], stream: str) -> None:
    """Say why there is nothing to read."""
    name = printable(str(target.get("name")))
    print(
        f"supervisord-lite: logs {name}: {stream} {_NO_FILE[str(target.get(stream))]}\n"
        f"  to keep it in files, set log_dir in [supervisor], or log.{stream} of the worker",
        file=sys.stderr,
    )


def _show(
    files: list[dict[str, Any]], stream: str, arguments: argparse.Namespace, client: Client
) -> bool:
    """Print the last lines of each file, then follow them all while the daemon lives.

    Returns:
        Whether each had what was wanted.
    """
    good = True
    columns = max(len(str(target.get("name"))) for target in files)
    with ExitStack() as stack:
        logs: list[tuple[LogFile, Printer]] = []
        for target in files:
            log = LogFile(str(target.get(stream)))
            stack.callback(log.close)
            printer = _printer(target, stream, arguments.json, columns if len(files) > 1 else 0)
            logs.append((log, printer))
            anything = False
            try:
                for piece in _wanted(log, str(target.get(stream)), arguments):
                    printer.write(piece)
                    anything = True
            except NoSuchPartError as error:
                # The others may have it.
                sys.stdout.buffer.flush()
                tell(error, verb="logs", subject=str(target.get("name")))
                good, anything = False, True
            if not arguments.follow:
                printer.end()
                log.close()
                if not anything and arguments.lines != 0:
                    _tell_empty(target, stream, arguments)
        sys.stdout.buffer.flush()
        if arguments.follow:
            _follow(logs, client)
    return good


def _wanted(log: LogFile, path: str, arguments: argparse.Namespace) -> Iterator[bytes]:
    if arguments.run is None and arguments.since is None:
        return log.tail(_LINES if arguments.lines is None else arguments.lines)
    if arguments.since is not None and not has_marks(path):
        print(f"{printable(path)}: nothing is known of times: all of it", file=sys.stderr)
    return log.tail_of(Wanted(arguments.run, arguments.since), arguments.lines)


def _printer(target: dict[str, Any], stream: str, as_json: bool, columns: int) -> Printer:
    """Return what prints one log; *columns* of its name when it is one of several, else 0."""
    out = sys.stdout.buffer
    name = str(target.get("name"))
    terminal = sys.stdout.isatty()
    if as_json:
        return JsonLines(out, name, stream)
    if columns:
        return Lines(out, f"{printable(name):<{columns}} | ", escape=terminal)
    return Terminal(out) if terminal else Raw(out)


def _tell_empty(target: dict[str, Any], stream: str, arguments: argparse.Namespace) -> None:
    name, path = printable(str(target.get("name"))), printable(str(target.get(stream)))
    sys.stdout.buffer.flush()
    when = "yet"
    if arguments.since is not None:
        when = "since then"
    elif arguments.run is not None:
        when = "in that run"
    print(f"{name} has written nothing to {path} {when}", file=sys.stderr)


def _follow(logs: list[tuple[LogFile, Printer]], client: Client) -> None:
    """Print what comes, until somebody interrupts or the daemon has ended."""
    told: set[str] = set()
    look_at_s = 0.0
    gone = anything = False
    try:
        while anything or not gone:
            now_s = time.monotonic()
            if not gone and now_s >= look_at_s:
                look_at_s = now_s + _LOOK_S
                # Before the files are read: what is written at the daemon's end is there by then.
                gone = client.is_gone()
            anything = _print_new(logs, told)
            if anything:
                sys.stdout.buffer.flush()
            elif not gone:
                time.sleep(_POLL_S)
    except KeyboardInterrupt:
        return
    for _, printer in logs:
        printer.end()
    sys.stdout.buffer.flush()
    print("supervisord-lite: logs: the daemon has ended", file=sys.stderr)


def _print_new(logs: list[tuple[LogFile, Printer]], told: set[str]) -> bool:
    """Print what is new in each file; return whether there was anything."""
    anything = False
    for log, printer in logs:
        try:
            for piece in log.poll():
                printer.write(piece)
                anything = True
        except SupervisordLiteError as error:
            # One unreadable file must not end the others; it is looked at again.
            if str(error) not in told:
                told.add(str(error))
                print(f"supervisord-lite: logs: {printable(str(error))}", file=sys.stderr)
    return anything
