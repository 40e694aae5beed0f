"""A reload touches what changed, and nothing else, whatever is killed meanwhile."""

import json
from typing import Any

import pytest

from supervisord_lite.base.record import replace
from supervisord_lite.config.loading import Refused
from supervisord_lite.config.spec import LogTarget, Spec
from supervisord_lite.core import events
from supervisord_lite.core.policy import Rung
from supervisord_lite.core.states import (
    Backoff,
    Exited,
    Running,
    Starting,
    Stopped,
    Stopping,
    Tripped,
)  # fmt: skip
from supervisord_lite.supervisor.outbox import Slot
from supervisord_lite.supervisor.reload import Done, Refusal
from tests.support.driven import end, good, running
from tests.support.supervisor import SETTINGS, Daemon, a_spec

WEB, DB = ("web", 1), ("db", 1)
OTHER = {"argv": ("other",)}


def pid(daemon: Daemon, slot: Slot) -> int | None:
    return getattr(daemon.workers[slot].state, "pid", None)


def test_what_did_not_change_keeps_its_process(made: list[Daemon]) -> None:
    """A value that holds at once touches nobody; the deadline that it moves does move."""
    daemon = running(made, a_spec("web"), a_spec("db"))
    before = [pid(daemon, slot) for slot in (WEB, DB)]
    done = good(daemon.reload(a_spec("web", max_restarts=1, run_timeout_s=5.0), a_spec("db")))
    daemon.settle()
    assert [pid(daemon, slot) for slot in (WEB, DB)] == before
    assert daemon.keeper.signalled == []
    assert (done.touched.left_alone, done.touched.restarted) == (2, 0)
    assert daemon.workers[WEB].policy.max_restarts == 1
    daemon.pass_s(4.0)
    daemon.settle()
    assert [request["pool"] for request in daemon.keeper.signalled] == ["web"]


def test_a_changed_program_stops_by_the_old_ladder_and_starts_by_the_new(
    made: list[Daemon],
) -> None:
    """Who was started with a minute to stop gets its minute, also from the next supervisor."""
    old = a_spec("web", stop_ladder=(Rung(2, 60.0), Rung(15, 5.0)))
    daemon = running(made, old)
    daemon.reload(a_spec("web", stop_ladder=(Rung(10, 1.0),), launch=OTHER))
    daemon.settle()
    assert [request["signal"] for request in daemon.keeper.signalled] == [2]
    daemon.pass_s(30.0)
    daemon.replace()
    daemon.settle()
    assert len(daemon.keeper.signalled) == 1
    daemon.pass_s(30.0)
    daemon.settle()
    assert [request["signal"] for request in daemon.keeper.signalled] == [2, 15]
    end(daemon, WEB)
    assert daemon.keeper.spawned["web", 1, 2]["argv"] == ["other"]
    assert daemon.workers[WEB].policy.stop_ladder == (Rung(10, 1.0),)
    assert isinstance(daemon.workers[WEB].state, Starting)


def test_who_is_taken_out_goes_down_and_is_forgotten(made: list[Daemon]) -> None:
    """By its own ladder; when it comes back, no run's number is used twice."""
    daemon = running(made, a_spec("web"), a_spec("db"))
    done = good(daemon.reload(a_spec("db")))
    daemon.settle()
    assert (done.touched.stopped, done.touched.left_alone) == (1, 1)
    assert isinstance(daemon.workers[WEB].state, Stopping)
    daemon.replace()
    assert daemon.supervisor._fleet.leaving == {WEB}
    end(daemon, WEB)
    assert list(daemon.workers) == [DB]
    assert "spec/web" not in daemon.keeper.table.saves
    daemon.replace()
    daemon.reload(a_spec("db"), a_spec("web"))
    daemon.settle()
    assert daemon.keeper.started[-1] == ("web", 1, 2)
    assert isinstance(daemon.workers[WEB].state, Starting)


def test_who_comes_back_while_it_leaves_starts_again_when_it_is_gone(made: list[Daemon]) -> None:
    """Two quick edits leave what the second one says."""
    daemon = running(made, a_spec("web"), a_spec("db"))
    daemon.reload(a_spec("db"))
    daemon.settle()
    daemon.supervisor._fleet.feed(WEB, events.StartRequested())
    assert isinstance(daemon.workers[WEB].state, Stopping), "it has no place: nobody can start it"
    daemon.reload(a_spec("web", launch=OTHER), a_spec("db"))
    daemon.settle()
    end(daemon, WEB)
    assert daemon.keeper.spawned["web", 1, 2]["argv"] == ["other"]
    assert not daemon.supervisor._fleet.leaving


