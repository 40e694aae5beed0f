"""Backoff and breaker against a naive calculation that keeps everything."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisord_lite.core import states
from supervisord_lite.core.backoff import backoff_s, draw_s
from supervisord_lite.core.breaker import count_failure
from supervisord_lite.core.policy import BackoffPolicy, Policy
from tests.support.core import FixedRng, OneWorker, after_a_crash

chances = st.floats(0.0, 1.0, exclude_max=True)
backoffs = st.builds(
    BackoffPolicy,
    min_s=st.floats(0.0, 100.0),
    max_s=st.floats(100.0, 1e6),
    factor=st.floats(1.0, 100.0),
    jitter=st.booleans(),
)


@settings(deadline=None)
@given(policy=backoffs, attempt=st.integers(1, 10_000), chance=chances, now_s=st.floats(0.0, 1e9))
def test_waits_grow_and_stay_between_half_and_the_maximum(
    policy: BackoffPolicy, attempt: int, chance: float, now_s: float
) -> None:
    """Each wait is at least the one before, and a draw is in [delay/2, delay]."""
    delay_s = backoff_s(attempt, policy)
    assert policy.min_s <= delay_s <= policy.max_s
    assert delay_s <= backoff_s(attempt + 1, policy)
    drawn_s = draw_s(delay_s, policy, FixedRng(chance), now_s=now_s)
    assert delay_s / 2 <= drawn_s <= delay_s


@settings(deadline=None)
@given(policy=backoffs)
def test_the_first_wait_is_the_minimum(policy: BackoffPolicy) -> None:
    """The row begins at backoff.min, whatever the factor."""
    assert backoff_s(1, policy) == policy.min_s


@settings(deadline=None)
@given(
    times=st.lists(st.floats(0.0, 1e6), min_size=1, max_size=30),
    window_s=st.floats(0.1, 1e6),
    most=st.integers(1, 10),
)
def test_the_window_holds_the_latest_failures_in_order(
    times: list[float], window_s: float, most: int
) -> None:
    """Whatever order the times come in, only failures younger than the window count."""
    failures: tuple[float, ...] = ()
    for time_s in times:
        failures = count_failure(failures, time_s, window_s=window_s, max_restarts=most)
    newest_s = max(times)
    young = sorted(time_s for time_s in times if time_s > newest_s - window_s)
    assert failures[-1] == newest_s
    assert list(failures) == sorted(failures)
    assert len(failures) <= most
    assert set(failures) <= set(young)
    if sorted(times) == times:
        assert list(failures) == young[-most:]


ends = st.tuples(
    st.sampled_from((0.25, 1.0, 29.75, 30.0, 30.25, 200.0)),  # how long it ran
    st.sampled_from((0, 1)),  # exit code
    st.booleans(),  # the supervisor dies and is replaced
)


@pytest.mark.slow
@settings(deadline=None)
@given(
    lives=st.lists(ends, min_size=1, max_size=25),
    max_restarts=st.integers(1, 6),
    window_s=st.sampled_from((5.0, 60.0, 600.0)),
)
def test_p6_waits_and_trips_are_those_of_a_naive_calculation(
    lives: list[tuple[float, int, bool]], max_restarts: int, window_s: float
) -> None:
    """The wait after each end, and the end that trips, are exact; crashes of ours change nothing.

    All times are multiples of 1/4 s, so that sums are exact.
    """
    slot = OneWorker(Policy("always", max_restarts=max_restarts, circuit_window_s=window_s,
                       backoff=BackoffPolicy(jitter=False)))  # fmt: skip
    slot.start(1000.0)
    history: list[float] = []
    in_a_row = 0
    for ran_s, code, is_replaced in lives:
        slot.spawned()
        slot.exits(code, slot.now_s + ran_s)
        if is_replaced:
            slot.worker = after_a_crash(slot.worker)
        if ran_s >= 30.0:
            in_a_row = 0
        if code:
            history.append(slot.now_s)
            in_a_row += 1
        counted = [time_s for time_s in history if slot.now_s - time_s < window_s]
        if code and len(counted) >= max_restarts:
            assert slot.state() == states.Tripped(slot.now_s)
            return
        wait_s = min(300.0, 2.0 ** (in_a_row - 1)) if code else 1.0
        if not code and ran_s >= 30.0:
            assert slot.state() == states.Starting(slot.worker.run, slot.now_s)
            continue
        assert slot.state() == states.Backoff(slot.now_s + wait_s, wait_s, bool(code))
        slot.wake()
    assert slot.worker.restarts == len(history)
