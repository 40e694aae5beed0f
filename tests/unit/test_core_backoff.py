"""The waits between restarts."""

import pytest

from supervisord_lite.core.backoff import backoff_s, draw_s
from supervisord_lite.core.policy import BackoffPolicy
from tests.support.core import FixedRng


def test_gz_05_defaults_are_1_s_to_300_s_doubling_with_jitter() -> None:
    """Without a backoff table: one second, twice as long each time, five minutes at most."""
    assert BackoffPolicy() == BackoffPolicy(min_s=1.0, max_s=300.0, factor=2.0, jitter=True)


def test_gz_06_without_jitter_the_waits_double() -> None:
    """The waits are 1, 2, 4, 8 … seconds, then five minutes."""
    waits = [backoff_s(attempt, BackoffPolicy()) for attempt in range(1, 12)]
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0]


def test_gz_07_no_wait_exceeds_the_maximum() -> None:
    """A maximum of 10 s is kept after many failures."""
    policy = BackoffPolicy(max_s=10.0)
    assert max(backoff_s(attempt, policy) for attempt in range(1, 100)) == 10.0


@pytest.mark.parametrize("value", [0.0, 0.5, 1 - 2**-53])
def test_gz_07b_jitter_draws_from_the_upper_half_and_never_exceeds_the_maximum(
    value: float,
) -> None:
    """With jitter a wait of 8 s is anything from 4 s to 8 s."""
    drawn = draw_s(8.0, BackoffPolicy(max_s=8.0), FixedRng(value), now_s=1000.0)
    assert drawn == pytest.approx(4.0 + 4.0 * value, abs=0.25)
    assert 4.0 <= drawn <= 8.0


@pytest.mark.parametrize(("delay_s", "most"), [(1.0, 17), (8.0, 17), (300.0, 33), (0.4, 1000)])
def test_a_fleet_that_failed_together_comes_back_in_a_few_groups(delay_s: float, most: int) -> None:
    """A thousand waits that began within 10 ms; each group is one turn of the daemon."""
    ends = []
    for number in range(1000):
        now_s = 12345.678 + number / 100_000
        wait_s = draw_s(delay_s, BackoffPolicy(), FixedRng(number / 1000), now_s=now_s)
        assert delay_s / 2 <= wait_s <= delay_s
        ends.append(round(now_s + wait_s, 6))
    assert (8 if delay_s >= 0.5 else 900) <= len(set(ends)) <= most + 1
    first, last = min(ends), max(ends)
    assert last - first >= 0.9 * delay_s / 2, "they are spread over all of it"


def test_without_jitter_chance_is_not_asked() -> None:
    """`jitter = false` gives exactly the computed wait."""
    assert draw_s(8.0, BackoffPolicy(jitter=False), FixedRng(0.3), now_s=1.0) == 8.0


@pytest.mark.parametrize("factor", [1.0, 1.0001, 2.0, 10.0, 1e308])
def test_ten_thousand_failures_do_not_overflow(factor: float) -> None:
    """A worker that fails for weeks waits as long as one that failed for an hour."""
    policy = BackoffPolicy(factor=factor)
    assert 1.0 <= backoff_s(10_000, policy) <= 300.0
    assert backoff_s(10**9, policy) == (1.0 if factor == 1.0 else 300.0)


def test_equal_minimum_and_maximum_wait_the_same_each_time() -> None:
    """A constant wait can be had by making both ends equal."""
    policy = BackoffPolicy(min_s=5.0, max_s=5.0)
    assert {backoff_s(attempt, policy) for attempt in range(1, 20)} == {5.0}


def test_a_minimum_of_zero_restarts_at_once() -> None:
    """`backoff.min = 0` means no wait at all, also after many failures."""
    assert backoff_s(50, BackoffPolicy(min_s=0.0)) == 0.0
    assert backoff_s(222, BackoffPolicy(min_s=2.3e-308, max_s=100.0, factor=25.0)) < 1e-9
