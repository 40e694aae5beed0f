"""Cron's times against a reference that looks at every minute, with the zones of the machine."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from supervisord_lite.config.schedule import parse_cron
from supervisord_lite.config.zones import zone_named
from supervisord_lite.core.cron import next_after
from supervisord_lite.core.schedule import Schedule, judge

#: An hour north and south, at midnight, half an hour, a clock that goes back for Ramadan, none.
ZONES = (
    "Europe/Vienna", "America/New_York", "Australia/Sydney", "Africa/Cairo", "America/Santiago",
    "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kolkata", "UTC",
)  # fmt: skip
_NAMES = {
    3: ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    4: ["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
}
_LEAST, _MOST = (0, 0, 1, 1, 0), (59, 23, 31, 12, 7)


class PlainCron:
    """The five fields as sets of numbers, as a reader of crontab(5) would note them."""

    def __init__(self, text: str) -> None:
        self.words = text.split()
        self.sets = [self._numbers(place, word) for place, word in enumerate(self.words)]
        if 7 in self.sets[4]:
            self.sets[4].add(0)

    def _numbers(self, place: int, word: str) -> set[int]:
        found: set[int] = set()
        for item in word.split(","):
            span, _, step = item.partition("/")
            first, _, last = span.partition("-")
            if span == "*":
                low, high = _LEAST[place], _MOST[place]
            else:
                low = self._number(place, first)
                high = self._number(place, last) if last else low
            found.update(range(low, high + 1, int(step or 1)))
        return found

    def _number(self, place: int, word: str) -> int:
        names = _NAMES.get(place, [])
        return names.index(word) + _LEAST[place] if word in names else int(word)

    def is_right(self, local: datetime) -> bool:
        minute, hour, day, month, week = self.sets
        if local.minute not in minute or local.hour not in hour or local.month not in month:
            return False
        by_month, by_week = local.day in day, local.isoweekday() % 7 in week
        if self.words[2].startswith("*") or self.words[4].startswith("*"):
            return by_month and by_week
        return by_month or by_week

    @property
    def is_for_every_hour(self) -> bool:
        return self.sets[1] == set(range(24))


def every_time(text: str, zone: ZoneInfo, begin: datetime, end: datetime) -> list[int]:
    """Return all times after *begin* and until *end*, looking at each minute of the way."""
    cron, times = PlainCron(text), []
    now = begin.replace(second=0, microsecond=0)
    while now <= end:
        local, before = now.astimezone(zone), (now - timedelta(minutes=1)).astimezone(zone)
        ahead, was_ahead = local.utcoffset(), before.utcoffset()
        assert ahead is not None
        assert was_ahead is not None
        is_right = cron.is_right(local) and (cron.is_for_every_hour or local.fold == 0)
        if ahead > was_ahead and not cron.is_for_every_hour:
            skipped = before.replace(tzinfo=None) + timedelta(minutes=1)
            while skipped < local.replace(tzinfo=None):
                is_right = is_right or cron.is_right(skipped)
                skipped += timedelta(minutes=1)
        if is_right and now > begin:
            times.append(int(now.timestamp()))
        now += timedelta(minutes=1)
    return times


def a_field(place: int) -> st.SearchStrategy[str]:
    low, high = _LEAST[place], _MOST[place]
    number = st.integers(low, high)
    span = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    step = st.integers(1, 20)
    items = [
        number.map(str),
        span,
        st.tuples(span, step).map(lambda pair: f"{pair[0]}/{pair[1]}"),
        step.map(lambda each: f"*/{each}"),
    ]
    if place in _NAMES:
        items.append(st.sampled_from(_NAMES[place]))
    listed = st.lists(st.one_of(items), min_size=1, max_size=3).map(",".join)
    return st.one_of(st.just("*"), listed)


def is_known(text: str) -> bool:
    """Whether it names a day that there is."""
    try:
        parse_cron(text)
    except ValueError:
        return False
    return True


LINES = st.tuples(*map(a_field, range(5))).map(" ".join).filter(is_known)
#: Around each change of each zone, and anywhere.
CHANGES = {name: [at_s for at_s, _ in zone_named(name).changes] for name in ZONES}
ANYWHERE = st.integers(1_577_836_800, 2_500_000_000)


@st.composite
def a_zone_and_time(draw: st.DrawFn) -> tuple[str, int]:
    name = draw(st.sampled_from(ZONES))
    changes = CHANGES[name]
    if not changes or draw(st.integers(0, 3)) == 0:
        return name, draw(ANYWHERE)
    return name, draw(st.sampled_from(changes)) + draw(st.integers(-90_000, 10_000))


SPRING, AUTUMN = 1_774_659_600, 1_792_890_000  #: in Vienna, some hours before


@settings(deadline=None, max_examples=150)
@given(LINES, a_zone_and_time())
@example("30 2 * * *", ("Europe/Vienna", SPRING))
@example("30 2 * * *", ("Europe/Vienna", AUTUMN))
@example("*/7 * * * *", ("Europe/Vienna", SPRING))
@example("*/7 * * * *", ("Europe/Vienna", AUTUMN))
@example("0 */2 * * *", ("Europe/Vienna", AUTUMN))
@example("15,45 1-2 * * *", ("Australia/Lord_Howe", CHANGES["Australia/Lord_Howe"][3] - 9000))
@example("0 0 * * *", ("Africa/Cairo", CHANGES["Africa/Cairo"][3] - 9000))
def test_the_times_are_those_of_a_walk_through_all_minutes(
    text: str, where: tuple[str, int]
) -> None:
    """Over two days, whatever the clock does in them: each time is there, and no other."""
    name, begin_s = where
    cron, zone = parse_cron(text), zone_named(name)
    begin = datetime.fromtimestamp(begin_s, UTC)
    wanted = every_time(text, ZoneInfo(name), begin, begin + timedelta(days=2))
    found, at_s = [], next_after(cron, zone, begin_s)
    while at_s is not None and at_s <= begin_s + 2 * 86_400:
        found.append(at_s)
        at_s = next_after(cron, zone, at_s)
    assert found == wanted


@settings(deadline=None, max_examples=100)
@given(LINES, a_zone_and_time())
def test_every_line_that_is_accepted_comes_again(text: str, where: tuple[str, int]) -> None:
    """After any time there is another one, on a day that the line names."""
    name, begin_s = where
    at_s = next_after(parse_cron(text), zone_named(name), begin_s)
    assert at_s is not None
    assert at_s > begin_s
    local = datetime.fromtimestamp(at_s, ZoneInfo(name))
    plain = PlainCron(text)
    # Where the clock skips what was meant, it comes just after the gap.
    was_skipped = (local - timedelta(minutes=1)).utcoffset() != local.utcoffset()
    assert plain.is_right(local.replace(tzinfo=None)) or was_skipped or at_s in CHANGES[name]


@pytest.mark.parametrize("name", ZONES)
def test_the_table_of_a_zone_is_the_zone(name: str) -> None:
    """At each hour of twenty years the clock is as far ahead as the machine's data say."""
    zone, real = zone_named(name), ZoneInfo(name)
    for at_s in range(1_577_836_800, 2_208_988_800, 3600 * 7):
        ahead = datetime.fromtimestamp(at_s, real).utcoffset()
        assert ahead is not None
        assert zone.offset_s(at_s) == ahead.total_seconds(), (name, at_s)


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from(("7 * * * *", "* * * * *", "30 2 * * *", "*/5 9-17 * * mon-fri")),
    st.lists(st.integers(-7200, 20_000), min_size=1, max_size=60),
)
def test_no_minute_leads_to_two_runs_however_the_clock_is_set(text: str, steps: list[int]) -> None:
    """Looks at any times, forward and back: planned times that run only rise."""
    schedule = Schedule(parse_cron(text), zone=zone_named("Europe/Vienna"))
    settled_s, now_s = 1_774_700_000.0, 1_774_700_000.0
    ran: list[float] = []
    for step_s in steps:
        now_s += step_s
        verdict = judge(schedule, settled_s, now_s)
        if verdict is None:
            continue
        assert verdict.settled_s > settled_s
        settled_s = verdict.settled_s
        if not verdict.is_missed:
            assert 0 <= now_s - verdict.planned_s < 60
            ran.append(verdict.planned_s)
    assert ran == sorted(set(ran))


def test_the_reference_reads_what_we_read() -> None:
    """Both know the same fields: else they would agree by chance."""
    for text in ("*/5 0-6 * jan mon,wed", "1,2,30-40/3 * 1-31/2 * 0-7", "0 0 29 2 *"):
        plain, cron = PlainCron(text), parse_cron(text)
        masks = (cron.minutes, cron.hours, cron.days, cron.months)
        for numbers, mask in zip(plain.sets, masks, strict=False):
            assert sum(1 << each for each in numbers) == mask
        week = {each % 7 for each in plain.sets[4]}
        assert sum(1 << each for each in week) == cron.weekdays
    assert re.fullmatch(r"\S+", parse_cron("@daily").text)
