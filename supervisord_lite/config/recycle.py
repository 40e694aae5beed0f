"""recycle.*: when a run gives way to a fresh one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisord_lite.config.values import plain
from supervisord_lite.core.recycle import Recycle

if TYPE_CHECKING:
    from supervisord_lite.config.tree import Table
    from supervisord_lite.config.values import Reader

#: Below this no process lives that does anything.
_LEAST_MEMORY_BYTES = 64 * 1024
_MOST_RUNS = 10**9


def read_recycle(reader: Reader, table: Table) -> Recycle:
    """Return the limits of a worker's runs; *table* has its keys, those of [defaults] merged in."""
    own = reader.table(table, "recycle")
    found = Recycle(
        memory_bytes=reader.size(own, "memory", None, least_bytes=_LEAST_MEMORY_BYTES),
        age_s=reader.duration(own, "age", None),
        runs=reader.whole(own, "runs", None, least=1, most=_MOST_RUNS),
        jitter=_jitter(reader, own),
    )
    if "jitter" in own and found.jitter is not False and not reader.alone:
        if found.age_s is None and found.runs is None:
            hint = "memory needs none: no two processes grow alike"
            reader.clash(own["jitter"], "recycle.jitter needs recycle.age or recycle.runs", hint)
        elif found.age_s is None and found.jitter is not True:
            hint = "recycle.jitter = true: up to a tenth more runs"
            reader.clash(own["jitter"], "recycle.jitter is a duration, recycle.age is none", hint)
    _check_limit(reader, table, own, found)
    return found


def _jitter(reader: Reader, own: Table) -> bool | float:
    node = own.get("jitter")
    if node is None:
        return False
    if isinstance(plain(node.value), bool):
        return reader.flag(own, "jitter", False)
    return reader.checked_duration(node) or False


def _check_limit(reader: Reader, table: Table, own: Table, found: Recycle) -> None:
    """Note a soft limit that the hard one does not let anybody reach."""
    limits = reader.table(table, "limits")
    most = reader.size(limits, "memory", None)
    if reader.alone or most is None or found.memory_bytes is None or found.memory_bytes < most:
        return
    message = "recycle.memory is not below limits.memory: the kernel would end it first"
    reader.clash(own["memory"], message, "lower recycle.memory, or raise limits.memory")
