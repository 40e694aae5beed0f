"""Jobs under the real daemon: it runs what is due, once, whatever is killed."""

import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.daemon import Daemon
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

#: Writes a line with the time of its start, and ends when a file is there.
HELD = (
    "command = ['sh', '-c', 'echo run >> @DIR@/runs; "
    "while [ ! -e @DIR@/go ]; do sleep 0.02; done; exit 0']\n"
)
QUICK = "command = ['sh', '-c', 'echo run >> @DIR@/runs']\n"
FAR = "schedule.cron = '0 0 29 2 *'\nschedule.timezone = 'UTC'\n"


def runs(daemon: Daemon) -> int:
    path = daemon.folder / "runs"
    return len(path.read_text().splitlines()) if path.exists() else 0


def until_runs(daemon: Daemon, most: int) -> None:
    wait_until(lambda: runs(daemon) >= most, what=f"{most} runs")


def events_of(daemon: Daemon, kind: str) -> list[dict[str, Any]]:
    return [event for event in daemon.events(kind) if event.get("name") == "job"]


def plans(daemon: Daemon) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((daemon.folder / "state/plans.json").read_text())
    except FileNotFoundError:
        return {}
    return found["plans"]  # type: ignore[no-any-return]


def test_every_second_it_runs_and_waits_in_between() -> None:
    """The first run comes at the start; `status`, `why` and the journal say what is going on."""
    with Daemon(f"[worker.job]\n{QUICK}schedule.every = '1s'\n") as daemon:
        wait_until(lambda: len(events_of(daemon, "worker.started")) >= 3, what="three runs")
        started = events_of(daemon, "worker.started")
        assert {event["by"] for event in started} == {"schedule"}
        times = [event["at"][-7:-1] for event in started[:3]]
        assert len(set(times)) == 3
        wait_until(lambda: daemon.workers()["job"]["state"] == "waiting", what="it waits")
        (worker,) = [w for w in daemon.status()["workers"] if w["name"] == "job"]
        assert worker["schedule"] == "every 1s"
        told = daemon.ctl("status", "--check")
        assert (told.returncode, told.stdout) == (0, "")


def test_a_job_that_fails_is_seen_and_comes_again() -> None:
    """No breaker opens, `status --check` fails, and `why` knows why and who decided."""
    text = "command = ['sh', '-c', 'echo oh no; exit 3']\nmax_restarts = 1\nschedule.every = '1h'\n"
    with Daemon(f"[worker.job]\n{text}") as daemon:
        wait_until(lambda: events_of(daemon, "job.failed"), what="it has failed")
        told = daemon.ctl("status", "--check")
        assert told.returncode == 1
        assert "last run failed: exit 3" in told.stdout
        (worker,) = daemon.status()["workers"]
        assert worker["state"] == "waiting"
        assert worker["breaker"] == "closed"
        assert 3500 < worker["next_start_in_s"] <= 3600
        assert worker["note"].endswith("last failed: exit 3")
        why = daemon.ctl("why", "job", check=True).stdout
        assert "job is WAITING for its schedule: next " in why
        assert "by schedule" in why
        assert 'schedule.every "1h"' in why
        assert "supervisord-lite.toml:" in why
        assert "oh no" in why


def test_a_start_runs_it_now_and_waits_for_its_end() -> None:
    """With the end's outcome as its own; `wait --for exited` asks the same."""
    with Daemon(f"[worker.job]\ncommand = ['sh', '-c', 'sleep 0.1; exit 4']\n{FAR}") as daemon:
        assert daemon.workers()["job"]["state"] == "waiting"
        told = daemon.ctl("start", "job")
        assert told.returncode == 1
        assert "exit 4" in told.stdout + told.stderr
        assert daemon.ctl("wait", "job", "--for", "exited").returncode == 1
        assert daemon.ctl("wait", "all", "--for", "ready").returncode == 0
        assert daemon.workers()["job"]["state"] == "waiting"


def test_a_stop_pauses_it_and_a_start_goes_on() -> None:
    """As `autostart = false` does from the beginning."""
    text = f"[worker.job]\n{QUICK}schedule.every = '1s'\nautostart = false\n"
    text += "[worker.other]\ncommand = ['true']\nschedule.every = '1s'\n"
    with Daemon(text) as daemon:
        assert daemon.workers()["job"]["state"] == "stopped"
        assert runs(daemon) == 0
        daemon.ctl("start", "job", check=True)
        until_runs(daemon, 3)
        daemon.ctl("stop", "job", check=True)
        number = runs(daemon)
        others = daemon.workers()["other"]["run"]
        wait_until(
            lambda: daemon.workers()["other"]["run"] >= others + 3,
            what="two planned times have passed",
        )
        assert runs(daemon) == number
        assert daemon.workers()["job"]["state"] == "stopped"
        daemon.ctl("start", "job", check=True)
        until_runs(daemon, number + 2)


def test_a_run_that_is_due_while_one_is_going_is_left_out() -> None:
    """Overlap "skip": never two at a time."""
    with Daemon(f"[worker.job]\n{HELD}schedule.every = '1s'\n") as daemon:
        wait_until(lambda: len(events_of(daemon, "job.skipped")) >= 2, what="two are left out")
        assert runs(daemon) == 1
        (daemon.folder / "go").touch()
        until_runs(daemon, 2)


def test_a_run_that_waits_begins_when_the_one_before_has_ended() -> None:
    """Overlap "wait": at once, and over a killed supervisor."""
    text = f"[worker.job]\n{HELD}schedule.every = '3s'\nschedule.overlap = 'wait'\n"
    with Daemon(text) as daemon:
        until_runs(daemon, 1)
        wait_until(lambda: events_of(daemon, "job.skipped"), what="one waits, one is left out")
        daemon.kill_supervisor()
        assert runs(daemon) == 1
        (daemon.folder / "go").touch()
        begun = time.monotonic()
        until_runs(daemon, 2)
        assert time.monotonic() - begun < 2.0


