"""`wait [NAME...]`: wait until workers are ready, stopped or ended, whoever brings them there."""

import argparse
import json
from typing import Any

from supervisord_lite.base import exit_codes
from supervisord_lite.base.units import format_duration
from supervisord_lite.cli import orders, place
from supervisord_lite.control.errors import GaveUpError, NoAnswerError

__all__ = ["add_arguments", "run"]


class _Report(orders.Report):
    """As after an order, but how long a job ran is not how long somebody waited for it."""

    def _single(self, outcome: dict[str, Any], elapsed: str) -> str:
        if outcome.get("outcome") in {"exited", "tripped"}:
            return str(outcome.get("detail") or "ended")
        return super()._single(outcome, elapsed)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "names", metavar="NAME", nargs="*", help="a worker, pool or glob; without: all"
    )
    parser.add_argument(
        "--for",
        dest="goal",
        choices=("ready", "stopped", "exited"),
        default="ready",
        help="ready (default; also a job that ended well), stopped (nothing of it runs), "
        "or exited (ended by itself)",
    )
    place.add_timeout_argument(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object at the end")


def run(arguments: argparse.Namespace) -> int:
    """Wait; exit 1 when one of them will not get there by itself."""
    with place.connect(arguments) as client:
        seen = client.call("Status", {"names": arguments.names})
        # With the time of this look it may be asked again when the supervisor is replaced.
        parameters = {
            "names": arguments.names,
            "goal": arguments.goal,
            "since_s": seen.get("now_s"),
        }
        verb = orders.OrderVerb(verb="wait", method="Wait", already=arguments.goal)
        command = place.command(arguments)
        report = _Report(verb, orders.expected(seen), command, quiet=arguments.json)
        try:
            for answer in client.stream("Wait", parameters, timeout_s=arguments.timeout):
                report.take(answer.get("outcome"))
        except NoAnswerError as error:
            if arguments.timeout is None:
                raise
            text = f"gave up after {format_duration(arguments.timeout)}{report.missing()}"
            hint = f"{command} status {' '.join(arguments.names)}".rstrip()
            raise GaveUpError(text, hint=hint) from error
    report.finish()
    if arguments.json:
        print(json.dumps({"ok": not report.failed, "workers": report.outcomes}))
    return exit_codes.FAILED if report.failed else exit_codes.OK
