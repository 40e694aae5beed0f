"""What there is to know of a target before it is called: whether it can be, and how.

All of it follows from the target and the names of its arguments, so a forkserver that has imported
the target finds it out once, before it forks: each worker that did so itself would copy half a
megabyte of memory that all of them can share.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from supervisord_lite.worker import binding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_METHODS = ("run", "start")


class Fit:
    """A target that takes the arguments that it is to be given.

    Attributes:
        target: A function or a class.
        is_class: It is made first, then run.
        takes_context: A parameter `context` wants to be given.
    """

    __slots__ = ("_coroutines", "_methods", "is_class", "takes_context", "target")

    def __init__(self, target: Any, arguments: Iterable[str]) -> None:
        """Judge *target* and the names of its keyword arguments.

        Raises:
            TargetError: It is nothing that can be run, or does not take these.
        """
        binding.check(target, arguments)
        self.target = target
        self.is_class = inspect.isclass(target)
        self.takes_context = _takes_context(target)
        #: Plain methods, as the class has them: whether they take the context.
        self._methods: dict[str, bool] = {}
        called = [target]
        if self.is_class:
            for name in _METHODS:
                function = inspect.getattr_static(target, name, None)
                if inspect.isfunction(function):
                    self._methods[name] = _takes_context(function)
                    called.append(function)
        self._coroutines = {id(each): is_coroutine_function(each) for each in called}

    def method_takes_context(self, worker: object, name: str) -> bool:
        """Return whether a method of an instance, which may be one of its own, takes it."""
        if name in self._methods and name not in getattr(worker, "__dict__", ()):
            return self._methods[name]
        return _takes_context(getattr(worker, name))

    def is_coroutine(self, function: Callable[..., Any]) -> bool:
        """Return whether calling *function*, the target or a method of it, gives a coroutine."""
        plain = getattr(function, "__func__", function)
        known = self._coroutines.get(id(plain))
        return is_coroutine_function(function) if known is None else known


def _takes_context(function: Any) -> bool:
    signature = binding.signature_of(function)
    return signature is not None and binding.takes_context(signature)


def is_coroutine_function(function: Any) -> bool:
    """Return whether calling it gives a coroutine; also of an instance whose class is such one."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004  # of objects that are called, its code
    )