def test_killed_supervisors_double_no_run_and_lose_none() -> None:
    """One after the other, while a run is due each second."""
    with Daemon(f"[worker.job]\n{QUICK}schedule.every = '1s'\n") as daemon:
        begun = time.monotonic()
        for _ in range(4):
            daemon.kill_supervisor()
        until_runs(daemon, 4)
        took_s = time.monotonic() - begun
        assert runs(daemon) <= took_s + 3
        numbers = [event["run"] for event in events_of(daemon, "worker.started")]
        assert numbers == list(range(1, len(numbers) + 1))


def missed_twice(daemon: Daemon, how: Callable[[Daemon], None]) -> None:
    """End the daemon, let its last planned time be years ago, and start it again."""
    wait_until(lambda: plans(daemon), what="the plan is written")
    how(daemon)
    (plan,) = plans(daemon).values()
    plan["settled_s"] -= 10 * 366 * 86_400
    text = json.dumps({"v": 1, "plans": {"job/1": plan}})
    (daemon.folder / "state/plans.json").write_text(text)
    daemon.start()


def kill_all(daemon: Daemon) -> None:
    os.kill(daemon.keeper_pid, signal.SIGKILL)
    assert daemon.process is not None
    daemon.process.wait(10)
    wait_until(lambda: not daemon.marked_pids(), what="nothing of it is alive")


def stop(daemon: Daemon) -> None:
    assert daemon.stop() == 0


@pytest.mark.parametrize("how", [kill_all, stop])
def test_what_was_missed_while_nothing_ran_is_made_up_for_once(
    how: Callable[[Daemon], None],
) -> None:
    """After SIGKILL of everything, and after a stop of the service; and then not again."""
    text = f"[worker.job]\n{QUICK}{FAR}schedule.missed = 'once'\n"
    with Daemon(text) as daemon:
        missed_twice(daemon, how)
        until_runs(daemon, 1)
        wait_until(lambda: events_of(daemon, "job.missed"), what="that is in the journal")
        (event,) = events_of(daemon, "job.missed")
        assert event["next"] == "start"
        daemon.wait_state("job", "waiting")
        wait_until(
            lambda: next(iter(plans(daemon).values()))["settled_s"] > 1.7e9,
            what="that is written too",
        )
        how(daemon)
        daemon.start()
        daemon.wait_state("job", "waiting")
        assert runs(daemon) == 1


def test_without_that_wish_nothing_is_remembered() -> None:
    """Missed "skip" is the default: no file, and no run."""
    with Daemon(f"[worker.job]\n{QUICK}{FAR}") as daemon:
        daemon.wait_state("job", "waiting")
        kill_all(daemon)
        daemon.start()
        daemon.wait_state("job", "waiting")
        assert plans(daemon) == {}
        assert runs(daemon) == 0


def test_a_damaged_file_of_plans_stops_nobody() -> None:
    """It is told, and what runs begins anew."""
    text = f"[worker.job]\n{QUICK}{FAR}schedule.missed = 'once'\n"
    with Daemon(text) as daemon:
        wait_until(lambda: plans(daemon), what="the plan is written")
        stop(daemon)
        (daemon.folder / "state/plans.json").write_text('{"v": 1, "plans": [')
        daemon.start()
        assert "plans of the last service are not used" in daemon.output()
        wait_until(lambda: _is_whole(daemon), what="it is written anew")


def _is_whole(daemon: Daemon) -> bool:
    try:
        return bool(plans(daemon))
    except ValueError:
        return False


def test_a_reload_changes_the_schedule_and_leaves_the_run_alone() -> None:
    """The run that is going keeps its process; the next one is the new program's."""
    with Daemon(f"[worker.job]\n{HELD}schedule.every = '1h'\n") as daemon:
        until_runs(daemon, 1)
        pid = daemon.wait_state("job", "running")["pid"]
        other = QUICK.replace("echo run", "echo other")
        daemon.write(f"[worker.job]\n{other}schedule.every = '2s'\n")
        told = daemon.ctl("reload", check=True).stdout
        assert "schedule.every" in told
        assert daemon.workers()["job"]["pid"] == pid
        (daemon.folder / "go").touch()
        until_runs(daemon, 2)
        assert (daemon.folder / "runs").read_text().split() == ["run", "other"]


def test_a_job_waits_for_what_it_requires() -> None:
    """At each run; what is due meanwhile is left out."""
    text = (
        "[worker.migrate]\nready = 'exit'\n"
        "command = ['sh', '-c', 'while [ ! -e @DIR@/up ]; do sleep 0.02; done']\n"
        f"[worker.job]\n{QUICK}schedule.every = '1s'\nrequires = ['migrate']\n"
    )
    with Daemon(text) as daemon:
        wait_until(lambda: events_of(daemon, "job.skipped"), what="a run is left out meanwhile")
        assert "requires migrate" in events_of(daemon, "job.skipped")[0]["reason"]
        assert runs(daemon) == 0
        (daemon.folder / "up").touch()
        until_runs(daemon, 2)


def test_a_job_holds_up_nobody() -> None:
    """The daemon is ready while its first run is going, and not ready yet."""
    with Daemon(f"[worker.job]\n{HELD}ready = '50s'\nschedule.every = '1h'\n") as daemon:
        until_runs(daemon, 1)
        assert daemon.wait_state("job", "starting")
        wait_until(lambda: daemon.events("daemon.ready"), what="the daemon is ready")
        (daemon.folder / "go").touch()
        daemon.wait_state("job", "waiting")
