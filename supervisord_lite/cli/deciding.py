"""Which lines of the file decided: the values in force, each with the place that it came from.

The daemon knows the values and where a worker's table stands. Which line of which file brought a
value is found as `check --show` finds it, with the rights of whoever asks. Mistakes elsewhere in
the files are in nobody's way; where they say something else by now, that is said instead. Where
they cannot be read, no line is named but that of the worker's table, and only for what is no
default.
"""

import os
import re
from collections.abc import Iterable
from typing import Any

from supervisord_lite.base.errors import SupervisordLiteError
from supervisord_lite.base.units import written_duration
from supervisord_lite.core.policy import Policy
from supervisord_lite.core.probing import Pace
from supervisord_lite.core.schedule import Schedule

#: Key -> its name in the policy that the daemon tells.
_FIELDS = {
    "restart": "restart",
    "ok_exit_codes": "ok_exit_codes",
    "max_restarts": "max_restarts",
    "circuit_window": "circuit_window_s",
    "circuit_cooldown": "circuit_cooldown_s",
    "stable_run_period": "stable_run_period_s",
    "start_timeout": "start_timeout_s",
    "run_timeout": "run_timeout_s",
    "autostart": "autostart",
    "heartbeat_timeout": "heartbeat_timeout_s",
}
#: Decides when what was missing is tried again.
_LONGEST_WAIT = "backoff.max"
#: Tables whose keys the daemon tells as one writes them.
_AS_WRITTEN = ("health", "recycle")
_HEALTH_KEYS = ("health.http", "health.tcp", "health.exec")
#: What says when a job runs.
_OF_PLAN = ("schedule.cron", "schedule.every", "schedule.timezone")
#: The same of a schedule.
_OF_SCHEDULE = {
    "schedule.cron": "cron",
    "schedule.every": "every_s",
    "schedule.timezone": "timezone",
    "schedule.overlap": "overlap",
    "schedule.missed": "missed",
}
#: What is in force where no file says anything, as the daemon tells it.
_DEFAULTS: dict[str, Any] = {
    **{key: getattr(Policy(), field) for key, field in _FIELDS.items() if hasattr(Policy(), field)},
    _LONGEST_WAIT: Policy().backoff.max_s,
    "health.interval": written_duration(Pace().interval_s),
    "health.timeout": written_duration(Pace().timeout_s),
    "health.failures": Pace().failures,
    "schedule.overlap": "skip",
    "schedule.missed": "skip",
}
#: Of a text that stands beside its origin.
_TEXT_COLUMNS = 38
Decided = tuple[str, str]  #: "max_restarts 5", and where that stands


def keys_for(state: str, reasons: str, *, has_run: bool) -> tuple[str, ...]:
    """Return the keys that decide about a worker.

    Args:
        state: That it is in.
        reasons: For which its runs ended.
        has_run: Whether it ever ran: who is stopped then was stopped by somebody.
    """
    keys = {
        "tripped": ("max_restarts", "circuit_window", "circuit_cooldown", "restart"),
        "backoff": ("max_restarts", "circuit_window", "restart"),
        "exited": ("restart", "ok_exit_codes"),
        "stopped": () if has_run else ("autostart",),
        "waiting": ("requires", "after", *_OF_PLAN),
        "starting": ("start_timeout",),
        "probing": ("circuit_cooldown", "stable_run_period"),
    }.get(state, ())
    if "not ready after" in reasons:
        keys = (*keys, "start_timeout", *_HEALTH_KEYS)
    if "health: " in reasons:
        keys = (*keys, *_HEALTH_KEYS, "health.failures", "health.interval", "health.timeout")
    if "no such file" in reasons and state == "backoff":
        keys = (*keys, _LONGEST_WAIT)  # a deploy may bring it
    if "no heartbeat for" in reasons:
        keys = (*keys, "heartbeat_timeout")
    if "still running after" in reasons:
        keys = (*keys, "run_timeout")
    if "still going" in reasons:
        keys = (*keys, "schedule.overlap")
    # As a recycle says why: "age 2s", "memory 912M of 900M".
    recycled = re.findall(r"(?:^|; )(memory|age|runs) [0-9]", reasons)
    keys = (*keys, *(f"recycle.{word}" for word in recycled))
    return tuple(dict.fromkeys(keys))


