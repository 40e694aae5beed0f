"""One event in the story of a worker: its word, its text, and what stands at the right."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from supervisord_lite.base.units import format_duration
from supervisord_lite.cli.snapshot import OUT_OF_MEMORY, SPAWN_FAILED
from supervisord_lite.cli.text import count
from supervisord_lite.core.backoff import backoff_s
from supervisord_lite.core.policy import BackoffPolicy

Event = dict[str, Any]

#: What is reckoned with; a damaged disk may give back anything in its place.
_NUMBERS = ("ran_s", "in_s", "window_s", "failures", "failure", "attempt", "left", "run", "pid")
_MOST = 1e15


def is_readable(event: Event) -> bool:
    """Return whether an event of the journal has numbers where there must be some."""
    values = (event[name] for name in _NUMBERS if name in event)
    return all(
        value is None or (type(value) in (int, float) and abs(value) < _MOST) for value in values
    )


def line_of(event: Event, before: list[Event], policy: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return word, text and what stands at the right; None: it is not told."""
    asker = asker_of(event)
    by = f", by {asker}" if asker else ""
    match event.get("event"):
        case "worker.started":
            planned = ", by schedule" if event.get("by") == "schedule" else ""
            return "started", f"pid {event.get('pid')}{by or planned or _waited(before, policy)}"
        case "job.failed":
            return "job", "given up: the next run comes as planned"
        case "job.skipped":
            return "skipped", f"{_planned(event)}: {event.get('reason')}"
        case "job.missed":
            runs = event.get("next") == "start"
            then = "it runs now" if runs else "left out"
            return "missed", f"{_planned(event)}: {then}"
        case "worker.failed":
            sender = _sender(event, before)
            return "failed", f"{end_of(event)}{sender}{by}", failure_of(event)
        case "worker.exited":
            return "exited", end_of(event)
        case "worker.stopped":
            shutdown = ", with the daemon" if event.get("asked") == "shutdown" else ""
            end = end_of(event) if "ran_s" in event else "there was no process"
            replaced = ": a new process had its place" if event.get("asked") == "replaced" else ""
            return "stopped", f"{end}{by or shutdown or replaced}"
        case "worker.rejected":
            return "rejected", f"{end_of(event)}, not ready: the old process runs on"
        case "worker.tripped":
            return "tripped", _why_tripped(event, before)
        case "worker.probing":
            return "probing", "one start on trial"
        case "worker.reset":
            reasons = {"asked": "by hand", "changed": "its configuration changed"}
            reason = str(event.get("reason"))
            return "reset", f"failures forgotten: {asker or reasons.get(reason, reason)}"
        case "worker.recycled":
            after = format_duration(float(event.get("ran_s") or 0.0))
            is_replaced = (_still_going([*before, event]) or event.get("pid")) != event.get("pid")
            then = "a new process had its place" if is_replaced else "a fresh one follows"
            return "recycle", f"{event.get('reason')}, after {after}: {then}"
        case "worker.cleared":
            left = count(int(event.get("left") or 0), "process")
            return "cleared", f"{left} left behind and killed: {event.get('killed')}"
        case "worker.waiting":
            return "waiting", f"{event.get('for')}{by}"
        case "worker.signalled" if _is_same_signal(event, before):
            return None  # both processes got it while one takes over from the other
        case "worker.signalled":
            return "signal", f"{event.get('signal')} sent by {asker or 'hand'}"
        case "worker.unusable":
            return "lost", f"what was saved of it cannot be read: {event.get('reason')}"
        case _:
            return _line_of_daemon(event)


def _line_of_daemon(event: Event) -> tuple[str, ...] | None:
    asker = asker_of(event)
    match event.get("event"):
        case "daemon.started":
            return "daemon", f"started, pid {event.get('pid')}"
        case "daemon.cleared":
            left = count(int(event.get("ended") or 0), "process")
            return "daemon", f"had been killed; ended {left} that it had left behind"
        case "daemon.stopped":
            return "daemon", f"ended with {event.get('code')}"
        case "daemon.stopping":
            return "daemon", f"stopping: {event.get('why')}{f', by {asker}' if asker else ''}"
        case "supervisor.adopted":
            return "daemon", "its supervisor was replaced; that restarts nothing"
        case "daemon.upgraded":
            change = f"upgraded, {event.get('from')} -> {event.get('to')}"
            by = asker or event.get("by")  # a signal is nobody
            return "daemon", f"{change}{f', by {by}' if by else ''}; that restarts nothing"
        case "upgrade.failed":
            return "daemon", f"went back to {event.get('from')}: {event.get('reason')}"
        case "config.reloaded":
            return "reload", f"configuration {event.get('generation')} came into force"
        case _:
            return None  # a cause that is told with what it brought about


def _planned(event: Event) -> str:
    """Return which planned run an event is about, on the clock here."""
    when = time_of(str(event.get("planned")))
    return "a planned run" if when is None else f"the run of {when.astimezone():%H:%M}"


