"""The circuit breaker's arithmetic: failures inside a sliding window.

Sliding and not fixed, because a fixed window lets twice as many failures pass around its edge.
Source: `add_restart/3` of Erlang's supervisor.erl has the same few lines.
"""

from collections.abc import Sequence


def count_failure(
    failures: Sequence[float], at_s: float, *, window_s: float, max_restarts: int
) -> tuple[float, ...]:
    """Return the failures that count after one more at *at_s*: oldest first.

    Those that are *window_s* old, seen from the newest, are forgotten; at most *max_restarts* are
    kept. A time that comes late (a fact waited in a queue) is put where it belongs.

    Args:
        failures: Monotonic times in seconds, oldest first, as returned before.
        at_s: When the failure happened.
        window_s: Length of the window.
        max_restarts: As many trip the breaker; at least 1.
    """
    times = sorted((*failures, at_s))
    horizon_s = times[-1] - window_s
    return tuple([time_s for time_s in times if time_s > horizon_s][-max_restarts:])


def is_full(failures: Sequence[float], *, max_restarts: int) -> bool:
    """Return whether these failures trip the breaker: the *max_restarts*-th does, so 5 are 5."""
    return len(failures) >= max_restarts
