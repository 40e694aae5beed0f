"""Warnings: what is allowed, works, and is probably not what was meant.

Few, because a warning that is usually wrong teaches people not to read them.
"""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

from supervisord_lite.base.units import format_duration
from supervisord_lite.config.guarded import note_open_files
from supervisord_lite.config.tree import Node
from supervisord_lite.config.unused import warn_of_unused_log_keys
from supervisord_lite.core.backoff import backoff_s
from supervisord_lite.wire.journald import SOCKET

if TYPE_CHECKING:
    from collections.abc import Iterable

    from supervisord_lite.config.spec import Configuration, Spec
    from supervisord_lite.config.syntax import Document
    from supervisord_lite.config.tree import Table
    from supervisord_lite.config.values import Reader
    from supervisord_lite.config.worker import Workers

_SHELLS = ("sh", "bash", "dash", "ash", "zsh")
#: Two programs at once: a pipe, or one in the background.
_SEVERAL = re.compile(r"[^|&>]\|[^|&]|[^|&>]\|&|[^&>|]&(?![&>0-9])")


def warn(
    reader: Reader,
    configuration: Configuration,
    workers: Workers,
    *,
    documents: Iterable[Document],
    as_root: bool,
) -> None:
    """Note what is doubtful in a configuration, whether it has errors or not.

    Args:
        reader: Takes the warnings.
        configuration: What is to run; with defaults in place of what is wrong.
        workers: Where they stand, and their keys.
        documents: All files.
        as_root: Whether the daemon will be root.
    """
    folders: dict[str, str] = {}
    for spec in configuration.specs:
        table, header = workers.tables[spec.pool], workers.headers[spec.pool]
        _pipeline(reader, spec, table)
        _one_shot_for_ever(reader, spec, table)
        _breaker(reader, spec, table)
        _log_folder(reader, spec, table, header, folders)
        _journal(reader, spec, table, header)
        warn_of_unused_log_keys(reader, spec, table)
    if as_root:
        note_open_files(reader, documents)


def _pipeline(reader: Reader, spec: Spec, table: Table) -> None:
    argv = spec.launch.argv
    node = table.get("command")
    if node is None or spec.policy.stop_scope != "leader" or len(argv) < 3:
        return
    if argv[0].rpartition("/")[2] in _SHELLS and argv[1] == "-c" and _SEVERAL.search(argv[2]):
        message = "only the shell gets the stop signal; what it runs is killed when it is gone"
        reader.warn(node, message, 'stop_scope = "tree" sends the signal to every process')


def _one_shot_for_ever(reader: Reader, spec: Spec, table: Table) -> None:
    if spec.policy.ready_by == "exit" and spec.policy.restart == "always":
        message = (
            'ready = "exit" is a job that ends; with restart = "always" it runs again for ever'
        )
        reader.warn(table["ready"], message, 'restart = "on-failure"')


def _breaker(reader: Reader, spec: Spec, table: Table) -> None:
    policy = spec.policy
    nodes = [table[key] for key in ("max_restarts", "backoff", "circuit_window") if key in table]
    if policy.restart == "never" or not nodes:
        return
    wait_s = 0.0
    for attempt in range(1, policy.max_restarts):
        wait_s += backoff_s(attempt, policy.backoff) * (0.5 if policy.backoff.jitter else 1.0)
        if wait_s >= policy.circuit_window_s:
            break
    else:
        return
    message = (
        f"a crash loop never trips the breaker: {policy.max_restarts} failures do not fit into "
        f"{format_duration(policy.circuit_window_s)}, because of the waits between them"
    )
    hint = "raise circuit_window, or lower max_restarts or backoff.max"
    reader.warn(nodes[0], message, hint)


def _log_folder(
    reader: Reader, spec: Spec, table: Table, header: Node, folders: dict[str, str]
) -> None:
    log = table["log"].table() if "log" in table else None
    for key, target in (("stdout", spec.launch.stdout), ("stderr", spec.launch.stderr)):
        node = (log or {}).get(key)
        if target.kind != "file":
            continue
        folder = target.path.rpartition("/")[0]
        if folder not in folders:
            folders[folder] = _who_may_write(folder or "/")
            if folders[folder]:
                message = (
                    f"{folders[folder]} may write into {folder}, and so redirect or forge logs"
                )
                reader.warn(node or header, message, "a folder of its own")


def _journal(reader: Reader, spec: Spec, table: Table, header: Node) -> None:
    log = table["log"].table() if "log" in table else None
    for key, target in (("stdout", spec.launch.stdout), ("stderr", spec.launch.stderr)):
        if target.kind == "journal" and not os.path.exists(SOCKET):  # noqa: PTH110
            message = f"log.{key}: there is no journal here ({SOCKET})"
            hint = "until there is one, `logs` shows the latest 128K and all else is dropped"
            reader.warn((log or {}).get(key) or header, message, hint)


def _who_may_write(folder: str) -> str:
    try:
        mode = os.stat(folder).st_mode  # noqa: PTH116  # texts, and thousands of them
    except (OSError, ValueError):
        return ""  # it will be made by us
    return "everybody" if mode & stat.S_IWOTH else ""