def end_of(event: Event) -> str:
    """Return how a run ended: "exit 1 after 39s", "killed by SIGSEGV after 2h"."""
    reason, ran_s = str(event.get("reason") or ""), event.get("ran_s")
    after = "" if ran_s is None else f" after {format_duration(ran_s)}"
    if reason.startswith(SPAWN_FAILED):
        stage, _, why = reason.removeprefix(SPAWN_FAILED).partition("): ")
        return f"could not be set up ({stage}): {why}"
    if reason.startswith(OUT_OF_MEMORY):
        return f"killed by SIGKILL from the kernel: {reason}"
    if reason and reason != "unknown":
        return reason
    if "signal" in event:
        word = "ended by" if event.get("event") == "worker.stopped" else "killed by"
        return f"{word} {event['signal']}{after}"
    if "code" in event:
        return f"exit {event['code']}{after}"
    return f"nobody saw how it ended{after}"


def failure_of(event: Event) -> str:
    """Return which failure this is: "failure 2 of 5"; empty: none."""
    if event.get("event") != "worker.failed" or "failure" not in event:
        return ""
    return f"failure {event['failure']} of {event.get('of')}"


def _is_same_signal(event: Event, before: list[Event]) -> bool:
    sent = before[-1] if before else {}
    same = ("event", "signal", "by_uid")
    return event.get("run") != sent.get("run") and all(event.get(k) == sent.get(k) for k in same)


def _sender(event: Event, before: list[Event]) -> str:
    """Return who sent the signal that ended a run, where a person did."""
    sent = before[-1] if before else {}
    is_it = sent.get("event") == "worker.signalled" and sent.get("signal") == event.get("signal")
    return f", sent by {asker_of(sent)}" if is_it and "signal" in event and asker_of(sent) else ""


def asker_of(event: Event) -> str:
    """Return who asked and for what: "anna (uid 1003): restart mailer"; empty: nobody did."""
    uid = event.get("by_uid")
    if uid is None:
        return ""
    user = event.get("by_user")
    who = f"{user} (uid {uid})" if user else f"uid {uid}"
    verb = event.get("by_verb")
    return f"{who}: {verb} {event.get('name')}" if verb else who


def _waited(before: list[Event], policy: Mapping[str, Any]) -> str:
    """Return how long a start had to wait, and of how much; or with whom it came."""
    other = _still_going(before)
    if other is not None:
        return f", beside pid {other}"
    last = next((e for e in reversed(before) if "instance" in e and "next" in e), None)
    if last is None:
        return ", with the daemon" if not any("ran_s" in e for e in before) else ""
    in_s = last.get("in_s")
    if last.get("next") != "restart" or not in_s:
        return ""
    if last.get("event") == "worker.exited":
        return f", waited {format_duration(in_s)}"
    range_, first = _range(int(last.get("attempt") or 1), policy), ""
    if last.get("attempt") == 1 and int(last.get("failure") or 1) > 1:
        stable_s = float(policy.get("stable_run_period_s") or 0.0)
        first = f" (new row: ran over {format_duration(stable_s)})"
    return f", waited {format_duration(in_s)}{range_}{first}"


def _still_going(before: list[Event]) -> object | None:
    """Return the pid of the latest run that was started and has not ended; None: there is none."""
    ended: set[object] = set()
    for event in reversed(before):
        if event.get("event") == "daemon.started":
            return None  # whatever ran before that has ended with the daemon
        if event.get("event") == "worker.started":
            is_known = "run" in event and event["run"] not in ended
            return event.get("pid") if is_known else None
        if "ran_s" in event or "next" in event:
            ended.add(event.get("run"))
    return None


def _range(attempt: int, policy: Mapping[str, Any]) -> str:
    said = policy.get("backoff")
    if not isinstance(said, dict):
        return ""
    backoff = BackoffPolicy(**said)
    full_s = backoff_s(attempt, backoff)
    if not backoff.jitter:
        return f" of {format_duration(full_s)}"
    low, high = format_duration(full_s / 2), format_duration(full_s)
    if low[-1] == high[-1] and low[:-1].replace(".", "").isdigit():
        low = low[:-1]  # 0.5-1s
    return f" of {low}-{high}"


def _why_tripped(event: Event, before: list[Event]) -> str:
    number, window_s = int(event.get("failures") or 0), float(event.get("window_s") or 0.0)
    if event.get("reason"):
        return f"{event['reason']}"
    failed = [e for e in before if e.get("event") == "worker.failed"][-number:]
    first = time_of(str(failed[0].get("at"))) if len(failed) == number and failed else None
    since = "" if first is None else f" since {first.astimezone():%H:%M:%S}"
    return f"{count(number, 'failure')}{since}, inside {format_duration(window_s)}"


def time_of(at: str) -> datetime | None:
    """Return when something was; None: that is no time."""
    try:
        when = datetime.fromisoformat(at)
    except ValueError:
        return None
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)