def test_a_pool_grows_around_who_is_there_and_shrinks_from_its_end(made: list[Daemon]) -> None:
    """The only instance of a pool becomes the first of three with the same process."""
    daemon = running(made, a_spec("web"), a_spec("db"))
    first = pid(daemon, WEB)
    assert good(daemon.reload(a_spec("web", 3), a_spec("db"))).touched.started == 2
    daemon.settle()
    daemon.pass_s(1.0)
    assert pid(daemon, WEB) == first
    assert list(daemon.workers) == [WEB, ("web", 2), ("web", 3), DB]
    assert [daemon.supervisor._fleet.name(slot) for slot in daemon.workers][:2] == [
        "web-1", "web-2",
    ]  # fmt: skip
    assert good(daemon.reload(a_spec("web", 2), a_spec("db"))).touched.stopped == 1
    daemon.settle()
    assert [request["index"] for request in daemon.keeper.signalled] == [3]
    end(daemon, ("web", 3))
    assert list(daemon.workers) == [WEB, ("web", 2), DB]
    assert pid(daemon, WEB) == first


def test_what_people_stopped_stays_stopped(made: list[Daemon]) -> None:
    """Also where its program has changed, and where its pool grows."""
    daemon = running(made, a_spec("web"))
    daemon.supervisor._fleet.feed(WEB, events.StopRequested())
    daemon.settle()
    end(daemon, WEB)
    daemon.reload(a_spec("web", 2, launch=OTHER))
    daemon.settle()
    assert daemon.workers[WEB].state == Stopped(by_hand=True)
    assert daemon.workers["web", 2].state == Stopped()
    assert len(daemon.keeper.started) == 1


@pytest.mark.parametrize("launch", [OTHER, {}])
def test_a_changed_worker_gets_a_closed_breaker(made: list[Daemon], launch: Any) -> None:
    """Whatever failed before was another program."""
    daemon = running(made, a_spec("web", max_restarts=1), a_spec("db"))
    end(daemon, WEB, 1)
    assert isinstance(daemon.workers[WEB].state, Tripped)
    daemon.reload(a_spec("web", max_restarts=1), a_spec("db"))
    daemon.settle()
    assert isinstance(daemon.workers[WEB].state, Tripped), "unchanged: it waits for a reset"
    daemon.reload(a_spec("web", max_restarts=2, launch=launch), a_spec("db"))
    daemon.settle()
    assert daemon.workers[WEB].failures == ()
    assert isinstance(daemon.workers[WEB].state, Starting)
    assert daemon.keeper.spawned["web", 1, 2]["argv"] == [launch.get("argv", ("true",))[0]]


def test_a_limit_of_logs_that_are_no_files_closes_no_breaker(made: list[Daemon]) -> None:
    """The program is the one that failed."""
    daemon = running(made, a_spec("web", max_restarts=1))
    end(daemon, WEB, 1)
    done = good(daemon.reload(a_spec("web", max_restarts=1, launch={"log_backups": 9})))
    daemon.settle()
    assert not done.plan.is_empty
    assert isinstance(daemon.workers[WEB].state, Tripped)


def test_finished_work_is_done_again_by_another_program_only(made: list[Daemon]) -> None:
    """A one-shot that ended well does not run again because its timeout has changed."""
    daemon = running(made, a_spec("web"))
    end(daemon, WEB)
    daemon.reload(a_spec("web", run_timeout_s=9.0))
    daemon.settle()
    assert isinstance(daemon.workers[WEB].state, Exited)
    daemon.reload(a_spec("web", run_timeout_s=9.0, launch=OTHER))
    daemon.settle()
    assert isinstance(daemon.workers[WEB].state, Starting)


