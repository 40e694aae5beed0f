"""When a line of cron comes round: five fields as bit masks, and the clock of one place.

Pure arithmetic over whole seconds since the epoch. Which places change their clocks, and when, is
not known here: whoever reads the configuration hands over a table (`Zone`), so no process that
lives long needs the machine's time zones.

Clocks that change
------------------

* A line for every hour of the day (``7 * * * *``) follows the clock on the wall: what the clock
  skips does not happen, and of an hour that it shows twice both come.
* Any other line (``30 2 * * *``) names hours of a day, and each comes once a day: where the clock
  skips it, at the moment after the gap (03:00), together with all else that the gap has swallowed;
  where the clock shows it twice, the first time.

Where both the day of the month and the day of the week are restricted, either is enough. A field
that begins with ``*`` restricts nothing in that sense. Source: crontab(5) of Vixie cron.
"""

from bisect import bisect_right

from supervisord_lite.base.record import record

_MINUTE_S = 60
_DAY_MINUTES = 24 * 60
_ALL_HOURS = (1 << 24) - 1
#: The 29th of February that is a certain day of the week can be 40 years away.
_MOST_DAYS = 41 * 366
_LONGEST = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@record
class Cron:
    """A line of cron. Bit N of a mask stands for N; Sunday is 0.

    Attributes:
        text: As it was written.
        is_either: A day counts that is right by the month or by the week; else by both.
    """

    text: str
    minutes: int
    hours: int
    days: int
    months: int
    weekdays: int
    is_either: bool


@record
class Zone:
    """How far the clock of a place is ahead of UTC, in seconds.

    Attributes:
        name: "Europe/Vienna"; empty: the machine's own.
        base_s: Before the first change.
        changes: (since when in UTC, how far from then on), the earliest first.
    """

    name: str = ""
    base_s: int = 0
    changes: tuple[tuple[int, int], ...] = ()

    def offset_s(self, at_s: float) -> int:
        """Return how far the clock is ahead of UTC at a time."""
        place = bisect_right(self.changes, at_s, key=_since)
        return self.changes[place - 1][1] if place else self.base_s


def _since(change: tuple[int, int]) -> int:
    return change[0]


def next_after(cron: Cron, zone: Zone, at_s: float) -> int | None:
    """Return the first time after *at_s* at which *cron* comes round; None: never.

    Args:
        cron: The line.
        zone: Whose clock it goes by.
        at_s: Seconds since the epoch.
    """
    low_s = int(at_s // 1) + 1
    changes = zone.changes
    follows_clock = cron.hours == _ALL_HOURS
    place = bisect_right(changes, at_s, key=_since)
    while True:
        begins_s = changes[place - 1][0] if place else None
        ahead_s = changes[place - 1][1] if place else zone.base_s
        ends_s = changes[place][0] if place < len(changes) else None
        from_s = low_s + ahead_s
        if begins_s is not None:
            before_s = changes[place - 2][1] if place > 1 else zone.base_s
            skipped = (begins_s + before_s, begins_s + ahead_s)
            if begins_s >= low_s:
                if not follows_clock and _first(cron, *skipped) is not None:
                    return begins_s
                from_s = begins_s + ahead_s
            if not follows_clock:
                from_s = max(from_s, begins_s + before_s)
        found = _first(cron, from_s, None if ends_s is None else ends_s + ahead_s)
        if found is not None:
            return found - ahead_s
        if ends_s is None:
            return None
        place += 1


def _first(cron: Cron, from_s: int, until_s: int | None) -> int | None:
    """Return the first right minute of a clock from *from_s* on and before *until_s*."""
    minute = -(-from_s // _MINUTE_S)
    day, minute_of_day = divmod(minute, _DAY_MINUTES)
    last_day = day + _MOST_DAYS
    while day <= last_day and (until_s is None or day * _DAY_MINUTES * _MINUTE_S < until_s):
        year, month, day_of_month = civil(day)
        if not cron.months >> month & 1:
            day, minute_of_day = _days(year + month // 12, month % 12 + 1), 0
            continue
        if _is_day(cron, day, day_of_month):
            found = _minute_of_day(cron, minute_of_day)
            if found is not None:
                found_s = (day * _DAY_MINUTES + found) * _MINUTE_S
                return found_s if until_s is None or found_s < until_s else None
        day, minute_of_day = day + 1, 0
    return None


def _is_day(cron: Cron, day: int, day_of_month: int) -> bool:
    by_month = bool(cron.days >> day_of_month & 1)
    by_week = bool(cron.weekdays >> weekday(day) & 1)
    return by_month or by_week if cron.is_either else by_month and by_week


def _minute_of_day(cron: Cron, least: int) -> int | None:
    hour, minute = divmod(least, 60)
    while hour < 24:
        left = cron.minutes >> minute
        if cron.hours >> hour & 1 and left:
            return hour * 60 + minute + (left & -left).bit_length() - 1
        hour, minute = hour + 1, 0
    return None


def can_come(cron: Cron) -> bool:
    """Return whether there is any day at all on which *cron* comes round."""
    if cron.is_either:
        return True
    months = (month for month in range(1, 13) if cron.months >> month & 1)
    return any(cron.days & ((2 << _LONGEST[month]) - 2) for month in months)


def weekday(day: int) -> int:
    """Return the day of the week, Sunday being 0, of a day counted from 1 January 1970."""
    return (day + 4) % 7


def civil(day: int) -> tuple[int, int, int]:
    """Return year, month and day of a day counted from 1 January 1970.

    Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    """
    era, of_era = divmod(day + 719_468, 146_097)
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    return year + era * 400 + (month <= 2), month, of_year - (153 * shifted + 2) // 5 + 1


def _days(year: int, month: int) -> int:
    """Return the first of a month as a day counted from 1 January 1970; by the same source."""
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468
