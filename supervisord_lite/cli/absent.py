"""Why the daemon has no worker of a name that stands in its file."""

from __future__ import annotations

import argparse
import os

from supervisord_lite.base.errors import SupervisordLiteError
from supervisord_lite.cli import place
from supervisord_lite.control.errors import NoSuchWorkerError


def explain(error: NoSuchWorkerError, arguments: argparse.Namespace) -> NoSuchWorkerError:
    """Return a better error for a worker that the file has and the daemon has not, or *error*.

    The daemon does not know who is switched off, so the file is read, as `check` does.
    """
    # Only who mistypes pays for the import of the loader.
    from supervisord_lite.config.load import judge

    try:
        with place.connect(arguments) as client:
            answer = client.call("Status", {})
        path = (answer.get("supervisor") or {}).get("config")
        if not isinstance(path, str):
            return error  # it does not say which file it reads
        judged = judge(path, environ=os.environ, as_root=os.geteuid() == 0)
    except SupervisordLiteError:
        return error  # gone, or not ours to read, or not good: then nothing is known
    table = judged.tables.get(error.subject)
    if table is None:
        return error
    reload = f"{place.command(arguments)} reload"
    for spec in judged.configuration.specs:
        if spec.pool == error.subject:
            text = f"stands in {spec.origin.file}:{spec.origin.line}, which is not in force"
            return NoSuchWorkerError(text, hint=reload, subject=error.subject)
    node = table.get("enabled")
    if node is None:
        return error
    line, _ = node.document.source.place(node.places.value(node.path)[0])
    text = f"is switched off: enabled = false in {node.document.source.file}:{line}"
    return NoSuchWorkerError(text, hint=f"enabled = true, then {reload}", subject=error.subject)
