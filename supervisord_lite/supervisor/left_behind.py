"""What `run` has ended that a killed main process had left: told once, by the first supervisor."""

import json
from typing import Any

from supervisord_lite.supervisor.events import Events
from supervisord_lite.supervisor.fleet import Fleet

#: Among the saves: how many were ended, killed and held; of which runs; their names.
LEFT_BEHIND = "left_behind"


def tell_left_behind(text: str | None, fleet: Fleet, events: Events) -> None:
    """Tell it of the whole, and of each worker that is still there; None: there was nothing."""
    if text is None:
        return
    said: dict[str, Any] = json.loads(text)
    events.log("warning", "daemon.cleared", **said["about"], names=said["names"])
    for pool, index, run, left, killed in said["runs"]:
        if (pool, index) in fleet.workers:
            events.note_worker((pool, index), "worker.cleared", run=run, left=left, killed=killed)
