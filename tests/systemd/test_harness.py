"""The harness itself, proved with a service of a few lines."""

import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.leftovers import is_alive
from tests.support.systemd import Machine
from tests.support.wait import wait_until

pytestmark = [pytest.mark.systemd, pytest.mark.process, pytest.mark.root]

UNIT = "tiny.service"
PROGRAM = """
import os, signal, socket
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
    s.connect(os.environ["NOTIFY_SOCKET"].replace("@", chr(0), 1))
    s.send(b"READY=1\\nSTATUS=tiny and ready")
print("the tiny service is up", flush=True)
signal.pause()
"""


@pytest.fixture
def tiny(systemd_machine: Machine) -> Generator[Machine]:
    program = systemd_machine.shared / "tiny.py"
    program.write_text(PROGRAM)
    service = f"[Service]\nType=notify\nExecStart={sys.executable} {program}\nTimeoutStartSec=10s\n"
    systemd_machine.install_unit(UNIT, f"[Unit]\nDescription=Tiny\n{service}")
    yield systemd_machine
    systemd_machine.remove_unit(UNIT)


def test_start_returns_when_the_service_says_ready(tiny: Machine) -> None:
    """Readiness, status text, main process, cgroup and journal are those of a full machine."""
    tiny.systemctl("start", UNIT)

    shown = tiny.show(UNIT, "ActiveState", "StatusText", "NRestarts")
    assert shown == {"ActiveState": "active", "StatusText": "tiny and ready", "NRestarts": "0"}
    assert tiny.main_pid(UNIT) in tiny.pids()
    cgroup = tiny.unit_cgroup(UNIT)
    assert cgroup is not None
    outside = [int(word) for word in (cgroup / "cgroup.procs").read_text().split()]
    assert outside == [tiny.host_pid(tiny.main_pid(UNIT))]
    assert "the tiny service is up" in tiny.journal(UNIT)


def test_a_killed_service_is_seen_by_systemd(tiny: Machine) -> None:
    """A signal to a pid inside reaches that process and systemd names it."""
    tiny.systemctl("start", UNIT)
    outside = tiny.host_pid(tiny.main_pid(UNIT))

    tiny.kill(tiny.main_pid(UNIT), signal.SIGKILL)

    wait_until(
        lambda: tiny.show(UNIT, "Result", "ActiveState")["ActiveState"] == "failed",
        what="the unit has failed",
    )
    assert tiny.show(UNIT, "Result")["Result"] == "signal"
    assert not is_alive(outside)


def test_a_drop_in_changes_a_unit(tiny: Machine) -> None:
    """Drop-ins are read, and a stopped service starts again with them."""
    tiny.install_unit(UNIT, tiny.read(f"/etc/systemd/system/{UNIT}"), more="[Service]\nNice=3\n")
    tiny.systemctl("start", UNIT)

    assert os.getpriority(os.PRIO_PROCESS, tiny.host_pid(tiny.main_pid(UNIT))) == 3


def test_nothing_inside_changes_this_machine(systemd_machine: Machine) -> None:
    """Files written inside are thrown away, except in the shared folder."""
    systemd_machine.write("/etc/sdl-harness-was-here", "x")
    systemd_machine.write("/tmp/sdl-harness-was-here", "x")
    systemd_machine.write(str(systemd_machine.shared / "seen"), "from inside")
    links = systemd_machine.run("readlink", "/dev/log", check=False).stdout

    assert not Path("/etc/sdl-harness-was-here").exists()
    assert not Path("/tmp/sdl-harness-was-here").exists()
    assert (systemd_machine.shared / "seen").read_text() == "from inside"
    assert links.strip() == "/run/systemd/journal/dev-log"
    assert systemd_machine.run(
        "sh", "-c", "echo 1 > /proc/sys/vm/swappiness", check=False
    ).returncode


def test_a_service_may_do_what_it_may_on_a_full_machine(systemd_machine: Machine) -> None:
    """User namespaces and mounts, which a plain chroot would forbid."""
    done = systemd_machine.run("systemd-run", "--wait", "--pipe", "unshare", "--user", "id", "-u")

    assert done.stdout.strip() == "65534"


def test_systemd_is_the_first_process(systemd_machine: Machine) -> None:
    """PID 1 inside is systemd, and no unit of the machine's own was started."""
    assert systemd_machine.read("/proc/1/comm").strip() == "systemd"
    failed = systemd_machine.systemctl("list-units", "--failed", "--no-legend").stdout
    assert failed == ""
    running = systemd_machine.systemctl(
        "list-units", "--type=service", "--state=running", "--no-legend"
    ).stdout
    names = {line.split()[0] for line in running.splitlines()}
    assert names <= {"systemd-journald.service", "dbus.service"}
