"""Jobs under a real supervisor: two clocks that tests move, crashes between any two messages."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from supervisord_lite.config.schedule import parse_cron
from supervisord_lite.config.spec import LogTarget, Spec
from supervisord_lite.core import events
from supervisord_lite.core.cron import Zone
from supervisord_lite.core.schedule import Schedule
from supervisord_lite.core.states import Running, Scheduled, Starting, Stopped
from supervisord_lite.supervisor.plan_file import PLANS
from supervisord_lite.supervisor.status import worker_status
from tests.support.supervisor import Daemon, a_spec

Start = Callable[..., Daemon]
UTC = Zone("UTC")
#: 1,700,000,100 is 22:15:00 in UTC.
START_S = 1_700_000_100.0
SLOT = ("job", 1)


@pytest.fixture
def start() -> Iterator[Start]:
    """Return a function that starts a daemon; all are closed in the end."""
    daemons: list[Daemon] = []

    def begin(*specs: Spec, **more: Any) -> Daemon:
        daemons.append(Daemon(*specs, **more))
        daemons[-1].settle()
        return daemons[-1]

    yield begin
    for daemon in daemons:
        daemon.close()


def a_job(line: str = "30 * * * *", **more: Any) -> Spec:
    schedule = Schedule(parse_cron(line), zone=UTC, **{k: more.pop(k) for k in _OWN & more.keys()})
    return a_spec("job", restart="never", ready_after_s=0.0, schedule=schedule, **more)


_OWN = {"overlap", "missed"}


def an_interval(seconds: float, **more: Any) -> Spec:
    return a_spec("job", restart="never", ready_after_s=0.0,
                  schedule=Schedule(every_s=seconds, zone=UTC, **more))  # fmt: skip


def events_of(daemon: Daemon, kind: str) -> list[dict[str, Any]]:
    return [event for event in daemon.keeper.journal if event["event"] == kind]


def rest(daemon: Daemon) -> None:
    """Let it come to rest, and then look at its clocks once more, as its loop does."""
    daemon.settle()
    daemon.settle()


def end_all(daemon: Daemon, code: int = 0) -> None:
    for run in daemon.keeper.live():
        daemon.keeper.end(run, code)
    daemon.settle()


def note(daemon: Daemon) -> str | None:
    fleet = daemon.supervisor._fleet
    clock = daemon.clock
    told = worker_status(
        fleet.specs["job"], daemon.workers[SLOT], usage=None, now_s=clock.now_s(),
        wall_s=clock.wall_s(), controllers=[], output={},
    )  # fmt: skip
    assert told["state"] == "waiting"
    return told["note"]  # type: ignore[return-value]


def test_it_sleeps_until_its_time_and_then_runs(start: Start) -> None:
    """One wake-up, at that second; the timer of the kernel is armed for it too."""
    daemon = start(a_job())
    assert isinstance(daemon.workers[SLOT].state, Scheduled)
    assert daemon.supervisor._schedules.deadline_s == 100.0 + 900.0
    assert daemon.timers[-1].armed_s == START_S + 900.0
    assert note(daemon) == "next 22:30"
    daemon.pass_s(899.9)
    assert daemon.keeper.started == []
    daemon.pass_s(0.1)
    daemon.settle()
    assert daemon.keeper.started == [("job", 1, 1)]
    assert events_of(daemon, "worker.started")[0]["by"] == "schedule"
    end_all(daemon, 1)
    assert note(daemon) == "next 23:30, last failed: exit 1"
    assert events_of(daemon, "job.failed")[0]["code"] == 1


def test_the_daemon_is_ready_before_any_job_has_run(start: Start) -> None:
    """Also while the first run of one with `every` is going."""
    daemon = start(a_job(), an_interval_of("other", 60.0))
    assert "READY=1" in daemon.notified


def an_interval_of(pool: str, seconds: float) -> Spec:
    return a_spec(pool, ready_after_s=30.0, schedule=Schedule(every_s=seconds, zone=UTC))


def test_every_begins_at_the_start_and_keeps_to_its_plan(start: Start) -> None:
    """Start to start, however long a run takes and whatever the wall clock does."""
    daemon = start(an_interval(60.0))
    assert len(daemon.keeper.started) == 1
    daemon.pass_s(50.0)
    end_all(daemon)
    daemon.set_wall_clock(-1e6)
    daemon.pass_s(9.0)
    assert len(daemon.keeper.started) == 1
    daemon.pass_s(1.5)
    assert len(daemon.keeper.started) == 2
    end_all(daemon)
    daemon.pass_s(59.4)
    assert len(daemon.keeper.started) == 2
    daemon.pass_s(0.2)
    assert len(daemon.keeper.started) == 3


@pytest.mark.parametrize(("missed", "runs"), [("skip", 0), ("once", 1)])
def test_a_clock_that_is_set_over_a_time_has_missed_it(
    start: Start, missed: str, runs: int
) -> None:
    """It is noticed when the clock is set, not when the old time would have come."""
    daemon = start(a_job(missed=missed))
    daemon.set_wall_clock(5 * 3600.0)
    assert len(daemon.keeper.started) == runs
    (event,) = events_of(daemon, "job.missed")
    assert event["planned"] == "2023-11-14T22:30:00.000Z"
    end_all(daemon)
    assert (note(daemon) or "").startswith("next 03:30")


def test_a_clock_that_is_set_back_repeats_nothing(start: Start) -> None:
    """Until the clock has come to the next time: an hour later, plus what it was set back."""
    daemon = start(a_job())
    daemon.pass_s(900.0)
    daemon.settle()
    end_all(daemon)
    daemon.set_wall_clock(-600.0)
    daemon.pass_s(600.0)
    daemon.settle()
    assert len(daemon.keeper.started) == 1
    daemon.pass_s(3600.0)
    daemon.settle()
    assert len(daemon.keeper.started) == 2
    assert not events_of(daemon, "job.missed")


def test_a_clock_that_had_been_years_ahead_does_not_stop_a_job_for_years(start: Start) -> None:
    """More than a day back: the clock was wrong, and the plan begins anew."""
    daemon = start(a_job())
    daemon.set_wall_clock(3e8)
    daemon.set_wall_clock(-3e8)
    daemon.pass_s(900.0)
    daemon.settle()
    assert len(daemon.keeper.started) == 1


def test_no_death_of_the_supervisor_doubles_a_run_or_loses_one(start: Start) -> None:
    """Killed after each message around the time: one planned time, one run."""
    for dies_after in range(4):
        daemon = start(a_job())
        daemon.clock.s += 900.0
        daemon.turn(dies_after=dies_after)
        rest(daemon)
        daemon.turn(dies_after=dies_after)
        rest(daemon)
        assert daemon.keeper.started == [("job", 1, 1)], dies_after
        end_all(daemon)
        daemon.pass_s(3600.0)
        daemon.settle()
        assert daemon.keeper.started == [("job", 1, 1), ("job", 1, 2)], dies_after


def test_a_supervisor_that_is_away_over_a_time_makes_up_for_it(start: Start) -> None:
    """On time while the minute lasts, missed after that."""
    daemon = start(a_job())
    daemon.clock.s += 930.0
    daemon.replace()
    rest(daemon)
    assert len(daemon.keeper.started) == 1
    end_all(daemon)
    daemon.clock.s += 3600.0 + 60.0
    daemon.replace()
    rest(daemon)
    assert len(daemon.keeper.started) == 1
    assert len(events_of(daemon, "job.missed")) == 1


def test_an_overlap_is_skipped_or_waits(start: Start) -> None:
    """Through a death of the supervisor too."""
    daemon = start(a_job(overlap="wait"))
    daemon.pass_s(900.0)
    daemon.pass_s(3600.0)
    daemon.settle()
    assert len(daemon.keeper.started) == 1
    daemon.replace()
    rest(daemon)
    end_all(daemon)
    assert len(daemon.keeper.started) == 2
    end_all(daemon)
    other = start(a_job())
    other.pass_s(900.0)
    other.pass_s(3600.0)
    end_all(other)
    assert len(other.keeper.started) == 1
    (event,) = events_of(other, "job.skipped")
    assert event["planned"] == "2023-11-14T23:30:00.000Z"


def test_a_job_that_does_not_start_by_itself_has_no_plan(start: Start) -> None:
    """`autostart = false` pauses it until somebody starts it; a stop pauses it again."""
    daemon = start(a_job(autostart=False))
    daemon.pass_s(900.0)
    daemon.settle()
    assert isinstance(daemon.workers[SLOT].state, Stopped)
    assert daemon.supervisor._schedules.deadline_s is None
    feed(daemon, "StartRequested")
    assert isinstance(daemon.workers[SLOT].state, Running)
    end_all(daemon)
    assert isinstance(daemon.workers[SLOT].state, Scheduled)
    daemon.pass_s(3600.0)
    daemon.settle()
    assert len(daemon.keeper.started) == 2
    end_all(daemon)
    feed(daemon, "StopRequested")
    daemon.pass_s(3 * 3600.0)
    daemon.settle()
    assert len(daemon.keeper.started) == 2
    feed(daemon, "StartRequested")
    assert not events_of(daemon, "job.missed")


def feed(daemon: Daemon, kind: str) -> None:
    daemon.supervisor._fleet.feed(SLOT, getattr(events, kind)())
    daemon.settle()


def test_a_start_by_hand_of_one_with_every_is_its_first_run(start: Start) -> None:
    """It is not due at once again."""
    daemon = start(a_spec("job", restart="never", autostart=False, ready_after_s=0.0,
                          schedule=Schedule(every_s=60.0, zone=UTC)))  # fmt: skip
    feed(daemon, "StartRequested")
    assert len(daemon.keeper.started) == 1
    assert not events_of(daemon, "job.skipped")
    end_all(daemon)
    daemon.pass_s(61.0)
    daemon.settle()
    assert len(daemon.keeper.started) == 2


def test_a_reload_changes_the_schedule_and_leaves_a_run_alone(start: Start) -> None:
    """What runs goes on, and the next one comes by the new line."""
    daemon = start(a_job())
    daemon.pass_s(900.0)
    daemon.settle()
    daemon.reload(a_job("45 * * * *", launch={"argv": ("false",)}))
    daemon.settle()
    assert isinstance(daemon.workers[SLOT].state, Running)
    assert len(daemon.keeper.started) == 1
    end_all(daemon)
    assert note(daemon) == "next 22:45, last ok"
    daemon.pass_s(900.0)
    daemon.settle()
    assert daemon.keeper.spawned["job", 1, 2]["argv"] == ["false"]
    assert not events_of(daemon, "job.missed")


def test_a_job_that_grows_by_a_reload_runs_when_it_is_time_and_not_before(start: Start) -> None:
    """Also where something else changes, and while a run is going: that one goes on."""
    daemon = start(a_job())
    daemon.pass_s(900.0)
    daemon.settle()
    file = {"stdout": LogTarget("file", "/log/job-%i.log")}
    schedule = Schedule(parse_cron("30 * * * *"), zone=UTC)
    daemon.reload(a_spec("job", 2, restart="never", schedule=schedule, launch=file))
    daemon.settle()
    assert daemon.keeper.started == [("job", 1, 1)]
    assert len(daemon.keeper.live()) == 1
    end_all(daemon)
    daemon.pass_s(3600.0)
    daemon.settle()
    assert sorted(daemon.keeper.started) == [("job", 1, 1), ("job", 1, 2), ("job", 2, 1)]


def test_a_service_becomes_a_job_and_a_job_a_service(start: Start) -> None:
    """By a reload; a job that is none any more is wanted up."""
    daemon = start(a_job())
    daemon.reload(a_spec("job"))
    daemon.settle()
    assert isinstance(daemon.workers[SLOT].state, Starting)
    daemon.reload(a_job())
    daemon.settle()
    end_all(daemon)
    assert note(daemon) == "next 22:30, last ok"


def test_a_job_that_is_taken_out_of_the_file_is_forgotten(start: Start) -> None:
    """Nothing wakes the supervisor for it any more."""
    daemon = start(a_job(), a_spec("web"))
    daemon.reload(a_spec("web"))
    daemon.settle()
    assert SLOT not in daemon.workers
    assert daemon.supervisor._schedules.deadline_s is None


def test_each_instance_of_a_pool_has_a_run_of_its_own(start: Start) -> None:
    """A pool of two starts two."""
    schedule = Schedule(parse_cron("30 * * * *"), zone=UTC)
    daemon = start(a_spec("job", 2, restart="never", schedule=schedule))
    daemon.pass_s(900.0)
    daemon.settle()
    assert sorted(daemon.keeper.started) == [("job", 1, 1), ("job", 2, 1)]


def test_nobody_is_started_once_the_service_ends(start: Start) -> None:
    """And nothing keeps the loop awake for that."""
    daemon = start(a_job(), a_spec("web"))
    daemon.supervisor._daemon.begin_stop("asked")
    daemon.settle()
    assert daemon.supervisor._schedules.deadline_s is None
    daemon.pass_s(900.0)
    daemon.settle()
    assert ("job", 1, 1) not in daemon.keeper.started


# -- the file --------------------------------------------------------------------------------------


def received(daemon: Daemon) -> None:
    """Let the supervisor hear from the children that write."""
    file = daemon.supervisor._schedules.file
    while file._file._note is not None:
        file._file._receive()
    daemon.settle()


def test_what_has_been_dealt_with_is_written_for_the_next_service(start: Start) -> None:
    """Of those only whose missed runs are wanted; it stays when the service stops."""
    daemon = start(a_job(missed="once"))
    received(daemon)
    plan = {"plan": "30 * * * * UTC", "settled_s": START_S}
    assert daemon.planned == [{"v": 1, "plans": {"job/1": plan}}]
    daemon.pass_s(900.0)
    daemon.settle()
    received(daemon)
    plan["settled_s"] = START_S + 900.0
    assert daemon.planned[1:] == [{"v": 1, "plans": {"job/1": plan}}]
    end_all(daemon)
    daemon.supervisor._daemon.begin_stop("asked")
    daemon.settle()
    assert len(daemon.planned) == 2
    assert daemon.supervisor._is_over(daemon.clock.s)
    assert start(a_job()).planned == []


def test_a_service_ends_when_its_plans_are_written_or_cannot_be(start: Start) -> None:
    """It waits for the disk, and not for ever."""
    daemon = start(a_job(missed="once"))
    received(daemon)
    daemon.disk = "frozen"
    daemon.pass_s(900.0)
    daemon.settle()
    end_all(daemon)
    daemon.supervisor._daemon.begin_stop("asked")
    daemon.settle()
    assert not daemon.supervisor._is_over(daemon.clock.s)
    daemon.pass_s(5.0)
    daemon.settle()
    assert daemon.supervisor._is_over(daemon.clock.s)


@pytest.mark.parametrize(
    ("plan", "settled_s", "runs"),
    [
        ("30 * * * * UTC", START_S - 7200.0, 1),
        ("30 * * * * UTC", START_S - 60.0, 0),
        ("30 * * * * UTC", START_S + 1e9, 0),
        ("45 * * * * UTC", START_S - 7200.0, 0),
    ],
)
def test_a_new_service_makes_up_for_what_was_missed(
    start: Start, plan: str, settled_s: float, runs: int
) -> None:
    """Once, where it still is the same plan; a death right then changes nothing."""
    saved = {PLANS: json.dumps({"job/1": {"plan": plan, "settled_s": settled_s}})}
    for dies_after in (None, 0, 1, 2):
        daemon = Daemon(a_job(missed="once"), saves=saved)
        daemon.turn(dies_after=dies_after)
        rest(daemon)
        assert len(daemon.keeper.started) == runs
        assert len(events_of(daemon, "job.missed")) == runs
        end_all(daemon)
        feed(daemon, "StopRequested")
        feed(daemon, "StartRequested")
        assert len(daemon.keeper.started) == runs + 1
        assert len(events_of(daemon, "job.missed")) == runs
        assert PLANS not in daemon.keeper.table.saves
        daemon.close()
