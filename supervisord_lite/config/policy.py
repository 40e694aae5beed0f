"""The keys of a worker that say how it lives, starts again and stops: a `Policy`."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING, cast

from supervisord_lite.config.schedule import read_schedule
from supervisord_lite.config.values import shown
from supervisord_lite.config.words import did_you_mean
from supervisord_lite.core.policy import (
    BackoffPolicy,
    Policy,
    ReadyBy,
    RestartPolicy,
    Rung,
    StopScope,
)

if TYPE_CHECKING:
    from supervisord_lite.config.tree import Node, Table
    from supervisord_lite.config.values import Reader

_RESTART = ("always", "on-failure", "never")
_STOP_SCOPE = ("leader", "tree")
_READY = ("spawned", "exit", "health", "notify", "fd:3")
_READY_KINDS = '"spawned", "notify", "fd:3", "exit", "health" or a duration such as "1s"'
#: The daemon keeps those below 10 free for handing on.
_LAST_FD = 9
_SIGNALS = {name: number.value for name, number in signal.Signals.__members__.items()}
_RANGE = range(_SIGNALS["SIGRTMIN"], _SIGNALS["SIGRTMAX"] + 1)
_REAL_TIME = re.compile(r"(SIGRTMIN|SIGRTMAX)([+-][0-9]{1,2})")
_DEFAULT = Policy()
_MAX_RUNGS = 8
#: Every failure in the window is kept, and saved in one message.
_MAX_FAILURES = 1000


def read_policy(reader: Reader, table: Table) -> Policy:
    """Return the policy of a worker; *table* has its keys, those of [defaults] merged in."""
    schedule = read_schedule(reader, table)
    restart = reader.choice(
        table,
        "restart",
        _DEFAULT.restart if schedule is None else "never",
        choices=_RESTART,
        what="a restart policy",
    )
    scope = reader.choice(
        table, "stop_scope", _DEFAULT.stop_scope, choices=_STOP_SCOPE, what="a stop scope"
    )
    start_timeout_s = reader.duration(table, "start_timeout", _DEFAULT.start_timeout_s)
    ready_by, ready_after_s = _ready(reader, table, start_timeout_s)
    return Policy(
        restart=cast("RestartPolicy", restart),
        ok_exit_codes=read_ok_exit_codes(reader, table),
        autostart=reader.flag(table, "autostart", _DEFAULT.autostart),
        ready_by=ready_by,
        ready_after_s=ready_after_s,
        start_timeout_s=start_timeout_s,
        run_timeout_s=reader.duration(table, "run_timeout", None),
        stop_ladder=read_stop_ladder(reader, table),
        stop_scope=cast("StopScope", scope),
        stable_run_period_s=reader.duration(
            table, "stable_run_period", _DEFAULT.stable_run_period_s
        ),
        max_restarts=reader.whole(
            table, "max_restarts", _DEFAULT.max_restarts, least=1, most=_MAX_FAILURES
        ),
        circuit_window_s=reader.duration(table, "circuit_window", _DEFAULT.circuit_window_s),
        circuit_cooldown_s=reader.duration(table, "circuit_cooldown", None),
        backoff=_backoff(reader, reader.table(table, "backoff")),
        schedule=schedule,
    )


def read_ok_exit_codes(reader: Reader, table: Table) -> tuple[int, ...]:
    """Return the exit codes that are no failure."""
    node = table.get("ok_exit_codes")
    if node is None:
        return _DEFAULT.ok_exit_codes
    if not isinstance(node.value, list):
        is_code = isinstance(node.value, int) and not isinstance(node.value, bool)
        hint = f"write [{node.value}]" if is_code and 0 <= cast("int", node.value) <= 255 else ""
        reader.wrong(node, "a list of exit codes", hint)
        return _DEFAULT.ok_exit_codes
    codes = [reader.checked_whole(item, least=0, most=255) for item in node.items()]
    return tuple(code for code in codes if code is not None)


def _ready(reader: Reader, table: Table, start_timeout_s: float) -> tuple[ReadyBy, float]:
    """Return what makes it ready, and after how many seconds if it is a time."""
    node = table.get("ready")
    ready_s = _DEFAULT.ready_after_s
    if node is None and _is_asked(table):
        return "health", ready_s
    if node is None and "python" in table:
        return "said", ready_s  # it is when it runs, and says so by itself
    if node is not None:
        value = node.value
        if value == "spawned":
            return "alive", 0.0
        if value == "exit":
            return "exit", ready_s
        if value == "notify":
            return "said", ready_s
        if isinstance(value, str) and value.startswith("fd:"):
            if read_ready_fd(table) is None:
                hint = "write a newline there when it is ready; below 3 are stdin, stdout, stderr"
                reader.at_value(node, f"ready: a descriptor is from fd:3 to fd:{_LAST_FD}", hint)
            return "said", ready_s
        if value == "health":
            if not _is_asked(table):
                hint = 'health.http = "http://HOST:PORT/PATH", health.tcp or health.exec'
                reader.clash(node, 'ready: "health" is the first good answer: to what?', hint)
            return "health", ready_s
        if isinstance(value, str) and not any(letter.isdigit() for letter in value):
            near = did_you_mean(value, _READY)
            reader.wrong(node, _READY_KINDS, f'did you mean "{near}"?' if near else "")
            return "alive", ready_s
        ready_s = reader.checked_duration(node) or ready_s
    place = node or table.get("start_timeout")
    if ready_s >= start_timeout_s and place is not None:
        message = f"ready ({ready_s:g} s) must come before start_timeout ({start_timeout_s:g} s)"
        reader.clash(place, message, "raise start_timeout, or lower ready")
    return "alive", ready_s


def _is_asked(table: Table) -> bool:
    """Whether a health probe is set; how often it would ask is none."""
    health = table["health"].table() if "health" in table else None
    return any(kind in (health or {}) for kind in ("http", "tcp", "exec"))


def read_ready_fd(table: Table) -> int | None:
    """Return the descriptor on which it says that it is ready; None: on none."""
    node = table.get("ready")
    value = None if node is None else node.value
    if not isinstance(value, str) or not value.startswith("fd:"):
        return None
    number = value.removeprefix("fd:")
    is_number = number.isascii() and number.isdigit() and len(number) < 3
    return int(number) if is_number and 3 <= int(number) <= _LAST_FD else None


def read_stop_ladder(reader: Reader, table: Table) -> tuple[Rung, ...]:
    """Return what is sent to stop, and how long each is waited for."""
    signals, timeouts = table.get("stop_signal"), table.get("stop_timeout")
    _check_rungs(reader, signals, timeouts)
    numbers = [_signal(reader, text, node) for text, node in reader.texts(table, "stop_signal")]
    waits = [reader.checked_duration(node) for node in timeouts.items()] if timeouts else []
    if not numbers and not waits:
        return _DEFAULT.stop_ladder
    first = _DEFAULT.stop_ladder[0]
    pairs = zip(numbers or [first.signal], waits or [first.timeout_s], strict=False)
    return tuple(Rung(n, s) for n, s in pairs if n is not None and s is not None) or (first,)


def _check_rungs(reader: Reader, signals: Node | None, timeouts: Node | None) -> None:
    """Note a ladder whose two sides do not match: one value each, or lists of equal length."""
    sides = [(node, node.value) for node in (signals, timeouts) if node is not None]
    lists = [(node, value) for node, value in sides if isinstance(value, list)]
    if not lists:
        return
    for node, value in lists:
        if not 1 <= len(value) <= _MAX_RUNGS:
            message = f"{node.path[-1]}: a list has from 1 to {_MAX_RUNGS} items, got {len(value)}"
            reader.at_value(node, message)
            return
    if len(lists) == 2 and len(lists[0][1]) == len(lists[1][1]):
        return
    node, rungs = lists[0]
    count = len(rungs)
    other = timeouts if node is signals else signals
    name = "stop_timeout" if node is signals else "stop_signal"
    example = '"10s"' if node is signals else '"SIGTERM"'
    hint = f"{name} = [{', '.join([example] * count)}]"
    message = (
        f"{name}: {node.path[-1]} is a list of {count}, so this must be a list of {count} too"
        if other is not None
        else f"{node.path[-1]}: a list of {count} needs {name}, a list of {count}"
    )
    reader.clash(other or node, message, hint)


def _signal(reader: Reader, text: str, node: Node) -> int | None:
    number = _SIGNALS.get(text)
    real_time = _REAL_TIME.fullmatch(text)
    if real_time:
        # As kill(1) and signal(7) write them; the number differs between C libraries.
        number = _SIGNALS[real_time[1]] + int(real_time[2])
        if number not in _RANGE:
            reader.at_value(node, f'"{text}" is not a signal', f"there are {len(_RANGE)} of them")
            return None
    if number is None:
        wanted = text.upper() if text.upper().startswith("SIG") else f"SIG{text.upper()}"
        known = wanted in _SIGNALS or _REAL_TIME.fullmatch(wanted)
        hint = f'did you mean "{wanted}"?' if known else 'such as "SIGTERM", "SIGINT"'
        reader.at_value(node, f"{shown(text)} is not a signal", hint)
    return number


def _backoff(reader: Reader, table: Table) -> BackoffPolicy:
    default = _DEFAULT.backoff
    backoff = BackoffPolicy(
        min_s=reader.duration(table, "min", default.min_s),
        max_s=reader.duration(table, "max", default.max_s),
        factor=reader.number(table, "factor", default.factor, least=1, most=1000),
        jitter=reader.flag(table, "jitter", default.jitter),
    )
    node = table.get("max") or table.get("min")
    if backoff.min_s > backoff.max_s and node is not None:
        message = (
            f"backoff.max ({backoff.max_s:g} s) is less than backoff.min ({backoff.min_s:g} s)"
        )
        reader.clash(node, message)
    return backoff
