"""The event journal of the real daemon: through the deaths of supervisor, scribe and keeper."""

import json
import os
import re
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support import leftovers
from tests.support.daemon import Daemon
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

LIVES = 'command = ["sleep", "1000"]\nready = "20ms"\n'
FAST = 'backoff.min = "20ms"\nbackoff.max = "20ms"\n'


def worker(name: str, script: str, **keys: str) -> str:
    more = "".join(f"{key.replace('_DOT_', '.')} = {value}\n" for key, value in keys.items())
    return f"[worker.{name}]\ncommand = {json.dumps(['/bin/sh', '-c', script])}\n{more}"


def journal(daemon: Daemon) -> list[dict[str, Any]]:
    """Return all events that stand in the files, the oldest first."""
    base = daemon.folder / "state/events.jsonl"
    full = sorted(base.parent.glob("events.jsonl.*"), key=lambda p: int(p.suffix[1:]))
    lines = [line for path in [*full, base] for line in path.read_text().splitlines()]
    return [json.loads(line) for line in lines]


def numbers(events: list[dict[str, Any]]) -> list[int]:
    return [int(event["id"].rpartition("-")[2]) for event in events]


def why(daemon: Daemon, name: str) -> str:
    """Return the story without what differs each time: times, pids, the way to this daemon."""
    done = daemon.ctl("why", name, check=True)
    assert done.stderr == ""
    text = done.stdout.replace(f" --socket {daemon.control_path}", "")
    assert all(len(line) <= 80 or "/" in line for line in done.stdout.splitlines()), text
    text = re.sub(r"\d\d:\d\d:\d\d", "TIME", text)
    text = re.sub(r"\bpid \d+", "pid PID", text)
    text = re.sub(r"\((\d[\dms.h]*)(, pid PID)?\)", r"(AGO\2)", text)
    return re.sub(r"after \d[\d.]*m?s", "after SOME", text)


def ME() -> str:  # noqa: N802  # as it stands in a story
    import pwd

    return f"{pwd.getpwuid(os.getuid()).pw_name} (uid {os.getuid()})"


def test_each_event_is_there_once_whoever_is_killed() -> None:
    """Workers come and go while supervisor and scribe are killed: no id is missing or doubled."""
    workers = "".join(
        worker(f"w{n}", "exit 1", max_restarts="1000", circuit_window='"1h"') + FAST
        for n in range(4)
    )
    with Daemon(workers) as daemon:
        for _ in range(4):
            daemon.kill_supervisor()
            daemon.kill_scribe()
        last = len(daemon.ctl("events", "--json", "-n", "10000", check=True).stdout.splitlines())
        assert last > 20
        assert daemon.stop() == 0
        events = journal(daemon)
        assert numbers(events) == list(range(1, len(events) + 1))
        assert len({event["id"] for event in events}) == len(events)
        for n in range(4):
            own = [event for event in events if event.get("pool") == f"w{n}"]
            started = [e["run"] for e in own if e["event"] == "worker.started"]
            ended = [e["run"] for e in own if "ran_s" in e and e["event"] != "worker.cleared"]
            assert started == list(range(1, len(started) + 1))
            assert ended == started
        assert [event["event"] for event in events[-1:]] == ["daemon.stopped"]
        assert len([e for e in events if e["event"] == "supervisor.adopted"]) == 4


def test_the_file_is_for_its_owner_and_the_next_daemon_goes_on_in_it() -> None:
    """Mode 0600; each life of the daemon counts for itself."""
    with Daemon(f"[worker.web]\n{LIVES}") as daemon:
        daemon.wait_state("web", "running")
        assert daemon.stop() == 0
        mode = (daemon.folder / "state/events.jsonl").stat().st_mode
        assert stat.S_IMODE(mode) == 0o600
        first = journal(daemon)
        daemon.start()
        daemon.wait_state("web", "running")
        text = daemon.ctl("events", check=True).stdout
        assert text.count("daemon.started") == 2
        assert "missing" not in text
        both = journal(daemon)
        assert both[: len(first)] == first
        assert len({event["id"].partition("-")[0] for event in both}) == 2


