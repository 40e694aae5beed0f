"""Workers that are told of events on their stdin, whoever of the daemon is killed meanwhile."""

import json
import os
import random  # noqa: TID251  # seeded, and the seed is printed
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

FAST = 'backoff.min = "20ms"\nbackoff.max = "20ms"\nmax_restarts = 1000\ncircuit_window = "1h"\n'
FAILS = f'[worker.web]\ncommand = ["/bin/sh", "-c", "exit 3"]\n{FAST}'
PAGER = """\
[worker.pager]
command = ["/bin/sh", "-c", "cat >> @DIR@/heard"]
ready = "spawned"
events = [{}]
"""


def lines(path: Path) -> list[dict[str, Any]]:
    """Return what was heard, whole lines only."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


def has(heard: Path, count: int) -> bool:
    return len(lines(heard)) >= count


def test_a_listener_hears_each_event_once_as_the_journal_has_it() -> None:
    """The same objects as `events --json`, in the same order, while supervisors are killed."""
    with Daemon(FAILS + PAGER.format('"worker.*", "supervisor.*"')) as daemon:
        heard = daemon.folder / "heard"
        for _ in range(3):
            enough = len(lines(heard)) + 10
            daemon.kill_supervisor()
            wait_until(partial(has, heard, enough), what="it hears")
        daemon.ctl("stop", "web", check=True)
        wait_until(lambda: lines(heard)[-1]["event"] == "worker.stopped", what="it hears the end")
        told = daemon.ctl("events", "--json", "-n", "10000", check=True).stdout.splitlines()
        wanted = [
            event
            for event in map(json.loads, told)
            if event["event"].startswith(("worker.", "supervisor."))
            and event.get("pool") != "pager"
        ]
        for event in wanted:
            if "by_uid" in event and event["by_uid"] != 0:
                event.pop("by_user", None)
        assert lines(heard) == wanted
        assert len([e for e in wanted if e["event"] == "supervisor.adopted"]) == 3


def test_what_a_listener_did_not_read_is_told_to_its_next_run() -> None:
    """Killed and stopped again and again, it misses nothing and hears nothing twice."""
    seed = int(os.environ.get("SDL_SEED", "0")) or random.SystemRandom().getrandbits(32)
    print(f"SDL_SEED={seed}")  # noqa: T201  # shown when it fails
    chance = random.Random(seed)
    # It reads a line at a time, as `read` of a shell does: what it has not read is not lost.
    script = "while read -r line; do printf '%s\\\\n' \\\"$line\\\" >> @DIR@/heard; done"
    pager = (
        f'[worker.pager]\ncommand = ["/bin/sh", "-c", "{script}"]\nready = "spawned"\n'
        f'events = ["worker.failed"]\n{FAST}'
    )
    with Daemon(FAILS + pager) as daemon:
        heard = daemon.folder / "heard"
        for _ in range(8):
            enough = len(lines(heard)) + chance.randint(1, 5)
            wait_until(partial(has, heard, enough), what="it hears")
            # Asleep in its read, where a line that was read is written down as well.
            if chance.random() < 0.5:
                daemon.ctl("restart", "pager", check=True)
            else:
                daemon.ctl("stop", "pager", check=True)
                daemon.kill_supervisor()
                daemon.ctl("start", "pager", check=True)
        daemon.ctl("stop", "web", check=True)
        told = daemon.ctl("events", "--json", "-n", "10000", "worker.failed", check=True).stdout
        ids = [json.loads(line)["id"] for line in told.splitlines() if '"web"' in line]
        wait_until(lambda: ids[-1] in [e["id"] for e in lines(heard)], what="the last is heard")
        found = [event["id"] for event in lines(heard)]
        assert len(found) == len(set(found)), "twice"
        # A run that was killed between its read and its write has heard one line for nothing.
        assert found == [each for each in ids if each in found]
        assert len(ids) - len(found) <= 8


def test_one_who_never_reads_holds_up_nobody_and_is_told_of() -> None:
    """Other workers go on, and the journal says that its lines go."""
    deaf = (
        '[worker.deaf]\ncommand = ["sleep", "1000"]\nready = "spawned"\nevents = ["*"]\n'
        "[worker.pager]\n"
        'command = ["/bin/sh", "-c", "cat >> @DIR@/heard"]\nready = "spawned"\n'
        'events = ["events.dropped"]\n'
    )
    fails = "".join(FAILS.replace("web", f"w{n}").replace("20ms", "5ms") for n in range(6))
    with Daemon(fails + deaf) as daemon:
        heard = daemon.folder / "heard"
        wait_until(lambda: lines(heard), what="lines are dropped", timeout_s=60)
        (event,) = lines(heard)
        assert (event["event"], event["name"], event["count"] >= 1) == (
            "events.dropped", "deaf", True,
        )  # fmt: skip
        before = daemon.workers()["w0"]["run"]
        wait_until(lambda: daemon.workers()["w0"]["run"] > before, what="others go on")
        assert "events.dropped" in daemon.ctl("events", "-n", "10000", check=True).stdout


def test_only_listeners_have_a_stdin() -> None:
    """Everybody else reads nothing there; a reload makes a listener of one by a restart."""
    web = '[worker.web]\ncommand = ["/bin/sh", "-c", "readlink /proc/self/fd/0; exec sleep 99"]\n'
    with Daemon(web) as daemon:
        daemon.wait_state("web", "running")
        wait_until(lambda: "/dev/null" in daemon.log("web"), what="it has said so")
        daemon.write(web + 'events = ["config.*"]\n')
        plan = daemon.ctl("reload", "--dry-run", check=True).stdout
        assert "restart: events" in plan
        daemon.ctl("reload", check=True)
        wait_until(lambda: "pipe:" in daemon.log("web"), what="it has a pipe")
        pid = daemon.wait_state("web", "running")["pid"]
        daemon.write(web + 'events = ["config.*", "worker.*"]\n')
        daemon.ctl("reload", check=True)
        assert daemon.workers()["web"]["pid"] == pid


def test_reloads_say_who_asked() -> None:
    """A person by uid and pid, a signal by its name; refused ones too."""
    good = '[worker.web]\ncommand = ["sleep", "99"]\nready = "spawned"\n'
    with Daemon(good) as daemon:
        daemon.ctl("reload", check=True)
        daemon.config.write_text("[worker.web\n")
        assert daemon.ctl("reload").returncode == 1
        os.kill(daemon.keeper_pid, signal.SIGHUP)
        wait_until(lambda: len(daemon.events("config.refused")) == 2, what="it was refused")
        told = daemon.events("config.reloaded", "config.refused")
        assert [(e["event"], e.get("by_uid"), e.get("by")) for e in told] == [
            ("config.reloaded", os.getuid(), None),
            ("config.refused", os.getuid(), None),
            ("config.refused", None, "SIGHUP"),
        ]