def test_output_goes_elsewhere_without_a_new_process(made: list[Daemon]) -> None:
    """Path and limits of a log file are no part of the process."""
    log = {"stdout": LogTarget("file", "/log/a-%i"), "log_backups": 1}
    daemon = running(made, a_spec("web", 2, launch=log), a_spec("db", launch=log))
    done = good(
        daemon.reload(
            a_spec("web", 2, launch={**log, "stdout": LogTarget("file", "/log/b-%i")}),
            a_spec("db", launch=log),
        )
    )
    daemon.settle()
    assert done.plan.changed[0].effect == "reopen"
    asked = [(ask["index"], ask["stdout"]["stream"]["path"]) for ask in daemon.keeper.relogged]
    assert sorted(asked) == [(1, "/log/b-1"), (2, "/log/b-2")]
    assert daemon.keeper.signalled == []


def test_output_goes_elsewhere_also_while_the_process_is_set_up(made: list[Daemon]) -> None:
    """It would write to the old file for as long as it lives."""

    def logging_to(path: str) -> Spec:
        return a_spec("web", launch={"stdout": LogTarget("file", path)})

    daemon = Daemon(logging_to("/log/old"))
    made.append(daemon)
    assert daemon.workers[WEB].state == Starting(1, daemon.clock.s)
    daemon.reload(logging_to("/log/new"))
    daemon.settle()
    (asked,) = daemon.keeper.relogged
    assert (asked["run"], asked["stdout"]["stream"]["path"]) == (1, "/log/new")


def test_who_requires_others_starts_after_them(made: list[Daemon]) -> None:
    """New workers start in the order that the new file gives them."""
    daemon = running(made, a_spec("db"))
    daemon.reload(a_spec("web", requires=["cache"]), a_spec("cache", requires=["db"]), a_spec("db"))
    daemon.settle()
    assert [key[0] for key in daemon.keeper.started] == ["db", "cache"]
    daemon.pass_s(1.0)
    daemon.settle()
    assert [key[0] for key in daemon.keeper.started] == ["db", "cache", "web"]


def test_what_requires_others_goes_down_before_them(made: list[Daemon]) -> None:
    """Taken out together, they stop in the order of the file that knew them."""
    daemon = running(made, a_spec("web", requires=["db"]), a_spec("db"))
    while daemon.workers[WEB].state == Stopped() or not isinstance(
        daemon.workers[WEB].state, Running
    ):
        daemon.pass_s(1.0)
        daemon.settle()
    daemon.reload(a_spec("other"))
    daemon.settle()
    assert [request["pool"] for request in daemon.keeper.signalled] == ["web"]
    end(daemon, WEB)
    assert [request["pool"] for request in daemon.keeper.signalled] == ["web", "db"]


def test_a_dry_run_changes_nothing(made: list[Daemon]) -> None:
    """It says what the reload would say."""
    daemon = running(made, a_spec("web"))
    before = dict(daemon.keeper.table.saves)
    dry = good(daemon.reload(a_spec("web", launch=OTHER), a_spec("db"), is_dry=True))
    daemon.settle()
    assert daemon.keeper.table.saves == before
    assert "RELOADING=1" not in "\n".join(daemon.notified)
    wet = good(daemon.reload())
    assert (dry.plan, dry.touched) == (wet.plan, wet.touched)
    assert dry.is_dry
    assert not wet.is_dry
    assert (dry.generation, wet.generation) == (1, 2)


def test_a_refused_file_changes_nothing_and_is_remembered(made: list[Daemon]) -> None:
    """The next supervisor knows it too; a good file ends it."""
    daemon = running(made, a_spec("web"))
    before = dict(daemon.keeper.table.saves)
    problem = {"file": "x.toml", "line": 0, "message": "is no file"}  # about the whole of it
    daemon.file = Refused("x.toml: error: is no file\n1,501 errors.", (problem,), 1501)
    (answer,) = daemon.reload()
    assert isinstance(answer, Refusal)
    daemon.settle()
    shown = json.loads(daemon.keeper.table.saves.pop("refused"))
    told = [saves.pop("events") for saves in (daemon.keeper.table.saves, before)]
    assert told[0] != told[1], "the journal has it"
    assert daemon.keeper.table.saves == before
    daemon.keeper.table.saves["refused"] = json.dumps(shown)
    daemon.replace()
    refusal = daemon.supervisor._reloads.refusal
    assert refusal is not None
    assert (refusal.message, refusal.count) == ("x.toml: is no file", 1501)
    assert daemon.supervisor._reloads.in_force.generation == 1
    daemon.reload(a_spec("web"))
    daemon.settle()
    assert daemon.supervisor._reloads.refusal is None
    assert "refused" not in daemon.keeper.table.saves


