"""From the record of a launch to the exit code: what a process does that was started for a target.

The record is JSON. Whoever starts processes makes it (`launch_record` of supervisor/launch.py) and
hands it over where nobody else can read it; two kinds of process come here with it: an interpreter
that was just started (`boot.py`), and the forked child of one that was warm. Both are in the
worker's session already, as its user, in its folder, with its environment; what a Python program
must be told beyond that stands in the record:

===================  ===============================================================================
key                  meaning
===================  ===============================================================================
target               "package.module:Target"
config               keyword arguments, as numbers, texts, lists, tables; made for this instance
name pool instance   as in `Context`
directory            becomes sys.path[0]
path                 more folders to import from, behind all others; may be absent
script               the file that a target "__main__:…" stands in; may be absent
ready                "notify": the target calls `context.ready()`; else it is ready when it runs
notify               path of the notification socket; null: there is nobody to talk to
heartbeat_timeout_s  seconds or null
stop_timeout_s       seconds from the first signal of a stop to SIGKILL; null: not known
sockets              name -> descriptor
secrets              descriptor from which they come (handed.py); absent: they are there already
===================  ===============================================================================

Keys may be added; those that are not known are ignored, and each may be absent but `target`.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
from typing import TYPE_CHECKING

from supervisord_lite.worker import handed
from supervisord_lite.worker.context import Context, put_in_force
from supervisord_lite.worker.ending import CRASHED
from supervisord_lite.worker.host import Host
from supervisord_lite.worker.masks import Masks
from supervisord_lite.worker.runner import run_target
from supervisord_lite.worker.target import find, import_from
from supervisord_lite.worker.voice import Voice

if TYPE_CHECKING:
    from typing import Any

    from supervisord_lite.worker.fit import Fit


def run(record: dict[str, Any], fit: Fit | None = None) -> int:
    """Run the target of *record* to its end; return the exit code. On the main thread, once.

    Whoever has imported the target already may know its *fit*.

    Everything is said when this returns: the traceback on stderr, the reason to the daemon. What is
    left is to end as Python programs do, `sys.exit(run(record))`: threads that are no daemons are
    waited for (after a failure some seconds), and what was registered with `atexit` is called.
    """
    _end_at_once_by_sigterm()
    if record.get("secrets") is not None:
        try:
            os.environ.update(handed.take(record["secrets"]))
        except handed.HandedError as error:
            about = {"missing": error.missing, "hopeless": error.hopeless}
            Voice(record.get("notify")).cannot_have(error.reason, **about)
            return CRASHED
    # Before code of others may take them out of the environment.
    voice = Voice(record.get("notify"), Masks.from_environment(os.environ))
    context = context_of(record, voice)
    put_in_force(context)
    try:
        return _run(record, context, voice, fit)
    finally:
        context.flush()


def _end_at_once_by_sigterm() -> None:
    """Until it runs, SIGTERM ends it: there is nothing to finish yet.

    Who is ended that early did not get ready in time, as a rule, for an import hangs. So it says
    where it is, though the main thread may be anywhere, in C too.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with contextlib.suppress(Exception):  # there is no stderr
        faulthandler.register(signal.SIGTERM, all_threads=False, chain=True)


def context_of(record: dict[str, Any], voice: Voice) -> Context:
    """Return what the worker of *record* knows of itself, and talks to the daemon with."""
    name = record.get("name") or "worker"
    return Context(
        name,
        record.get("pool") or name,
        record.get("instance") or 1,
        voice=voice,
        says_ready=record.get("ready") == "notify",
        heartbeat_timeout_s=record.get("heartbeat_timeout_s"),
        stop_timeout_s=record.get("stop_timeout_s"),
        sockets=record.get("sockets"),
    )


def _run(record: dict[str, Any], context: Context, voice: Voice, fit: Fit | None) -> int:
    host = Host(context, voice)
    path, directory = record.get("path") or [], record.get("directory")
    try:
        if fit is None:
            script = record.get("script")
            target = find(record["target"], path=path, script=script, directory=directory)
        else:
            import_from(path, directory)
            target = fit.target
    except BaseException as error:  # noqa: BLE001  # a module may do anything while it is imported
        return _ended_by(error, host, imported=False)
    try:
        run_target(target, record.get("config") or {}, context, host, fit=fit)
    except BaseException as error:  # noqa: BLE001  # whatever it is, it is told
        return _ended_by(error, host)
    return 0


def _ended_by(error: BaseException, host: Host, *, imported: bool = True) -> int:
    host.insist(error)
    return host.tell(error, imported=imported)
