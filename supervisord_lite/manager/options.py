"""What a worker may be told when it is registered."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, TypedDict

from supervisord_lite.base.suggest import nearest
from supervisord_lite.manager.errors import InvalidWorker

#: "10s", "5m", "1h30m", a number of seconds, or a timedelta.
Duration = str | float | timedelta


class Changes(TypedDict, total=False):
    """The fields of `WorkerOptions`, each of which may be left out."""

    pool_size: int
    critical: bool | Literal["all"]
    restart: Literal["always", "on-failure", "never"] | None
    ok_exit_codes: Sequence[int]
    ready: Duration | None
    start_timeout: Duration
    run_timeout: Duration | None
    stop_signal: str | Sequence[str]
    stop_timeout: Duration | Sequence[Duration]
    stop_scope: Literal["leader", "tree"]
    stable_run_period: Duration
    max_restarts: int
    circuit_window: Duration
    circuit_cooldown: Duration | None
    backoff_min: Duration
    backoff_max: Duration
    backoff_factor: float
    backoff_jitter: bool
    requires: Sequence[str]
    after: Sequence[str]
    directory: str
    environment: Mapping[str, str | bool]
    config: Mapping[str, Any]
    keys: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """How a worker lives; the names and defaults are those of the configuration file.

    Attributes:
        pool_size: Instances, 1 to 1024, each with its own process and breaker.
        critical: Its open breaker ends everything; "all": only when all instances' are open.
        restart: When it is started again by itself; None: "on-failure", or "never" with a schedule.
        ready: "spawned", "exit", or how long it must live to count as ready; None: "1s", or with
            its first good answer where `keys` has a health probe.
        stop_signal, stop_timeout: One of each, or lists of equal length: a ladder.
        stable_run_period: A run of at least this starts the waits again.
        max_restarts, circuit_window: So many failures inside the window open the breaker.
        circuit_cooldown: After this an open breaker allows one start on trial; None: never.
        backoff_min, backoff_max, backoff_factor, backoff_jitter: The waits before restarts.
        requires, after: Names of workers that come first.
        directory: Where it runs; the current folder when it is empty.
        environment: Added to this process's; False unsets.
        config: Keyword arguments of a Python target: values that JSON knows.
        keys: Any other key of a worker's table: {"limits.nofile": 4096}.
    """

    pool_size: int = 1
    critical: bool | Literal["all"] = False
    restart: Literal["always", "on-failure", "never"] | None = None
    ok_exit_codes: Sequence[int] = (0,)
    ready: Duration | None = None
    start_timeout: Duration = "60s"
    run_timeout: Duration | None = None
    stop_signal: str | Sequence[str] = "SIGTERM"
    stop_timeout: Duration | Sequence[Duration] = "10s"
    stop_scope: Literal["leader", "tree"] = "leader"
    stable_run_period: Duration = "30s"
    max_restarts: int = 5
    circuit_window: Duration = "10m"
    circuit_cooldown: Duration | None = None
    backoff_min: Duration = "1s"
    backoff_max: Duration = "5m"
    backoff_factor: float = 2.0
    backoff_jitter: bool = True
    requires: Sequence[str] = ()
    after: Sequence[str] = ()
    directory: str = ""
    environment: Mapping[str, str | bool] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    keys: Mapping[str, Any] = field(default_factory=dict)

    def replace(self, changes: Changes) -> WorkerOptions:
        """Return options like these with some fields changed.

        Raises:
            InvalidWorker: There is no such field.
        """
        for name in changes:
            if name not in Changes.__annotations__:
                near = nearest(name, Changes.__annotations__)
                hint = f"did you mean {near}?" if near else "any other key goes into keys={}"
                message = f"a worker has no option {name!r}"
                raise InvalidWorker(message, hint=hint)
        return dataclasses.replace(self, **changes)


#: Options that are a table in the file: their prefix, and the key inside it.
_BACKOFF = "backoff_"
#: What is no key of the file, or is written elsewhere.
_OURS = ("config", "keys", "directory", "environment")
#: What a worker is stands in the target alone.
_TARGETS = ("command", "python", "agent", "container")


def worker_keys(options: WorkerOptions) -> dict[str, Any]:
    """Return *options* as the keys of a worker's table, but for those of the target itself.

    Raises:
        InvalidWorker: They are of a shape that no table has.
    """
    for name, value in (("keys", options.keys), ("environment", options.environment)):
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            message = f"{name} maps names to values, got {value!a:.200}"
            raise InvalidWorker(message)
    try:
        table = _own_keys(options)
        for key, value in options.keys.items():
            _put(table, key, value)
    except RecursionError:
        message = "an option contains itself"
        raise InvalidWorker(message) from None
    return table


def _own_keys(options: WorkerOptions) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for each in dataclasses.fields(options):
        value = getattr(options, each.name)
        if each.name in _OURS or value is None:
            continue
        value = _plain(value)
        if each.name.startswith(_BACKOFF):
            table.setdefault("backoff", {})[each.name.removeprefix(_BACKOFF)] = value
        else:
            table[each.name] = value
    return table


def _put(table: dict[str, Any], key: str, value: object) -> None:
    """Add one of `keys`, whose name may lead into tables in the table."""
    inner = table
    *parents, name = key.split(".")
    if (parents or [name])[0] in _TARGETS:
        message = f"keys: {key!a} would be another target than the one that is registered"
        raise InvalidWorker(message, hint="register that target instead")
    for parent in parents:
        inner = inner.setdefault(parent, {})
        if not isinstance(inner, dict):
            message = f"keys: {key!a}: {parent!a} is a value, not a table"
            raise InvalidWorker(message)
    inner[name] = _plain(value)


def _plain(value: Any) -> Any:
    """Return *value* as TOML has it: lists for sequences, seconds for a timedelta."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, str | Mapping) or not isinstance(value, Sequence):
        return value
    return [_plain(item) for item in value]
