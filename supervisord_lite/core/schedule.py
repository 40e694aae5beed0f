"""Jobs: workers that run when it is time, and wait for it in between.

Theory of operation
===================

A worker with a schedule is *scheduled* between its runs (people read "waiting"). Whoever has clocks
tells it `CameDue` when its next planned time has come, or has been missed; everything else is
decided here and in `step`. Times of cron are seconds since the epoch, for people change clocks;
those of `every` are on the monotonic clock, for an hour is an hour.

``settled_s`` of a worker is all that is remembered: planned times up to this one have been dealt
with, whether they led to a run or not. It changes in the same step as the run begins, so whoever is
killed, no planned time leads to two runs, and a clock that is set back repeats nothing. It is None
where no plan has begun: whoever has clocks says `PlanBegun` then. Who is stopped has no plan.

*Due and missed* (`judge`). A planned time of cron is on time until its minute is over. What was not
dealt with by then (the machine slept, the clock was set forward, nothing ran) was missed: with
`missed` "once" all of it leads to one run now, with "skip" to none. `every` misses nothing: what is
late starts as soon as it can, and the next one is counted from the plan, start to start; the first
one comes when the plan begins.

*Overlap.* While a run is going, or one waits for what it requires, the next planned one is left out
("skip") or begins when that has ended ("wait"; one at most). A retry that waits for its backoff is
no run: the planned run takes its place.

*Failures.* Each planned run begins with none: hourly failures open no breaker. Under
restart "on-failure" it is tried again, with backoff, until `max_restarts` failures are inside
`circuit_window`, or one that no retry can heal: then this run is given up (`job.failed`), and the
next one comes as planned. So the breaker of a job closes the run and not the job: it is never
tripped. Under "never" the first failure gives the run up.

*People.* A start or a restart runs it now, and changes no plan. A stop ends the plan until somebody
starts it. A changed schedule begins a new plan, and leaves a run that is going alone.
"""

from typing import Literal

from supervisord_lite.base.record import record
from supervisord_lite.core.cron import Cron, Zone, civil, next_after, weekday

Overlap = Literal["skip", "wait"]
Missed = Literal["skip", "once"]

#: A planned time is that of a whole minute.
_ON_TIME_S = 60.0
#: A clock that was further ahead than this was wrong: what it has settled does not count.
MOST_AHEAD_S = 86_400.0
_WEEKDAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")


@record
class Schedule:
    """When a worker runs: `cron` or `every_s` is set.

    Attributes:
        zone: Whose clock cron goes by, and in which times are shown.
        every_s: From start to start.
        overlap: What becomes of a run that is due while one is going.
        missed: What becomes of runs that were due while nothing could be started.
    """

    cron: Cron | None = None
    every_s: float | None = None
    zone: Zone = Zone()
    overlap: Overlap = "skip"
    missed: Missed = "skip"


@record
class Verdict:
    """A planned time that has come.

    Attributes:
        planned_s: The one that leads to a run now, or the first one that was missed.
        settled_s: Up to here all is dealt with now.
        is_missed: It was missed, and no other is due now.
        missed_s: The first one that was missed, where there is any.
    """

    planned_s: float
    settled_s: float
    is_missed: bool = False
    missed_s: float | None = None


def next_planned_s(schedule: Schedule, settled_s: float) -> float | None:
    """Return the next planned time, on the clock of this kind of schedule; None: never."""
    if schedule.cron is not None:
        return next_after(schedule.cron, schedule.zone, settled_s)
    assert schedule.every_s is not None
    return settled_s + schedule.every_s


def judge(schedule: Schedule, settled_s: float, now_s: float) -> Verdict | None:
    """Return what has come due by *now_s*; None: nothing. Clocks as for `next_planned_s`."""
    first_s = next_planned_s(schedule, settled_s)
    if first_s is None or first_s > now_s:
        return None
    if schedule.cron is None:
        assert schedule.every_s is not None
        periods = max(1, int((now_s - settled_s) / schedule.every_s))
        return Verdict(first_s, settled_s + periods * schedule.every_s)
    # The latest one that is on time, if there is any: a clock for each minute has one at most.
    current_s = next_after(schedule.cron, schedule.zone, max(settled_s, now_s - _ON_TIME_S))
    if current_s is None or current_s > now_s:
        return Verdict(first_s, now_s, is_missed=True, missed_s=first_s)
    return Verdict(current_s, current_s, missed_s=first_s if first_s < current_s else None)


def clock_text(zone: Zone, at_s: float, now_s: float) -> str:
    """Return a time of *zone* as short as it is clear: "15:07", "Mon 15:07", "2026-12-01 15:07".

    Args:
        zone: Whose clock.
        at_s: Seconds since the epoch.
        now_s: The same, now.
    """
    local_s = int(at_s) + zone.offset_s(at_s)
    day, of_day = divmod(local_s, 86_400)
    today = int(now_s + zone.offset_s(now_s)) // 86_400
    clock = f"{of_day // 3600:02d}:{of_day // 60 % 60:02d}"
    if of_day % 60 and day == today:
        clock += f":{of_day % 60:02d}"
    if day == today:
        return clock
    if 0 < day - today < 7:
        return f"{_WEEKDAYS[weekday(day)]} {clock}"
    year, month, day_of_month = civil(day)
    return f"{year:04d}-{month:02d}-{day_of_month:02d} {clock}"
