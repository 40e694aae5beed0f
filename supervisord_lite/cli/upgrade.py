"""`upgrade`: put the version of this command in force; no worker is restarted.

The daemon's word is not taken for it: before and after, everybody's process is looked at, and a
supervisor of the new version has to answer.
"""

import argparse
import json
import os
import sys
import time
from typing import Any

import supervisord_lite
from supervisord_lite.base import exit_codes
from supervisord_lite.base.errors import SupervisordLiteError
from supervisord_lite.base.resident import own_code
from supervisord_lite.base.units import format_duration
from supervisord_lite.cli import place
from supervisord_lite.cli.installation import other_command
from supervisord_lite.cli.text import count, fold, printable
from supervisord_lite.control.client import PAUSE_S
from supervisord_lite.control.errors import (
    ControlError,
    GaveUpError,
    NoAnswerError,
    NoDaemonError,
    NotPermittedError,
)

#: A dry start may take half a minute, and a file that is being read as long.
_ANSWER_TIMEOUT_S = 75.0
#: The new one is there in a fraction of a second; two that hang, and the way back, take long.
_TIMEOUT_S = 60.0
#: For so long nobody may listen; the main process keeps its socket, so then it is dead.
_DEAD_S = 5.0
#: Differences that are named; more are counted.
_MOST_NAMED = 10

