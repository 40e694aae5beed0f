"""A job: it runs when it is time, and what goes wrong stays in one run."""

import json
from typing import Any

import pytest

from supervisord_lite.core import events
from supervisord_lite.core.orders import told_of_change
from supervisord_lite.core.policy import Policy
from supervisord_lite.core.records import from_record, to_record
from supervisord_lite.core.schedule import Schedule
from supervisord_lite.core.states import (
    Backoff,
    Exited,
    Running,
    Scheduled,
    Starting,
    Stopped,
    Stopping,
    Tripped,
    Waiting,
)
from tests.support.core import OneWorker, a_policy, after_a_crash, shut_gate

HOURLY = Schedule(every_s=3600.0)


def a_job(**values: Any) -> OneWorker:
    """Return a job between two runs, whose plan has begun."""
    schedule = values.pop("schedule", HOURLY)
    slot = OneWorker(a_policy(**{"restart": "never", **values, "schedule": schedule}))
    slot.tell(events.StartRequested(by_itself=True), 0.0)
    slot.tell(events.PlanBegun(0.0))
    slot.expect(Scheduled)
    return slot


def comes_due(slot: OneWorker, at_s: float) -> None:
    slot.tell(events.CameDue(at_s, "15:07"), at_s)


def a_running_job(**values: Any) -> OneWorker:
    slot = a_job(**values)
    comes_due(slot, 3600.0)
    slot.spawned(3600.1)
    slot.wake()
    slot.expect(Running)
    return slot


def test_the_boot_lets_it_wait_and_its_time_starts_it() -> None:
    """Who started it is told."""
    slot = a_job()
    assert slot.spawned_runs == []
    comes_due(slot, 3600.0)
    assert slot.expect(Starting).by == "schedule"
    assert slot.worker.settled_s == 3600.0
    slot.spawned()
    assert slot.said("worker.started") == {"run": 1, "pid": 4001, "by": "schedule"}
    slot.exits(0, 3605.0)
    assert slot.said("worker.exited")["next"] == "schedule"
    slot.expect(Scheduled)


def test_a_person_runs_it_now_and_its_plan_stays() -> None:
    """`start` of a job is a run of its own."""
    slot = a_job()
    slot.start(10.0)
    slot.spawned(10.1)
    assert "by" not in slot.said("worker.started")
    slot.exits(0, 11.0)
    slot.expect(Scheduled)
    assert slot.worker.settled_s == 0.0


def test_hourly_failures_open_no_breaker() -> None:
    """Each planned run begins with no failure, and each one that fails is told."""
    slot = a_job(restart="on-failure", max_restarts=1)
    for hour in range(1, 20):
        comes_due(slot, hour * 3600.0)
        slot.spawned(hour * 3600.0 + 0.1)
        slot.exits(1, hour * 3600.0 + 1.0)
        slot.expect(Scheduled)
        assert slot.said("worker.failed")["failure"] == 1
        assert slot.said("job.failed") == {
            "run": hour, "pid": 4000 + hour, "code": 1, "ran_s": 0.9, "failures": 1,
        }  # fmt: skip


def test_a_failed_run_is_tried_again_until_its_breaker_closes_it() -> None:
    """Under on-failure: with backoff, and then the next planned run comes as planned."""
    slot = a_running_job(restart="on-failure", max_restarts=3)
    for number in (1, 2):
        slot.exits(1)
        assert slot.expect(Backoff).delay_s == number
        assert not [each for each in slot.heard if each.event == "job.failed"]
        slot.wake()
        slot.spawned()
    slot.exits(1)
    slot.expect(Scheduled)
    assert slot.said("job.failed")["failures"] == 3
    assert not [each for each in slot.heard if each.event == "worker.tripped"]
    comes_due(slot, 7200.0)
    slot.expect(Starting)
    assert slot.worker.failures == ()
    assert slot.worker.attempt == 0


def test_a_run_by_hand_is_tried_again_as_often_as_a_planned_one() -> None:
    """What the run before has used up is not missing from this one, also after a stop."""
    slot = a_running_job(restart="on-failure", max_restarts=2)
    for stops in (False, True, False):
        slot.exits(1)
        slot.expect(Backoff)
        slot.wake()
        slot.spawned()
        slot.exits(1)
        slot.expect(Scheduled)
        assert slot.said("job.failed")["failures"] == 2
        if stops:
            slot.stop()
        slot.start()
        slot.expect(Starting)
        slot.spawned()


def test_a_hopeless_failure_gives_the_run_up_at_once() -> None:
    """It is tried again with the next planned run, and not before."""
    slot = a_job(restart="on-failure")
    comes_due(slot, 3600.0)
    slot.spawn_failed(hopeless=True)
    slot.expect(Scheduled)
    assert slot.said("job.failed")["reason"].startswith("spawn failed")  # type: ignore[union-attr]


def test_a_planned_run_takes_the_place_of_a_retry() -> None:
    """A retry that waits is no run: nothing overlaps."""
    slot = a_running_job(restart="on-failure")
    slot.exits(1)
    slot.expect(Backoff)
    comes_due(slot, 7200.0)
    assert slot.expect(Starting).by == "schedule"
    assert slot.worker.failures == ()


def test_a_run_that_is_due_while_one_is_going_is_left_out() -> None:
    """Overlap "skip": it is told which one, and the plan goes on."""
    slot = a_running_job()
    comes_due(slot, 7200.0)
    slot.expect(Running)
    assert slot.said("job.skipped")["planned"] == "15:07"
    assert slot.worker.settled_s == 7200.0
    slot.exits(0)
    slot.expect(Scheduled)


