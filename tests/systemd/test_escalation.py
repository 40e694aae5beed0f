"""What systemd makes of the daemon's exit statuses, with the unit file as it is shipped."""

import json
import signal
from collections.abc import Generator
from typing import Any

import pytest

from tests.support.systemd import Machine
from tests.support.wait import wait_until

pytestmark = [pytest.mark.systemd, pytest.mark.process, pytest.mark.root, pytest.mark.slow]

UNIT = "supervisord-lite.service"
CONFIG = "/etc/supervisord-lite/supervisord-lite.toml"
NOTE = "/var/lib/supervisord-lite/last-escalation.json"
ALARM = "tell-somebody@.service"
#: The limits of the shipped unit, so small that the test is quick; and somebody to tell.
QUICK = """
[Unit]
StartLimitBurst=3
OnFailure=tell-somebody@%n.service
[Service]
RestartSec=100ms
TimeoutStopSec=2s
"""
#: Fails as soon as the service is ready, so each start of the unit succeeds and ends with 75.
BROKEN = """
[defaults]
ready = "100ms"
[worker.web]
command = ["/bin/sleep", "100000"]
requires = ["db"]
[worker.db]
command = ["/bin/sh", "-c", "echo no luck >&2; sleep 0.4; exit 3"]
critical = true
max_restarts = 1
"""


@pytest.fixture
def watched(installed: Machine) -> Generator[Machine]:
    """The product with an alarm: a line in a file for each time that somebody is told."""
    tell = f"echo %i:$MONITOR_EXIT_STATUS >> {installed.shared}/alarms"
    installed.install_unit(ALARM, f"[Service]\nType=oneshot\nExecStart=/bin/sh -c '{tell}'\n")
    installed.write(f"/etc/systemd/system/{UNIT}.d/quick.conf", QUICK)
    installed.systemctl("daemon-reload")
    yield installed
    installed.remove_unit(ALARM)
    (installed.shared / "alarms").unlink(missing_ok=True)


def alarms(machine: Machine) -> list[str]:
    path = machine.shared / "alarms"
    return path.read_text().split() if path.exists() else []


class Journal:
    """The unit's journal from here on; earlier tests have filled it too."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._before = len(machine.journal(UNIT))

    def text(self) -> str:
        return self._machine.journal(UNIT)[self._before :]

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]


def failed(machine: Machine) -> dict[str, str]:
    """Wait until the unit has failed for good; return what systemd says of it."""
    wait_until(
        lambda: machine.show(UNIT, "ActiveState")["ActiveState"] == "failed",
        what="the unit has failed",
        timeout_s=30,
        every_s=0.05,
        on_timeout=lambda: machine.journal(UNIT),
    )
    wait_until(lambda: alarms(machine), what="somebody is told", timeout_s=10)
    return machine.show(UNIT, "Result", "NRestarts", "ExecMainStatus", "StatusText")


def test_75_is_started_again_up_to_the_limit_and_then_somebody_is_told_once(
    watched: Machine,
) -> None:
    """Three starts in all, each with its reason; the alarm rings at the end and only then."""
    journal = Journal(watched)
    watched.write(CONFIG, BROKEN)
    watched.systemctl("start", UNIT)

    shown = failed(watched)

    assert shown["ExecMainStatus"] == "75"
    assert shown["NRestarts"] == "3"
    assert alarms(watched) == [f"{UNIT}:75"]
    assert len(journal.events("daemon.started")) == 3
    assert len(journal.events("daemon.escalated")) == 3
    assert "Start request repeated too quickly" in journal.text()
    note = json.loads(watched.read(NOTE))
    assert note["why"] == "critical worker db tripped: exit 3 (failure 1 of 1)"
    (worker,) = note["workers"]
    assert worker["last_lines"] == ["no luck"] * 3, "the log outlives the restarts"


def test_an_ordered_stop_that_takes_longer_than_systemd_waits_still_ends_with_75(
    watched: Machine,
) -> None:
    """More time is asked for: TimeoutStopSec is 2s here, and two workers need 3 s, one by one."""
    slow = "trap 'sleep 1.5; exit 0' TERM; while :; do sleep 0.05; done"
    text = f"""
