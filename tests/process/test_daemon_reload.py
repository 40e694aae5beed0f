"""Reload and scale with the real daemon: real files, real processes, real kills."""

import json
import os
import signal
import subprocess
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support import leftovers
from tests.support.daemon import Daemon
from tests.support.roles import has_role
from tests.support.slow import unanswering
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

SLEEP = 'command = ["/bin/sleep", "1000"]\nready = "spawned"\n'
TWO = f"[worker.web]\n{SLEEP}[worker.db]\n{SLEEP}"
#: A file that can be made to let its readers wait.
SLOW = 'environment_file = "@DIR@/slow"\n'


def pids(daemon: Daemon) -> dict[str, int]:
    return {name: worker["pid"] for name, worker in daemon.workers().items()}


def up(daemon: Daemon) -> dict[str, int]:
    """Wait until all workers run; return their pids."""
    for name in daemon.workers():
        daemon.wait_state(name, "running")
    return pids(daemon)


def words(text: str) -> str:
    """Return *text* in one line."""
    return " ".join(text.split())


def reading(daemon: Daemon) -> list[int]:
    """Return the processes that read the configuration now."""
    found = []
    for child in psutil.Process(daemon.keeper_pid).children(recursive=True):
        try:
            if has_role(child, "config"):
                found.append(child.pid)
        except psutil.Error:
            continue
    return found


def start_reload(daemon: Daemon) -> subprocess.Popen[str]:
    """Start a reload that waits for a slow disk; return it when the file is being read."""
    argv = [*daemon.argv, "reload", "--socket", str(daemon.control_path)]
    client = subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=daemon.environment
    )
    wait_until(lambda: reading(daemon), what="the file is being read")
    return client


