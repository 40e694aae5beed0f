"""Run one target to its end, and let nothing in it die unseen."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING, Any

from supervisord_lite.worker import shape
from supervisord_lite.worker.contract import Worker
from supervisord_lite.worker.ending import TERMINATED
from supervisord_lite.worker.fit import Fit
from supervisord_lite.worker.target import TargetError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from supervisord_lite.worker.context import Context
    from supervisord_lite.worker.host import Host

#: How long a `start` may still be under way when the worker must stop.
_START_S = 1.0


def run_target(
    target: Any,
    config: dict[str, Any],
    context: Context,
    host: Host,
    *,
    on_made: Callable[[Any], object] | None = None,
    fit: Fit | None = None,
) -> None:
    """Run *target* with *config* until it returns. Call it once, where it is to run.

    Args:
        target: A function or a class.
        config: Its keyword arguments.
        context: For a parameter `context`.
        host: Where it runs.
        on_made: Told of the instance of a class, before it runs.
        fit: What is known of it with these arguments; None: it is found out.

    Raises:
        TargetError: It is nothing that can be run, or does not take these keyword arguments.
        BaseException: Whatever ends it.
    """
    fit = fit or Fit(target, config)
    arguments = dict(config)
    if fit.takes_context:
        arguments.setdefault("context", context)
    if not fit.is_class:
        _call(target, arguments, context, host, fit, stop=None)
        return
    worker = target(**arguments)
    if on_made is not None:
        on_made(worker)
    stop = getattr(worker, "stop", None)
    own_stop = stop if getattr(target, "stop", None) is not Worker.stop and callable(stop) else None
    if shape.own(target, "start") is not None:
        _start_and_wait(worker, own_stop, context, host, fit)
    elif hasattr(worker, "run"):
        handed = {"context": context} if fit.method_takes_context(worker, "run") else {}
        _call(worker.run, handed, context, host, fit, stop=own_stop)
    else:
        message = f"{target.__name__} has neither run() nor start()"
        raise TargetError(message, hopeless=True)


def _call(
    function: Callable[..., Any],
    arguments: dict[str, Any],
    context: Context,
    host: Host,
    fit: Fit,
    *,
    stop: Callable[[], Any] | None,
) -> None:
    if fit.is_coroutine(function):
        asyncio.run(_awaited(function(**arguments), context, host, stop))
        return

    def interrupt() -> None:
        if stop is None and not context.is_watched:
            sys.exit(TERMINATED)

    def must_stop() -> None:
        context.stop()
        if stop is not None:
            stop()

    host.on_stop(must_stop, interrupt=interrupt)
    context.began()
    function(**arguments)


async def _awaited(
    work: Coroutine[Any, Any, Any],
    context: Context,
    host: Host,
    stop: Callable[[], Any] | None,
) -> None:
    task = asyncio.ensure_future(work)
    stops: list[asyncio.Task[Any]] = []

    def must_stop() -> None:
        context.stop()
        if stop is not None:
            stopping = stop()
            if asyncio.iscoroutine(stopping):
                stops.append(asyncio.ensure_future(stopping))
        elif not context.is_watched:
            task.cancel()

    host.on_stop_in(asyncio.get_running_loop(), must_stop)
    context.began()
    try:
        await task
        # What a stop() has left to do is part of the end, and its failure a crash.
        await asyncio.gather(*stops)
    except asyncio.CancelledError:
        sys.exit(TERMINATED)
    except BaseException as error:
        host.insist(error)  # asyncio waits for the threads of its executor first, for ever
        raise


def _start_and_wait(
    worker: Any, stop: Callable[[], Any] | None, context: Context, host: Host, fit: Fit
) -> None:
    """Let `start` begin the work; it is over when the last thread that it began has ended."""
    wake, has_started = threading.Event(), threading.Event()

    def must_stop() -> None:
        context.stop()
        # By contract `start` returns at once. One that does not would never be stopped.
        has_started.wait(_START_S)
        if stop is not None:
            stop()
        wake.set()

    host.on_stop(must_stop)
    before = set(host.threads())  # of imported modules: no work of this worker
    context.began()
    worker.start(**({"context": context} if fit.method_takes_context(worker, "start") else {}))
    has_started.set()
    begun = _Begun(host, before)
    joiner = threading.Thread(target=begun.join, args=(wake,), daemon=True)
    before.add(joiner)
    joiner.start()
    wake.wait()
    if not context.must_stop:
        return
    if stop is None and not context.is_watched:
        host.end(TERMINATED)
    begun.join(wake)


class _Begun:
    """The threads that `start` has begun, and those that these begin."""

    def __init__(self, host: Host, before: set[threading.Thread]) -> None:
        self._host = host
        self._before = before
        # Of one that has nothing but daemon threads, these are its work.
        self._only_daemons = not self._alive(daemons=False)

    def join(self, over: threading.Event) -> None:
        """Wait until the last of them has ended, then set *over*."""
        while others := self._alive(daemons=self._only_daemons):
            others[0].join()
        over.set()

    def _alive(self, *, daemons: bool) -> list[threading.Thread]:
        return [
            each
            for each in self._host.threads()
            if each not in self._before and (daemons or not each.daemon)
        ]
