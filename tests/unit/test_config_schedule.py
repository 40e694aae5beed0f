"""`schedule` in a file: what it means, and each mistake where it stands."""

from collections.abc import Callable
from pathlib import Path

import pytest

from supervisord_lite.config import zones
from supervisord_lite.config.errors import ConfigurationError, Problem
from supervisord_lite.config.load import load
from supervisord_lite.config.plan import make_plan
from supervisord_lite.config.schedule import parse_cron
from supervisord_lite.config.spec import Spec, spec_from_json, to_json, to_short_json
from supervisord_lite.core.cron import Zone

Load = Callable[[str], list[Spec]]


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Return a function that gives the specs of a text, loaded as workers.toml."""
    monkeypatch.chdir(tmp_path)

    def specs_of(text: str) -> list[Spec]:
        Path("workers.toml").write_text(text)
        return list(load("workers.toml", environ={}, as_root=True).specs)

    return specs_of


def problems(loaded: Load, text: str) -> list[Problem]:
    with pytest.raises(ConfigurationError) as caught:
        loaded(text)
    return list(caught.value.problems)


A = "[worker.a]\ncommand = 'x'\n"


def test_a_text_is_a_line_of_cron(loaded: Load) -> None:
    """`schedule = "…"` is short for `schedule.cron`; what a job does not say has its default."""
    (spec,) = loaded(A + 'schedule = " 7 * * * * "\n')
    schedule = spec.policy.schedule
    assert schedule is not None
    assert schedule.cron == parse_cron("7 * * * *")
    assert (schedule.overlap, schedule.missed, schedule.zone.name) == ("skip", "skip", "")
    assert spec.policy.restart == "never"


def test_all_keys_are_read_and_survive_the_way_to_the_daemon(loaded: Load) -> None:
    """As JSON and back, with the zone's table."""
    (spec,) = loaded(
        A + 'schedule.cron = "*/5 0-6 * JAN mon,tue"\nschedule.timezone = "Europe/Vienna"\n'
        'schedule.overlap = "wait"\nschedule.missed = "once"\nrestart = "on-failure"\n'
    )
    schedule = spec.policy.schedule
    assert schedule is not None
    assert (schedule.overlap, schedule.missed) == ("wait", "once")
    assert len(schedule.zone.changes) == 160
    assert spec_from_json(to_json(spec)) == spec
    assert spec_from_json(to_short_json(spec)) == spec
    assert len(to_json(schedule.zone)) < 4000  # type: ignore[arg-type]


def test_every_is_a_duration(loaded: Load) -> None:
    """From start to start."""
    (spec,) = loaded(A + 'schedule.every = "1h30m"\n')
    assert spec.policy.schedule is not None
    assert spec.policy.schedule.every_s == 5400.0


def test_a_base_hands_its_schedule_on(loaded: Load) -> None:
    """Key by key, also where one of them is written short."""
    text = '[worker.b]\nenabled = false\nschedule = "@daily"\n'
    (spec,) = loaded(text + A + 'extends = "b"\nschedule.timezone = "UTC"\n')
    assert spec.policy.schedule is not None
    assert spec.policy.schedule.cron is not None
    assert spec.policy.schedule.cron.text == "@daily"
    assert spec.policy.schedule.zone == Zone("UTC")


@pytest.mark.parametrize(
    ("text", "weekdays", "is_either"),
    [
        ("0 0 * * 7", 0b0000001, False),
        ("0 0 * * sat-sun", 0b1000001, False),
        ("0 0 * * 5-7", 0b1100001, False),
        ("0 0 1 * *", 0b1111111, False),
        ("0 0 1 * mon", 0b0000010, True),
        ("0 0 */2 * mon", 0b0000010, False),
    ],
)
def test_days_are_read_as_crontab_has_them(text: str, weekdays: int, is_either: bool) -> None:
    """Sunday is 0 or 7; a field that begins with a star restricts nothing."""
    cron = parse_cron(text)
    assert (cron.weekdays, cron.is_either) == (weekdays, is_either)