def test_a_dry_run_of_a_bad_file_leaves_no_trace(made: list[Daemon]) -> None:
    """Whoever asked hears of it; what was refused before stays what is shown."""
    daemon = running(made, a_spec("web"))
    reloads = daemon.supervisor._reloads
    daemon.file = Refused("x.toml:1:1: error: no\n1 error.", ({"line": 1},))
    (answer,) = daemon.reload(is_dry=True)
    assert isinstance(answer, Refusal)
    assert reloads.refusal is None
    (real,) = daemon.reload()
    daemon.file = Refused("x.toml:2:1: error: no\n1 error.", ({"line": 2},))
    daemon.reload(is_dry=True)
    assert reloads.refusal is real


def test_systemd_hears_of_the_beginning_and_of_the_end(made: list[Daemon]) -> None:
    """Also of a refused one: what runs is as ready as it was."""
    daemon = running(made, a_spec("web"))
    for file in (daemon.file, Refused("no")):
        daemon.file = file
        if file is None:
            daemon.write(a_spec("web"))
        del daemon.notified[:]
        daemon.clock.s = 1234.5
        daemon.hang_up()
        daemon.turn()
        said = [word for word in daemon.notified if word]
        assert said[:2] == ["RELOADING=1", "MONOTONIC_USEC=1234500000"]
        assert "STATUS=reloading, 1 running" in said
        daemon.read_file()
        daemon.turn()
        assert "READY=1" in daemon.notified
        assert "STATUS=1 running" in daemon.notified


def test_a_storm_of_requests_costs_one_more(made: list[Daemon]) -> None:
    """Each is told of a file that was read after he had asked."""
    daemon = running(made, a_spec("web"))
    answers: list[Done | Refusal] = []
    reloads = daemon.supervisor._reloads
    daemon.write(a_spec("web"), a_spec("early"))
    reloads.ask(answers.append, is_dry=False)
    daemon.write(a_spec("web"), a_spec("early"), a_spec("late"))
    for _ in range(100):
        reloads.ask(answers.append, is_dry=False)
        daemon.hang_up()
    daemon.turn()
    daemon.read_file()
    daemon.settle()
    assert daemon.readings == 2
    added = [[spec.pool for spec in answer.plan.added] for answer in answers
             if isinstance(answer, Done)]  # fmt: skip
    assert added == [["early"]] + [["late"]] * 100
    assert reloads.in_force.generation == 3


def test_a_signal_is_not_lost_with_the_supervisor(made: list[Daemon]) -> None:
    """Nobody would send it again: the next one reads the file."""
    daemon = running(made, a_spec("web"))
    daemon.write(a_spec("web"), a_spec("db"))
    daemon.hang_up()
    daemon.turn()
    daemon.replace()
    daemon.read_file()
    daemon.settle()
    assert isinstance(daemon.workers[DB].state, Starting)
    assert "reload_wanted" not in daemon.keeper.table.saves
    daemon.replace()
    assert daemon.readings == 2


def test_a_file_that_kills_supervisors_is_left_alone(made: list[Daemon]) -> None:
    """Whatever the fault is: it does not end the daemon."""
    daemon = running(made, a_spec("web"))
    daemon.write(a_spec("web"))
    daemon.hang_up()
    daemon.turn()
    for _ in range(5):
        daemon.turn()
        daemon.replace()
    assert daemon.readings == 3
    assert daemon.supervisor._reloads._loading is None
    daemon.settle()
    assert "reload_wanted" not in daemon.keeper.table.saves


def test_keys_of_the_daemon_stay_as_they_are(made: list[Daemon]) -> None:
    """They are named; what the file says of them holds after a restart of the daemon."""
    daemon = running(made, a_spec("web"))
    daemon.write(a_spec("web"), settings=replace(SETTINGS, control_path="/x", log_dir="/log"))
    done = good(daemon.reload())
    daemon.settle()
    assert [key.key for key in done.plan.daemon] == ["supervisor.log_dir", "control.path"]
    daemon.replace()
    settings = daemon.supervisor._fleet.settings
    assert (settings.control_path, settings.log_dir) == (SETTINGS.control_path, "/log")


