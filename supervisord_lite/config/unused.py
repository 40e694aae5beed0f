"""Keys that are well written and change nothing, because of what another key says."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from supervisord_lite.config.spec import Spec
    from supervisord_lite.config.tree import Table
    from supervisord_lite.config.values import Reader

#: What is about a file of ours.
_OF_FILES = ("max_size", "backups", "max_age", "compress", "format")
_HINTS = {
    "journal": "leave it out: how much the journal keeps is said in journald.conf(5)",
    "inherit": "leave it out: where the output of the daemon goes, others look after it",
    "null": "leave it out",
}


def warn_of_unused_log_keys(reader: Reader, spec: Spec, table: Table) -> None:
    """Note what a worker says of its log files where it says that it has none.

    Keys that it only inherits are meant for those that have one, and where nothing is said of the
    place of the output, it may be a file on another machine.

    Args:
        reader: Takes the warning.
        spec: Of the worker.
        table: Its keys, merged.
    """
    log = table["log"].table() if "log" in table else None
    place = (log or {}).get("stdout")
    has_file = "file" in (spec.launch.stdout.kind, spec.launch.stderr.kind)
    if log is None or place is None or has_file:
        return
    own = [key for key in _OF_FILES if key in log and log[key].path[:2] == ("worker", spec.pool)]
    if not own:
        return
    kind = spec.launch.stdout.kind
    names = ", ".join(f"log.{key}" for key in own)
    changes = "change" if len(own) > 1 else "changes"
    message = f'{names} {changes} nothing: log.stdout is "{kind}", and no output is kept in a file'
    reader.warn(log[own[0]], message, _HINTS.get(kind, ""))
