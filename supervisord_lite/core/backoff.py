"""How long to wait before a restart. The one backoff of the product."""

import math

from supervisord_lite.base.clock import Rng
from supervisord_lite.core.policy import BackoffPolicy

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


def draw_s(delay_s: float, policy: BackoffPolicy, rng: Rng) -> float:
    """Return the wait to take: *delay_s*, or with jitter a draw from its upper half.

    Drawn downwards only, so that no wait exceeds `max_s`; and never below half, so that a fleet
    which failed together comes back spread, but not at once.
    """
    if not policy.jitter:
        return delay_s
    half_s = delay_s / 2
    return half_s + rng.random() * half_s
