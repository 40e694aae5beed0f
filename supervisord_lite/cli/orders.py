"""What start, stop, restart and reset have in common: order, wait, a line per pool."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, TextIO

from supervisord_lite.base import exit_codes
from supervisord_lite.base.units import format_duration
from supervisord_lite.cli import place
from supervisord_lite.cli.errors import UsageError
from supervisord_lite.cli.last_lines import last_lines
from supervisord_lite.cli.snapshot import AGAIN, SPAWN_FAILED
from supervisord_lite.cli.text import clip, fold, printable
from supervisord_lite.control.errors import GaveUpError, NoAnswerError

#: Most names in a hint.
_MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class OrderVerb:
    """One of the four verbs.

    Attributes:
        verb: As typed.
        method: Of the daemon's interface.
        already: What an unchanged worker is.
        after: Said behind the line of a pool.
    """

    verb: str
    method: str
    already: str
    after: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of all four."""
    parser.add_argument("names", metavar="NAME", nargs="*", help="a worker, pool, glob or all")
    place.add_wait_arguments(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object at the end")


def run(arguments: argparse.Namespace, order: OrderVerb, **more: object) -> int:
    """Give the order and, unless told otherwise, wait until it is carried out.

    Args:
        arguments: As parsed.
        order: Which of the four.
        more: Parameters that only this one has.
    """
    if not arguments.names:
        text = "which workers?"
        raise UsageError(text, hint=f"supervisord-lite {order.verb} NAME..., or all for every one")
    parameters: dict[str, object] = {
        "names": arguments.names,
        "wait": not arguments.no_wait,
        **more,
    }
    with place.connect(arguments) as client:
        is_restart = order.method == "Restart"
        look = is_restart or not arguments.no_wait
        seen = client.call("Status", {"names": arguments.names}) if look else {}
        if is_restart:
            # With the time of this look it may be asked again when the supervisor is replaced.
            parameters["begun_by_s"] = seen.get("now_s")
        if arguments.no_wait:
            client.call(order.method, parameters)
            _say_ordered(arguments, order)
            return exit_codes.OK
        command = place.command(arguments)
        report = Report(order, expected(seen), command, quiet=arguments.json)
        report.last_lines = partial(_read_last_lines, arguments)
        try:
            for answer in client.stream(order.method, parameters, timeout_s=arguments.timeout):
                report.take(answer.get("outcome"))
        except KeyboardInterrupt:
            print(f"\n{_still_going_on(arguments, order)}", file=sys.stderr)
            return exit_codes.GAVE_UP
        except NoAnswerError as error:
            if arguments.timeout is None:
                raise
            text = f"gave up after {format_duration(arguments.timeout)}{report.missing()}"
            raise GaveUpError(text, hint=_still_going_on(arguments, order)) from error
    report.finish()
    if arguments.json:
        print(json.dumps({"ok": not report.failed, "workers": report.outcomes}))
    return exit_codes.FAILED if report.failed else exit_codes.OK


def _read_last_lines(arguments: argparse.Namespace, name: str, run: int) -> list[str]:
    """Ask on a connection of its own: on the other one answers are still to come."""
    with place.connect(arguments) as client:
        return last_lines(client, name, run)


def expected(seen: dict[str, Any]) -> dict[str, set[str]]:
    """Return which workers of a status each pool's line has to wait for."""
    pools: dict[str, set[str]] = {}
    for worker in seen.get("workers") or []:
        pools.setdefault(str(worker.get("pool")), set()).add(str(worker.get("name")))
    return pools


def _say_ordered(arguments: argparse.Namespace, order: OrderVerb) -> None:
    names = _some(arguments.names)
    if arguments.json:
        print(json.dumps({"ok": True, "workers": []}))
    else:
        print(f"ordered: {order.verb} {names}; see: {place.command(arguments)} status {names}")


def _still_going_on(arguments: argparse.Namespace, order: OrderVerb) -> str:
    look = {"Stop": "wait --for stopped", "Reset": "status"}.get(order.method, "wait")
    names = _some(arguments.names)
    return f"still going on in the daemon: {place.command(arguments)} {look} {names}"


def _some(names: Iterable[str]) -> str:
    return clip(" ".join(names), 30)


class Report:
    """Prints a line per pool as it completes, and failures at once.

    Attributes:
        outcomes: Of each worker, in the order in which they came.
        failed: Whether one of them is not ok.
        last_lines: Returns those of one run of a worker.
    """

    def __init__(
        self, order: OrderVerb, expected: dict[str, set[str]], command: str, *, quiet: bool
    ) -> None:
        """Take the order, the workers of each pool, how to call, and whether to keep silent."""
        self.outcomes: list[dict[str, Any]] = []
        self.failed = False
        self.last_lines: Callable[[str, int], list[str]] = lambda _name, _run: []
        self._order = order
        self._left = expected
        self._command = command
        self._quiet = quiet
        self._seen: set[str] = set()
        self._pools: dict[str, list[dict[str, Any]]] = {}
        names = [*expected, *(name for workers in expected.values() for name in workers)]
        self._columns = max([9, *(len(name) for name in names)])

    def take(self, outcome: dict[str, Any] | None) -> None:
        """Take what became of one worker; None: nothing yet."""
        if not outcome or str(outcome.get("name")) in self._seen:
            return  # after a replaced supervisor the same is told again
        name, pool = str(outcome.get("name")), str(outcome.get("pool"))
        self._seen.add(name)
        self.outcomes.append(outcome)
        self._pools.setdefault(pool, []).append(outcome)
        if outcome.get("outcome") == "ready" and outcome.get("detail"):
            self._say(name, str(outcome["detail"]), sys.stdout)
        elif outcome.get("outcome") == "kept":
            self.failed = True
            self._say_kept(name, outcome)
        elif not outcome.get("ok"):
            self.failed = True
            self._say(name, f"failed: {self._why(name, outcome.get('detail'))}", sys.stderr)
        left = self._left.get(pool)
        if left is None and outcome.get("required_by") and name == pool:
            self._say_pool(pool)  # all of it, though nobody named it
        if left is not None:
            left.discard(name)
            if not left:
                self._say_pool(pool)

    def _why(self, name: str, detail: object) -> str:
        """Return why a worker failed, with what to type where a restart may be minutes away."""
        text = str(detail or "no reason given")
        if text.startswith(SPAWN_FAILED) and AGAIN in text:
            text += f"; at once: {self._command} start {name}"
        return text

    def finish(self) -> None:
        """Print the pools that have no line yet: nobody named them, but they had to go too."""
        for pool in list(self._pools):
            self._say_pool(pool)

    def missing(self) -> str:
        """Return "; still waiting for web-2" or nothing."""
        names = sorted(name for workers in self._left.values() for name in workers)
        if not names:
            return ""
        more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
        return f"; still waiting for {' '.join(names[:_MAX_NAMED])}{more}"

    def _say_kept(self, name: str, outcome: dict[str, Any]) -> None:
        """Print why a new process did not take over, and its last lines."""
        run = outcome.get("run")
        if not isinstance(run, int):
            return  # it was not touched: its pool's line says so
        self._say(name, str(outcome.get("detail")), sys.stderr)
        lines = outcome["last_lines"] = self.last_lines(name, run)
        for line in lines:
            print(f"{'':<{self._columns}} | {printable(line)}", file=sys.stderr, flush=True)

    def _say_given_up(self, pool: str, outcomes: list[dict[str, Any]]) -> None:
        """Print what goes on where it was, after a new process failed."""
        kept = [outcome for outcome in outcomes if outcome.get("outcome") == "kept"]
        if not kept:
            return
        kept.sort(key=lambda outcome: _place_of(str(outcome.get("name"))))
        replaced = [str(o.get("name")) for o in outcomes if o.get("ok") and o.get("detail")]
        before = f"after {_and(replaced)}" if replaced else "nothing was stopped"
        pids = ", ".join(str(outcome.get("pid")) for outcome in kept)
        runs = "runs" if len(kept) == 1 else "run"
        names = _and([str(outcome.get("name")) for outcome in kept])
        text = f"given up {before}. " if replaced else f"given up; {before}. "
        self._say(pool, f"{text}{names} {runs} on ({pids}).", sys.stderr)

    def _say_pool(self, pool: str) -> None:
        """Print the line of one pool, once."""
        outcomes = self._pools.pop(pool, [])
        self._say_given_up(pool, outcomes)
        # Whoever took over from another process has a line already.
        outcomes = [o for o in outcomes if not (o.get("outcome") == "ready" and o.get("detail"))]
        outcomes = [o for o in outcomes if o.get("outcome") != "kept"]
        good = [outcome for outcome in outcomes if outcome.get("ok")]
        if not good:
            return
        elapsed = format_duration(max(float(o.get("elapsed_s") or 0.0) for o in good))
        requirer = good[0].get("required_by")
        why = f"   ({printable(requirer)} requires it)" if isinstance(requirer, str) else ""
        if len(outcomes) == 1:
            self._say(pool, self._single(good[0], elapsed) + why, sys.stdout)
            return
        counted = Counter(self._word(outcome) for outcome in good)
        parts = ", ".join(f"{n} of {len(outcomes)} {word}" for word, n in counted.items())
        changed = any(outcome.get("outcome") != "unchanged" for outcome in good)
        self._say(pool, parts + self._tail(elapsed, changed=changed) + why, sys.stdout)

    def _single(self, outcome: dict[str, Any], elapsed: str) -> str:
        """Return what became of the only worker of a pool."""
        what = outcome.get("outcome")
        if what == "exited":
            return f"{outcome.get('detail') or 'ended'} after {elapsed}"
        return self._word(outcome) + self._tail(elapsed, changed=what != "unchanged")

    def _word(self, outcome: dict[str, Any]) -> str:
        """Return an outcome as people read it."""
        what = str(outcome.get("outcome"))
        return self._order.already if what == "unchanged" else what

    def _tail(self, elapsed: str, *, changed: bool) -> str:
        """Return how long it took, and what the state is worth."""
        took = f", {elapsed}" if changed else ""
        return took + (f" ({self._order.after})" if self._order.after else "")

    def _say(self, name: str, text: str, stream: TextIO) -> None:
        if not self._quiet or stream is sys.stderr:
            line = f"{printable(name):<{self._columns}} {text}"
            print(fold(line, indent=self._columns + 1), file=stream, flush=True)


def _and(names: list[str]) -> str:
    """Return "web-1", "web-1 and web-2" or "web-1, web-2 and web-3"; many are counted."""
    if len(names) > _MAX_NAMED:
        return f"{', '.join(names[:_MAX_NAMED])} and {len(names) - _MAX_NAMED} more"
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _place_of(name: str) -> tuple[str, int]:
    """Return by what names sort: web-2 stands before web-10."""
    pool, _, index = name.rpartition("-")
    return (pool, int(index)) if index.isascii() and index.isdigit() else (name, 0)
