"""`events [WHAT...]`: what happened, and with -f what happens.

The daemon answers, so the right to read is enough. A replaced supervisor is asked again for what
came after the last event that was printed: none is missing, and none comes twice.
"""

import argparse
import json
import pwd
import re
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from supervisord_lite.base import exit_codes
from supervisord_lite.base.units import UnitError, parse_duration_s
from supervisord_lite.cli import place
from supervisord_lite.cli.text import printable
from supervisord_lite.control.errors import NoDaemonError, ReplacedError

#: The most that the daemon tells in one answer.
_MOST = 10_000
_DEFAULT = 50
#: How often a question without -f is asked again.
_TRIES = 5
#: Of the number in an id: nobody has counted further.
_MOST_DIGITS = 18
#: Of an event: what its line begins with, and what people need not see.
_HEAD = ("at", "event", "name")
#: A traceback is no line: `--json` has it, and so has the log.
_HIDDEN = frozenset({"id", "pool", "instance", "run", "attempt", "traceback", *_HEAD})
_PLAIN = re.compile(r"[A-Za-z0-9_\-.:/+%@,]+")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "what",
        metavar="WHAT",
        nargs="*",
        help="events (with a dot: worker.failed, 'config.*') or workers; default all",
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what happens")
    parser.add_argument(
        "-n", "--lines", metavar="N", type=_number, help=f"the last N (default {_DEFAULT})"
    )
    parser.add_argument(
        "--since", metavar="WHEN", type=_since, help="10m, or 2026-11-21T09:30: since then"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def _number(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) > _MOST:
        message = f'"{text}" is no number up to {_MOST}'
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _since(text: str, now: datetime | None = None) -> str:
    """Return a duration before *now*, or a time, as the daemon writes times."""
    try:
        when = (now or datetime.now(UTC)) - timedelta(seconds=parse_duration_s(text))
    except (UnitError, OverflowError):
        try:
            when = datetime.fromisoformat(text).astimezone(UTC)
        except (ValueError, OverflowError) as error:
            message = f'"{text}" is neither a duration (10m) nor a time (2026-11-21T09:30)'
            raise argparse.ArgumentTypeError(message) from error
    return f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03d}Z"


def run(arguments: argparse.Namespace) -> int:
    """Print events."""
    names = [word for word in arguments.what if "." not in word]
    events = [word for word in arguments.what if "." in word]
    most = arguments.lines
    if most is None:
        most = _MOST if arguments.since else _DEFAULT
    question = {
        "events": events,
        "names": names,
        "most": most,
        "since": arguments.since,
        "follow": arguments.follow,
    }
    printer = _Printer(as_json=arguments.json, is_all=not arguments.what)
    try:
        _ask(arguments, question, printer)
    except KeyboardInterrupt:
        return exit_codes.OK
    if names and not printer.last and not arguments.follow:
        with place.connect(arguments) as client:  # tells a name that nothing has from one at peace
            client.call("Status", {"names": names})
    return exit_codes.FAILED if printer.problem and not arguments.follow else exit_codes.OK


def _ask(arguments: argparse.Namespace, question: dict[str, Any], printer: "_Printer") -> None:
    """Print the answer; after the death of a supervisor go on where it had come to."""
    tries = 0
    is_first = True
    while True:
        try:
            with place.connect(arguments) as client:
                is_first = False
                for answer in client.stream("Events", question):
                    printer.take(answer)
        except ReplacedError:
            tries += 1
            if not arguments.follow and tries >= _TRIES:
                raise
        except NoDaemonError:
            if is_first or not arguments.follow:
                raise
            print("supervisord-lite: events: the daemon has ended", file=sys.stderr)
            return
        else:
            return
        if printer.last:
            question = {**question, "after": printer.last, "since": None, "most": _MOST}
        time.sleep(0.02)


class _Printer:
    """Prints answers, and tells what is missing.

    Attributes:
        last: Id of the last event printed; empty: none was.
        problem: Why the journal could not be read as a whole.
    """

    def __init__(self, *, as_json: bool, is_all: bool) -> None:
        self.last = ""
        self.problem = ""
        self._as_json = as_json
        self._is_all = is_all

    def take(self, answer: dict[str, Any]) -> None:
        for event in answer.get("events") or []:
            self._note_gap(str(event.get("id")))
            name_user(event)
            print(json.dumps(event) if self._as_json else line_of(event))
        sys.stdout.flush()
        problem = answer.get("problem")
        if problem:
            self.problem = str(problem)
            _complain(f"the journal is not complete: {problem}")

    def _note_gap(self, found: str) -> None:
        if self._is_all and (missing := missing_between(self.last, found)):
            sys.stdout.flush()
            _complain(f"{missing} events before {found} are missing")
        self.last = found


def _complain(text: str) -> None:
    print(f"supervisord-lite: events: {printable(text)}", file=sys.stderr)


def missing_between(before: str, after: str) -> int:
    """Return how many events are missing between two ids; none where nobody can know."""
    (life, number), (other, following) = _parts(before), _parts(after)
    return max(0, following - number - 1) if life == other and life else 0


def _parts(name: str) -> tuple[str, int]:
    life, _, number = name.rpartition("-")
    is_number = number.isascii() and number.isdecimal() and len(number) <= _MOST_DIGITS
    return (life, int(number)) if is_number else ("", 0)


def name_user(event: dict[str, Any]) -> None:
    """Add the name of who asked, where the daemon knew only the uid: it looks none up."""
    uid = event.get("by_uid")
    if isinstance(uid, int) and "by_user" not in event:
        try:
            event["by_user"] = pwd.getpwuid(uid).pw_name
        except (KeyError, OverflowError, OSError):
            return  # of another machine, or gone


def line_of(event: dict[str, Any], *, now: datetime | None = None) -> str:
    """Return one event as a line: TIME WORKER EVENT key=value and so on."""
    words = [moment(str(event.get("at")), now=now), str(event.get("name", "-"))]
    words.append(str(event.get("event")))
    words += [f"{key}={_value(value)}" for key, value in event.items() if key not in _HIDDEN]
    if "name" not in event and "pool" in event:
        words.insert(3, f"pool={_value(event['pool'])}")
    return printable(" ".join(words))


def _value(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def moment(at: str, *, now: datetime | None = None) -> str:
    """Return an RFC 3339 time as the clock on the wall: "13:58:02", with the date if not today."""
    try:
        when = datetime.fromisoformat(at).astimezone()
    except ValueError:
        return at
    today = (now or datetime.now(UTC)).astimezone().date()
    return when.strftime("%H:%M:%S" if when.date() == today else "%Y-%m-%d %H:%M:%S")
