"""Which keys there are: known here, known to a later version, or a mistake."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisord_lite.config.values import shown
from supervisord_lite.config.words import did_you_mean, foreign_key, foreign_table

if TYPE_CHECKING:
    from supervisord_lite.config.locate import Path
    from supervisord_lite.config.tree import Node, Table
    from supervisord_lite.config.values import Reader

RLIMITS = ("as", "core", "data", "fsize", "memlock", "nofile", "nproc", "rss", "stack")

_TOP = frozenset({"supervisor", "control", "defaults", "worker"})
_TOP_LATER = frozenset({"work", "queue", "agent"})
_SUPERVISOR = frozenset(
    {"state_dir", "runtime_dir", "log_dir", "log_level", "log_format", "environment_file"}
)
_SUPERVISOR_LATER = frozenset({"include", "http", "drain"})
_CONTROL = frozenset({"path"})
_CONTROL_LATER = frozenset({"admin", "operate", "read"})
_WORKER = frozenset({
    "autostart", "backoff", "circuit_cooldown", "circuit_window", "command", "directory",
    "environment", "environment_file", "group", "limits", "log", "max_restarts", "nice",
    "ok_exit_codes", "pool_size", "ready", "restart", "stable_run_period", "start_timeout",
    "stop_scope", "stop_signal", "stop_timeout", "umask", "user",
})  # fmt: skip
_WORKER_LATER = frozenset({
    "after", "agent", "capabilities", "config", "container", "critical", "enabled", "events",
    "extends", "health", "heartbeat_timeout", "interpreter", "max_surge", "max_unavailable",
    "no_new_privs", "operators", "preload", "python", "queue", "recycle", "requires",
    "run_timeout", "schedule", "secrets", "singleton", "sockets", "warm",
})  # fmt: skip
#: Tables inside a worker whose keys are fixed: those of this version, and later ones.
_INNER = {
    "backoff": (frozenset({"min", "max", "factor", "jitter"}), frozenset[str]()),
    "limits": (frozenset({"memory", "cpu", "pids", *RLIMITS}), frozenset[str]()),
    "log": (
        frozenset({"stdout", "stderr", "max_size", "backups"}),
        frozenset({"max_age", "compress", "format"}),
    ),
}
#: An example of each, for the way out of a header that swallows keys.
_EXAMPLES = {
    "backoff": 'backoff.min = "1s"',
    "limits": "limits.nofile = 1024",
    "log": 'log.max_size = "100M"',
    "environment": 'environment.NAME = "…"',
}


def check_top(reader: Reader, table: Table) -> None:
    """Note every top table that is not known, and every key that stands in no table."""
    for key, node in table.items():
        if key in _TOP:
            continue
        if key in _TOP_LATER:
            reader.at_key(node.path, f"[{key}] is not in this version")
        elif node.table() is not None:
            near = did_you_mean(key, _TOP)
            hint = foreign_table(key) or (f"did you mean [{near}]?" if near else "")
            reader.at_key(node.path, f"unknown table [{key}]", hint)
        else:
            hint = "put it below a header: [worker.NAME]" if key in _WORKER | _WORKER_LATER else ""
            if key in _SUPERVISOR:
                hint = "put it below [supervisor]"
            reader.at_key(node.path, f'"{key}" stands in no table', hint)


def check_supervisor(reader: Reader, table: Table) -> None:
    """Note the unknown keys of [supervisor]."""
    _check_fixed(reader, table, "supervisor", _SUPERVISOR, _SUPERVISOR_LATER)


def check_control(reader: Reader, table: Table) -> None:
    """Note the unknown keys of [control]."""
    _check_fixed(reader, table, "control", _CONTROL, _CONTROL_LATER)


def _check_fixed(
    reader: Reader, table: Table, where: str, known: frozenset[str], later: frozenset[str]
) -> None:
    for key, node in table.items():
        if key in later:
            reader.at_key(node.path, f'"{key}" is not in this version')
        elif key not in known:
            near = did_you_mean(key, known) or did_you_mean(key, later)
            hint = f'did you mean "{near}"?' if near else ""
            if key in _WORKER:
                hint = f'"{key}" belongs to a worker: [worker.NAME]'
            reader.at_key(node.path, f'unknown key "{key}" in [{where}]', hint)


def check_worker(reader: Reader, table: Table, path: Path) -> None:
    """Note the unknown keys of one worker, or of [defaults], down to the tables inside it.

    Args:
        reader: Takes the problems.
        table: As written, before anything is merged into it.
        path: Of the table: ("worker", NAME) or ("defaults",).
    """
    where = f"[{'.'.join(map(str, path))}]"
    for key, node in table.items():
        if key in _WORKER_LATER:
            reader.at_key(node.path, f'"{key}" is not in this version')
        elif key not in _WORKER:
            _unknown_worker_key(reader, key, node, where)
        elif key in _EXAMPLES:
            _check_inner(reader, key, node, where)


def _unknown_worker_key(reader: Reader, key: str, node: Node, where: str) -> None:
    if node.path in reader.places.headers and node.table() is not None:
        table = where[:-1]
        near = did_you_mean(key, _EXAMPLES)
        hint = f"did you mean {table}.{near}]?" if near else f"for a name: {table}-{key}]"
        if near or where == "[defaults]":
            message = f'unknown table "{key}" in {where}'
        else:
            message = f'a name holds no dot: {table}.{key}] is a table "{key}" inside {where}'
        reader.at_key(node.path, message, hint)
        return
    value = node.value if node.table() is None else "…"
    hint = foreign_key(key, value)
    if not hint:
        dotted = {name: f"{table}.{name}" for table, keys in _INNER.items() for name in keys[0]}
        near = dotted.get(key) or did_you_mean(key, _WORKER) or did_you_mean(key, _WORKER_LATER)
        if not near:
            leaf = did_you_mean(key, dotted)
            near = dotted.get(leaf, "")
        hint = f'did you mean "{near}"?' if near else ""
    if key in _SUPERVISOR:
        hint = f'"{key}" belongs to [supervisor]'
    reader.at_key(node.path, f'unknown key "{key}" in {where}', hint)


def _check_inner(reader: Reader, name: str, node: Node, where: str) -> None:
    inner = node.table()
    if inner is None:  # told where the table is read
        return
    known, later = _INNER.get(name, (None, frozenset()))
    for key, item in inner.items():
        if key in _WORKER and node.path in reader.places.headers and key not in (known or ()):
            _swallowed(reader, name, key, item, node)
        elif key in later:
            reader.at_key(item.path, f'"{name}.{key}" is not in this version')
        elif known is not None and key not in known:
            near = did_you_mean(key, known)
            hint = f'did you mean "{name}.{near}"?' if near else ""
            reader.at_key(item.path, f'unknown key "{name}.{key}" in {where}', hint)


def _swallowed(reader: Reader, name: str, key: str, item: Node, node: Node) -> None:
    header = ".".join(map(str, node.path))
    line = reader.line(node.path)
    reader.at_key(
        item.path,
        f'"{key}" stands inside [{header}], which begins at line {line}: TOML puts every key '
        "below a [header] into it",
        f"move it above line {line}, or write {_example(name, node)} without the header",
    )


def _example(name: str, node: Node) -> str:
    """Return a key that does belong into the table, as it stands there if it is short."""
    known = _INNER.get(name, (frozenset[str](), None))[0]
    for key, item in (node.table() or {}).items():
        if (key in known or key not in _WORKER) and isinstance(item.value, (str, int, float)):
            return f"{name}.{key} = {shown(item.value)}"
    return _EXAMPLES[name]
