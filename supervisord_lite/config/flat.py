"""A configuration as people wrote it: every key with its value, dotted keys as tuples.

Imported by the supervisor, which compares what is in force with what the file says now: nothing of
the loader. `effective.py` writes the same keys as a file.
"""

from __future__ import annotations

import json

from supervisord_lite.base.signals import name_of
from supervisord_lite.base.units import written_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from supervisord_lite.config.spec import (
        Grant,
        Health,
        Launch,
        LogTarget,
        Settings,
        Socket,
        Spec,
    )
    from supervisord_lite.core.policy import Policy
    from supervisord_lite.core.recycle import Recycle
    from supervisord_lite.core.schedule import Schedule

#: ("stop_timeout",) or ("environment", "PATH"): the parts of a dotted key.
Key = tuple[str, ...]
#: What `user` sets, in this order: see launch.py.
ACCOUNT = ("HOME", "USER", "LOGNAME", "SHELL")
#: The rlimits that count bytes, so that "64M" makes sense.
RLIMITS_IN_BYTES = frozenset({"as", "core", "data", "fsize", "memlock", "msgqueue", "rss", "stack"})
_BARE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


def dotted(key: Key) -> str:
    """Return a key as one writes it: ``environment.PATH``, quoted where TOML wants that."""
    return ".".join(part if part and _BARE.issuperset(part) else json.dumps(part) for part in key)


def supervisor_keys(settings: Settings) -> Mapping[Key, object]:
    """Return the keys of [supervisor]; None: there is no such value."""
    return {
        ("state_dir",): settings.state_dir,
        ("runtime_dir",): settings.runtime_dir,
        ("log_dir",): settings.log_dir,
        ("log_level",): settings.log_level,
        ("log_format",): settings.log_format,
        ("http",): settings.http or None,
        ("drain",): written_duration(settings.drain_s) if settings.drain_s else None,
    }


def control_keys(settings: Settings) -> Mapping[Key, object]:
    """Return the keys of [control]."""
    return {
        ("path",): settings.control_path,
        ("admin",): _grants(settings.admin),
        ("operate",): _grants(settings.operate),
        ("read",): _grants(settings.read),
    }


def worker_keys(spec: Spec) -> Mapping[Key, object]:
    """Return the keys of one worker; None: there is no such value."""
    return {
        **_program(spec.launch),
        ("pool_size",): spec.pool_size,
        ("critical",): {"no": False, "any": True, "all": "all"}[spec.critical],
        ("singleton",): spec.singleton,
        ("max_unavailable",): spec.max_unavailable,
        ("max_surge",): spec.max_surge,
        ("requires",): list(spec.requires),
        ("after",): list(spec.after),
        ("operators",): _grants(spec.operators),
        ("events",): list(spec.events),
        **recycle_keys(spec.recycle),
        **_policy(spec.policy),
        ("ready",): _ready(spec.policy, spec.launch),
        **_launch(spec.launch),
        **health_keys(spec.health),
    }


def health_keys(health: Health | None) -> dict[Key, object]:
    """Return the keys of a health probe; none where there is no probe."""
    if health is None:
        return {}
    host = f"[{health.host}]" if ":" in health.host else health.host
    written: object = list(health.argv)
    if health.kind == "tcp":
        written = f"{host}:{health.port}"
    elif health.kind == "http":
        at = f"http://{host}{':' if health.port else ''}{health.port}"
        written = f"{f'{health.socket}:' if health.socket else at}{health.path}"
    return {
        ("health", health.kind): written,
        ("health", "interval"): written_duration(health.pace.interval_s),
        ("health", "timeout"): written_duration(health.pace.timeout_s),
        ("health", "failures"): health.pace.failures,
    }


def _program(launch: Launch) -> dict[Key, object]:
    python = launch.python
    if python is None:
        return {("command",): list(launch.argv)}
    table: dict[Key, object] = {
        ("python",): python.target,
        ("interpreter",): python.interpreter,
    }
    if python.preload:
        table[("preload",)] = list(python.preload)
    table.update(_leaves(("config",), json.loads(python.config)))
    return table


def _leaves(key: Key, table: Mapping[str, object]) -> Mapping[Key, object]:
    """Return the values of a table by their whole keys; an empty one inside it is a value."""
    found: dict[Key, object] = {}
    for name, value in table.items():
        # What stands between two parts of a key in effective.py must not stand in one.
        if isinstance(value, dict) and value and not any("=" in part for part in value):
            found.update(_leaves((*key, name), value))
        else:
            found[*key, name] = value
    return found


def recycle_keys(recycle: Recycle) -> dict[Key, object]:
    """Return the keys of when a run gives way to a fresh one; None: there is no such limit."""
    jitter: object = recycle.jitter or None
    if jitter is not None and jitter is not True:
        jitter = written_duration(recycle.jitter)
    return {
        ("recycle", "memory"): _size(recycle.memory_bytes),
        ("recycle", "age"): None if recycle.age_s is None else written_duration(recycle.age_s),
        ("recycle", "runs"): recycle.runs,
        ("recycle", "jitter"): jitter,
    }


