"""Wait for a condition: the only place in the tests that sleeps."""

import time
from collections.abc import Callable
from typing import TypeVar

from supervisord_lite.base.clock import Rng

T = TypeVar("T")


def wait_until(
    predicate: Callable[[], T | None],
    *,
    what: str,
    timeout_s: float = 10.0,
    every_s: float = 0.01,
    on_timeout: Callable[[], str] | None = None,
) -> T:
    """Return the first true value of *predicate*; it is asked at once, and once more at the end.

    Args:
        predicate: Asked again and again; what it raises is not caught.
        what: The condition in words, for the message.
        timeout_s: How long to go on; generous, since a true condition returns at once.
        every_s: Pause between two questions; longer for one that is much work, as a command is.
        on_timeout: Gives the evidence to print when time is up.

    Raises:
        AssertionError: The condition did not come true in time.
    """
    end_s = time.monotonic() + timeout_s
    while True:
        is_last = time.monotonic() >= end_s
        value = predicate()
        if value:
            return value
        if is_last:
            evidence = f"\n{on_timeout()}" if on_timeout else ""
            message = f"not within {timeout_s:g} s: {what} (last answer: {value!r}){evidence}"
            raise AssertionError(message)
        time.sleep(every_s)


def pass_time(span_s: float) -> None:
    """Let a limit of the program's run out where nobody can see that it has."""
    time.sleep(span_s)


def pass_random_time(rng: Rng, *, at_most_s: float) -> None:
    """Let a random time pass, where the moment of a fault is what is tested."""
    time.sleep(rng.random() * at_most_s)
