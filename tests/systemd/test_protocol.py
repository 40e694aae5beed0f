"""Every word between the daemon and a real systemd: ready, more time, reloading, watchdog, stop."""

import json
import signal
import socket
import time
from collections.abc import Generator
from typing import Any

import pytest

from tests.support.systemd import Machine
from tests.support.wait import wait_until

pytestmark = [pytest.mark.systemd, pytest.mark.process, pytest.mark.root, pytest.mark.slow]

UNIT = "supervisord-lite.service"
OTHER = "says-nothing.service"
CONFIG = "/etc/supervisord-lite/supervisord-lite.toml"
SLEEP = 'command = ["/bin/sleep", "100000"]\nready = "spawned"\n'
GATE = "/run/gate"
#: Ends with 0 once the gate is open.
AT_THE_GATE = f'command = ["/bin/sh", "-c", "until [ -e {GATE} ]; do sleep 0.05; done"]\n'


@pytest.fixture
def machine(installed: Machine) -> Generator[Machine]:
    """The gate is closed, and systemd tells what it was told."""
    installed.run("rm", "-f", GATE)
    installed.run("systemctl", "log-level", "debug")
    yield installed
    installed.run("systemctl", "log-level", "info")
    installed.run("touch", GATE)


def with_drop_in(machine: Machine, *lines: str) -> None:
    text = "\n".join(["[Service]", *lines, ""])
    machine.write(f"/etc/systemd/system/{UNIT}.d/test.conf", text)
    machine.systemctl("daemon-reload")


def shown(machine: Machine, key: str) -> str:
    return machine.show(UNIT, key)[key]


def status(machine: Machine) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(machine.run("supervisord-lite", "status", "--json").stdout)
    return answer


def pids(machine: Machine) -> dict[str, int]:
    return {worker["name"]: worker["pid"] for worker in status(machine)["workers"]}


def words_said(machine: Machine) -> list[str]:
    """Return what systemd was told by the main process of the unit, in order."""
    machine.run("journalctl", "--sync")
    lines = machine.run("journalctl", "--no-pager", "--output=cat", "_PID=1").stdout.splitlines()
    mark = f"{UNIT}: Got notification message from PID "
    return [line.partition(" (")[2].removesuffix(")") for line in lines if line.startswith(mark)]


def wait_until_out_of_time(machine: Machine, *, limit: str) -> None:
    """Wait until a unit that is started now, and asks for no more time, has had its own.

    It is a transient one: at a daemon-reload systemd forgets who has asked for more time.
    """
    machine.run(
        "systemd-run", "--no-block", f"--unit={OTHER}", "--property=Type=notify",
        f"--property=TimeoutStartSec={limit}", "/bin/sleep", "100000",
    )  # fmt: skip
    wait_until(
        lambda: machine.show(OTHER, "Result")["Result"] == "timeout",
        what="another one is out of time", timeout_s=60, every_s=0.2,
    )  # fmt: skip
    machine.systemctl("reset-failed", OTHER, check=False)


def test_ready_is_said_when_all_is_settled_and_a_slow_migration_gets_its_time(
    machine: Machine,
) -> None:
    """TimeoutStartSec is 5 s, and the migration takes longer: more is asked for meanwhile."""
    machine.write(
        CONFIG,
        f'[worker.migrate]\n{AT_THE_GATE}ready = "exit"\nrun_timeout = "2m"\n'
        f'[worker.web]\n{SLEEP}requires = ["migrate"]\n',
    )
    with_drop_in(machine, "TimeoutStartSec=5s")
    machine.systemctl("start", "--no-block", UNIT)
    wait_until(
        lambda: "1 starting" in shown(machine, "StatusText"), what="STATUS says so",
        on_timeout=lambda: machine.journal(UNIT),
    )  # fmt: skip
    wait_until_out_of_time(machine, limit="5s")
    assert shown(machine, "ActiveState") == "activating"
    assert "1 waiting" in shown(machine, "StatusText")
    machine.run("touch", GATE)
    wait_until(lambda: shown(machine, "ActiveState") == "active", what="it is active")
    assert shown(machine, "StatusText") == "1 running, 1 exited"
    assert any("EXTEND_TIMEOUT_USEC=" in words for words in words_said(machine))


def test_who_gives_up_does_not_keep_the_service_from_being_ready(machine: Machine) -> None:
    """A worker that trips, and what waits for it, have had their chance."""
    machine.write(
        CONFIG,
        '[worker.bad]\ncommand = ["/bin/false"]\nmax_restarts = 2\nbackoff.min = "10ms"\n'
        f'[worker.behind]\n{SLEEP}requires = ["bad"]\n[worker.good]\n{SLEEP}',
    )
    machine.systemctl("start", UNIT)
    assert shown(machine, "StatusText") == "1 running, 1 waiting, 1 tripped: bad"


