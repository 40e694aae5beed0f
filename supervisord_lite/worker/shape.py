"""Whether calling a target would run anything, judged from what it is, before it is called.

Some mistakes look well from outside: calling a generator function runs nothing of it, an async
`start()` that nobody awaits runs nothing either, and both would end at once, as well as can be.
"""

from __future__ import annotations

import inspect
from typing import Any, NoReturn

from supervisord_lite.worker.contract import Worker
from supervisord_lite.worker.target import TargetError

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def check(target: Any) -> None:
    """Judge a function or class.

    Raises:
        TargetError: It would do nothing, or fail in the same way each time.
    """
    name = getattr(target, "__name__", repr(target))
    if not inspect.isclass(target):
        _refuse_generator(target, name)
        return
    begins = own(target, "start")
    if begins is not None:
        if inspect.iscoroutinefunction(begins):
            _refuse(f"{name}.start() is async, and nobody would await it; write async run()")
        _refuse_generator(begins, f"{name}.start()")
        _refuse_async_stop(target, name, "start")
        return
    run = getattr(target, "run", None)
    if run is None:
        return  # said where it is run: an instance may have one
    if run is Worker.run:
        _refuse(f"{name} has no run() of its own")
    _refuse_generator(run, f"{name}.run()")
    _refuse_arguments(target, run, name)
    if not inspect.iscoroutinefunction(run):
        _refuse_async_stop(target, name, "run")


def own(target: type, method: str) -> Any:
    """Return a method that is not the one of `Worker`; None: it has none. A field is none."""
    found = getattr(target, method, None)
    return found if callable(found) and found is not getattr(Worker, method) else None


def _refuse_generator(function: Any, name: str) -> None:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        _refuse(f"{name} is a generator (it has a yield): calling it runs nothing")


def _refuse_async_stop(target: type, name: str, beside: str) -> None:
    if inspect.iscoroutinefunction(own(target, "stop")):
        _refuse(f"{name}.stop() is async, {beside}() is not: nobody would await it")


def _refuse_arguments(target: type, run: Any, name: str) -> None:
    """Refuse a run() that takes more than itself: what is configured goes to the class."""
    if not inspect.isfunction(inspect.getattr_static(target, "run", None)):
        return  # a class or static method, or anything that is called
    _, *others = inspect.signature(run).parameters.values() or [None]
    for each in others:
        if each is None or each.name == "context" or each.kind in _VARIADIC:
            continue
        if each.default is inspect.Parameter.empty:
            message = f'{name}.run() is called without arguments, and needs "{each.name}"'
            _refuse(message)


def _refuse(message: str) -> NoReturn:
    raise TargetError(message, hopeless=True)