# The line: the column of the mistake, and words of its message and hint.
BAD = {
    "four fields": ('schedule = "* * * *"', 12, "five fields, got 4", "@daily"),
    "seconds": ('schedule.cron = "0 * * * * *"', 17, "got 6", "no seconds"),
    "strange letters": ('schedule.cron = "* * ! * *"', 17, '"!" is not a field', "steps"),
    "an hour too much": ('schedule.cron = "0 24 * * *"', 17, "24 is not a hour", ""),
    "no such day": ('schedule.cron = "0 0 * * mno"', 17, '"mno" is not a weekday', '"mon"?'),
    "a number with letters": ('schedule.cron = "x * * * *"', 17, '"x" is not a minute', ""),
    "backwards": ('schedule.cron = "30-10 * * * *"', 17, '"30-10" is empty', "smaller"),
    "no step": ('schedule.cron = "*/0 * * * *"', 17, '"*/0" is empty', ""),
    "a step of one": ('schedule.cron = "5/15 * * * *"', 17, "a step stands", "5-59/15"),
    "an empty item": ('schedule.cron = "1,,2 * * * *"', 17, "is not a field", ""),
    "30 February": ('schedule.cron = "0 0 30 2 *"', 17, "never comes", ""),
    "31 of short months": ('schedule.cron = "0 0 31 2,4,jun *"', 17, "never comes", ""),
    "reboot": ('schedule = "@reboot"', 12, "no time", 'restart = "never"'),
    "dayly": ('schedule = "@dayly"', 12, "no time", '"@daily"?'),
    "no time": ('schedule.timezone = "UTC"', 1, "schedule: when?", "every"),
    "two times": ('schedule.cron = "@daily"\nschedule.every = "1h"', 18, "exclude", ""),
    "too often": ('schedule.every = "10ms"', 18, "1 s at least", "always"),
    "overlap": ('schedule.every = "1h"\nschedule.overlap = "queue"', 20, "overlapping", '"wait"'),
    "missed": ('schedule.every = "1h"\nschedule.missed = "all"', 19, "missed", '"once"'),
    "zone": ('schedule.every = "1h"\nschedule.timezone = "Europe/Wiena"', 21,
             'no time zone is called "Europe/Wiena"', '"Europe/Vienna"?'),
    "zone by no name": ('schedule.every = "1h"\nschedule.timezone = "CET+1 "', 21,
                        "expected a time zone", "Vienna"),
    "a folder of zones": ('schedule.every = "1h"\nschedule.timezone = "Europe"', 21,
                          "no time zone", ""),
    "typo": ('schedule.evry = "1h"', 10, 'unknown key "schedule.evry"', '"schedule.every"?'),
    "always": ('schedule = "@daily"\nrestart = "always"', 11, "no time between", '"never"'),
    "critical": ('schedule = "@daily"\ncritical = true', 12, "breaker never opens", "job.failed"),
    "a number": ("schedule = 5", 12, "expected a table", ""),
}  # fmt: skip


@pytest.mark.parametrize(("lines", "column", "message", "hint"), BAD.values(), ids=BAD.keys())
def test_a_mistake_is_told_where_it_stands(
    loaded: Load, lines: str, column: int, message: str, hint: str
) -> None:
    """With the reason and the way out."""
    found = problems(loaded, A + lines + "\n")
    assert [p for p in found if message in p.message and hint in p.hint and p.column == column], [
        (p.message, p.hint, p.column) for p in found
    ]


def test_nobody_can_require_a_job(loaded: Load) -> None:
    """It is not there most of the time; to come after one is no mistake."""
    job = '[worker.job]\ncommand = "x"\nschedule = "@daily"\n'
    (problem,) = problems(loaded, job + A + 'requires = ["job"]\n')
    assert 'requires "job", which runs by a schedule' in problem.message
    assert problem.line == 6
    assert len(loaded(job + A + 'after = ["job"]\n')) == 2


def test_a_machine_without_time_zones_is_told_apart_from_a_typo(
    loaded: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """UTC and the machine's own zone need no data."""
    monkeypatch.setattr("zoneinfo.TZPATH", ())
    monkeypatch.setattr("zoneinfo.available_timezones", lambda: set[str]())
    monkeypatch.setattr("zoneinfo.ZoneInfo", _no_zone)
    zones.zone_named.cache_clear()
    text = A + 'schedule.cron = "@daily"\n'
    (problem,) = problems(loaded, text + 'schedule.timezone = "Europe/Vienna"\n')
    assert "no time zones" in problem.message
    assert "tzdata" in problem.hint
    assert loaded(text)
    assert loaded(text + 'schedule.timezone = "UTC"\n')
    zones.zone_named.cache_clear()


def _no_zone(name: str) -> None:
    raise KeyError(name)


def test_a_change_of_the_schedule_holds_at_once_and_is_told(loaded: Load) -> None:
    """Key by key; a job's other program holds for its next run."""
    before = loaded(A + 'schedule = "@daily"\n')
    after = loaded("[worker.a]\ncommand = 'y'\n" + 'schedule.every = "90s"\n')
    (change,) = make_plan(before, after).changed
    told = {key.key: (key.old, key.new, key.effect) for key in change.keys}
    assert told == {
        "command": ('["x"]', '["y"]', "live"),
        "schedule.cron": ('"@daily"', None, "live"),
        "schedule.every": (None, "90s", "live"),
    }
    assert make_plan(before, loaded(A + 'schedule.cron = "@daily"\n')).is_empty


def test_other_rules_of_the_same_zone_are_a_change(loaded: Load) -> None:
    """A reload takes in what the machine knows by now."""
    (spec,) = loaded(A + 'schedule.cron = "@daily"\nschedule.timezone = "Europe/Vienna"\n')
    data = to_json(spec).replace('"base_s":3600', '"base_s":7200')
    (change,) = make_plan([spec_from_json(data)], [spec]).changed
    (key,) = change.keys
    assert (key.key, key.effect) == ("schedule.timezone", "live")
    assert "other rules" in str(key.new)
