"""Runs that have had their share give way to fresh ones: real memory, real age, real work."""

import contextlib
import json
import os
import random  # noqa: TID251  # seeded, and the seed is printed
import re
import signal
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import CHECKOUT, Daemon
from tests.support.programs import PYTHON
from tests.support.python_targets import MODULE
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

STATUS = "io.supervisordlite.Manager.Status"
#: Grows beyond all limits in its first life, and never again.
HOG = """
import os, signal, sys
path = sys.argv[1]
if not os.path.exists(path):
    open(path, "w").close()
    grown = bytearray(os.urandom(1 << 20) * 60)
signal.pause()
"""
#: Tells of one more unit of work each 20 ms.
BUSY = """
import itertools, os, socket, time
own = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
own.connect(os.environ["NOTIFY_SOCKET"])
for done in itertools.count(1):
    own.send(b"X_RUNS=%d" % done)
    time.sleep(0.02)
"""
SLEEP = "command = ['/bin/sleep', '1000']\nready = 'spawned'\n"


def python(script: str, *arguments: str) -> str:
    """Return the command of a worker that runs *script*."""
    return f"command = {json.dumps([*PYTHON, script, *arguments])}\n"


def recycled(daemon: Daemon, *names: str) -> list[dict[str, Any]]:
    """Return the recycles that the journal tells of."""
    lines = daemon.ctl("events", "worker.recycled", *names, "--json", check=True).stdout
    return [json.loads(line) for line in lines.splitlines()]


def kill_supervisor(daemon: Daemon) -> None:
    """Kill it, and wait for the next one."""
    pid = daemon.call(STATUS, names=[])["supervisor"]["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_until(
        lambda: daemon.answers() and daemon.call(STATUS, names=[])["supervisor"]["pid"] != pid,
        what="another supervisor answers",
    )


def _check_away(told: list[dict[str, Any]], names: set[str], *, most: int) -> None:
    """Check that never more are away than allowed; a crash while so many are is one too many."""
    away: dict[str, float | None] = dict.fromkeys(names)
    checked = 0
    for event in told:
        name, at_s = str(event.get("name")), datetime.fromisoformat(event["at"]).timestamp()
        if event["event"] == "worker.ready":
            del away[name]
        elif event["event"] == "worker.failed":
            away[name] = at_s
        elif event["event"] == "worker.recycled":
            away[name] = None
            # Who had been told already when the crash came could not be held back any more.
            crashed = [each for each in away.values() if each is not None and at_s - each < 0.5]
            assert len(away) <= most + len(crashed), event
            checked += 1
    assert checked >= len(names) - 1
    assert not away


def test_a_worker_that_grows_gives_way_and_that_is_no_failure() -> None:
    """Ended by its own ladder, counted apart, with how much it was."""
    more = "ready = 'spawned'\nrecycle.memory = '40M'\n"
    with Daemon("[worker.a]\n" + python(HOG, "@DIR@/grown") + more) as daemon:
        wait_until(lambda: daemon.workers()["a"]["recycles"] == 1, what="it is recycled")
        wait_until(lambda: daemon.workers()["a"]["ready"], what="it is up again")
        found = daemon.workers()["a"]
        assert (found["restarts"], found["failures_in_window"]) == (0, 0)
        assert (found["run"], found["state"]) == (2, "running")
        (event,) = recycled(daemon)
        assert re.fullmatch(r"memory [6-9]\dM of 40M", event["reason"])
        assert event["signal"] == "SIGTERM"
        assert event["next"] == "restart"
        assert daemon.ctl("status").stdout.splitlines()[1].endswith("  1 recycled")
        assert "M of 40M recycle" in daemon.ctl("status", "a").stdout
        assert "recycles 1   failures 0 of 5" in daemon.ctl("status", "a").stdout
        assert re.search(r"recycle  memory \S+ of 40M, after", daemon.ctl("why", "a").stdout)


