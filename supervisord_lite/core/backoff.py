"""How long to wait before a restart. The one backoff of the product."""

import math

from supervisord_lite.base.clock import Rng
from supervisord_lite.core.policy import BackoffPolicy

#: Strokes in the half of a wait from which jitter draws, at least; and where that begins to matter.
_GROUPS = 16
_LEAST_GROUPED_S = 0.25
_NOTHING_S = 1e-9  # a smaller minimum is no wait, and would need exponents that do overflow


def backoff_s(attempt: int, policy: BackoffPolicy) -> float:
    """Return the wait before restart number *attempt*, in seconds, before jitter.

    min, min * factor, min * factor^2 … up to max. The exponent is compared with the one that
    reaches max before it is used: ten thousand failures cost the same as ten and cannot overflow.
    Source: stamina 26.1.0 (#137) fixed that overflow after release.

    Args:
        attempt: Failures since the last stable run; 1 for the first restart.
        policy: `min_s`, `max_s` and `factor` of the worker; jitter is not applied here.
    """
    assert attempt >= 1, attempt
    low_s, high_s, factor = policy.min_s, policy.max_s, policy.factor
    if low_s >= high_s:
        return high_s
    if low_s < _NOTHING_S or factor <= 1.0:
        return low_s
    if attempt - 1 >= math.log(high_s / low_s, factor):
        return high_s
    return min(high_s, low_s * factor ** (attempt - 1))


def draw_s(delay_s: float, policy: BackoffPolicy, rng: Rng, *, now_s: float) -> float:
    """Return the wait to take: *delay_s*, or with jitter a draw from its upper half.

    Drawn downwards only, so that no wait exceeds `max_s`; and never below half, so that a fleet
    which failed together comes back spread, not at once. But in small groups, 16 to 32 of them: a
    group costs the daemon one turn, whatever it starts. So waits end at the strokes of a clock
    that is common to all.

    Args:
        delay_s: Before jitter.
        policy: Whether there is jitter.
        rng: Chance.
        now_s: When the wait begins, on the daemon's clock.
    """
    if not policy.jitter:
        return delay_s
    half_s = delay_s / 2
    drawn_s = half_s + rng.random() * half_s
    if half_s < _LEAST_GROUPED_S:
        return drawn_s
    # A power of two: sums of such strokes are exact.
    stroke_s = 2.0 ** math.floor(math.log2(half_s / _GROUPS))
    grouped_s = math.floor((now_s + drawn_s) / stroke_s) * stroke_s - now_s
    if grouped_s >= half_s:
        return grouped_s
    return max(half_s, min(delay_s, grouped_s + stroke_s))