def test_who_waits_in_backoff_for_a_better_file_starts_with_it(made: list[Daemon]) -> None:
    """Nobody waits five minutes for what a new file has mended."""
    daemon = running(made, a_spec("web"))
    end(daemon, WEB, 1)
    assert isinstance(daemon.workers[WEB].state, Backoff)
    daemon.reload(a_spec("web", launch=OTHER))
    daemon.settle()
    assert isinstance(daemon.workers[WEB].state, Starting)


def test_a_pool_is_replaced_a_few_at_a_time(made: list[Daemon]) -> None:
    """The next one when the one before is ready; each ends by the ladder that it started with."""
    ladder = (Rung(2, 60.0),)
    daemon = running(made, a_spec("web", 3, stop_ladder=ladder))
    daemon.reload(a_spec("web", 3, launch=OTHER))
    daemon.settle()
    for index in (1, 2, 3):
        told = [(ask["index"], ask["signal"]) for ask in daemon.keeper.signalled]
        assert told == [(n, 2) for n in range(1, index + 1)]
        daemon.replace()
        end(daemon, ("web", index))
        assert len(daemon.keeper.signalled) == index, "not before the new one is ready"
        daemon.pass_s(1.0)
        daemon.settle()
    assert [daemon.keeper.spawned["web", n, 2]["argv"] for n in (1, 2, 3)] == [["other"]] * 3
    assert all(worker.policy.stop_ladder != ladder for worker in daemon.workers.values())


def test_a_pool_whose_first_new_instance_fails_is_left_alone(made: list[Daemon]) -> None:
    """A broken release costs one process, and the others go on by what they were started with."""
    daemon = running(made, a_spec("web", 3))
    before = [pid(daemon, ("web", n)) for n in (2, 3)]
    daemon.reload(a_spec("web", 3, launch=OTHER))
    daemon.settle()
    end(daemon, WEB)
    end(daemon, WEB, 1)
    for _ in range(5):
        daemon.pass_s(1.0)
        daemon.settle()
    assert [pid(daemon, ("web", n)) for n in (2, 3)] == before
    assert {ask["index"] for ask in daemon.keeper.signalled} == {1}


def test_the_only_instance_that_is_ready_is_replaced_last(made: list[Daemon]) -> None:
    """The others have just failed: until one of them is ready again it is not touched."""
    daemon = running(made, a_spec("web", 2))
    end(daemon, ("web", 2), 1)
    assert isinstance(daemon.workers["web", 2].state, Backoff)
    daemon.reload(a_spec("web", 2, launch=OTHER))
    daemon.settle()
    assert daemon.keeper.signalled == []
    daemon.pass_s(1.0)
    daemon.settle()
    assert isinstance(daemon.workers["web", 2].state, Running)
    assert [ask["index"] for ask in daemon.keeper.signalled] == [1]


def test_who_is_on_the_way_down_keeps_his_ladder(made: list[Daemon]) -> None:
    """A reload in the middle of a stop by hand shortens nobody's time."""
    daemon = running(made, a_spec("web", stop_ladder=(Rung(2, 60.0),)))
    daemon.supervisor._fleet.feed(WEB, events.StopRequested())
    daemon.settle()
    daemon.reload(a_spec("web", stop_ladder=(Rung(2, 1.0),)))
    daemon.settle()
    daemon.pass_s(30.0)
    daemon.settle()
    assert [ask["do"] for ask in daemon.keeper.signalled] == ["signal"]
    end(daemon, WEB)
    assert daemon.workers[WEB].state == Stopped(by_hand=True)
    assert daemon.workers[WEB].policy.stop_ladder == (Rung(2, 1.0),)


def test_a_roll_that_has_to_wait_is_not_lost_with_the_supervisor(made: list[Daemon]) -> None:
    """Who leaves the pool is away: the first of the others waits for that, also after a crash."""
    daemon = running(made, a_spec("web", 3))
    daemon.reload(a_spec("web", 2, launch=OTHER))
    daemon.settle()
    assert [ask["index"] for ask in daemon.keeper.signalled] == [3]
    daemon.replace()
    daemon.settle()
    end(daemon, ("web", 3))
    assert [ask["index"] for ask in daemon.keeper.signalled] == [3, 1]
