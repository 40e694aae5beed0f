"""`requires`, `after`, one-shots, run_timeout and critical workers: real daemon, real processes."""

import json
import os
import signal
import subprocess

import pytest

from tests.support import leftovers
from tests.support.daemon import Daemon
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

SLEEP = 'command = ["/bin/sleep", "1000"]\nready = "spawned"\n'
QUICK = "backoff.min = '50ms'\nbackoff.max = '200ms'\nbackoff.jitter = false\n"


def sh(script: str) -> str:
    """Return a command line for TOML that runs *script*."""
    return f"command = {json.dumps(['/bin/sh', '-c', script])}\n"


def noting(name: str, *, ready: str = "200ms") -> str:
    """Return a worker that notes in @DIR@/order when it starts and when it is told to stop."""
    script = (
        f"echo start {name} >> @DIR@/order; "
        f"trap 'echo stop {name} >> @DIR@/order; exit 0' TERM; "
        "while :; do sleep 1000 & wait $!; done"
    )
    return f"[worker.{name}]\n{sh(script)}ready = {json.dumps(ready)}\n"


def order(daemon: Daemon) -> list[str]:
    """Return what the workers noted, in order."""
    path = daemon.folder / "order"
    return path.read_text().splitlines() if path.exists() else []


SHOP = (
    f'{noting("web")}requires = ["migrate"]\n'
    f"[worker.migrate]\n{sh('echo start migrate >> @DIR@/order; exit 0')}"
    f'ready = "exit"\nrequires = ["db"]\n{noting("db")}'
)


def test_a_fleet_comes_up_in_order_and_goes_down_in_the_other() -> None:
    """What is required is ready first, a one-shot has ended, and the database stops last."""
    with Daemon(SHOP) as daemon:
        daemon.wait_state("web", "running")
        workers = daemon.workers()
        assert (workers["migrate"]["state"], workers["migrate"]["ready"]) == ("exited", True)
        daemon.stop()
        assert order(daemon) == ["start db", "start migrate", "start web", "stop web", "stop db"]


def test_a_waiting_worker_says_for_what_and_survives_the_supervisor() -> None:
    """A kill of the supervisor in the middle of a boot changes nothing about the order."""
    slow = f"[worker.db]\n{sh('while [ ! -e @DIR@/go ]; do sleep 0.05; done; sleep 1000')}"
    text = f'[worker.web]\n{SLEEP}requires = ["migrate"]\n[worker.migrate]\n'
    text += f'{sh("while [ ! -e @DIR@/go ]; do sleep 0.05; done")}ready = "exit"\n'
    text += f'requires = ["db"]\n{slow}ready = "spawned"\n'
    with Daemon(text) as daemon:
        daemon.wait_state("migrate", "starting")
        web = daemon.wait_state("web", "waiting")
        assert (web["note"], web["pid"], web["run"]) == ("requires migrate", None, 0)

        daemon.kill_supervisor()
        assert daemon.workers()["web"]["state"] == "waiting"
        (daemon.folder / "go").touch()

        daemon.wait_state("web", "running")
        assert daemon.workers()["migrate"]["run"] == 1


def test_start_brings_what_it_requires_and_says_so() -> None:
    """`start web` starts the database and the migration first, in one command."""
    with Daemon(SHOP.replace("ready =", "autostart = false\nready =")) as daemon:
        assert order(daemon) == []

        done = daemon.ctl("start", "web", check=True)

        assert order(daemon) == ["start db", "start migrate", "start web"]
        lines = done.stdout.splitlines()
        assert [line.split()[0] for line in lines] == ["db", "migrate", "web"]
        assert "(web requires it)" in lines[0]
        assert "exit 0" in lines[1]


def test_start_of_one_behind_a_tripped_one_fails_with_the_chain() -> None:
    """It is told who must move, and waits; a reset of that one brings both up."""
    text = f'[worker.web]\n{SLEEP}requires = ["db"]\n[worker.db]\n{QUICK}max_restarts = 2\n'
    text += f'{sh("[ -e @DIR@/go ] && exec sleep 1000; exit 7")}ready = "300ms"\n'
    with Daemon(text) as daemon:
        daemon.wait_state("db", "tripped")

        done = daemon.ctl("start", "web")

        assert done.returncode == 1
        assert "waiting: requires db, which is tripped" in done.stderr
        web = daemon.workers()["web"]
        assert (web["state"], web["note"]) == ("waiting", "requires db, which is tripped")
        (daemon.folder / "go").touch()
        daemon.ctl("reset", "db", check=True)
        daemon.wait_state("web", "running")


def test_start_without_dependencies_starts_that_one_and_waits_for_nobody() -> None:
    """`--no-deps`: a person knows better."""
    text = f'{noting("web")}requires = ["db"]\n{noting("db")}'
    with Daemon(text.replace("ready =", "autostart = false\nready =")) as daemon:
        daemon.ctl("start", "--no-deps", "web", check=True)
        assert order(daemon) == ["start web"]
        assert daemon.workers()["db"]["state"] == "stopped"


