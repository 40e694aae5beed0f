"""Which keys there are: known here, known to a later version, or a mistake."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisord_lite.config import later
from supervisord_lite.config.launch import RLIMITS
from supervisord_lite.config.schedule import KEYS as SCHEDULE
from supervisord_lite.config.values import shown
from supervisord_lite.config.words import (
    did_you_mean,
    foreign_key,
    foreign_setting,
    foreign_table,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisord_lite.config.locate import Path
    from supervisord_lite.config.tree import Node, Table
    from supervisord_lite.config.values import Reader

_TOP = frozenset({"supervisor", "control", "defaults", "worker"})
_SUPERVISOR = frozenset(
    {"state_dir", "runtime_dir", "log_dir", "log_level", "log_format", "include",
     "environment_file", "http", "drain"}
)  # fmt: skip
_CONTROL = frozenset({"path", "admin", "operate", "read"})
_WORKER = frozenset({
    "after", "autostart", "backoff", "capabilities", "circuit_cooldown", "circuit_window",
    "command", "config", "critical", "directory", "enabled", "environment", "environment_file",
    "events", "extends", "group", "health", "heartbeat_timeout", "interpreter", "limits", "log",
    "max_restarts", "max_surge", "max_unavailable", "nice", "no_new_privs", "ok_exit_codes",
    "operators", "pool_size", "preload", "python", "ready", "recycle", "requires", "restart",
    "run_timeout", "schedule", "secrets", "secrets_as", "singleton", "sockets", "stable_run_period",
    "start_timeout", "stop_scope", "stop_signal", "stop_timeout", "umask", "user",
})  # fmt: skip
#: Tables inside a worker whose keys are fixed.
_INNER: Mapping[str, frozenset[str]] = {
    "backoff": frozenset({"min", "max", "factor", "jitter"}),
    "health": frozenset({"http", "tcp", "exec", "interval", "timeout", "failures"}),
    "limits": frozenset({"memory", "cpu", "pids", *RLIMITS}),
    "recycle": frozenset({"memory", "age", "runs", "jitter"}),
    "log": frozenset(
        {"stdout", "stderr", "max_size", "max_age", "backups", "compress", "format", "level_prefix"}
    ),
    "schedule": frozenset(SCHEDULE),
}
#: An example of each, for the way out of a header that swallows keys.
_EXAMPLES = {
    "backoff": 'backoff.min = "1s"',
    "health": 'health.interval = "10s"',
    "limits": "limits.nofile = 1024",
    "recycle": 'recycle.age = "24h"',
    "log": 'log.max_size = "100M"',
    "schedule": 'schedule.cron = "7 * * * *"',
    "environment": 'environment.NAME = "…"',
    "secrets": 'secrets.NAME = "file:PATH"',
}
#: Tables that may stand inside a worker.
INNER_TABLES = frozenset({*_EXAMPLES, "config", "container", "sockets"})


def is_worker_key(key: str) -> bool:
    """Whether *key* is one of a worker, in this version or a later one."""
    return key in _WORKER or key in later.WORKER


def check_top(reader: Reader, table: Table) -> None:
    """Note every top table that is not known, and every key that stands in no table."""
    for key, node in table.items():
        if key in _TOP:
            continue
        if key in later.TOP:
            later.TOP[key](reader, node)
            reader.at_key(node, f"[{key}] is not in this version")
        elif node.table() is not None or node.path in node.places.headers or _is_tables(node):
            near = did_you_mean(key, _TOP) or did_you_mean(key, later.TOP)
            hint = foreign_table(key) or (f"did you mean [{near}]?" if near else "")
            reader.at_key(node, f"unknown table [{key}]", hint)
        else:
            hint = "put it below a header: [worker.NAME]" if is_worker_key(key) else ""
            if key in _SUPERVISOR:
                hint = "put it below [supervisor]"
            reader.at_key(node, f'"{key}" stands in no table', hint)


def _is_tables(node: Node) -> bool:
    return isinstance(node.value, list) and all(isinstance(item, dict) for item in node.value)


def check_supervisor(reader: Reader, table: Table) -> None:
    """Note the unknown keys of [supervisor]."""
    _check_fixed(reader, table, "supervisor", _SUPERVISOR)


def check_control(reader: Reader, table: Table) -> None:
    """Note the unknown keys of [control]."""
    _check_fixed(reader, table, "control", _CONTROL)


def _check_fixed(reader: Reader, table: Table, where: str, known: frozenset[str]) -> None:
    for key, node in table.items():
        if key not in known:
            near = did_you_mean(key, known)
            hint = f'did you mean "{near}"?' if near else ""
            if where == "supervisor" and not near:
                hint = foreign_setting(key, node.value) or hint
            if is_worker_key(key):
                hint = f'"{key}" belongs to a worker: [worker.NAME]'
            reader.at_key(node, f'unknown key "{key}" in [{where}]', hint)


def check_worker(reader: Reader, table: Table, path: Path) -> None:
    """Note the unknown keys of one worker, or of [defaults], down to the tables inside it.

    Args:
        reader: Takes the problems.
        table: As written, before anything is merged into it.
        path: Of the table: ("worker", NAME) or ("defaults",).
    """
    where = f"[{'.'.join(map(str, path))}]"
    for key, node in table.items():
        if key in later.WORKER:
            later.WORKER[key](reader, node)
            reader.at_key(node, f'"{key}" is not in this version')
        elif key not in _WORKER:
            _unknown_worker_key(reader, key, node, where)
        elif key in _EXAMPLES:
            _check_inner(reader, key, node, where)


def _unknown_worker_key(reader: Reader, key: str, node: Node, where: str) -> None:
    if node.path in node.places.headers and node.table() is not None:
        table = where[:-1]
        near = did_you_mean(key, _EXAMPLES)
        hint = f"did you mean {table}.{near}]?" if near else f"for a name: {table}-{key}]"
        if near or where == "[defaults]":
            message = f'unknown table "{key}" in {where}'
        else:
            message = f'a name holds no dot: {table}.{key}] is a table "{key}" inside {where}'
        reader.at_key(node, message, hint)
        return
    value = node.value if node.table() is None else "…"
    hint = foreign_key(key, value)
    if not hint:
        dotted = {name: f"{table}.{name}" for table, keys in _INNER.items() for name in keys}
        near = dotted.get(key) or did_you_mean(key, _WORKER) or did_you_mean(key, later.WORKER)
        if not near:
            leaf = did_you_mean(key, dotted)
            near = dotted.get(leaf, "")
        hint = f'did you mean "{near}"?' if near else ""
    if key in _SUPERVISOR:
        hint = f'"{key}" belongs to [supervisor]'
    elif not hint and (other := later.other_table(key)):
        hint = f'"{key}" belongs to [{other}.NAME]'
    hint = hint or "supervisord-lite help configuration lists all keys"
    reader.at_key(node, f'unknown key "{key}" in {where}', hint)


def _check_inner(reader: Reader, name: str, node: Node, where: str) -> None:
    inner = node.table()
    if inner is None:  # told where the table is read
        return
    known = _INNER.get(name)
    for key, item in inner.items():
        if key in _WORKER and node.path in node.places.headers and key not in (known or ()):
            _swallowed(reader, name, key, item, node)
        elif known is not None and key not in known:
            near = did_you_mean(key, known)
            hint = f"supervisord-lite help {name} lists those that there are"
            hint = f'did you mean "{name}.{near}"?' if near else hint
            reader.at_key(item, f'unknown key "{name}.{key}" in {where}', hint)


def _swallowed(reader: Reader, name: str, key: str, item: Node, node: Node) -> None:
    header = ".".join(map(str, node.path))
    line = node.line()
    reader.at_key(
        item,
        f'"{key}" stands inside [{header}], which begins at line {line}: TOML puts every key '
        "below a [header] into it",
        f"move it above line {line}, or write {_example(name, node)} without the header",
    )


def _example(name: str, node: Node) -> str:
    """Return a key that does belong into the table, as it stands there if it is short."""
    if name == "secrets":
        return _EXAMPLES[name]  # whatever stands there is not shown
    known = _INNER.get(name, frozenset())
    for key, item in (node.table() or {}).items():
        if (key in known or key not in _WORKER) and isinstance(item.value, (str, int, float)):
            return f"{name}.{key} = {shown(item.value)}"
    return _EXAMPLES[name]
