"""The configuration in force as one file: every value resolved, nothing inherited.

It is for people, and for those who ask on another machine what this one runs. The daemon never
reads it; that it would load to the same specs is how a test knows that nothing is missing.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import tomli_w

from supervisord_lite.base.signals import name_of
from supervisord_lite.config.launch import RLIMITS_IN_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisord_lite.config.spec import Configuration, Grant, Launch, LogTarget, Settings, Spec
    from supervisord_lite.core.policy import Policy

FILE_NAME = "effective.toml"
#: What `user` sets, in this order: see launch.py.
ACCOUNT = ("HOME", "USER", "LOGNAME", "SHELL")
#: Between the parts of a dotted key; no name of a variable holds it.
DOT = "="
_DOTTED = re.compile(r'^"((?:[^"\\]|\\.)*)"(?= = )', re.MULTILINE)
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def render_effective(configuration: Configuration) -> str:
    """Return the text of the file: dotted keys, one per line, workers in their order."""
    settings = configuration.settings
    tables: dict[str, object] = {
        "supervisor": _present(_supervisor(settings)),
        "control": _present(_control(settings)),
        "worker": {spec.pool: _present(worker_table(spec)) for spec in configuration.specs},
    }
    if not configuration.specs:
        del tables["worker"]
    head = (
        "# The configuration in force, with every default. Written by supervisord-lite and never\n"
        f"# read by it: change {_comment(settings.config_path)} and reload.\n\n"
    )
    return head + _DOTTED.sub(_dotted, tomli_w.dumps(tables))


def write_effective(configuration: Configuration) -> str:
    """Write the file into `state_dir`, at once as a whole, for its owner alone; return its path.

    Values of `environment_file` stand in it.

    Raises:
        OSError: It cannot be written; an older one stays.
    """
    folder = configuration.settings.state_dir
    path, temporary = f"{folder}/{FILE_NAME}", f"{folder}/.{FILE_NAME}.{os.getpid()}"
    data = memoryview(render_effective(configuration).encode())
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(temporary, flags, 0o600)
    try:
        while data:
            data = data[os.write(file, data) :]
        os.fsync(file)
        os.rename(temporary, path)  # noqa: PTH104
    except OSError:
        os.unlink(temporary)  # noqa: PTH108
        raise
    finally:
        os.close(file)
    return path


def _dotted(match: re.Match[str]) -> str:
    parts = match[1].split(DOT)
    return ".".join(part if _BARE.fullmatch(part) else f'"{part}"' for part in parts)


def _comment(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def _present(table: dict[str, object]) -> dict[str, object]:
    """Return *table* without the keys that say nothing: TOML has no word for none."""
    return {key: value for key, value in table.items() if value is not None}


def _supervisor(settings: Settings) -> dict[str, object]:
    return {
        "state_dir": written_text(settings.state_dir),
        "runtime_dir": written_text(settings.runtime_dir),
        "log_dir": None if settings.log_dir is None else written_text(settings.log_dir),
        "log_level": settings.log_level,
        "log_format": settings.log_format,
    }


def _control(settings: Settings) -> dict[str, object]:
    return {
        "path": written_text(settings.control_path),
        "admin": _grants(settings.admin),
        "operate": _grants(settings.operate),
        "read": _grants(settings.read),
    }


def worker_table(spec: Spec) -> dict[str, object]:
    """Return every key of a worker, dotted with `DOT`, with its value; None: has none."""
    return {
        "command": [written_text(word) for word in spec.launch.argv],
        "pool_size": spec.pool_size,
        "critical": {"no": False, "any": True, "all": "all"}[spec.critical],
        "singleton": spec.singleton,
        "max_unavailable": spec.max_unavailable,
        "requires": list(spec.requires),
        "after": list(spec.after),
        "operators": _grants(spec.operators),
        **_policy(spec.policy),
        **_launch(spec.launch),
    }


def _policy(policy: Policy) -> dict[str, object]:
    signals = [name_of(rung.signal) for rung in policy.stop_ladder]
    waits = [_seconds(rung.timeout_s) for rung in policy.stop_ladder]
    alive = "spawned" if policy.ready_after_s == 0 else _seconds(policy.ready_after_s)
    return {
        "autostart": policy.autostart,
        "restart": policy.restart,
        "ok_exit_codes": list(policy.ok_exit_codes),
        "ready": "exit" if policy.ready_by == "exit" else alive,
        "start_timeout": _seconds(policy.start_timeout_s),
        "run_timeout": None if policy.run_timeout_s is None else _seconds(policy.run_timeout_s),
        "stop_signal": signals if len(signals) > 1 else signals[0],
        "stop_timeout": waits if len(waits) > 1 else waits[0],
        "stop_scope": policy.stop_scope,
        "stable_run_period": _seconds(policy.stable_run_period_s),
        "max_restarts": policy.max_restarts,
        "circuit_window": _seconds(policy.circuit_window_s),
        "circuit_cooldown": (
            None if policy.circuit_cooldown_s is None else _seconds(policy.circuit_cooldown_s)
        ),
        _key("backoff", "min"): _seconds(policy.backoff.min_s),
        _key("backoff", "max"): _seconds(policy.backoff.max_s),
        _key("backoff", "factor"): policy.backoff.factor,
        _key("backoff", "jitter"): policy.backoff.jitter,
    }


def _launch(launch: Launch) -> dict[str, object]:
    table: dict[str, object] = {"directory": written_text(launch.directory)}
    identity = launch.identity
    if identity is not None:
        # Only `user` puts all four there, in front; then it must be said again for a reload.
        names = tuple(name for name, _ in launch.environment[: len(ACCOUNT)])
        table["user"] = identity.user if names == ACCOUNT else None
        table["group"] = identity.gid
    table["umask"] = f"{launch.umask:03o}"
    table["nice"] = launch.nice
    for name, value in launch.environment:
        table[_key("environment", name)] = False if value is None else written_text(value)
    table[_key("limits", "memory")] = _size(launch.memory_bytes)
    table[_key("limits", "cpu")] = launch.cpu_cores
    table[_key("limits", "pids")] = launch.pids
    for limit in launch.rlimits:
        most = _size(limit.value) if limit.name in RLIMITS_IN_BYTES else limit.value
        table[_key("limits", limit.name)] = "unlimited" if most is None else most
    table[_key("log", "stdout")] = _target(launch.stdout)
    table[_key("log", "stderr")] = _target(launch.stderr)
    table[_key("log", "max_size")] = _size(launch.log_max_size_bytes)
    table[_key("log", "backups")] = launch.log_backups
    return table


def _key(table: str, name: str) -> str:
    return f"{table}{DOT}{name}"


def written_text(text: str) -> str:
    """Return *text* as it is written so that no variable is seen in it."""
    return text.replace("${", "$${")


def _seconds(seconds: float) -> str | float:
    """Return a duration that is read as exactly this many seconds."""
    whole = int(seconds)
    if whole == seconds:
        for unit, unit_s in (("h", 3600), ("m", 60)):
            if whole % unit_s == 0:
                return f"{whole // unit_s}{unit}"
        return f"{whole}s"
    return seconds  # a bare number is seconds too


def _size(size_bytes: int | None) -> str | int | None:
    """Return a size that is read as exactly this many bytes."""
    for unit, unit_bytes in (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
        if size_bytes and size_bytes % unit_bytes == 0:
            return f"{size_bytes // unit_bytes}{unit}"
    return size_bytes


def _target(target: LogTarget) -> str | None:
    if target.kind == "file":
        return written_text(target.path)
    return None if target.kind == "stdout" else target.kind


def _grants(grants: Sequence[Grant]) -> list[str]:
    return [grant.name for grant in grants]
