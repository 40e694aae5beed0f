"""`schedule`: when a worker runs, read into what `core` reckons with.

Cron's five fields are those of crontab(5): numbers, names of months and of days in three letters,
lists, ranges, steps behind ``*`` or a range; Sunday is 0 or 7; ``@hourly`` and its like.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, cast

from supervisord_lite.config.values import name_of, own, shown
from supervisord_lite.config.words import did_you_mean
from supervisord_lite.config.zones import NoSuchZoneError, zone_named
from supervisord_lite.core.cron import Cron, Zone, can_come
from supervisord_lite.core.schedule import Missed, Overlap, Schedule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from supervisord_lite.config.order import Edge
    from supervisord_lite.config.spec import Spec
    from supervisord_lite.config.tree import Node, Table
    from supervisord_lite.config.values import Reader

KEYS = ("cron", "every", "timezone", "overlap", "missed")
#: A job that starts more often is no job.
_LEAST_EVERY_S = 1.0
_SHORT = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_EXAMPLE = 'minute hour day month weekday: "7 * * * *" is seven past every hour; or "@daily"'
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*")
_ITEM = re.compile(r"(?:(\*)|([0-9A-Za-z]+)(?:-([0-9A-Za-z]+))?)(?:/([0-9]+))?")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


class _Field(NamedTuple):
    """One of the five: its name, its range, and the names of its values from the first one on."""

    name: str
    least: int
    most: int
    names: tuple[str, ...] = ()


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("weekday", 0, 7, _WEEKDAYS),
)


class CronError(ValueError):
    """A line that is none of cron's; `hint` says the way out."""

    def __init__(self, message: str, hint: str = "") -> None:
        """Say what is wrong."""
        super().__init__(message)
        self.hint = hint


def parse_cron(text: str) -> Cron:
    """Return what a line of cron means.

    Raises:
        CronError: It means nothing, or a day that never comes.
    """
    line = text.strip()
    if line.startswith("@"):
        if line.lower() not in _SHORT:
            near = did_you_mean(line, _SHORT)
            hint = f'did you mean "{near}"?' if near else f"there are {', '.join(_SHORT)}"
            if line.lower() == "@reboot":
                hint = 'without a schedule, restart = "never" runs it once at each start'
            message = f"{shown(line)} is no time"
            raise CronError(message, hint)
        line = _SHORT[line.lower()]
    words = line.split()
    if len(words) != len(_FIELDS):
        hint = "cron has no seconds; schedule.every counts them" if len(words) == 6 else _EXAMPLE
        message = f"expected five fields, got {len(words)} in {shown(text)}"
        raise CronError(message, hint)
    masks = [_mask(word, field) for word, field in zip(words, _FIELDS, strict=True)]
    minutes, hours, days, months, weekdays = masks
    weekdays = (weekdays | weekdays >> 7) & 0b1111111
    is_either = not (words[2].startswith("*") or words[4].startswith("*"))
    cron = Cron(text.strip(), minutes, hours, days, months, weekdays, is_either)
    if not can_come(cron):
        message = f"{shown(text)} never comes: no month {words[3]} has a day {words[2]}"
        raise CronError(message, _EXAMPLE)
    return cron


def _mask(word: str, field: _Field) -> int:
    mask = 0
    for item in word.split(","):
        found = _ITEM.fullmatch(item)
        if found is None:
            message = f"{shown(item or word)} is not a field of cron ({field.name})"
            raise CronError(message, "numbers, names, lists, ranges and steps: 1,15 9-17 */5 mon")
        star, first, last, step = found.groups()
        if step is not None and star is None and last is None:
            hint = f"write {first}-{field.most}/{step}"
            message = f"{shown(item)}: a step stands behind * or a range ({field.name})"
            raise CronError(message, hint)
        least, most = field.least, field.most
        if star is None:
            least = _number(first, field)
            most = least if last is None else _number(last, field, is_last=True)
        elif field.name == "weekday":
            most = 6
        steps = 1 if step is None else int(step)
        if least > most or not 1 <= steps <= 60:
            message = f"{shown(item)} is empty ({field.name})"
            raise CronError(message, "the smaller number first, and a step of 1 or more")
        mask |= sum(1 << each for each in range(least, most + 1, steps))
    return mask