def decided_by(story: dict[str, Any], keys: Iterable[str], config: str) -> list[Decided]:
    """Return the keys with their values in force and where those come from.

    Args:
        story: As the daemon tells it (the type Story of the varlink definition).
        keys: Which.
        config: Path of the configuration file.
    """
    places = _places(str(story["worker"]["pool"]), config)
    found: dict[str, list[str]] = {}
    for key in keys:
        value = _in_force(story, key)
        if value is None or value == []:
            continue
        origin = "default"
        if places is None and not _same(_DEFAULTS.get(key), value):
            origin = f"{story.get('origin') or ''} or what it inherits"
        elif places is not None:
            of_file, where = places.get(key, (value, "default"))
            origin = where if _same(of_file, value) else "in force; the file differs"
        found.setdefault(origin, []).append(f"{key} {_shown(key, value)}")
    return [(text, origin) for origin, values in found.items() for text in _packed(values)]


def _packed(values: list[str]) -> list[str]:
    """Return values in as few texts as fit beside their origin."""
    texts: list[str] = []
    for value in values:
        if texts and len(texts[-1]) + len(value) + 2 <= _TEXT_COLUMNS:
            texts[-1] += f", {value}"
        else:
            texts.append(value)
    return texts


def _in_force(story: dict[str, Any], key: str) -> Any:
    if key in ("requires", "after"):
        return story.get(key)
    if key == _LONGEST_WAIT:
        return ((story.get("policy") or {}).get("backoff") or {}).get("max_s")
    table, _, name = key.partition(".")
    if table in _AS_WRITTEN:
        return ((story.get("policy") or {}).get(table) or {}).get(name)
    if key in _OF_SCHEDULE:
        schedule = (story.get("policy") or {}).get("schedule") or {}
        return schedule.get(_OF_SCHEDULE[key])
    return (story.get("policy") or {}).get(_FIELDS[key])


def _places(pool: str, config: str) -> dict[str, tuple[Any, str]] | None:
    """Return key -> (value, where it stands), as the files are now; None: they cannot be read."""
    from supervisord_lite.config.flat import health_keys, recycle_keys
    from supervisord_lite.config.load import survey
    from supervisord_lite.config.show import show

    try:
        judged = survey(config, environ=os.environ, as_root=os.geteuid() == 0)
    except (SupervisordLiteError, OSError, ValueError):
        return None
    spec = next((each for each in judged.configuration.specs if each.pool == pool), None)
    if spec is None:
        return None
    places = {}
    keys = {**health_keys(spec.health), **recycle_keys(spec.recycle)}
    as_written = {".".join(key): value for key, value in keys.items()}
    for line in show(pool, judged):
        if line.key in as_written:
            value = as_written[line.key]
        elif line.key == _LONGEST_WAIT:
            value = spec.policy.backoff.max_s
        elif line.key == "heartbeat_timeout":
            value = spec.launch.heartbeat_timeout_s
        elif line.key in _FIELDS:
            value = getattr(spec.policy, _FIELDS[line.key])
        elif line.key in ("requires", "after"):
            value = getattr(spec, line.key)
        elif line.key in _OF_SCHEDULE:
            value = _of_schedule(spec.policy.schedule, _OF_SCHEDULE[line.key])
        else:
            continue
        via = f" via {line.via}" if line.via else ""
        places[line.key] = (value, f"{line.origin}{via}")
    return places


def _of_schedule(schedule: Schedule | None, field: str) -> Any:
    if schedule is None:
        return None
    if field == "cron":
        return None if schedule.cron is None else schedule.cron.text
    return (schedule.zone.name or None) if field == "timezone" else getattr(schedule, field)


def _same(one: Any, other: Any) -> bool:
    return list(one) == list(other) if isinstance(one, list | tuple) else bool(one == other)


def _shown(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        words = [f'"{each}"' if isinstance(each, str) else str(each) for each in value]
        return f"[{', '.join(words)}]"
    if key == _LONGEST_WAIT or (_FIELDS.get(key) or _OF_SCHEDULE.get(key, "")).endswith("_s"):
        return f'"{written_duration(float(value))}"'
    return f'"{value}"' if isinstance(value, str) else str(value)
