"""When a run is asked whether it works, and what its answers come to."""

from itertools import pairwise

from supervisord_lite.core import probing
from supervisord_lite.core.events import JudgedFailed, ReadySaid
from supervisord_lite.core.probing import Asked, Pace, Verdict

PACE = Pace(interval_s=10.0, timeout_s=3.0, failures=3)


class Clockwork:
    """One run that is asked; `s` is the time."""

    def __init__(self, *, is_awaited: bool, phase: float = 0.5) -> None:
        self.s = 100.0
        self.phase = phase
        self.asked: Asked = probing.begin(
            7, self.s, is_awaited=is_awaited, now_s=self.s, pace=PACE, phase=phase
        )
        self.asked_at_s: list[float] = []

    def answer(self, problem: str = "", *, after_s: float = 0.0) -> Verdict | None:
        """Let the next question be due, and be answered."""
        assert self.asked.next_at_s is not None
        self.s = max(self.s, self.asked.next_at_s)
        self.asked = probing.ask(self.asked, self.s)
        self.asked_at_s.append(round(self.s - 100.0, 3))
        self.s += after_s
        self.asked, verdict = probing.answered(
            self.asked, problem, now_s=self.s, pace=PACE, phase=self.phase
        )
        return verdict


def test_the_first_good_answer_makes_it_ready_and_bad_ones_before_are_no_failures() -> None:
    """However many there are: the limit of a start is start_timeout."""
    run = Clockwork(is_awaited=True)
    for _ in range(20):
        assert run.answer("connection refused") is None
    assert run.asked.note(PACE) == "health: connection refused"
    assert run.answer() == ReadySaid(7, by="health")
    assert run.asked.note(PACE) == ""
    assert [run.answer("HTTP 503") for _ in range(2)] == [None, None]
    assert run.asked.note(PACE) == "health: 2 of 3 bad: HTTP 503"
    assert run.answer("HTTP 503") == JudgedFailed(7, "health: HTTP 503, 3 times")
    assert run.asked.next_at_s is None


def test_while_it_starts_it_is_asked_soon_and_then_ever_less_often() -> None:
    """Ready is noticed within a quarter of the time that it took, or an interval."""
    run = Clockwork(is_awaited=True)
    for _ in range(60):
        run.answer("connection refused")
    asked = run.asked_at_s
    assert asked[0] == 0.05
    for before, after in pairwise(asked):
        assert after - before <= max(0.051, 0.26 * before, 0.0)
        assert after - before <= 10.001
    assert asked[-1] - asked[-2] == 10.0
    assert sum(at_s < 10.0 for at_s in asked) < 25


def test_once_it_is_ready_it_is_asked_at_an_even_beat_of_its_own() -> None:
    """A slow answer does not shift the beat; one slower than the interval does."""
    run = Clockwork(is_awaited=False)
    for after_s in (0.0, 2.5, 0.0, 12.0, 0.0):
        run.answer(after_s=after_s)
    assert run.asked_at_s == [5.0, 15.0, 25.0, 35.0, 47.0]


def test_what_says_nothing_is_asked_again_and_counts_for_nothing() -> None:
    """Neither good nor bad: the row of bad answers stands as it was."""
    run = Clockwork(is_awaited=False)
    run.answer("timeout")
    run.asked = probing.ask(run.asked, 120.0)
    run.asked = probing.put_off(run.asked, 120.0)
    assert (run.asked.bad_count, run.asked.next_at_s) == (1, 120.0)
    assert run.answer() is None
    assert run.asked.bad_count == 0


def test_a_large_pool_is_spread_over_the_interval() -> None:
    """Any tenth of it has about a tenth of the instances, always the same ones."""
    phases = [probing.phase(123456789, index) for index in range(1, 1001)]
    assert phases == [probing.phase(123456789, index) for index in range(1, 1001)]
    tenths = [sum(start <= phase * 10 < start + 1 for phase in phases) for start in range(10)]
    assert sum(tenths) == 1000
    assert all(95 <= tenth <= 105 for tenth in tenths)


def test_one_failure_is_told_without_a_number() -> None:
    """Nobody counts to one."""
    pace = Pace(failures=1)
    asked = probing.ask(
        probing.begin(1, 0.0, is_awaited=False, now_s=0.0, pace=pace, phase=0.0), 0.0
    )
    _, verdict = probing.answered(asked, "exit 1", now_s=1.0, pace=pace, phase=0.0)
    assert verdict == JudgedFailed(1, "health: exit 1")
