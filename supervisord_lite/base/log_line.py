"""The daemon's own log lines: one event, its evidence, what is next.

    2026-11-21T02:25:01.123Z warning worker.failed name=web-2 reason="exit 1" failure="1 of 5"

or the same as one JSON object; where the journal reads it, behind its priority ("<4>"), which the
journal takes off (sd-daemon(3)). Field names come from whoever logs; there is one spelling of each.
"""

from __future__ import annotations

import json
import time

LEVELS = ("debug", "info", "warning", "error")
#: Behind a style: each line begins with its priority.
WITH_PRIORITY = "+priority"
_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3}

_LONGEST_VALUE = 500
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:/+%@,")


def format_line(
    style: str, level: str, event: str, fields: dict[str, object], wall_s: float
) -> str:
    """Return one line without its end.

    Args:
        style: "text" or "json", maybe with `WITH_PRIORITY` behind it.
        level: One of `LEVELS`.
        event: Dotted name, "worker.exited".
        fields: In printing order; None is left out.
        wall_s: Seconds since the epoch.
    """
    if style.endswith(WITH_PRIORITY):
        line = format_line(style.removesuffix(WITH_PRIORITY), level, event, fields, wall_s)
        return f"<{_PRIORITIES[level]}>{line}"
    at = rfc3339(wall_s)
    shown = {name: _bounded(value) for name, value in fields.items() if value is not None}
    if style == "json":
        return json.dumps({"at": at, "level": level, "event": event, **shown})
    words = [at, level, event]
    words += [f"{name}={_value(value)}" for name, value in shown.items()]
    return " ".join(words)


def _bounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, str) and len(value) > _LONGEST_VALUE:
        # Here, where a value ends, and not where a line ends: half a JSON object is none.
        return value[:_LONGEST_VALUE] + "…"
    return value


def rfc3339(wall_s: float) -> str:
    """Return a time as RFC 3339 in UTC with milliseconds."""
    whole = int(wall_s)
    return (
        time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
        + f".{int((wall_s - whole) * 1000):03d}Z"
    )


def _value(value: object) -> str:
    text = str(value)
    if text and _PLAIN.issuperset(text):
        return text
    return json.dumps(text)