def test_a_reload_is_announced_and_ended(machine: Machine) -> None:
    """SIGHUP: RELOADING=1 with its time, then READY=1; also when the file is refused."""
    machine.write(CONFIG, f"[worker.web]\n{SLEEP}")
    machine.systemctl("start", UNIT)
    for text in (f"[worker.web]\n{SLEEP}nice = 1\n", "[worker.web]\nnonsense = 1\n"):
        before = len(words_said(machine))
        machine.write(CONFIG, text)
        machine.kill(machine.main_pid(UNIT), signal.SIGHUP)

        def is_over(before: int = before) -> bool:
            said = ", ".join(words_said(machine)[before:])
            begins = said.find("RELOADING=1, MONOTONIC_USEC=")
            return 0 <= begins < said.find("READY=1", begins)

        wait_until(is_over, what="it has begun and ended", timeout_s=20)
        assert shown(machine, "ActiveState") == "active"


def test_a_main_process_that_hangs_is_replaced_by_systemd(machine: Machine) -> None:
    """The watchdog is not fed while it stands still: Result=watchdog, and a fresh start."""
    machine.write(CONFIG, f"[worker.web]\n{SLEEP}")
    with_drop_in(machine, "WatchdogSec=1s", "TimeoutAbortSec=1s")
    machine.systemctl("start", UNIT)
    before, main_pid = pids(machine), machine.main_pid(UNIT)
    machine.kill(main_pid, signal.SIGSTOP)
    wait_until(
        lambda: shown(machine, "NRestarts") == "1",
        what="it was replaced",
        timeout_s=30,
        every_s=0.2,
    )
    wait_until(
        lambda: shown(machine, "ActiveState") == "active",
        what="it is up",
        timeout_s=30,
        every_s=0.2,
    )
    machine.run("journalctl", "--sync")
    assert "Failed with result 'watchdog'" in machine.journal(UNIT)
    after = pids(machine)
    assert after.keys() == before.keys()
    assert before["web"] not in machine.pids()


def test_a_supervisor_that_hangs_is_replaced_by_the_main_process(machine: Machine) -> None:
    """systemd does not notice: the same main process, the same workers."""
    machine.write(CONFIG, f"[worker.web]\n{SLEEP}")
    with_drop_in(machine, "WatchdogSec=6s")
    machine.systemctl("start", UNIT)
    before, main_pid = pids(machine), machine.main_pid(UNIT)
    (supervisor,) = machine.run("pgrep", "sdl-supervisor").stdout.split()
    machine.kill(int(supervisor), signal.SIGSTOP)

    def is_replaced() -> bool:
        return supervisor not in machine.run("pgrep", "sdl-supervisor", check=False).stdout.split()

    wait_until(is_replaced, what="there is another supervisor", timeout_s=30, every_s=0.2)
    assert pids(machine) == before
    assert machine.main_pid(UNIT) == main_pid
    assert (shown(machine, "NRestarts"), shown(machine, "ActiveState")) == ("0", "active")


def test_a_drain_and_an_ordered_stop_get_more_time_than_systemd_would_wait(
    machine: Machine,
) -> None:
    """TimeoutStopSec is 2 s; the drain takes 3 s, and each of two workers needs another one."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    slow = (
        'command = ["/bin/sh", "-c", "trap \'sleep 1; exit 0\' TERM; while :; do sleep 0.1; done"'
        ']\nready = "spawned"\n'
    )
    machine.write(
        CONFIG,
        f'[supervisor]\nhttp = "127.0.0.1:{port}"\ndrain = "3s"\n'
        f'[worker.db]\n{slow}[worker.web]\n{slow}requires = ["db"]\n',
    )
    with_drop_in(machine, "TimeoutStopSec=2s")
    machine.systemctl("start", UNIT)
    before = pids(machine)
    begun_s = time.monotonic()
    machine.systemctl("stop", UNIT)
    assert time.monotonic() - begun_s > 5.0
    assert machine.show(UNIT, "Result", "ExecMainStatus") == {
        "Result": "success", "ExecMainStatus": "0",
    }  # fmt: skip
    assert not set(before.values()) & machine.pids()
    lines = [each for each in machine.journal(UNIT).splitlines() if '"worker.stopped"' in each]
    stopped = [json.loads(line)["name"] for line in lines if line.startswith('{"at": ')]
    assert stopped[-2:] == ["web", "db"], "in the reverse order of requires"
    said = words_said(machine)
    assert any(words.startswith("STOPPING=1") for words in said)
    assert any("draining" in words for words in said)


def test_lines_of_the_daemon_have_their_level_in_the_journal(machine: Machine) -> None:
    """A refused file is an error there too, so `journalctl -p err` finds it."""
    machine.write(CONFIG, f"[worker.web]\n{SLEEP}")
    machine.systemctl("start", UNIT)
    machine.write(CONFIG, "[worker.web]\nnonsense = 1\n")
    assert machine.run("systemctl", "reload", UNIT, check=False).returncode != 0
    machine.run("journalctl", "--sync")
    this_run = f"_SYSTEMD_INVOCATION_ID={shown(machine, 'InvocationID')}"
    words = ("journalctl", "--no-pager", "--output=json", "-p", "err", this_run)
    lines = [json.loads(line) for line in machine.run(*words).stdout.splitlines()]
    refused = [json.loads(line["MESSAGE"]) for line in lines if line["MESSAGE"].startswith("{")]
    assert [each["event"] for each in refused] == ["config.refused"]
    assert "[worker.web]" in str(refused)
