"""What is found out of a target before it is called."""

from collections.abc import Awaitable
from typing import Any

import pytest

from supervisord_lite.worker.fit import Fit
from supervisord_lite.worker.target import TargetError


class Plain:
    """Its method takes nothing, and one of its instances has another one."""

    def __init__(self, own: Any = None) -> None:
        if own is not None:
            self.__dict__["run"] = own

    def run(self) -> None:
        """Do nothing."""


class Asks:
    """Its methods want the context."""

    async def run(self, context: object) -> None:
        """Do nothing."""

    def start(self, context: object) -> None:
        """Do nothing."""


def takes_it(context: object, *, number: int) -> None:
    """Do nothing."""


def own(context: object) -> Awaitable[None]:
    """Stand in for a method."""
    raise NotImplementedError


def test_a_function_wants_the_context_where_it_has_a_parameter_for_it() -> None:
    """And it is none of the arguments that must be given."""
    fit = Fit(takes_it, ["number"])
    assert (fit.is_class, fit.takes_context) == (False, True)
    assert not fit.is_coroutine(takes_it)


def test_a_method_is_known_by_its_class_but_for_one_of_the_instance() -> None:
    """Who sets another one in __init__ has that called."""
    fit = Fit(Plain, [])
    assert not fit.method_takes_context(Plain(), "run")
    assert fit.method_takes_context(Plain(own), "run")
    asks = Asks()
    fit = Fit(Asks, [])
    assert fit.method_takes_context(asks, "run")
    assert fit.method_takes_context(asks, "start")
    assert fit.is_coroutine(asks.run)
    assert not fit.is_coroutine(asks.start)


def test_what_does_not_fit_is_refused() -> None:
    """As `binding.check` says it."""
    with pytest.raises(TargetError, match='did you mean "number"'):
        Fit(takes_it, ["numbr"])