#: By name and process: what runs.
_Pids = dict[str, int]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--dry-run", action="store_true", help="only say whether this version could take over"
    )
    parser.add_argument(
        "--keeper", action="store_true", help="replace the main process too, also if not needed"
    )
    place.add_timeout_argument(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Upgrade, and tell what that came to."""
    code = own_code()
    if not sys.executable or not os.path.isabs(sys.executable):  # noqa: PTH117
        text = "this Python does not know where it is"
        raise ControlError(text, hint="call the command by its whole path")
    timeout_s = _TIMEOUT_S if arguments.timeout is None else arguments.timeout
    with place.connect(arguments, answer_timeout_s=_ANSWER_TIMEOUT_S) as client:
        before = client.call("Status", {"names": []})
        wanted = {"interpreter": code[0], "resident": code[1]}
        asked = {"dry_run": arguments.dry_run, "keeper": arguments.keeper}
        ordered = client.call("Upgrade", {**wanted, **asked})
    if arguments.dry_run:
        _tell_dry(arguments, ordered)
        return exit_codes.OK
    began_s = time.monotonic()
    after = _wait_for_other(arguments, before, ordered, began_s + timeout_s)
    gap_s = time.monotonic() - began_s
    return _tell(arguments, _Came(ordered, before, after, gap_s, _why_failed(arguments)))


def _wait_for_other(
    arguments: argparse.Namespace, before: dict[str, Any], ordered: dict[str, Any], until_s: float
) -> dict[str, Any]:
    """Return the status as another supervisor than that of *before* tells it.

    Raises:
        GaveUpError: None did in time.
        NoDaemonError: There is no daemon any more.
        NotPermittedError: We may not ask it.
    """
    reason = ""
    dead_at_s = None
    while time.monotonic() < until_s:
        try:
            left_s = max(PAUSE_S, until_s - time.monotonic())
            with place.connect(arguments, answer_timeout_s=left_s) as client:
                status = client.call("Status", {"names": []})
                if status["supervisor"].get("pid") != before["supervisor"].get("pid"):
                    return status
        except NotPermittedError:
            raise
        except SupervisordLiteError as error:
            reason = f": {error}"
            is_dead = isinstance(error, NoDaemonError) and not isinstance(error, NoAnswerError)
            dead_at_s = (dead_at_s or time.monotonic()) if is_dead else None
            if dead_at_s is not None and time.monotonic() >= dead_at_s + _DEAD_S:
                error.hint += "\nit has ended since the upgrade was ordered: see its log"
                raise
        time.sleep(PAUSE_S)
    text = f"version {ordered.get('to')} was ordered, and does not answer{reason}"
    raise GaveUpError(text, hint=f"see: {place.command(arguments)} status")


def _why_failed(arguments: argparse.Namespace) -> str:
    """Return why the upgrade that was under way last has failed, as its event tells; or nothing."""
    try:
        with place.connect(arguments) as client:
            asked = {"events": ["daemon.upgraded", "upgrade.failed"], "most": 1}
            found = client.call("Events", asked).get("events") or [{}]
    except SupervisordLiteError:
        return ""
    last = found[-1]
    return str(last.get("reason")) if last.get("event") == "upgrade.failed" else ""


def running(status: dict[str, Any]) -> _Pids:
    """Return the processes that are ready, by name; of two of a name the one that stays."""
    return {
        str(worker["name"]): worker["pid"]
        for worker in status["workers"]
        if worker.get("pid") is not None and worker.get("ready") and not worker.get("outgoing")
    }


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return whose process is another one, or none, with why; nothing: all run on."""
    now = {str(w["name"]): w for w in after["workers"] if not w.get("outgoing")}
    told = []
    for name, pid in running(before).items():
        worker = now.get(name, {})
        if worker.get("pid") == pid:
            continue
        what = f"pid {worker['pid']}" if worker.get("pid") else str(worker.get("state", "gone"))
        last = worker.get("last_exit") or {}
        why = f" ({last['reason']})" if last.get("reason") else ""
        told.append(printable(f"{name}: was pid {pid}, is {what}{why}"))
    return told


def _tell_dry(arguments: argparse.Namespace, ordered: dict[str, Any]) -> None:
    if arguments.json:
        print(json.dumps({"ok": True, "dry_run": True, **_versions(ordered)}))
        return
    keeper = "replaced too" if ordered.get("keeper") else "kept"
    text = f"{_from_to(ordered)}: it can take over; the keeper would be {keeper}"
    print(fold(f"{text}. Nothing was changed.", indent=2))


def _versions(ordered: dict[str, Any]) -> dict[str, Any]:
    keeper = "replaced" if ordered.get("keeper") else "kept"
    return {"from": ordered.get("from"), "to": ordered.get("to"), "keeper": keeper}


def _from_to(ordered: dict[str, Any]) -> str:
    return printable(f"{ordered.get('from')} -> {ordered.get('to')}")


def _tell(arguments: argparse.Namespace, came: "_Came") -> int:
    changed = differences(came.before, came.after)
    kept = len(running(came.before)) - len(changed)
    unit = other_command(came.after["supervisor"].get("keeper_pid"))
    is_ok = not came.problem and not changed
    if arguments.json:
        told = {"ok": is_ok, "dry_run": False, **_versions(came.ordered), "runs": came.runs}
        told |= {"kept": kept, "gap_s": round(came.gap_s, 3), "differs": changed}
        print(json.dumps({**told, "problem": came.problem or None, "unit_starts": unit}))
        return exit_codes.OK if is_ok else exit_codes.FAILED
    if came.problem:
        text = f"supervisord-lite: upgrade: {_from_to(came.ordered)}: {printable(came.problem)}"
        print(fold(text, indent=2), file=sys.stderr)
        print(f"  version {printable(came.runs)} runs", file=sys.stderr)
    else:
        keeper = _versions(came.ordered)["keeper"]
        alive = "1 worker keeps running" if kept == 1 else f"{count(kept, 'worker')} keep running"
        answered = f"control answered again after {format_duration(came.gap_s)}"
        print(fold(f"{_from_to(came.ordered)}: {alive}; {answered}; keeper {keeper}", indent=2))
    for line in changed[:_MOST_NAMED]:
        print(fold(f"! {line}", indent=2), file=sys.stderr)
    if len(changed) > _MOST_NAMED:
        print(f"! and {len(changed) - _MOST_NAMED} more", file=sys.stderr)
    if unit:
        text = f"! {unit['unit']} starts {printable(unit['command'])}, another installation: that"
        text += " one would run after the next start of the unit: supervisord-lite install-unit"
        print(fold(text, indent=2), file=sys.stderr)
    return exit_codes.OK if is_ok else exit_codes.FAILED


class _Came:
    """What an upgrade came to.

    Attributes:
        runs: The version that answers now.
        gap_s: From the order until that.
        problem: Why it is not what was ordered; empty: it is.
    """

    def __init__(
        self,
        ordered: dict[str, Any],
        before: dict[str, Any],
        after: dict[str, Any],
        gap_s: float,
        why: str,
    ) -> None:
        self.ordered = ordered
        self.before = before
        self.after = after
        self.gap_s = gap_s
        self.runs = str(after["supervisor"].get("version"))
        is_new = self.runs == ordered.get("to") == supervisord_lite.__version__
        self.problem = why or ("" if is_new else f"version {self.runs} answers")
