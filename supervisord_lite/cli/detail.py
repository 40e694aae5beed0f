"""One worker in detail: what `status NAME` prints for a single one."""

from typing import Any

from supervisord_lite.base.units import format_duration
from supervisord_lite.cli import snapshot
from supervisord_lite.cli.text import ago, fold, printable, size

_INDENT = 11


def detail(worker: dict[str, Any], command: str) -> list[str]:
    """Return the block for one worker; *command* calls this daemon."""
    lines = [_head(worker)]
    lines += _field("memory", _usage(worker))
    lines += _field("restarts", _history(worker))
    output = worker["output"] or {}
    stdout, stderr = output.get("stdout"), output.get("stderr")
    dropped_bytes = output.get("dropped_bytes")
    if stdout:
        dropped = "" if dropped_bytes is None else f", {size(dropped_bytes)} dropped"
        lines += _field("output", f"{stdout}{dropped}".replace(", 0B dropped", ", 0 dropped"))
    if output.get("trouble"):
        lines += _field("trouble", f"output is dropped, and counted: {output['trouble']}")
    if stderr and stderr != stdout:
        lines += _field("stderr", str(stderr))
    if worker["limits"]:
        lines += _field("limits", "; ".join(str(limit) for limit in worker["limits"]))
    lines += _field("next", _next(worker, command))
    return lines


def _head(worker: dict[str, Any]) -> str:
    """Return the first line: name, state, since when, pid, run."""
    words = [str(worker["state"])]
    if worker["state"] == "running":
        words.append("ready" if worker["ready"] else "not ready")
    if worker["uptime_s"] is not None:
        words.append(f"for {format_duration(worker['uptime_s'])}")
    if worker["critical"]:
        words.append("critical")
    parts = [f"{printable(str(worker['name'])):<10} {', '.join(words)}"]
    if worker["pid"] is not None:
        parts.append(f"pid {worker['pid']}")
    if worker["run"]:
        parts.append(f"run {worker['run']}")
    line = "   ".join(parts)
    return line if len(line) <= 80 else fold(line, indent=2)


def _usage(worker: dict[str, Any]) -> str:
    """Return memory and CPU, where they are known."""
    memory = worker["pss_bytes"] if worker["pss_bytes"] is not None else worker["rss_bytes"]
    parts = [size(memory)] if memory is not None else []
    if worker["cpu_percent"] is not None:
        parts.append(f"cpu {worker['cpu_percent']:.1f}%")
    return ", ".join(parts)


def _history(worker: dict[str, Any]) -> str:
    """Return restarts, recycles, failures and the last end."""
    parts = [str(worker["restarts"] or 0)]
    if worker["recycles"]:
        parts.append(f"recycles {worker['recycles']}")
    most = worker["max_restarts"]
    parts.append(f"failures {worker['failures_in_window'] or 0}" + (f" of {most}" if most else ""))
    if worker["breaker"] not in {None, "closed"}:
        parts.append("breaker " + str(worker["breaker"]).replace("_", "-"))
    ended = snapshot.reason(worker)
    if ended:
        at = (worker["last_exit"] or {}).get("at")
        parts.append(f"last end: {ended}" + (f", {ago(at)}" if at else ""))
    return ", ".join(parts)


def _next(worker: dict[str, Any], command: str) -> str:
    """Return what will happen, or what must be done."""
    if worker["state"] in {"backoff", "tripped", "exited"}:
        text = snapshot.problem(worker)
        if worker["state"] == "tripped":
            text += f"; it stays down until: {command} reset {worker['name']}"
        elif worker["state"] == "backoff" and snapshot.could_not_start(worker):
            text += f"; at once: {command} start {worker['name']}"
        return text
    return snapshot.note(worker) or "nothing pending"


def _field(name: str, text: str) -> list[str]:
    """Return a field as one folded line; none for an empty text."""
    return [fold(f"  {name:<8} {text}", indent=_INDENT)] if text else []
