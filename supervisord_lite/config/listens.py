"""`events` of a worker: which events it is told as JSON lines on its stdin."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from supervisord_lite.config.values import shown
from supervisord_lite.config.words import did_you_mean

if TYPE_CHECKING:
    from supervisord_lite.config.tree import Table
    from supervisord_lite.config.values import Reader

#: Every event that there is, those of later versions among them: the same words everywhere.
EVENTS = (
    "worker.started", "worker.ready", "worker.failed", "worker.exited", "worker.stopped",
    "worker.crashed", "worker.recycled", "worker.rejected", "worker.tripped", "worker.probing",
    "worker.reset",
    "worker.oom",
    "worker.waiting", "worker.cleared", "worker.signalled", "worker.unusable", "job.failed",
    "job.missed", "job.skipped", "pool.scaled", "roll.stopped", "config.reloaded", "config.refused",
    "control.denied", "log.dropped", "events.dropped", "daemon.started", "daemon.ready",
    "daemon.cleared",
    "daemon.stopping", "daemon.stopped", "daemon.escalated", "daemon.unkillable", "state.restored",
    "daemon.upgrading", "daemon.upgraded", "upgrade.refused", "upgrade.failed",
    "supervisor.adopted", "queue.stalled", "queue.budget", "task.succeeded", "task.dead",
    "task.unreachable",
)  # fmt: skip


def read_events(reader: Reader, table: Table) -> tuple[str, ...]:
    """Return the globs of the events that a worker is told; a word that means none is noted."""
    found = []
    for word, node in reader.texts(table, "events"):
        if any(fnmatchcase(event, word) for event in EVENTS):
            found.append(word)
            continue
        near = did_you_mean(word, EVENTS)
        hint = f'did you mean "{near}"?' if near else 'such as "worker.tripped" or "worker.*"'
        reader.at_value(node, f"no event is called {shown(word)}", hint)
    return tuple(dict.fromkeys(found))