def ended(client: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = client.communicate(timeout=20)
    return client.returncode, out, err


def effective(daemon: Daemon) -> dict[str, Any]:
    return tomllib.loads((daemon.folder / "state/effective.toml").read_text())


def is_used(log: Path) -> bool:
    return log.exists() and log.stat().st_size > 5000


def is_written(daemon: Daemon, key: str, value: object) -> Callable[[], bool]:
    return lambda: effective(daemon)["worker"]["web"].get(key) == value


def test_only_what_changed_is_touched() -> None:
    """A value that holds at once keeps the process, another program replaces it."""
    with Daemon(TWO) as daemon:
        before = up(daemon)
        daemon.write(f"[worker.web]\n{SLEEP}stop_timeout = '3s'\n[worker.db]\n{SLEEP}")
        dry = daemon.ctl("reload", "--dry-run", check=True).stdout
        assert "~ web live, 1 pid kept: stop_timeout 10s -> 3s" in dry
        assert "= 1 worker unchanged" in dry
        assert (
            dry.splitlines()[-1] == "Would start 0, restart 0, stop 0 and leave 2 processes alone."
        )
        assert daemon.ctl("reload", "--dry-run", "--exit-code").returncode == 1
        assert daemon.status()["supervisor"]["generation"] == 1
        assert "differs from what is in force" in words(daemon.ctl("status").stdout)

        told = json.loads(daemon.ctl("reload", "--json", check=True).stdout)
        assert (told["changed"], told["left_alone"], told["generation"]) == (True, 2, 2)
        assert pids(daemon) == before
        wait_until(is_written(daemon, "stop_timeout", "3s"), what="effective.toml is written")
        assert "differs" not in words(daemon.ctl("status").stdout)

        daemon.write(f"[worker.web]\n{SLEEP}nice = 1\n[worker.new]\n{SLEEP}")
        out = daemon.ctl("reload", check=True).stdout
        assert "+ new 1 new process" in out
        assert "- db  stop 1 process" in out
        assert out.splitlines()[-1] == (
            "Starting 1, restarting 1, stopping 1 and leaving 0 processes alone."
        )
        wait_until(lambda: set(daemon.workers()) == {"web", "new"}, what="db is forgotten")
        daemon.wait_state("new", "running")
        wait_until(lambda: pids(daemon)["web"] not in (None, before["web"]), what="web is new")
        assert os.getpriority(os.PRIO_PROCESS, pids(daemon)["web"]) == os.nice(0) + 1
        assert not leftovers.is_alive(before["db"])


def test_a_refused_file_changes_nothing_until_it_is_mended() -> None:
    """The verb fails and says where; status says so too, also after a crash."""
    with Daemon(TWO) as daemon:
        before = up(daemon)
        daemon.write(f"[worker.web]\n{SLEEP}stop_timeout = '10 minutes'\nnonsense = 1\n")
        refused = daemon.ctl("reload")
        assert refused.returncode == 1
        assert refused.stdout == ""
        assert refused.stderr.startswith(f"{daemon.config}:")
        assert "2 errors" in refused.stderr
        assert "stays in force; nothing was touched." in refused.stderr
        told = json.loads(daemon.ctl("reload", "--json").stdout)
        assert (told["ok"], len(told["errors"])) == (False, 2)
        daemon.kill_supervisor()
        assert pids(daemon) == before
        supervisor = daemon.status()["supervisor"]
        assert (supervisor["generation"], supervisor["config_errors"]["count"]) == (1, 2)
        assert "! the file on disk has 2 errors since" in words(daemon.ctl("status").stdout)
        daemon.write(TWO)
        assert "Nothing has changed." in daemon.ctl("reload", check=True).stdout
        assert daemon.status()["supervisor"]["config_errors"] is None
        assert pids(daemon) == before


def test_an_empty_file_stops_nobody() -> None:
    """It is what a file looks like that is just being written."""
    with Daemon(TWO) as daemon:
        before = up(daemon)
        good = daemon.config.read_text()
        daemon.config.write_text("")
        done = daemon.ctl("reload")
        assert done.returncode == 1
        assert "there is no worker in the file any more" in done.stderr
        assert pids(daemon) == before
        daemon.config.write_text(good)
        daemon.ctl("reload", check=True)
        assert pids(daemon) == before


def test_no_plan_shows_a_secret_of_the_daemon() -> None:
    """Nor the one that was in force before, also after a crash: only that it has changed."""
    text = (
        f"[worker.web]\n{SLEEP}autostart = false\n"
        'environment.PLACE = "db:${DB_PASSWORD}:${API_TOKEN}"\n'
    )
    keys = 'environment_file = "@DIR@/x.env"'
    made = Daemon(text, supervisor=keys, environment={"API_TOKEN": "t0psecret"})
    variables = made.folder / "x.env"
    variables.write_text("DB_PASSWORD=hunter2\n")
    with made as daemon:
        for killed, password in ((False, "correct-horse"), (True, "battery-staple")):
            if killed:
                daemon.kill_supervisor()
            variables.write_text(f"DB_PASSWORD={password}\n")
            for option in ("--dry-run", "--json"):
                told = daemon.ctl("reload", option, check=True)
                assert "environment.PLACE" in told.stdout
                for secret in ("hunter2", "t0psecret", "correct-horse", "battery-staple"):
                    assert secret not in told.stdout + told.stderr


def test_a_plan_that_is_too_large_to_be_read_is_answered() -> None:
    """Hundreds of workers with a large variable that changes."""
    names = [f"w{number}" for number in range(300)]
    workers = "".join(f"[worker.{name}]\n" for name in names)
    defaults = f'[defaults]\n{SLEEP}autostart = false\nenvironment.X = "{{}}"\n'
    with Daemon(defaults.format("a" * 60_000) + workers) as daemon:
        daemon.write(defaults.format("b" * 60_000) + workers)
        plan = daemon.ctl("reload", "--dry-run", check=True).stdout
        assert "(60,002 characters)" in words(plan)
        told = json.loads(daemon.ctl("reload", "--json", check=True).stdout)
        assert [entry["pool"] for entry in told["modified"]] == names


def test_a_hang_up_signal_reloads() -> None:
    """`kill -HUP` of the main process is the same, for people."""
    with Daemon(TWO) as daemon:
        before = up(daemon)
        daemon.write(TWO + f"[worker.more]\n{SLEEP}")
        os.kill(daemon.keeper_pid, signal.SIGHUP)
        daemon.wait_state("more", "running")
        assert {name: pids(daemon)[name] for name in before} == before
        assert "config.reloaded" in daemon.output()


def test_a_slow_disk_holds_up_nobody_and_a_killed_reader_changes_nothing() -> None:
    """The daemon answers while the file is read; a reader that dies is an error in words."""
    daemon = Daemon(TWO)
    slow = daemon.folder / "slow"
    slow.write_text("A=1\n")
    with daemon, unanswering(slow):
        before = up(daemon)
        daemon.write(f"[worker.web]\n{SLEEP}", supervisor=SLOW)
        client = start_reload(daemon)
        assert pids(daemon) == before, "it answers meanwhile"
        (reader,) = reading(daemon)
        os.kill(reader, signal.SIGKILL)
        status, _, err = ended(client)
        assert status == 1
        assert "the configuration could not be read: the process that reads it" in words(err)
        assert pids(daemon) == before
        assert daemon.status()["supervisor"]["generation"] == 1


def test_a_supervisor_that_dies_while_the_file_is_read_changes_nothing() -> None:
    """Who waits is told that the answer is lost; a signal's reload goes on by itself."""
    daemon = Daemon(TWO)
    slow = daemon.folder / "slow"
    slow.write_text("A=1\n")
    with daemon, unanswering(slow):
        before = up(daemon)
        daemon.write(f"[worker.web]\n{SLEEP}", supervisor=SLOW)
        client = start_reload(daemon)
        daemon.kill_supervisor()
        status, _, err = ended(client)
        assert status == 1
        assert "was replaced before it answered" in words(err)
        assert "reload again is harmless" in words(err)
        assert pids(daemon) == before
        for reader in reading(daemon):
            os.kill(reader, signal.SIGKILL)
        wait_until(lambda: not reading(daemon), what="nobody reads")

        os.kill(daemon.keeper_pid, signal.SIGHUP)
        wait_until(lambda: reading(daemon), what="the file is being read")
        (first,) = reading(daemon)
        daemon.kill_supervisor()
        daemon.write(TWO + f"[worker.more]\n{SLEEP}")
        wait_until(lambda: set(reading(daemon)) - {first}, what="it is read again")
        for reader in reading(daemon):
            os.kill(reader, signal.SIGKILL)
        wait_until(lambda: not reading(daemon), what="nobody reads")
        assert pids(daemon) == before


def test_storms_of_reloads_and_kills_end_in_the_last_file() -> None:
    """Whatever is asked and killed in between: in the end the file is in force, once."""
    with Daemon(TWO) as daemon:
        before = up(daemon)
        for number in range(10):
            daemon.write(f"{TWO}max_restarts = {number + 1}\n[worker.w{number}]\n{SLEEP}")
            os.kill(daemon.keeper_pid, signal.SIGHUP)
            if number % 3 == 2:
                os.kill(daemon.supervisor_pid, signal.SIGKILL)
        wait_until(
            lambda: daemon.ctl("reload", "--dry-run", "--exit-code").returncode == 0,
            what="the last file is in force",
            timeout_s=20,
        )
        wait_until(lambda: set(daemon.workers()) == {"web", "db", "w9"}, what="the others are gone")
        daemon.wait_state("w9", "running")
        assert {name: pids(daemon)[name] for name in before} == before


def test_a_reload_that_stops_half_way_is_seen_until_somebody_ends_it() -> None:
    """The first new instance fails: the others stay, are told of, and a restart heals it."""
    table = (
        "[worker.w]\npool_size = 3\nready = '200ms'\nbackoff.min = '50ms'\nbackoff.max = '50ms'\n"
        "command = ['/bin/sh', '-c', '[ $X = 2 ] && mkdir @DIR@/once 2>/dev/null && exit 3; "
        "exec sleep 1000']\n"
    )
    with Daemon(f"{table}environment.X = '1'\n") as daemon:
        before = up(daemon)
        daemon.write(f"{table}environment.X = '2'\n")
        daemon.ctl("reload", check=True)
        wait_until(lambda: daemon.events("roll.stopped"), what="the roll has stopped")
        daemon.wait_state("w-1", "running")
        daemon.kill_supervisor()

        outdated = [name for name, worker in daemon.workers().items() if worker["outdated"]]
        assert outdated == ["w-2", "w-3"]
        assert {name: pids(daemon)[name] for name in outdated} == {
            name: before[name] for name in outdated
        }
        checked = daemon.ctl("status", "--check")
        assert checked.returncode == 1
        assert "w-2 running has an earlier configuration: restart it" in words(checked.stdout)
        daemon.ctl("restart", "w", check=True)
        assert not any(worker["outdated"] for worker in daemon.workers().values())
        assert daemon.ctl("status", "--check").returncode == 0


def test_a_pool_is_scaled_by_hand_and_in_its_file() -> None:
    """It grows around who is there, survives reload and crash, and comments stay as they are."""
    text = (
        f"# shop\n[worker.web]   # two are too few\n{SLEEP}pool_size   =   1 # one\n"
        f"[worker.db]\n{SLEEP}"
    )
    with Daemon(text) as daemon:
        first = up(daemon)["web"]
        out = daemon.ctl("scale", "web=3", check=True).stdout
        assert out.startswith("web   1 -> 3   (file: 1;")
        daemon.wait_state("web-3", "running")
        assert pids(daemon)["web-1"] == first
        (line,) = (
            line for line in daemon.ctl("status").stdout.splitlines() if line.startswith("web ")
        )
        assert line.endswith("file: 1")
        daemon.kill_supervisor()
        daemon.ctl("reload", check=True)
        assert {"web-1", "web-2", "web-3"} < set(daemon.workers())

        daemon.config.chmod(0o604)
        before = daemon.config.read_text()
        assert daemon.ctl("scale", "web=2", "db=2", "--save", check=True).stdout == (
            "web   3 -> 2   (saved)\ndb   1 -> 2   (saved)\n"
        )
        assert daemon.config.read_text() == before.replace(
            "pool_size   =   1 # one", "pool_size   =   2 # one"
        ).replace("[worker.db]\n", "[worker.db]\npool_size = 2\n")
        assert daemon.config.stat().st_mode & 0o777 == 0o604
        daemon.wait_state("db-2", "running")
        shown = daemon.ctl("status", check=True).stdout
        assert "file:" not in shown
        assert "differs" not in shown
        assert "Nothing would change" in daemon.ctl("reload", "--dry-run", check=True).stdout
        daemon.ctl("scale", "db=3", check=True)
        daemon.wait_state("db-3", "running")
        daemon.ctl("reload", check=True)
        assert "db-3" in daemon.workers()
        daemon.ctl("scale", "db=2", check=True)
        daemon.ctl("reload", check=True)
        wait_until(
            lambda: set(daemon.workers()) == {"web-1", "web-2", "db-1", "db-2"}, what="sizes hold"
        )
        assert pids(daemon)["web-1"] == first
        assert daemon.ctl("scale", "wbe=2").returncode == 4
        told = daemon.ctl("scale", "web=0")
        assert told.returncode == 1
        assert told.stderr.startswith("supervisord-lite: scale web=0: a pool has at least 1")


def test_output_goes_to_another_file_while_the_worker_runs() -> None:
    """Every line is in one of the two files, once and in order; the process is the same."""
    script = "i=0; while :; do i=$((i+1)); echo line $i; "
    script += "[ -e @DIR@/stop ] && { echo $i > @DIR@/total; exec sleep 1000; }; done"
    worker = f"[worker.web]\nready = 'spawned'\ncommand = {json.dumps(['/bin/sh', '-c', script])}\n"
    with Daemon(worker) as daemon:
        before = up(daemon)
        for name in ("a", "b", "c"):
            daemon.write(f"{worker}log.stdout = '@DIR@/log/{name}.log'\nlog.max_size = 0\n")
            out = daemon.ctl("reload", check=True).stdout
            assert "~ web reopen, 1 pid kept: log.stdout" in out
            wait_until(partial(is_used, daemon.folder / f"log/{name}.log"), what="it is used")
            if name == "b":
                daemon.kill_scribe()
        (daemon.folder / "stop").touch()
        assert pids(daemon) == before
        wait_until(lambda: psutil.Process(before["web"]).name() == "sleep", what="it has said all")
        total = int((daemon.folder / "total").read_text())
        logs = [daemon.folder / f"log/{name}.log" for name in ("web", "a", "b", "c")]

        def lines() -> list[bytes]:
            return b"".join(log.read_bytes() for log in logs).splitlines(keepends=True)

        wait_until(lambda: len(lines()) >= total, what="all of it is written")
        assert lines() == [b"line %d\n" % n for n in range(1, total + 1)]
