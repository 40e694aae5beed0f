"""Rows 32 to 42: the daemon's own processes die, and others meet its folders."""

import os
import signal
import subprocess
from functools import partial

import pytest

from tests.support import leftovers
from tests.support.daemon import Daemon
from tests.support.house import QUICK, SLEEP, House
from tests.support.wait import wait_until

pytestmark = [pytest.mark.process, pytest.mark.slow]


def _is_gone(pid: int) -> bool:
    return not leftovers.is_alive(pid)


def _restarted(daemon: Daemon, times: int) -> bool:
    return bool(daemon.workers()["e"]["restarts"] == times)


def test_row_32_the_supervisor_is_killed(house: House) -> None:
    """Who ended in the gap is known with its status; who runs is the same; nobody is doubled."""
    with house.row(f"[worker.a]\n{SLEEP}{QUICK}[worker.e]\n{SLEEP}{QUICK}") as daemon:
        pid = house.wait_running("a")
        for _ in range(3):
            restarts = daemon.workers()["e"]["restarts"]
            victim = house.wait_running("e")
            old = daemon.supervisor_pid
            os.kill(old, signal.SIGSTOP)
            os.kill(victim, signal.SIGKILL)
            os.kill(old, signal.SIGKILL)
            wait_until(partial(_is_gone, old), what="it is dead")
            wait_until(daemon.answers, what="an answer")
            wait_until(partial(_restarted, daemon, restarts + 1), what="its end is counted once")
            assert daemon.workers()["e"]["last_exit"]["signal"] == "SIGKILL"
            assert daemon.workers()["a"]["pid"] == pid


def test_row_37_the_supervisor_hangs(house: House) -> None:
    """It is found by the main process, which goes on feeding the watchdog, and is replaced."""
    with house.row(f"[worker.a]\n{SLEEP}{QUICK}") as daemon:
        pid, old = house.wait_running("a"), daemon.supervisor_pid
        os.kill(old, signal.SIGSTOP)
        with pytest.raises(TimeoutError):  # and the main process sees that somebody waits
            daemon.call("org.varlink.service.GetInfo", timeout_s=0.05)
        wait_until(lambda: not leftovers.is_alive(old), what="it is replaced", timeout_s=30)
        wait_until(daemon.answers, what="an answer")
        assert daemon.workers()["a"]["pid"] == pid


def test_row_41_a_second_daemon(house: House) -> None:
    """The second one on the same folders ends with 77 and the first one's pid."""
    with house.row() as daemon:
        second = subprocess.run(
            [*daemon.argv, "run", "-c", str(daemon.config)],
            capture_output=True, text=True, env=daemon.environment, check=False, timeout=30,
        )  # fmt: skip
        assert second.returncode == 77
        assert str(daemon.keeper_pid) in second.stderr


def test_row_42_the_socket_is_deleted() -> None:
    """Nobody can ask any more; workers are looked after, and signals are obeyed."""
    with Daemon(f"[worker.a]\n{SLEEP}{QUICK}") as daemon:
        pid = daemon.wait_state("a", "running")["pid"]
        daemon.control_path.unlink()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: len(daemon.events("worker.started")) >= 2, what="it starts again")
        assert daemon.stop() == 0