@pytest.mark.parametrize("code", [0, 1])
def test_with_wait_it_begins_when_the_one_before_has_ended(code: int) -> None:
    """However that one ends; one waits at most, and a crash of ours forgets it not."""
    slot = a_running_job(schedule=Schedule(every_s=3600.0, overlap="wait"))
    comes_due(slot, 7200.0)
    assert not [each for each in slot.heard if each.event == "job.skipped"]
    comes_due(slot, 10_800.0)
    assert slot.said("job.skipped")["reason"] == "another one waits already"
    slot.worker = after_a_crash(slot.worker)
    slot.exits(code)
    assert slot.expect(Starting).by == "schedule"
    slot.spawned()
    slot.exits(0)
    slot.expect(Scheduled)
    assert slot.spawned_runs == [1, 2]


def test_with_wait_a_failed_run_is_not_tried_again_when_the_next_one_is_due() -> None:
    """The next one is the retry."""
    slot = a_running_job(restart="on-failure", schedule=Schedule(every_s=9.0, overlap="wait"))
    comes_due(slot, 7200.0)
    slot.exits(1)
    assert slot.expect(Starting).by == "schedule"
    assert slot.said("job.failed")["failures"] == 1


@pytest.mark.parametrize(("missed", "runs"), [("skip", []), ("once", [1])])
def test_what_was_missed_leads_to_one_run_or_none(missed: str, runs: list[int]) -> None:
    """And is dealt with either way."""
    slot = a_job(schedule=Schedule(every_s=1.0, missed=missed))  # type: ignore[arg-type]
    slot.tell(events.CameDue(9000.0, "12:07", is_missed=True, missed="12:07"), 9000.0)
    assert slot.spawned_runs == runs
    assert slot.said("job.missed") == {"planned": "12:07", "next": "start" if runs else "none"}
    assert slot.worker.settled_s == 9000.0


def test_a_stop_ends_the_plan_until_somebody_starts_it() -> None:
    """Planned times that come meanwhile mean nothing, and neither do those of before."""
    slot = a_running_job(schedule=Schedule(every_s=3600.0, overlap="wait"))
    comes_due(slot, 7200.0)
    slot.stop()
    comes_due(slot, 10_800.0)
    assert isinstance(slot.worker.state, Stopping)
    slot.exits(None, signal=15)
    assert slot.expect(Stopped).by_hand
    assert slot.worker.settled_s is None
    assert not slot.worker.is_owed
    comes_due(slot, 14_400.0)
    slot.expect(Stopped)
    slot.start()
    slot.expect(Starting)


def test_it_waits_for_what_it_requires_at_each_run() -> None:
    """One planned run waits; the next ones are left out meanwhile."""
    slot = a_job()
    slot.gate = shut_gate
    comes_due(slot, 3600.0)
    assert slot.expect(Waiting).then == "due"
    comes_due(slot, 7200.0)
    assert slot.said("job.skipped")["reason"] == "requires db"
    slot.gate = lambda _ask: ""
    slot.tell(events.GateMoved())
    assert slot.expect(Starting).by == "schedule"
    assert slot.spawned_runs[-1:] == [1]


def test_a_run_that_lasts_too_long_has_failed() -> None:
    """As everywhere: `run_timeout`."""
    slot = a_running_job(run_timeout_s=60.0)
    slot.wake()
    slot.exits(None, signal=15)
    assert slot.said("job.failed")["reason"] == "still running after 60s"
    slot.expect(Scheduled)


def test_a_changed_schedule_begins_another_plan_and_touches_no_run() -> None:
    """Live: the run goes on, and what was owed is forgotten."""
    slot = a_running_job(schedule=Schedule(every_s=3600.0, overlap="wait"))
    comes_due(slot, 7200.0)
    other = a_policy(restart="never", schedule=Schedule(every_s=60.0))
    for event in told_of_change(slot.worker, other, is_new_run=False):
        slot.tell(event)
    slot.expect(Running)
    assert slot.worker.settled_s is None
    assert not slot.worker.is_owed


def test_a_worker_that_gets_a_schedule_waits_and_one_that_loses_it_runs() -> None:
    """Also where its breaker was open, or where it had finished."""
    service = OneWorker(a_policy(max_restarts=1))
    service.start(0.0)
    service.spawned()
    service.exits(1)
    service.expect(Tripped)
    job = a_policy(schedule=HOURLY)
    for event in told_of_change(service.worker, job, is_new_run=True):
        service.tell(event)
    service.expect(Scheduled)
    assert service.worker.failures == ()
    for event in told_of_change(service.worker, a_policy(), is_new_run=True):
        service.tell(event)
    service.expect(Starting)
    done = OneWorker(a_policy(restart="never"))
    done.start(0.0)
    done.spawned()
    done.exits(0)
    done.expect(Exited)
    for event in told_of_change(done.worker, job, is_new_run=True):
        done.tell(event)
    done.expect(Scheduled)


def test_a_service_hears_nothing_of_plans() -> None:
    """Events of a plan mean something only where there is one."""
    slot = OneWorker(a_policy())
    slot.start(0.0)
    before = slot.worker
    slot.tell(events.CameDue(1.0))
    slot.tell(events.PlanBegun(1.0))
    assert slot.worker is before


def test_a_record_of_before_there_were_jobs_is_read() -> None:
    """What is absent has its default; what a job has settled comes back."""
    slot = a_running_job(schedule=Schedule(every_s=3600.0, overlap="wait"))
    comes_due(slot, 7200.0)
    assert after_a_crash(slot.worker) == slot.worker
    service = OneWorker(a_policy())
    service.start(0.0)
    record = json.loads(json.dumps(to_record(service.worker)))
    assert "settled_s" not in record
    assert from_record(record, Policy()).settled_s is None