def _number(text: str, field: _Field, *, is_last: bool = False) -> int:
    name = text.lower()
    if name in field.names:
        place = field.names.index(name) + field.least
        # A week that ends on Sunday: sat-sun.
        return 7 if is_last and field.name == "weekday" and place == 0 else place
    if not text.isdigit():
        near = did_you_mean(name, field.names) if field.names else ""
        message = f"{shown(text)} is not a {field.name} of cron"
        raise CronError(message, f'did you mean "{near}"?' if near else "")
    number = int(text) if len(text) < 4 else 1000
    if not field.least <= number <= field.most:
        message = f"{text} is not a {field.name}: from {field.least} to {field.most}"
        raise CronError(message)
    return number


def read_schedule(reader: Reader, table: Table) -> Schedule | None:
    """Return when a worker runs; None: as long as it is wanted up.

    Args:
        reader: Takes the problems.
        table: The worker's keys, those of [defaults] merged in.
    """
    node = table.get("schedule")
    if node is None:
        return None
    inner = reader.table(table, "schedule")
    cron = _cron(reader, inner.get("cron"))
    every_s = _every_s(reader, inner.get("every"))
    if "cron" in inner and "every" in inner:
        reader.clash(inner["every"], "schedule: cron and every exclude each other")
    elif node.table() is not None and "cron" not in inner and "every" not in inner:
        hint = 'schedule.cron = "7 * * * *" or schedule.every = "1h"'
        if not inner or any(own(inner, key) for key in inner):
            reader.clash(node, "schedule: when?", hint)
    overlap = reader.choice(
        inner, "overlap", "skip", choices=("skip", "wait"), what="an answer to overlapping runs"
    )
    missed = reader.choice(
        inner, "missed", "skip", choices=("skip", "once"), what="an answer to missed runs"
    )
    zone = _zone(reader, inner.get("timezone"))
    if cron is None and every_s is None:
        return None  # told already, or only [defaults] says how
    return Schedule(
        cron,
        None if cron is not None else every_s,
        zone,
        cast("Overlap", overlap),
        cast("Missed", missed),
    )


def _cron(reader: Reader, node: Node | None) -> Cron | None:
    text = None if node is None else reader.checked_text(node)
    if node is None or text is None:
        return None
    try:
        return parse_cron(text)
    except CronError as error:
        reader.at_value(node, f"{name_of(node.path)}: {error}", error.hint)
        return None


def _every_s(reader: Reader, node: Node | None) -> float | None:
    seconds = None if node is None else reader.checked_duration(node)
    if node is not None and seconds is not None and seconds < _LEAST_EVERY_S:
        message = f"{name_of(node.path)}: must be {_LEAST_EVERY_S:g} s at least, got {seconds:g} s"
        reader.at_value(node, message, 'what runs all the time has restart = "always"')
        return None
    return seconds


def _zone(reader: Reader, node: Node | None) -> Zone:
    name = "" if node is None else reader.checked_text(node)
    if node is None or not name:
        return zone_named("")
    try:
        if _ZONE.fullmatch(name):
            return zone_named(name)
        message, hint = f"expected a time zone, got {shown(name)}", 'such as "Europe/Vienna"'
    except NoSuchZoneError as error:
        message = f"no time zone is called {shown(name)}"
        near = did_you_mean(name, error.known)
        hint = f'did you mean "{near}"?' if near else 'such as "Europe/Vienna" or "UTC"'
        if not error.has_data:
            message = f"{shown(name)}: this machine has no time zones"
            hint = 'install tzdata; without it there are its own (no timezone) and "UTC"'
    reader.at_value(node, f"{name_of(node.path)}: {message}", hint)
    return Zone()


def note_clashes(reader: Reader, table: Table, schedule: Schedule | None) -> None:
    """Note other keys of a worker that mean nothing with a schedule."""
    if schedule is None:
        return
    restart, critical = table.get("restart"), table.get("critical")
    if restart is not None and restart.value == "always":
        message = 'restart: "always" leaves no time between two runs of a schedule'
        reader.clash(restart, message, 'use "never" (the default of a schedule) or "on-failure"')
    if critical is not None and critical.value not in (False, "false"):
        message = "critical: a job's breaker never opens, so it cannot end the service"
        hint = "see its failures with: status --check, or the event job.failed"
        reader.clash(critical, message, hint)


def note_required_jobs(
    reader: Reader, specs: Iterable[Spec], edges: Mapping[str, Sequence[Edge]]
) -> None:
    """Note workers that require one which runs by a schedule: it is not there most of the time."""
    planned = {spec.pool for spec in specs if spec.policy.schedule is not None}
    for found in edges.values() if planned else ():
        for edge in found:
            if edge.key == "requires" and edge.other in planned:
                message = f'requires "{edge.other}", which runs by a schedule: it is never ready'
                reader.clash(edge.node, message, "require what the job itself requires")
