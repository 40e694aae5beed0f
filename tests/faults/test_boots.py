"""Rows 27 and 79: clocks that stand apart, and a machine that has booted."""

import json
import os
import signal
import sys

import pytest

from tests.process.test_daemon_carry import kill_keeper
from tests.support import leftovers
from tests.support.daemon import MODULE, Daemon
from tests.support.house import QUICK, SLEEP
from tests.support.wait import wait_until

pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.mark.parametrize("has_booted", [True, False])
def test_row_79_the_machine_has_booted(has_booted: bool) -> None:
    """What was done by hand, and who lived, is of the boot before."""
    with Daemon(f"[worker.a]\n{SLEEP}{QUICK}[worker.b]\n{SLEEP}{QUICK}") as daemon:
        pid = daemon.wait_state("a", "running")["pid"]
        daemon.wait_state("b", "running")
        daemon.ctl("stop", "b", check=True)
        carried = daemon.folder / "state/carry.json"
        wait_until(lambda: carried.exists() and '"b"' in carried.read_text(), what="it is written")
        kill_keeper(daemon)
        if has_booted:
            found = json.loads(carried.read_text())
            found["boot_id"] = "00000000-0000-4000-8000-000000000000"
            carried.write_text(json.dumps(found))
        daemon.start()
        assert daemon.wait_state("a", "running")["pid"] != pid
        state = "running" if has_booted else "stopped"
        daemon.wait_state("b", state)
        assert daemon.workers()["b"]["restarts"] == 0


#: Another clock than ours, in which the machine has run for years, and then has slept as long.
_OTHER_TIME = """
import ctypes, os, sys
try:
    assert ctypes.CDLL(None).unshare(0x80) == 0
    with open("/proc/self/timens_offsets", "w") as file:
        file.write("monotonic 50000000 0\\nboottime 100000000 0\\n")
except (AssertionError, OSError):
    pass
os.execvp(sys.argv[1], sys.argv[1:])
"""


def test_row_27_clocks_that_stand_apart() -> None:
    """Whatever the clocks say, and by how much they differ: all goes its way, and is recognised."""
    daemon = Daemon(f"[worker.a]\n{SLEEP}{QUICK}[worker.b]\n{SLEEP}{QUICK}")
    daemon.run_argv = (sys.executable, "-ISc", _OTHER_TIME, *MODULE)
    with daemon:
        a, b = (daemon.wait_state(name, "running")["pid"] for name in "ab")
        assert os.readlink(f"/proc/{a}/ns/time") == os.readlink(
            f"/proc/{daemon.keeper_pid}/ns/time"
        )
        if os.readlink(f"/proc/{a}/ns/time") == os.readlink("/proc/self/ns/time"):
            pytest.skip("the kernel lets nobody have another clock")
        os.kill(b, signal.SIGKILL)
        wait_until(lambda: daemon.workers()["b"]["pid"] not in (None, b), what="it is back")
        daemon.kill_supervisor()
        assert daemon.workers()["a"]["pid"] == a
        assert 0 <= daemon.status()["workers"][0]["uptime_s"] < 600
        kill_keeper(daemon)
        daemon.start()
        daemon.wait_state("a", "running")
        assert not leftovers.is_alive(a)