[defaults]
ready = "100ms"
[worker.web]
command = ["/bin/sh", "-c", "{slow}"]
requires = ["mid"]
[worker.mid]
command = ["/bin/sh", "-c", "{slow}"]
requires = ["db"]
[worker.db]
command = ["/bin/sleep", "100000"]
critical = true
max_restarts = 1
"""
    no_restart = "[Service]\nRestartPreventExitStatus=75\n"
    watched.write(f"/etc/systemd/system/{UNIT}.d/once.conf", no_restart)
    watched.systemctl("daemon-reload")
    watched.write(CONFIG, text)
    journal = Journal(watched)
    watched.systemctl("start", UNIT)
    done = watched.run("supervisord-lite", "signal", "SIGKILL", "db", "--socket",
                       "/run/supervisord-lite/control/control.sock")  # fmt: skip
    assert done.returncode == 0

    wait_until(
        lambda: "stopping" in watched.show(UNIT, "StatusText")["StatusText"],
        what="systemctl shows why it stops",
        every_s=0.05,
    )
    status_text = watched.show(UNIT, "StatusText")["StatusText"]
    assert status_text.startswith("critical worker db tripped: SIGKILL (failure 1 of 1); stopping")
    shown = failed(watched)

    assert (shown["ExecMainStatus"], shown["Result"], shown["NRestarts"]) == (
        "75",
        "exit-code",
        "0",
    )
    assert alarms(watched) == [f"{UNIT}:75"]
    stopped = [line["name"] for line in journal.events("worker.stopped")]
    assert [name for name in stopped if name != "db"] == ["web", "mid"]
    assert "timed out" not in journal.text()


SLEEP = '[worker.web]\ncommand = ["/bin/sleep", "100000"]\nready = "100ms"\n'
BAD_USAGE = "[Service]\nExecStart=\nExecStart=/usr/bin/supervisord-lite run --no-such-option\n"


@pytest.mark.parametrize(
    ("config", "drop_in", "status"),
    [
        ("[worker.web]\ncomand = 1\n", "", 78),
        (f'[supervisor]\nstate_dir = "/proc/none"\n{SLEEP}', "", 77),
        (SLEEP, BAD_USAGE, 2),
    ],
)
def test_what_would_only_fail_again_is_not_tried_again(
    config: str, drop_in: str, status: int, watched: Machine
) -> None:
    """A bad file, a folder that cannot be had, a wrong word: no restart, and somebody is told."""
    if drop_in:
        watched.write(f"/etc/systemd/system/{UNIT}.d/usage.conf", drop_in)
        watched.systemctl("daemon-reload")
    watched.write(CONFIG, config)
    assert watched.systemctl("start", UNIT, check=False).returncode != 0

    shown = failed(watched)

    assert (shown["ExecMainStatus"], shown["NRestarts"]) == (str(status), "0")
    assert alarms(watched) == [f"{UNIT}:{status}"]


def test_a_killed_main_process_is_started_again_with_closed_breakers(watched: Machine) -> None:
    """The whole unit ends and starts afresh: one restart, nothing of the old one lives."""
    watched.write(CONFIG, SLEEP)
    watched.systemctl("start", UNIT)
    main_pid = watched.main_pid(UNIT)

    watched.kill(main_pid, signal.SIGKILL)

    wait_until(
        lambda: (
            watched.main_pid(UNIT) not in (0, main_pid)
            and watched.show(UNIT, "ActiveState")["ActiveState"] == "active"
        ),
        what="it is up again",
        timeout_s=30,
        every_s=0.05,
    )
    assert watched.show(UNIT, "NRestarts")["NRestarts"] == "1"
    sleeps = watched.run("pgrep", "-c", "-x", "sleep").stdout.strip()
    assert sleeps == "1"
    assert alarms(watched) == []


#: A stop and a size by hand, and a breaker that opens by itself.
SPECIAL = """
[defaults]
ready = "100ms"
[worker.web]
command = ["/bin/sleep", "100001"]
[worker.pool]
command = ["/bin/sleep", "100002"]
[worker.bad]
command = ["/bin/sh", "-c", "exit 3"]
max_restarts = 1
"""


def test_a_killed_main_process_is_started_again_with_what_people_wanted(
    watched: Machine,
) -> None:
    """Stops, sizes and open breakers are as they were; no process of before lives."""
    watched.write(CONFIG, SPECIAL)
    watched.systemctl("start", UNIT)
    watched.run("supervisord-lite", "stop", "web")
    watched.run("supervisord-lite", "scale", "pool=2")
    wait_until(lambda: is_kept(watched), what="that is written down", every_s=0.05)
    main_pid = watched.main_pid(UNIT)
    before = watched.run("pgrep", "-x", "sleep").stdout.split()
    assert len(before) == 2

    watched.kill(main_pid, signal.SIGKILL)

    wait_until(
        lambda: watched.main_pid(UNIT) not in (0, main_pid) and states(watched) == WANTED,
        what="it is up again, as it was",
        timeout_s=30,
        every_s=0.05,
    )
    now = watched.run("pgrep", "-x", "sleep").stdout.split()
    assert len(now) == 2
    assert not set(now) & set(before)
    assert "is STOPPED" in watched.run("supervisord-lite", "why", "web").stdout
    assert "is TRIPPED" in watched.run("supervisord-lite", "why", "bad").stdout


WANTED = {"web": "stopped", "pool-1": "running", "pool-2": "running", "bad": "tripped"}


def is_kept(machine: Machine) -> bool:
    kept = machine.run("cat", "/var/lib/supervisord-lite/carry.json", check=False).stdout
    if not kept:
        return False
    said = json.loads(kept)
    return len(said["records"]) == 2 and said["sizes"] == {"pool": [2, 1]}


def states(machine: Machine) -> dict[str, str]:
    done = machine.run("supervisord-lite", "status", "--json", check=False)
    if done.returncode:
        return {}
    return {each["name"]: each["state"] for each in json.loads(done.stdout)["workers"]}
