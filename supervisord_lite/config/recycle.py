"""recycle.*: when a run gives way to a fresh one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisord_lite.config.values import own, plain
from supervisord_lite.core.recycle import Recycle

if TYPE_CHECKING:
    from supervisord_lite.config.tree import Table
    from supervisord_lite.config.values import Reader

#: Below this no process lives that does anything.
_LEAST_MEMORY_BYTES = 64 * 1024
_MOST_RUNS = 10**9


def read_recycle(reader: Reader, table: Table) -> Recycle:
    """Return the limits of a worker's runs; *table* has its keys, those of [defaults] merged in."""
    keys = reader.table(table, "recycle")
    age_s = reader.duration(keys, "age", None)
    runs = reader.whole(keys, "runs", None, least=1, most=_MOST_RUNS)
    jitter = _jitter(reader, keys)
    why = hint = ""
    if jitter is not False and age_s is None and runs is None:
        why = "recycle.jitter needs recycle.age or recycle.runs"
        hint = "memory needs none: no two processes grow alike"
    elif jitter not in (False, True) and age_s is None:
        why = "recycle.jitter is a duration, recycle.age is none"
        hint = "recycle.jitter = true: up to a tenth more runs"
    if why:
        jitter = False
        if node := own(keys, "jitter"):
            reader.clash(node, why, hint)
    memory_bytes = reader.size(keys, "memory", None, least_bytes=_LEAST_MEMORY_BYTES)
    found = Recycle(memory_bytes=memory_bytes, age_s=age_s, runs=runs, jitter=jitter)
    _check_limit(reader, table, keys, found)
    return found


def _jitter(reader: Reader, keys: Table) -> bool | float:
    node = keys.get("jitter")
    if node is None:
        return False
    if isinstance(plain(node.value), bool):
        return reader.flag(keys, "jitter", False)
    return reader.checked_duration(node) or False


def _check_limit(reader: Reader, table: Table, keys: Table, found: Recycle) -> None:
    """Note a soft limit that the hard one does not let anybody reach."""
    limits = reader.table(table, "limits")
    most = reader.size(limits, "memory", None)
    if reader.alone or most is None or found.memory_bytes is None or found.memory_bytes < most:
        return
    message = "recycle.memory is not below limits.memory: the kernel would end it first"
    reader.clash(keys["memory"], message, "lower recycle.memory, or raise limits.memory")
