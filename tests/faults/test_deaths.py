"""Rows 32 to 42: the daemon's own processes die, and others meet its folders."""

import itertools
import os
import shutil
import signal
import socket
import subprocess
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tests.support import leftovers
from tests.support.daemon import Daemon
from tests.support.house import QUICK, SLEEP, House, python
from tests.support.wait import wait_until

MANAGER = "io.supervisordlite.Manager"

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


def _second(daemon: Daemon) -> subprocess.CompletedProcess[str]:
    """Start another daemon on the same file."""
    return subprocess.run(
        [*daemon.argv, "run", "-c", str(daemon.config)],
        capture_output=True, text=True, env=daemon.environment, check=False, timeout=30,
    )  # fmt: skip


def test_row_41_a_second_daemon(house: House) -> None:
    """The second one on the same folders ends with 77 and the first one's pid."""
    with house.row() as daemon:
        second = _second(daemon)
        assert second.returncode == 77
        assert str(daemon.keeper_pid) in second.stderr


def _owned(paths: Iterable[Path]) -> list[tuple[int, int, int]]:
    return [(found.st_mode, found.st_uid, found.st_gid) for found in map(os.stat, paths)]


def _replace(path: Path) -> None:
    """Put a socket of nobody in the place of another."""
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(f"{path}.other")
    Path(f"{path}.other").rename(path)


#: Gives a sign of life by name each time, as sd_notify does.
_BEATS = """
import itertools, os, socket, time
own = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
for n in itertools.count(1):
    try:
        for word in (b'READY=1', b'WATCHDOG=1', b'STATUS=%d' % n):
            own.sendto(word, os.environ['NOTIFY_SOCKET'])
    except OSError:
        pass
    time.sleep(0.02)
"""


def test_row_42_what_is_deleted_is_made_again(house: House) -> None:
    """Socket, locks and folders: people come in, a second daemon does not, and all is as it was."""
    beats = f"[worker.b]\nready = 'notify'\nheartbeat_timeout = '10s'\n{python(_BEATS)}{QUICK}"
    beats = beats.replace("ready = 'spawned'\n", "")
    with house.row(beats) as daemon:
        pid = house.wait_running("b")
        state, runtime = daemon.folder / "state", daemon.folder / "runtime"
        control, locks = daemon.control_path, (state / "lock", runtime / "lock")
        faults: dict[str, Callable[[], object]] = {
            "the socket is deleted": control.unlink,
            "the socket is moved away": lambda: control.rename(f"{control}.old"),
            "another one stands in its place": partial(_replace, control),
            "the locks are deleted": lambda: deque(map(os.unlink, locks)),
            # Whoever clears away slowly finds something made again in between.
            "its folder is deleted": partial(shutil.rmtree, control.parent, ignore_errors=True),
            "the runtime folder is": partial(shutil.rmtree, runtime, ignore_errors=True),
            "the state folder is": partial(shutil.rmtree, state, ignore_errors=True),
            "the state folder is moved": lambda: state.rename(f"{state}.old"),
        }
        all_of_them = (state, runtime, *locks, control.parent, control)
        before = _owned(all_of_them)
        for what, fault in faults.items():
            fault()
            wait_until(lambda: all(path.exists() for path in all_of_them), what=f"{what}: is there")
            wait_until(daemon.answers, what=f"{what}: an answer")
            second = _second(daemon)
            assert second.returncode == 77, what
            assert f"pid {daemon.keeper_pid}" in second.stderr, what
            assert _owned(all_of_them) == before, what
            said = daemon.workers()["b"]["note"]
            wait_until(lambda: daemon.workers()["b"]["note"] != said, what=f"{what}: b is heard")  # noqa: B023
        assert daemon.workers()["b"]["pid"] == pid


def test_row_42_who_waits_at_the_old_socket_is_let_in(house: House) -> None:
    """By the supervisor that was stopped meanwhile; the next one has the socket of then."""
    with house.row() as daemon, socket.socket(socket.AF_UNIX) as waiting:
        old = daemon.supervisor_pid
        os.kill(old, signal.SIGSTOP)
        waiting.connect(str(daemon.control_path))
        waiting.sendall(b'{"method": "org.varlink.service.GetInfo"}\0')
        daemon.control_path.unlink()
        wait_until(daemon.control_path.exists, what="it is there")
        os.kill(old, signal.SIGCONT)
        waiting.settimeout(10)
        assert b"io.supervisordlite.Manager" in waiting.recv(65536)
        assert daemon.supervisor_pid == old
        os.kill(old, signal.SIGSTOP)
        daemon.control_path.unlink()
        os.kill(old, signal.SIGKILL)
        wait_until(partial(_is_gone, old), what="it is dead")
        wait_until(daemon.answers, what="an answer")


def test_row_42_what_cannot_be_made_again_is_told(house: House) -> None:
    """A file stands where the runtime folder was: a warning in the status, until it goes."""
    with house.row() as daemon:
        runtime = daemon.folder / "runtime"
        for n in itertools.count():  # the keeper may be faster
            runtime.rename(f"{runtime}.{n}")
            with suppress(IsADirectoryError):
                runtime.write_text("")
                break

        def warned() -> bool:
            status = daemon.call(f"{MANAGER}.Status", names=["calm"])
            return any(f"{runtime} is gone" in each for each in status["supervisor"]["warnings"])

        wait_until(warned, what="it is told")
        runtime.unlink()
        wait_until((runtime / "lock").exists, what="it is there")
        wait_until(lambda: not warned(), what="nothing is told")
