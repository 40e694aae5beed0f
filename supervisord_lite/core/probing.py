"""How often a run is asked whether it works, and what its answers come to. Pure.

One `Asked` belongs to one run, from the moment when its answers count until its end begins.
Whoever keeps it asks (`begin`, `ask`), and says what came back (`answered`) or that nothing can be
concluded from it (`put_off`).

* Before ready, where ready is the first good answer: asked soon, then ever less often, up to the
  interval: ready is noticed within a quarter of the time that it took. Bad answers mean nothing
  then; the limit is `start_timeout`.
* From ready on: once each interval, beginning at a time of its own within the first one (`phase`),
  so that a pool is not asked all at once. The `failures`-th bad answer in a row is a failure.
* One question is under way at most; the next one comes an interval after it was asked, or with its
  answer, whichever is later.
"""

from supervisord_lite.base.record import record, replace
from supervisord_lite.core.events import JudgedFailed, ReadySaid

#: After a start; and the least between two questions before ready.
FIRST_S = 0.05
#: The wait before the next question is this part of how long it has been starting.
_STARTING_SHARE = 0.25
#: The golden ratio spreads any number of instances evenly.
_SPREAD = 0.6180339887498949


@record
class Pace:
    """How a worker is asked.

    Attributes:
        interval_s: Between two questions.
        timeout_s: Within which it must have answered.
        failures: So many bad answers in a row are a failure.
    """

    interval_s: float = 10.0
    timeout_s: float = 3.0
    failures: int = 3


@record
class Asked:
    """One run, and how it has answered.

    Attributes:
        run: Its number.
        since_s: From when on it is asked; of one that is not ready yet: when it was spawned.
        is_awaited: Its first good answer makes it ready.
        next_at_s: When to ask it; None: a question is under way, or it has failed.
        asked_at_s: When the question was asked that is under way.
        bad_count: Bad answers in a row since it is ready.
        problem: Of the latest answer, for people, or why there was none; empty: all is well.
    """

    run: int
    since_s: float
    is_awaited: bool
    next_at_s: float | None
    asked_at_s: float | None = None
    bad_count: int = 0
    problem: str = ""

    def note(self, pace: Pace) -> str:
        """Return what to say of the latest answer, for people; empty: nothing is wrong."""
        if not self.problem:
            return ""
        if self.is_awaited or not self.bad_count:
            return f"health: {self.problem}"
        return f"health: {self.bad_count} of {pace.failures} bad: {self.problem}"


Verdict = ReadySaid | JudgedFailed


def phase(pool_digest: int, index: int) -> float:
    """Return where in the interval an instance is asked, in [0, 1): always the same.

    Args:
        pool_digest: Of the pool's name, so that pools of one do not meet.
        index: Of the instance.
    """
    return (pool_digest % 65536 / 65536 + index * _SPREAD) % 1.0


def begin(
    run: int, since_s: float, *, is_awaited: bool, now_s: float, pace: Pace, phase: float
) -> Asked:
    """Return what asking a run begins with.

    Args:
        run: Its number.
        since_s: When it was spawned, or became ready.
        is_awaited: It is not ready, and its first good answer makes it so.
        now_s: Monotonic, as all times here.
        pace: How it is asked.
        phase: See `phase`.
    """
    if is_awaited:
        return Asked(run, since_s, is_awaited=True, next_at_s=max(now_s, since_s + FIRST_S))
    next_at_s = now_s + phase * pace.interval_s
    return Asked(run, since_s, is_awaited=False, next_at_s=next_at_s)


def ask(asked: Asked, now_s: float) -> Asked:
    """A question is asked now."""
    assert asked.asked_at_s is None, asked
    return replace(asked, next_at_s=None, asked_at_s=now_s)


def put_off(asked: Asked, at_s: float, problem: str | None = None) -> Asked:
    """Nothing can be concluded from the question that was under way: ask again at *at_s*.

    *problem* says why, for people; None: nobody need know.
    """
    shown = asked.problem if problem is None else problem
    return replace(asked, next_at_s=at_s, asked_at_s=None, problem=shown)


def answered(
    asked: Asked, problem: str, *, now_s: float, pace: Pace, phase: float
) -> tuple[Asked, Verdict | None]:
    """Take the answer to the question that is under way.

    Args:
        asked: Whose answer it is.
        problem: What is wrong with it, for people; empty: it is good.
        now_s: When it came.
        pace: How it is asked.
        phase: See `phase`.

    Returns:
        How it has answered by now, and what follows from that.
    """
    asked_at_s = asked.asked_at_s
    assert asked_at_s is not None, asked
    if asked.is_awaited:
        if not problem:
            ready = begin(asked.run, now_s, is_awaited=False, now_s=now_s, pace=pace, phase=phase)
            return ready, ReadySaid(asked.run, by="health")
        wait_s = max(FIRST_S, _STARTING_SHARE * (now_s - asked.since_s))
        next_at_s = now_s + min(wait_s, pace.interval_s)
        return replace(asked, next_at_s=next_at_s, asked_at_s=None, problem=problem), None
    next_at_s = max(now_s, asked_at_s + pace.interval_s)
    bad_count = asked.bad_count + 1 if problem else 0
    moved = replace(
        asked, next_at_s=next_at_s, asked_at_s=None, bad_count=bad_count, problem=problem
    )
    if bad_count < pace.failures:
        return moved, None
    times = f", {bad_count} times" if bad_count > 1 else ""
    failed = JudgedFailed(asked.run, f"health: {problem}{times}")
    return replace(moved, next_at_s=None), failed