def test_the_death_of_a_required_worker_touches_nobody() -> None:
    """Its dependants keep their pids; whoever crashes with it comes back after it."""
    text = f'{noting("web", ready="spawned")}requires = ["db"]\n{QUICK}'
    text += f'{noting("db", ready="500ms")}backoff.min = "300ms"\n'
    text += f'[worker.api]\n{SLEEP}requires = ["db"]\n'
    with Daemon(text) as daemon:
        web = daemon.wait_state("web", "running")
        api = daemon.wait_state("api", "running")
        db = daemon.wait_state("db", "running")

        os.kill(db["pid"], signal.SIGKILL)
        os.kill(web["pid"], signal.SIGKILL)
        waiting = daemon.wait_state("web", "waiting")
        assert waiting["note"] == "requires db"
        after = daemon.wait_state("web", "running")

        assert after["restarts"] == 1
        assert daemon.workers()["api"]["pid"] == api["pid"]
        wait_until(lambda: len(order(daemon)) == 4, what="it has noted its start")
        assert order(daemon) == ["start db", "start web", "start db", "start web"]


def test_after_waits_for_one_that_gives_up_and_no_longer() -> None:
    """A log shipper that cannot start holds nobody down for ever."""
    text = f'[worker.web]\n{SLEEP}after = ["ship"]\n[worker.ship]\n{QUICK}max_restarts = 3\n'
    text += sh("echo start ship >> @DIR@/order; exit 1")
    with Daemon(text) as daemon:
        daemon.wait_state("web", "running")
        assert daemon.workers()["ship"]["state"] == "tripped"
        assert order(daemon) == ["start ship"] * 3


def test_a_restart_of_all_goes_down_in_one_order_and_up_in_the_other() -> None:
    """The new web server never meets the old database."""
    with Daemon(f'{noting("web")}requires = ["db"]\n{noting("db")}') as daemon:
        daemon.wait_state("web", "running")
        (daemon.folder / "order").unlink()

        daemon.ctl("restart", "all", check=True)

        assert order(daemon) == ["stop web", "stop db", "start db", "start web"]


def test_a_run_that_lasts_too_long_is_ended_and_counts() -> None:
    """With its whole tree, by the stop ladder, and as a failure."""
    text = f'[worker.job]\n{sh("sleep 1000 & wait")}ready = "exit"\nrun_timeout = "300ms"\n'
    with Daemon(f"{text}{QUICK}max_restarts = 2\n") as daemon:
        job = daemon.wait_state("job", "tripped")

        assert job["failures_in_window"] == 2
        assert job["last_exit"]["reason"] == "still running after 0.3s"


@pytest.mark.parametrize("critical", ["true", '"all"'])
def test_a_critical_worker_that_trips_ends_the_service_with_75(critical: str) -> None:
    """The others are stopped in order first, and the last line of the log says why."""
    text = f'{noting("web")}requires = ["db"]\n{noting("db")}'
    text += f"[worker.core]\n{sh('[ -e @DIR@/bad ] && exit 9; exec sleep 1000')}{QUICK}"
    text += f'ready = "100ms"\nmax_restarts = 3\ncritical = {critical}\n'
    with Daemon(text) as daemon:
        daemon.exit_status = 75
        daemon.wait_state("web", "running")
        core = daemon.wait_state("core", "running")
        assert core["critical"] is True
        (daemon.folder / "bad").touch()
        os.kill(core["pid"], signal.SIGKILL)

        assert daemon.process is not None
        assert daemon.process.wait(20) == 75

        assert order(daemon)[2:] == ["stop web", "stop db"]
        assert "daemon.escalated" in daemon.output()
        assert "critical worker core tripped: exit 9 (failure 3 of 3)" in daemon.output()


def test_an_escalation_survives_a_kill_of_the_supervisor() -> None:
    """Killed in the middle of the ordered stop, the next one ends it with the same status."""
    hold = "trap '' TERM; while [ ! -e @DIR@/go ]; do sleep 0.05; done"
    text = f'[worker.web]\n{sh(hold)}ready = "spawned"\nstop_timeout = "60s"\n[worker.core]\n'
    text += f'{sh("while [ ! -e @DIR@/bad ]; do sleep 0.05; done; exit 9")}ready = "spawned"\n'
    with Daemon(f"{text}max_restarts = 1\ncritical = true\n") as daemon:
        daemon.exit_status = 75
        web = daemon.wait_state("web", "running")
        (daemon.folder / "bad").touch()
        daemon.wait_state("web", "stopping")

        daemon.kill_supervisor()
        assert leftovers.is_alive(web["pid"])
        (daemon.folder / "go").touch()

        assert daemon.process is not None
        wait_until(lambda: daemon.process and daemon.process.poll() is not None, what="the end")
        assert daemon.process.returncode == 75


@pytest.mark.slow
def test_kills_of_the_supervisor_in_the_middle_of_restarts_break_no_order() -> None:
    """However often it dies, web never lives without the database that it was started on."""
    with Daemon(f'{noting("web")}requires = ["db"]\n{noting("db")}') as daemon:
        daemon.wait_state("web", "running")
        argv = [*daemon.argv, "restart", "--socket", str(daemon.control_path), "all"]
        for _ in range(8):
            with subprocess.Popen(
                argv, env=daemon.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ) as order_given:
                daemon.kill_supervisor()
                order_given.wait(30)
        daemon.wait_state("db", "running")
        daemon.wait_state("web", "running")
        up: set[str] = set()
        for line in order(daemon):
            word, _, name = line.partition(" ")
            if name == "web":
                assert "db" in up, order(daemon)
            elif word == "stop":
                assert "web" not in up, order(daemon)
            (up.add if word == "start" else up.discard)(name)
        assert up == {"web", "db"}