@contextmanager
def following(daemon: Daemon, *what: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Run `events -f`; yield it and where its output stands."""
    path = daemon.folder / "followed"
    argv = [*daemon.argv, "events", "--socket", str(daemon.control_path), "-f", "--json", *what]
    with path.open("w") as output:
        running = subprocess.Popen(
            argv, stdout=output, stderr=subprocess.STDOUT, text=True, env=daemon.environment
        )
    try:
        yield running, path
    finally:
        running.kill()
        running.wait()


def events_in(path: Path) -> list[dict[str, Any]]:
    lines = [line for line in path.read_text().splitlines() if line.startswith("{")]
    return [json.loads(line) for line in lines]


def _has(path: Path, count: int) -> bool:
    return len(events_in(path)) >= count


def test_who_follows_misses_nothing_when_the_supervisor_is_killed() -> None:
    """What was before, what happens meanwhile, what comes after; and the end of the daemon."""
    with (
        Daemon(worker("w", "exit 1", max_restarts="1000") + FAST) as daemon,
        following(daemon, "-n", "10000") as (running, path),
    ):
        wait_until(lambda: len(events_in(path)) > 10, what="it is told")
        for _ in range(3):
            enough = len(events_in(path)) + 10
            daemon.kill_supervisor()
            wait_until(partial(_has, path, enough), what="it goes on")
        assert daemon.stop() == 0
        assert running.wait(20) == 0
        assert "the daemon has ended" in path.read_text()
        told = events_in(path)
        assert numbers(told) == list(range(1, len(told) + 1))


def test_who_follows_one_worker_is_told_of_that_one() -> None:
    """Globs on both; a stop by hand carries who asked for it."""
    with Daemon(f"[worker.web]\n{LIVES}[worker.db]\n{LIVES}") as daemon:
        daemon.wait_state("db", "running")
        with following(daemon, "-n", "1", "worker.st*", "web") as (_, path):
            wait_until(lambda: events_in(path), what="it follows: it has told what was")
            daemon.ctl("restart", "all", check=True)
            daemon.ctl("stop", "web", check=True)
            wait_until(lambda: len(events_in(path)) >= 4, what="it is told")
            told = events_in(path)[1:]
        assert [(e["event"], e["name"], e["by_verb"]) for e in told] == [
            ("worker.stopped", "web", "restart"),
            ("worker.started", "web", "restart"),
            ("worker.stopped", "web", "stop"),
        ]
        assert {event["by_uid"] for event in told} == {os.getuid()}


def test_events_of_nobody_is_an_error() -> None:
    """A name that nothing has, and one to which nothing has happened, are told apart."""
    with Daemon(f"[worker.web]\n{LIVES}[worker.off]\n{LIVES}autostart = false\n") as daemon:
        assert daemon.ctl("events", "wbe").returncode == 4
        assert daemon.ctl("why", "wbe").returncode == 4
        done = daemon.ctl("events", "off")
        assert (done.returncode, done.stdout) == (0, "")


def test_an_exit_code_trips_and_the_story_outlives_supervisor_and_scribe() -> None:
    """All five parts, with the deciding line of the file; then the same after two deaths."""
    script = "echo Bad credentials; exit 3"
    with Daemon(worker("mailer", script, max_restarts="2") + FAST) as daemon:
        daemon.wait_state("mailer", "tripped")
        expected = """\
mailer is TRIPPED since TIME (AGO): 2 failures in 10m, limit 2.
It stays down until "reset mailer" or until its configuration changes.

TIME  started  pid PID, with the daemon
TIME  failed   exit 3 after SOME                            failure 1 of 2
TIME  started  pid PID, waited WAIT
TIME  failed   exit 3 after SOME                            failure 2 of 2
TIME  tripped  2 failures since TIME, inside 10m

last words of pid PID
  Bad credentials
decided by
  max_restarts 2                         supervisord-lite.toml:10
  circuit_window "10m"                   default
  restart "on-failure"                   default
try
  supervisord-lite logs mailer -n 50
  supervisord-lite reset mailer
"""
        for kill in (daemon.answers, daemon.kill_supervisor, daemon.kill_scribe):
            assert kill()
            text = re.sub(r"waited .*", "waited WAIT", why(daemon, "mailer"))
            text = re.sub(r" +failure (\d)", r"                            failure \1", text)
            text = text.replace(f"{daemon.folder}/", "")
            assert text == expected


def test_a_signal_by_a_person_and_one_by_nobody() -> None:
    """Who sent it stands there where it was sent through the daemon."""
    with Daemon(f"[worker.web]\n{LIVES}{FAST}") as daemon:
        pid = daemon.wait_state("web", "running")["pid"]
        os.kill(pid, signal.SIGSEGV)
        wait_until(lambda: daemon.workers()["web"]["run"] == 2, what="it is started again")
        daemon.wait_state("web", "running")
        text = why(daemon, "web")
        assert text.startswith("web is RUNNING since TIME (AGO, pid PID). Before that:\n")
        assert "failed   killed by SIGSEGV after SOME " in text

        daemon.ctl("signal", "KILL", "web", check=True)
        wait_until(lambda: daemon.workers()["web"]["run"] == 3, what="it is started again")
        text = why(daemon, "web")
        assert f"signal   SIGKILL sent by {ME()}" in text
        assert f"killed by SIGKILL after SOME, sent by {ME()}" in " ".join(text.split())


def test_a_set_up_stage_that_failed() -> None:
    """Its name and path, what to mend, and no last words of a program that never ran."""
    with Daemon('[worker.web]\ncommand = ["/nonexistent/web"]\n') as daemon:
        daemon.wait_state("web", "backoff")
        text = why(daemon, "web")
        assert "failed   could not be set up (exec): no such file: /nonexistent/web" in text
        assert "last words" not in text
        assert "mend it: no such file: /nonexistent/web" in text


def test_what_a_worker_waits_for() -> None:
    """The chain to the one that must move, and the command that says why that one does not."""
    workers = (
        worker("db", "exit 1", max_restarts="1")
        + f'[worker.app]\n{LIVES}requires = ["db"]\n[worker.web]\n{LIVES}requires = ["app"]\n'
    )
    with Daemon(workers) as daemon:
        daemon.wait_state("db", "tripped")
        text = why(daemon, "web")
        head, _, rest = text.partition("\n\n")
        assert head.startswith("web is WAITING since TIME (AGO): it requires app")
        assert head.endswith("\n  web -> app   waiting\n  app -> db   tripped: exit 1")
        assert 'requires ["app"]' in rest
        assert rest.endswith("try\n  supervisord-lite why db\n")


def test_what_a_person_stopped_is_told_with_the_person() -> None:
    """Also when the supervisor was killed while it stopped; and a start is, too."""
    script = "trap 'sleep 0.3; exit 0' TERM; while :; do sleep 0.05; done"
    with Daemon(worker("web", script)) as daemon:
        daemon.wait_state("web", "running")
        daemon.ctl("stop", "--no-wait", "web", check=True)
        daemon.kill_supervisor()
        daemon.wait_state("web", "stopped")
        daemon.kill_scribe()
        text = why(daemon, "web")
        assert text.startswith(f"web is STOPPED since TIME (AGO): {ME()}: stop web.\n")
        assert f"stopped  exit 0 after SOME, by {ME()}: stop web" in text
        assert text.endswith("try\n  supervisord-lite start web\n")
        daemon.ctl("start", "web", check=True)
        assert f"started  pid PID, by {ME()}: start web" in why(daemon, "web")


def test_an_open_breaker_is_explained_after_the_keeper_s_death() -> None:
    """Its failures were in another life of the daemon: the story begins there."""
    with Daemon(worker("bad", "exit 3", max_restarts="2") + FAST) as daemon:
        daemon.wait_state("bad", "tripped")
        carried = daemon.folder / "state/carry.json"
        wait_until(carried.exists, what="the state is written")
        assert daemon.process is not None
        os.kill(daemon.keeper_pid, signal.SIGKILL)
        daemon.process.wait(10)
        leftovers.kill(daemon.marked_pids())
        wait_until(lambda: not daemon.marked_pids(), what="nothing of the daemon lives")
        daemon.start()
        daemon.wait_state("bad", "tripped")
        text = why(daemon, "bad")
        assert "tripped  2 failures since TIME, inside 10m\nTIME  daemon   started" in text


def test_a_journal_that_cannot_be_read_costs_the_story_alone() -> None:
    """A folder in its place, say: the rest is told, and what is missing."""
    with Daemon(f"[worker.web]\n{LIVES}") as daemon:
        daemon.wait_state("web", "running")
        path = daemon.folder / "state/events.jsonl"
        path.unlink()
        path.mkdir()
        done = daemon.ctl("why", "web")
        assert done.returncode == 0
        assert done.stdout.startswith("web is RUNNING since ")
        assert "the journal is not complete" in done.stderr
        assert daemon.ctl("events").returncode == 1
        path.rmdir()


def test_a_frozen_disk_delays_the_story_and_nothing_else(disk: Path) -> None:
    """Answered within its limit with what is known, and in full when the disk is back."""
    state = f'[worker.web]\n{LIVES}log.stdout = "{disk}/web.log"\n'
    loud = worker("loud", "while :; do echo x; sleep 0.05; done") + f'log.stdout = "{disk}/l.log"\n'
    with Daemon(state + loud) as daemon:
        daemon.wait_state("web", "running")
        wait_until((disk / "l.log").exists, what="it writes")
        subprocess.run(["fsfreeze", "--freeze", disk], check=True)
        wait_until(lambda: daemon.workers()["loud"]["output"]["trouble"], what="it is noticed")
        daemon.ctl("restart", "web", check=True)
        done = daemon.ctl("why", "web")
        assert done.returncode == 0
        assert done.stdout.startswith("web is RUNNING since ")
        assert "the disk has not taken the latest events yet" in " ".join(done.stderr.split())
        subprocess.run(["fsfreeze", "--unfreeze", disk], check=True)
        wait_until(lambda: not daemon.ctl("why", "web").stderr, what="the journal is complete")
        assert f"by {ME()}: restart web" in why(daemon, "web")
        events = journal(daemon)
        assert numbers(events) == list(range(1, len(events) + 1))


def test_a_reload_explains_a_restart() -> None:
    """And what it left alone has nothing to tell of it."""
    with Daemon(f"[worker.web]\n{LIVES}[worker.db]\n{LIVES}") as daemon:
        daemon.wait_state("db", "running")
        daemon.write(f"[worker.web]\n{LIVES}nice = 1\n[worker.db]\n{LIVES}")
        daemon.ctl("reload", check=True)
        wait_until(lambda: daemon.workers()["web"]["run"] == 2, what="it is restarted")
        daemon.wait_state("web", "running")
        text = why(daemon, "web")
        assert "reload   configuration 2 came into force\nTIME  stopped  ended by SIGTERM" in text
        assert "reload" not in why(daemon, "db")


@pytest.mark.root
@pytest.mark.skipif(os.getuid() != 0, reason="needs root: to ask as another user")
def test_the_right_to_read_is_enough() -> None:
    """Nobody else's file is opened by whoever asks."""
    nobody = 65534
    control = 'read = ["nobody"]\n'
    with Daemon(control + worker("bad", "echo oh dear; exit 3", max_restarts="1")) as daemon:
        daemon.wait_state("bad", "tripped")
        for verb in (["why", "bad"], ["events", "bad"]):
            code = (
                "import locale, os, shutil, sys; from supervisord_lite import cli; "
                "from supervisord_lite.cli import why, events; "
                "from supervisord_lite.control import client; "
                "from supervisord_lite.config import load, show; "
                f"os.setgroups([]); os.setgid({nobody}); os.setuid({nobody}); "
                "sys.exit(cli.main(sys.argv[1:]))"
            )
            done = subprocess.run(
                [daemon.argv[0], "-c", code, verb[0], "--socket", str(daemon.control_path),
                 *verb[1:]],
                env=daemon.environment, cwd="/", capture_output=True, text=True, timeout=60,
                check=False,
            )  # fmt: skip
            assert done.returncode == 0, done
            assert ("oh dear" if verb[0] == "why" else "worker.tripped") in done.stdout
