"""Run one target to its end, and let nothing in it die unseen."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any

from supervisord_lite.worker.contract import Worker
from supervisord_lite.worker.target import TargetError
from supervisord_lite.worker.termination import on_sigterm

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from supervisord_lite.worker.context import Context

#: Ended by SIGTERM, as a shell tells it. While stopping it counts as clean, like every end.
_TERMINATED = 128 + signal.SIGTERM
_CRASHED = 1
#: How long a `start` may still be under way when the worker must stop.
_START_S = 1.0


def run_target(target: Any, config: dict[str, Any], context: Context) -> None:
    """Run *target* with *config* until it returns. Call it on the main thread, once.

    Raises:
        TargetError: It is nothing that can be run, or does not take these keyword arguments.
        BaseException: Whatever ends it.
    """
    threading.excepthook = _thread_crashed
    arguments = _arguments(target, config, context)
    if not inspect.isclass(target):
        _call(target, arguments, context, stop=None)
        return
    worker = target(**arguments)
    own_start = getattr(target, "start", None) not in (None, Worker.start)
    stop = getattr(worker, "stop", None)
    own_stop = stop if getattr(target, "stop", None) is not Worker.stop else None
    if own_start:
        _start_and_wait(worker, own_stop, context)
    elif hasattr(worker, "run"):
        _call(worker.run, {}, context, stop=own_stop)
    else:
        message = f"{target.__name__} has neither run() nor start()"
        raise TargetError(message)


def _arguments(target: Any, config: dict[str, Any], context: Context) -> dict[str, Any]:
    """Return the keyword arguments: the configured ones, and `context` where it is wanted.

    Raises:
        TargetError: They do not fit.
    """
    if not callable(target):
        message = f"{target!r} can be neither called nor run"
        raise TargetError(message)
    try:
        signature = inspect.signature(target)
    except ValueError:  # written in C, and says nothing of itself
        return config
    arguments = dict(config)
    wanted = signature.parameters.get("context")
    if wanted is not None and wanted.kind in (wanted.POSITIONAL_OR_KEYWORD, wanted.KEYWORD_ONLY):
        arguments.setdefault("context", context)
    try:
        signature.bind(**arguments)
    except TypeError as error:
        name = getattr(target, "__name__", repr(target))
        message = f"{name}{signature}: {error}"
        raise TargetError(message) from None
    return arguments


def _call(
    function: Callable[..., Any],
    arguments: dict[str, Any],
    context: Context,
    *,
    stop: Callable[[], Any] | None,
) -> None:
    if inspect.iscoroutinefunction(function):
        asyncio.run(_awaited(function(**arguments), context, stop))
        return

    def interrupt() -> None:
        if stop is None and not context.is_watched:
            sys.exit(_TERMINATED)

    def must_stop() -> None:
        context.stop()
        if stop is not None:
            stop()

    on_sigterm(must_stop, interrupt=interrupt)
    function(**arguments)


async def _awaited(
    work: Coroutine[Any, Any, Any], context: Context, stop: Callable[[], Any] | None
) -> None:
    task = asyncio.ensure_future(work)

    def must_stop() -> None:
        context.stop()
        if stop is not None:
            stop()
        elif not context.is_watched:
            task.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, must_stop)
    try:
        await task
    except asyncio.CancelledError:
        sys.exit(_TERMINATED)


def _start_and_wait(worker: Any, stop: Callable[[], Any] | None, context: Context) -> None:
    """Let `start` begin the work; it is over when the last thread that it began has ended."""
    wake, has_started = threading.Event(), threading.Event()

    def must_stop() -> None:
        context.stop()
        # By contract `start` returns at once. One that does not would never be stopped.
        has_started.wait(_START_S)
        if stop is not None:
            stop()
        wake.set()

    on_sigterm(must_stop)
    before = set(threading.enumerate())  # of imported modules: no work of this worker
    worker.start()
    has_started.set()
    joiner = threading.Thread(target=_join_all, args=(before, wake), daemon=True)
    before.add(joiner)
    joiner.start()
    wake.wait()
    if not context.must_stop:
        return
    if stop is None and not context.is_watched:
        _end(_TERMINATED)
    _join_all(before, wake)


def _join_all(before: set[threading.Thread], over: threading.Event) -> None:
    while others := [each for each in threading.enumerate() if each not in before]:
        others[0].join()
    over.set()


def _thread_crashed(crash: threading.ExceptHookArgs) -> None:
    """End the process: the work of that thread is done by nobody now."""
    if crash.exc_type is SystemExit:
        return
    name = "?" if crash.thread is None else crash.thread.name
    sys.stderr.write(f"Exception in thread {name}; the process ends:\n")
    traceback.print_exception(crash.exc_type, crash.exc_value, crash.exc_traceback)
    _end(_CRASHED)


def _end(code: int) -> None:
    """End the process from whatever thread, while others may never end."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)