def _policy(policy: Policy) -> dict[Key, object]:
    signals = [name_of(rung.signal) for rung in policy.stop_ladder]
    waits = [written_duration(rung.timeout_s) for rung in policy.stop_ladder]
    backoff = policy.backoff
    return {
        ("autostart",): policy.autostart,
        ("restart",): policy.restart,
        ("ok_exit_codes",): list(policy.ok_exit_codes),
        ("ready",): None,  # its place: see `_ready`
        ("start_timeout",): written_duration(policy.start_timeout_s),
        ("run_timeout",): None
        if policy.run_timeout_s is None
        else written_duration(policy.run_timeout_s),
        ("stop_signal",): signals if len(signals) > 1 else signals[0],
        ("stop_timeout",): waits if len(waits) > 1 else waits[0],
        ("stop_scope",): policy.stop_scope,
        ("stable_run_period",): written_duration(policy.stable_run_period_s),
        ("max_restarts",): policy.max_restarts,
        ("circuit_window",): written_duration(policy.circuit_window_s),
        ("circuit_cooldown",): (
            None
            if policy.circuit_cooldown_s is None
            else written_duration(policy.circuit_cooldown_s)
        ),
        ("backoff", "min"): written_duration(backoff.min_s),
        ("backoff", "max"): written_duration(backoff.max_s),
        ("backoff", "factor"): backoff.factor,
        ("backoff", "jitter"): backoff.jitter,
        **_schedule(policy.schedule),
    }


def _schedule(schedule: Schedule | None) -> dict[Key, object]:
    if schedule is None:
        return {}
    every_s = schedule.every_s
    return {
        ("schedule", "cron"): None if schedule.cron is None else schedule.cron.text,
        ("schedule", "every"): None if every_s is None else written_duration(every_s),
        ("schedule", "timezone"): schedule.zone.name or None,
        ("schedule", "overlap"): schedule.overlap,
        ("schedule", "missed"): schedule.missed,
    }


def _ready(policy: Policy, launch: Launch) -> str | float | None:
    python = launch.python
    if policy.ready_by == "said" and python is not None and not python.says_ready:
        return None
    if policy.ready_by in ("exit", "health"):
        return policy.ready_by
    if policy.ready_by == "said":
        return "notify" if launch.ready_fd is None else f"fd:{launch.ready_fd}"
    return "spawned" if policy.ready_after_s == 0 else written_duration(policy.ready_after_s)


def _launch(launch: Launch) -> dict[Key, object]:
    table: dict[Key, object] = {("directory",): launch.directory}
    identity = launch.identity
    if identity is not None:
        # Only `user` puts all four there, in front; then it must be said again for a reload.
        names = tuple(name for name, _ in launch.environment[: len(ACCOUNT)])
        table["user",] = identity.user if names == ACCOUNT else None
        table["group",] = identity.gid
    table["umask",] = f"{launch.umask:03o}"
    table["nice",] = launch.nice
    kept = launch.capabilities
    table["capabilities",] = None if kept is None else list(kept)
    table["no_new_privs",] = launch.no_new_privs
    timeout_s = launch.heartbeat_timeout_s
    table["heartbeat_timeout",] = None if timeout_s is None else written_duration(timeout_s)
    for name, value in launch.environment:
        table["environment", name] = False if value is None else value
    for each in launch.sockets:
        table.update(_socket(each))
    for secret in launch.secrets:
        table["secrets", secret.name] = f"{secret.kind}:{secret.place}"
    table["secrets_as",] = launch.secrets_as if launch.secrets else None
    table["limits", "memory"] = _size(launch.memory_bytes)
    table["limits", "cpu"] = launch.cpu_cores
    table["limits", "pids"] = launch.pids
    for limit in launch.rlimits:
        most = _size(limit.value) if limit.name in RLIMITS_IN_BYTES else limit.value
        table["limits", limit.name] = "unlimited" if most is None else most
    table["log", "stdout"] = _target(launch.stdout)
    table["log", "stderr"] = _target(launch.stderr)
    table["log", "max_size"] = _size(launch.log_max_size_bytes)
    age_s = launch.log_max_age_s
    table["log", "max_age"] = None if age_s is None else written_duration(age_s)
    table["log", "backups"] = launch.log_backups
    table["log", "compress"] = launch.log_compress
    table["log", "format"] = launch.log_format
    table["log", "level_prefix"] = launch.log_level_prefix
    return table


def _socket(own: Socket) -> dict[Key, object]:
    place = "private" if own.kind == "private" else f"{own.kind}:{own.place}"
    if own.kind == "tcp":
        place = f"[{own.host}]:{own.place}" if ":" in own.host else f"{own.host}:{own.place}"
    table: dict[Key, object] = {("sockets", own.name, "listen"): place}
    if own.kind == "unix":
        table["sockets", own.name, "mode"] = f"{own.mode:04o}"
        table["sockets", own.name, "owner"] = None if own.uid is None else str(own.uid)
        table["sockets", own.name, "group"] = None if own.gid is None else str(own.gid)
    table["sockets", own.name, "backlog"] = own.backlog
    table["sockets", own.name, "fd"] = own.fd
    return table


def _size(size_bytes: int | None) -> str | int | None:
    """Return a size that is read as exactly this many bytes."""
    for unit, unit_bytes in (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
        if size_bytes and size_bytes % unit_bytes == 0:
            return f"{size_bytes // unit_bytes}{unit}"
    return size_bytes


def _target(target: LogTarget) -> str | None:
    if target.kind == "file":
        return target.path
    return None if target.kind == "stdout" else target.kind


def _grants(grants: Sequence[Grant]) -> list[str]:
    return [grant.name for grant in grants]
