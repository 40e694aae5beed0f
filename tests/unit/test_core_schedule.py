"""When a job runs: lines of cron over changing clocks, what is due, and what was missed."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from supervisord_lite.config.schedule import parse_cron
from supervisord_lite.config.zones import zone_named
from supervisord_lite.core.cron import Zone, next_after
from supervisord_lite.core.schedule import Schedule, clock_text, judge

VIENNA = ZoneInfo("Europe/Vienna")


def at(text: str) -> float:
    """Return a time in Vienna as seconds since the epoch; of an hour that comes twice the first."""
    return datetime.fromisoformat(text).replace(tzinfo=VIENNA).timestamp()


def times(line: str, after: str, count: int) -> list[str]:
    """Return the next times in Vienna, as the clock there shows them."""
    cron, zone = parse_cron(line), zone_named("Europe/Vienna")
    found, at_s = [], at(after)
    for _ in range(count):
        following = next_after(cron, zone, at_s)
        assert following is not None
        at_s = following
        found.append(f"{datetime.fromtimestamp(at_s, VIENNA):%m-%d %H:%M %Z}")
    return found


@pytest.mark.parametrize(
    ("line", "after", "wanted"),
    [
        ("7 * * * *", "2026-11-21 14:07", ["11-21 15:07 CET", "11-21 16:07 CET"]),
        ("@weekly", "2026-11-21 14:07", ["11-22 00:00 CET"]),
        ("0 0 29 2 *", "2026-11-21 14:07", ["02-29 00:00 CET"]),
        # The day of the month or that of the week.
        ("0 9 13 * fri", "2026-11-12 10:00", ["11-13 09:00 CET", "11-20 09:00 CET"]),
        # Spring: 2:00 to 3:00 is not there. Once a day stays once a day, each hour follows time.
        ("30 2 * * *", "2026-03-28 12:00", ["03-29 03:00 CEST", "03-30 02:30 CEST"]),
        ("*/20 2 * * *", "2026-03-28 12:00", ["03-29 03:00 CEST", "03-30 02:00 CEST"]),
        ("30 2,3 * * *", "2026-03-28 12:00", ["03-29 03:00 CEST", "03-29 03:30 CEST"]),
        ("30 * * * *", "2026-03-29 01:00", ["03-29 01:30 CET", "03-29 03:30 CEST"]),
        # Autumn: 2:00 to 3:00 is there twice.
        ("30 2 * * *", "2026-10-24 12:00", ["10-25 02:30 CEST", "10-26 02:30 CET"]),
        ("30 * * * *", "2026-10-25 02:00", ["10-25 02:30 CEST", "10-25 02:30 CET"]),
        ("0 2,3 * * *", "2026-10-25 01:00", ["10-25 02:00 CEST", "10-25 03:00 CET"]),
    ],
)
def test_a_line_comes_when_people_expect_it(line: str, after: str, wanted: list[str]) -> None:
    """Once a day is once a day, also when the clock skips that hour or shows it twice."""
    assert times(line, after, len(wanted)) == wanted


def test_the_leap_day_is_found_over_a_year_without_one() -> None:
    """2100 has none: the one after 2096 is in 2104, beyond all tables."""
    at_s = next_after(parse_cron("0 12 29 2 *"), Zone(), at("2097-01-01 00:00"))
    assert at_s is not None
    assert datetime.fromtimestamp(at_s, ZoneInfo("UTC")).year == 2104


HOURLY = Schedule(parse_cron("7 * * * *"), zone=zone_named("Europe/Vienna"))
SETTLED = at("2026-11-21 14:07")


def test_nothing_is_due_before_its_time() -> None:
    """A wake-up that comes early changes nothing."""
    assert judge(HOURLY, SETTLED, at("2026-11-21 15:06") + 59.9) is None


@pytest.mark.parametrize("late_s", [0.0, 0.5, 59.9])
def test_a_time_is_on_time_until_its_minute_is_over(late_s: float) -> None:
    """A loop that was busy for some seconds misses nothing."""
    verdict = judge(HOURLY, SETTLED, at("2026-11-21 15:07") + late_s)
    assert verdict is not None
    assert (verdict.planned_s, verdict.settled_s) == (at("2026-11-21 15:07"),) * 2
    assert not verdict.is_missed
    assert verdict.missed_s is None


def test_a_clock_that_jumps_over_a_time_has_missed_it() -> None:
    """All of it is dealt with then, and the next time is the next one on the clock."""
    now_s = at("2026-11-21 17:20")
    verdict = judge(HOURLY, SETTLED, now_s)
    assert verdict is not None
    assert verdict.is_missed
    assert verdict.missed_s == at("2026-11-21 15:07")
    assert verdict.settled_s == now_s
    assert judge(HOURLY, verdict.settled_s, now_s) is None


def test_after_a_jump_into_a_due_minute_that_one_runs() -> None:
    """What is due now runs now; what came before it was missed."""
    verdict = judge(HOURLY, SETTLED, at("2026-11-21 17:07") + 3)
    assert verdict is not None
    assert verdict.planned_s == at("2026-11-21 17:07")
    assert not verdict.is_missed
    assert verdict.missed_s == at("2026-11-21 15:07")


def test_a_clock_that_is_set_back_repeats_nothing() -> None:
    """The minute that ran comes again on the clock, and does not run again."""
    settled_s = at("2026-11-21 15:07")
    assert judge(HOURLY, settled_s, at("2026-11-21 15:06")) is None
    assert judge(HOURLY, settled_s, at("2026-11-21 15:07") + 1) is None
    verdict = judge(HOURLY, settled_s, at("2026-11-21 16:07"))
    assert verdict is not None
    assert verdict.planned_s == at("2026-11-21 16:07")


def test_every_counts_from_start_to_start_and_misses_nothing() -> None:
    """What is late starts as soon as it can; the next one keeps to the plan."""
    every = Schedule(every_s=60.0)
    assert judge(every, 1000.0, 1059.9) is None
    verdict = judge(every, 1000.0, 1061.0)
    assert verdict is not None
    assert (verdict.settled_s, verdict.is_missed) == (1060.0, False)
    verdict = judge(every, 1000.0, 1250.0)
    assert verdict is not None
    assert (verdict.settled_s, verdict.is_missed) == (1240.0, False)


@pytest.mark.parametrize(
    ("then", "text"),
    [
        ("2026-11-21 15:07", "15:07"),
        ("2026-11-22 00:00", "Sun 00:00"),
        ("2026-11-27 23:59", "Fri 23:59"),
        ("2026-11-28 00:00", "2026-11-28 00:00"),
        ("2027-03-29 03:00", "2027-03-29 03:00"),
    ],
)
def test_a_time_is_told_as_short_as_it_is_clear(then: str, text: str) -> None:
    """Today by the clock, this week by the day, else by the date; on the clock of the zone."""
    assert clock_text(HOURLY.zone, at(then), at("2026-11-21 14:30")) == text