def test_a_pool_that_has_grown_is_recycled_a_few_at_a_time_crashes_included() -> None:
    """`max_unavailable` bounds both together, whoever is killed meanwhile (seeded)."""
    seed = int(os.environ.get("SDL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    sys.stderr.write(f"SDL_SEED={seed}\n")
    rng = random.Random(seed)
    more = "pool_size = 6\nmax_unavailable = 2\nready = '300ms'\nrecycle.memory = '40M'\n"
    more += "backoff.min = '1s'\nstable_run_period = '1s'\n"
    with Daemon("[worker.a]\n" + python(HOG, "@DIR@/%i") + more) as daemon:
        names = [f"a-{number}" for number in range(1, 7)]
        wait_until(lambda: recycled(daemon), what="the first one is recycled")
        kill_supervisor(daemon)
        victim = rng.choice(names)
        pid = daemon.workers()[victim]["pid"]
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):  # it was its turn, just now
                os.kill(pid, signal.SIGKILL)
        wait_until(
            lambda: {event["name"] for event in recycled(daemon)} >= set(names) - {victim},
            what="all are recycled",
            timeout_s=40,
        )
        wait_until(
            lambda: all(worker["ready"] for worker in daemon.workers().values()), what="all are up"
        )
        told = [json.loads(line) for line in daemon.ctl("events", "--json").stdout.splitlines()]
        _check_away(told, set(names), most=2)
        assert sum(worker["restarts"] for worker in daemon.workers().values()) <= 1
        assert all(worker["recycles"] <= 1 for worker in daemon.workers().values())


def test_age_counts_from_the_spawn_whoever_dies_meanwhile() -> None:
    """A supervisor that is killed half-way does not give anybody another whole life."""
    with Daemon(f"[worker.a]\n{SLEEP}recycle.age = '6s'\n") as daemon:
        daemon.wait_state("a", "running")
        first = daemon.workers()["a"]["pid"]
        in_s = daemon.status()["workers"][0]["recycle"]["age_in_s"]
        assert 0 < in_s <= 6
        wait_until(
            lambda: daemon.status()["workers"][0]["recycle"]["age_in_s"] < 4.8, what="time passes"
        )
        kill_supervisor(daemon)
        assert daemon.workers()["a"]["pid"] == first
        wait_until(lambda: recycled(daemon), what="it is recycled")
        event = recycled(daemon)[0]
        assert (event["pid"], event["reason"]) == (first, "age 6s")
        assert 6.0 <= event["ran_s"] < 9.0
        why = daemon.ctl("why", "a", check=True).stdout
        assert 'recycle.age "6s"' in why
        assert "supervisord-lite.toml:" in why


def test_a_new_age_holds_for_processes_that_run() -> None:
    """A reload restarts nobody for it, and who is older is due at once."""
    with Daemon(f"[worker.a]\n{SLEEP}[worker.b]\n{SLEEP}") as daemon:
        daemon.wait_state("a", "running")
        pid = daemon.workers()["a"]["pid"]
        daemon.config.write_text(
            daemon.config.read_text().replace("[worker.b]", "recycle.age = '1h'\n[worker.b]")
        )
        assert "recycle.age unset -> 1h" in daemon.ctl("reload", check=True).stdout
        assert daemon.workers()["a"]["pid"] == pid
        assert "a fresh run in " in daemon.ctl("status", "a").stdout
        daemon.config.write_text(daemon.config.read_text().replace("'1h'", "'100ms'"))
        daemon.ctl("reload", check=True)
        wait_until(lambda: daemon.workers()["a"]["recycles"] > 0, what="it is recycled")


def test_a_worker_that_has_done_its_work_gives_way() -> None:
    """It counts itself; what it has told survives the supervisor."""
    with Daemon("[worker.a]\n" + python(BUSY) + "ready = 'spawned'\nrecycle.runs = 60\n") as daemon:
        daemon.wait_state("a", "running")
        pid = daemon.workers()["a"]["pid"]
        kill_supervisor(daemon)
        assert daemon.workers()["a"]["pid"] == pid
        wait_until(lambda: recycled(daemon), what="it is recycled")
        event = recycled(daemon)[0]
        assert event["pid"] == pid
        assert re.fullmatch(r"runs 6\d of 60", event["reason"])


def test_a_stop_beats_a_recycle_that_is_under_way() -> None:
    """Who is stopped by hand while it gives way stays down, and nothing is counted."""
    deaf = "command = ['sh', '-c', 'trap \"\" TERM; while :; do sleep 0.05; done']\n"
    more = "ready = 'spawned'\nstop_timeout = '1500ms'\nrecycle.age = '500ms'\n"
    with Daemon(f"[worker.a]\n{deaf}{more}") as daemon:
        wait_until(
            lambda: daemon.workers()["a"]["note"] == "recycle: age 0.5s", what="it gives way"
        )
        daemon.ctl("stop", "a", check=True)
        found = daemon.workers()["a"]
        assert (found["state"], found["recycles"]) == ("stopped", 0)
        assert recycled(daemon) == []


def test_out_of_memory_is_told_where_it_is_counted_and_elsewhere_nothing_is_guessed() -> None:
    """A limit that nobody enforces says so; one that is enforced explains the SIGKILL."""
    hog = "a = []\nwhile True: a.append(bytearray(os.urandom(1 << 20)))\n"
    limited = "ready = 'spawned'\nlimits.memory = '40M'\nmax_restarts = 1\n"
    with Daemon(f"[worker.calm]\n{SLEEP}limits.memory = '1G'\n") as daemon:
        daemon.wait_state("calm", "running")
        is_enforced = "NOT ENFORCED" not in daemon.ctl("status", "calm").stdout
        if not is_enforced:
            detail = daemon.ctl("status", "calm", check=True).stdout
            assert "memory 1.0G NOT ENFORCED: no memory controller here" in detail
            os.kill(daemon.workers()["calm"]["pid"], signal.SIGKILL)
            wait_until(lambda: daemon.workers()["calm"]["last_exit"], what="it has ended")
            assert daemon.workers()["calm"]["last_exit"]["reason"] == "SIGKILL"
            assert "worker.oom" not in daemon.ctl("events").stdout
            return
    with Daemon("[worker.hog]\n" + python(f"import os\n{hog}") + limited) as daemon:
        daemon.wait_state("hog", "tripped")
        reason = daemon.workers()["hog"]["last_exit"]["reason"]
        assert re.fullmatch(r"out of memory, \S+ of 40M \(cgroup oom_kill \+\d+\)", reason)
        assert "worker.oom" in daemon.ctl("events").stdout
        assert "killed by SIGKILL from the kernel: out of memory" in daemon.ctl("why", "hog").stdout


def test_a_file_says_what_cannot_be() -> None:
    """Bad limits are refused where they stand, before anything is touched."""
    with Daemon(f"[worker.a]\n{SLEEP}") as daemon:
        text = daemon.config.read_text()
        for bad, message in (
            ("recycle.memory = '1G'\nlimits.memory = '512M'\n", "the kernel would end it first"),
            ("recycle.jitter = true\n", "recycle.jitter needs recycle.age or recycle.runs"),
            ("recycle.runs = 3\nready = 'fd:3'\n", "recycle.runs needs the notification socket"),
            ("recycle.agee = '1h'\n", 'did you mean "recycle.age"?'),
        ):
            kept = text if "ready" not in bad else text.replace("ready = 'spawned'\n", "")
            Path(daemon.config).write_text(kept + bad)
            done = daemon.ctl("reload")
            assert done.returncode == 1
            assert message in " ".join((done.stdout + done.stderr).split())
        Path(daemon.config).write_text(text)


def test_turns_of_a_python_targets_loop_are_its_work() -> None:
    """Nobody has to count, and the fresh one begins anew."""
    table = f'python = "{MODULE}:Orders"\ndirectory = "{CHECKOUT}"\nconfig.source = "x"\n'
    with Daemon(f"[worker.a]\n{table}recycle.runs = 40\n") as daemon:
        wait_until(lambda: daemon.workers()["a"]["recycles"] >= 2, what="it is recycled twice")
        for event in recycled(daemon):
            assert re.fullmatch(r"runs 4\d of 40", event["reason"])
        assert daemon.workers()["a"]["restarts"] == 0
