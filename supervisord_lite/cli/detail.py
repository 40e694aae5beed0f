"""One worker in detail: what `status NAME` prints for a single one."""

import os
import stat
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from supervisord_lite.base.units import format_duration
from supervisord_lite.cli import snapshot
from supervisord_lite.cli.text import COLUMNS, ago, fold, printable, size, width

_INDENT = 11
#: Where the second half of a line begins.
_SECOND_COLUMN = 42
#: What was looked at longer ago says so.
_OLD_S = 5.0


def detail(
    worker: dict[str, Any], command: str, supervisor: dict[str, Any] | None = None
) -> list[str]:
    """Return the block for one worker.

    Args:
        worker: As `snapshot` tells it.
        command: Calls this daemon.
        supervisor: As `snapshot` tells it: since when restarts are counted.
    """
    lines = _head(worker)
    lines += _fields("memory", *_usage(worker))
    lines += _fields("restarts", *_history(worker, supervisor or {}))
    output = worker["output"] or {}
    stdout, stderr = output.get("stdout"), output.get("stderr")
    dropped_bytes = output.get("dropped_bytes")
    if stdout:
        dropped = "" if dropped_bytes is None else f", {size(dropped_bytes)} dropped"
        dropped = dropped.replace(", 0B dropped", ", 0 dropped")
        lines += _fields("output", f"{stdout}{_size_of(stdout)}{dropped}")
    if output.get("trouble"):
        lines += _fields("trouble", f"output is dropped, and counted: {output['trouble']}")
    if stderr and stderr != stdout:
        lines += _fields("stderr", f"{stderr}{_size_of(stderr)}")
    if worker["limits"]:
        lines += _fields("limits", "; ".join(str(limit) for limit in worker["limits"]))
    if worker["state"] == "running":  # what it says of itself, or what is wrong with it
        lines += _fields("note", str(worker["note"] or ""))
    lines += _fields("next", _next(worker, command))
    return lines


def _head(worker: dict[str, Any]) -> list[str]:
    """Return the first line: name, state, since when, pid, run."""
    words = [str(worker["state"])]
    if worker["state"] == "running":
        words.append("ready" if worker["ready"] else "not ready")
    if worker["uptime_s"] is not None:
        words.append(f"for {format_duration(worker['uptime_s'])}")
    if worker["critical"]:
        words.append("critical")
    if worker.get("outgoing"):
        words.append("on its way out")
    parts = []
    if worker["pid"] is not None:
        tree = worker["processes"]
        parts.append(f"pid {worker['pid']}" + (f" (tree of {tree})" if (tree or 0) > 1 else ""))
    if worker["run"]:
        import_number = worker["forkserver"]
        of = "" if import_number is None else f" of import {import_number}"
        parts.append(f"run {worker['run']}{of}")
    return _columns(f"{printable(str(worker['name'])):<10} {', '.join(words)}", parts, indent=2)


def _usage(worker: dict[str, Any]) -> tuple[str, list[str]]:
    """Return memory, and the rest of what its tree uses, where that is known."""
    limit = (worker["recycle"] or {}).get("memory_bytes")
    pss, rss = worker["pss_bytes"], worker["rss_bytes"]
    memory = pss if pss is not None else rss
    if limit is not None and worker["memory_bytes"] is not None:
        memory = worker["memory_bytes"]
    parts = []
    if worker["cpu_percent"] is not None:
        parts.append(f"cpu {worker['cpu_percent']:.1f}%")
    parts += [f"{name} {worker[name]}" for name in ("fds", "threads") if worker[name] is not None]
    age_s = worker["sample_age_s"]
    if age_s is not None and age_s >= _OLD_S:
        parts.append(f"{format_duration(age_s)} ago")
    if memory is None:
        return "", parts
    of = "" if limit is None else f" of {size(limit)} recycle"
    return f"{size(memory)}{of}", parts


def _history(worker: dict[str, Any], supervisor: dict[str, Any]) -> tuple[str, list[str]]:
    """Return restarts and the last failure; recycles, failures and the breaker."""
    since = supervisor.get("started_at")
    for_ = ago(str(since)).removesuffix(" ago") if since else ""
    text = f"{worker['restarts'] or 0}" + (f" in {for_}" if for_ else "")
    last = worker["last_exit"] or {}
    why = snapshot.reason(worker)
    if why and not last.get("ok") and not last.get("asked"):
        at = last.get("at")
        text += f" ({why}, {_when(str(at))})" if at else f" ({why})"
    parts = [f"recycles {worker['recycles'] or 0}"]
    most, window_s = worker["max_restarts"], worker["circuit_window_s"]
    failures = f"failures {worker['failures_in_window'] or 0}" + (f" of {most}" if most else "")
    parts.append(failures + (f" in {format_duration(window_s)}" if window_s else ""))
    if worker["breaker"] not in {None, "closed"}:
        parts.append("breaker " + str(worker["breaker"]).replace("_", "-"))
    return text, parts


def _size_of(path: str) -> str:
    """Return the size of a log, where this command may see it: " (88M)"."""
    try:
        found = os.stat(path)  # noqa: PTH116  # what is no path is no file
    except (OSError, ValueError):
        return ""
    return f" ({size(found.st_size)})" if stat.S_ISREG(found.st_mode) else ""


def _next(worker: dict[str, Any], command: str) -> str:
    """Return what will happen, or what must be done."""
    if worker["state"] in {"backoff", "tripped", "exited"}:
        text = snapshot.problem(worker)
        if worker["state"] == "tripped":
            text += f"; it stays down until: {command} reset {worker['name']}"
        elif worker["state"] == "backoff" and snapshot.could_not_start(worker):
            text += f"; at once: {command} start {worker['name']}"
        return text
    in_s = (worker["recycle"] or {}).get("age_in_s")
    pending = "" if in_s is None else f"a fresh run in {format_duration(in_s)}, for its age"
    # What stands in the table of a pool that has recycled stands above already.
    said = "" if worker["state"] == "running" else snapshot.note(worker)
    return said.removeprefix("next ") or pending or "nothing pending"


def _fields(name: str, text: str, parts: Iterable[str] = ()) -> list[str]:
    """Return a field, with *parts* in the second column; none where there is nothing to say."""
    parts = list(parts)
    if not (text or parts):
        return []
    return _columns(f"  {name:<8} {text or '-'}", parts, indent=_INDENT)


def _columns(left: str, parts: Iterable[str], *, indent: int) -> list[str]:
    """Return one line where it fits, else as many as it takes."""
    right = printable("   ".join(parts))
    if not right:
        return [fold(left, indent=indent)]
    left = printable(left)
    line = f"{left:<{_SECOND_COLUMN - 3}}   {right}"
    if width(line) <= COLUMNS:
        return [line]
    if width(left) + 3 + width(right) <= COLUMNS:
        return [f"{left}   {right}"]
    more = fold(right, indent=0, columns=COLUMNS - indent).split("\n")
    return [fold(left, indent=indent), *(" " * indent + each for each in more)]


def _when(at: str) -> str:
    """Return a time in as few words as tell which it was: "14:20", "19 Nov"."""
    try:
        when = datetime.fromisoformat(at).astimezone()
    except ValueError:
        return at
    is_today = when.date() == datetime.now(UTC).astimezone().date()
    return f"{when:%H:%M}" if is_today else f"{when.day} {when:%b}"
