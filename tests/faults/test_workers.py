"""Rows 9 to 17: workers that end, hang, fork and refuse to go."""

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from tests.support import cgroups, leftovers
from tests.support.disks import a_disk, frozen
from tests.support.house import QUICK, SLEEP, House, cpu_s, python, sh
from tests.support.wait import pass_time, wait_until

pytestmark = [pytest.mark.process, pytest.mark.slow]


def _pids(house: House, name: str) -> list[int]:
    """Return the pids that a worker has said, one a line."""
    return [int(word) for word in house.daemon.log(name).split() if word.isdigit()]


def _said(house: House, name: str, count: int) -> list[int]:
    """Wait until a worker has said so many pids; return them."""
    what = f"{name} has said {count} pids"
    wait_until(lambda: len(_pids(house, name)) >= count, what=what)
    return _pids(house, name)


def _are_gone(pids: list[int]) -> bool:
    return not any(map(leftovers.is_alive, pids))


def test_row_09_every_kind_of_end(house: House) -> None:
    """Exit 0, exit n, a signal, a core dump: each is told as what it is, policy decides."""
    ends = {
        "zero": ("exit 0", "exited", (0, None)),
        "three": ("exit 3", "exited", (3, None)),
        "killed": ("kill -KILL $$", "exited", (None, "SIGKILL")),
        "segv": ("ulimit -c 0; kill -SEGV $$", "exited", (None, "SIGSEGV")),
    }
    text = "".join(
        f"[worker.{name}]\n{sh(script)}{QUICK}restart = 'never'\n"
        for name, (script, _, _) in ends.items()
    )
    with house.row(text) as daemon:
        for name, (_, state, expected) in ends.items():
            wait_until(partial(house.reason, name), what=f"{name} ended")
            worker = daemon.workers()[name]
            assert worker["state"] == state
            assert (worker["last_exit"]["code"], worker["last_exit"]["signal"]) == expected
            assert worker["restarts"] == 0


def test_row_10_a_stopped_worker(house: House) -> None:
    """It says nothing any more: its heartbeat ends it; and a stop reaches it all the same."""
    with house.row(f"[worker.s]\n{SLEEP}ready = 'spawned'\nstop_timeout = '1h'\n"):
        pid = house.wait_running("s")
        os.kill(pid, signal.SIGSTOP)
        house.stop("s")
        assert not leftovers.is_alive(pid)


#: Says that it is alive, far more often than is asked of it.
_BEATS = """
import os, socket, time
own = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
own.connect(os.environ['NOTIFY_SOCKET'])
own.send(b'READY=1')
while True:
    own.send(b'WATCHDOG=1')
    time.sleep(0.02)
"""


def test_row_10_a_stopped_worker_is_missed(house: House) -> None:
    """Its heartbeat is: it is ended, with that reason, and there is another one."""
    keys = "ready = 'notify'\nheartbeat_timeout = '1s'\nstop_timeout = '200ms'\n"
    keys += "max_restarts = 1000\nbackoff.min = '20ms'\nbackoff.max = '20ms'\n"
    with house.row(f"[worker.h]\n{python(_BEATS)}{keys}"):
        pid = house.wait_running("h")
        os.kill(pid, signal.SIGSTOP)
        house.wait_reason("h", "heartbeat")
        assert house.wait_running("h") != pid
        assert not leftovers.is_alive(pid)


def test_row_11_a_worker_that_ignores_sigterm(house: House) -> None:
    """It is killed when its time is up."""
    script = 'trap "" TERM; echo $$; while :; do sleep 0.02; done'
    with house.row(f"[worker.i]\n{sh(script)}{QUICK}"):
        pids = _said(house, "i", 1)
        house.stop("i")
        assert _are_gone(pids)
        assert house.daemon.workers()["i"]["last_exit"]["signal"] == "SIGKILL"


def test_row_12_a_worker_that_forks_twice_and_ends(house: House) -> None:
    """What it leaves behind is gone before its next start, and before anybody says stopped."""
    script = "setsid sh -c 'echo $$; exec sleep 1000' & sleep 0.05; exit 1".replace("'", '"')
    script = script.replace("$$", "\\$\\$")
    with house.row(f"[worker.f]\n{sh(script)}{QUICK}"):
        pids = _said(house, "f", 3)
        assert _are_gone(pids[:-1]), "before the next start"
        house.stop("f")
        assert _are_gone(_pids(house, "f"))


#: Each goes on forking as fast as it can; the one that cannot goes on trying.
_BOMB = "while (1) { defined(fork) or select(undef, undef, undef, 0.2) }"
_BOMBS = 400


def test_row_13_a_fork_bomb(house: House) -> None:
    """As many as its user may have, and all of them fork; a stop ends them all, and is believed."""
    if os.geteuid() != 0:
        pytest.skip("needs root: for a worker of another user, who may have few processes")
    command = f"command = ['perl', '-e', '{_BOMB}']\n"
    text = f"[worker.bomb]\n{command}{QUICK}user = 'games'\nlimits.nproc = {_BOMBS}\n"
    with house.row(f"{text}log.stdout = 'null'\n"):
        wait_until(lambda: len(_marked_bombs()) > 0.9 * _BOMBS, what="it has exploded")
        house.stop("bomb")
        assert not _marked_bombs()


def _marked_bombs() -> set[int]:
    return leftovers.marked("SUPERVISORD_LITE_NAME", "bomb")


def test_row_14_a_worker_that_leaves_its_cgroup(house: House) -> None:
    """Whoever moves away is still the keeper's child."""
    own = cgroups.own()
    if own is None or not os.access(own / "cgroup.procs", os.W_OK):
        pytest.skip("needs a cgroup v2 mount that may be written")
    script = f'trap "" TERM; echo $$ >{own}/cgroup.procs; echo $$; while :; do sleep 0.1; done'
    with house.row(f"[worker.m]\n{sh(script)}{QUICK}"):
        pids = _said(house, "m", 1)
        house.stop("m")
        assert _are_gone(pids)


def test_row_15_a_worker_that_cannot_be_killed(house: House) -> None:
    """In a call that no signal ends it outlives SIGKILL: that is told, and nobody else waits."""
    with a_disk() as disk:
        script = f"echo up; read x <{disk.parent}/gate; echo x >{disk}/x; sleep 1000"
        os.mkfifo(disk.parent / "gate")
        text = f"[worker.d]\n{sh(script)}{QUICK}[worker.n]\n{SLEEP}{QUICK}"
        with house.row(text) as daemon:
            pid = house.wait_running("d")
            with frozen(disk):
                (disk.parent / "gate").write_text("go\n")
                wait_until(partial(_is_asleep_for_good, pid), what="it hangs in the disk")
                daemon.call("io.supervisordlite.Manager.Stop", names=["d"], wait=False)
                wait_until(
                    lambda: "SIGKILL" in (daemon.workers()["d"]["note"] or ""), what="it is told"
                )
                assert daemon.ctl("stop", "d", "--timeout", "100ms").returncode == 6
                assert leftovers.is_alive(pid)
                house.restarts_quickly("n")
            daemon.wait_state("d", "stopped")


def _is_asleep_for_good(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "D"


def test_row_16_a_grandchild_that_holds_the_output(house: House) -> None:
    """The end of the worker is its own end, not that of its output."""
    script = "setsid sleep 1000 & exit 4"
    with house.row(f"[worker.g]\n{sh(script)}{QUICK}"):
        wait_until(lambda: house.daemon.workers()["g"]["restarts"] > 2, what="it restarts")
        assert "4" in house.reason("g")


def test_row_17_a_worker_that_closes_its_output(house: House) -> None:
    """The end of its output is not its end, and nobody spins."""
    with house.row(f"[worker.c]\n{sh('exec >&- 2>&-; exec sleep 1000')}{QUICK}") as daemon:
        pid = house.wait_running("c")
        own = [daemon.keeper_pid, daemon.scribe_pid, daemon.supervisor_pid]
        wait_until(lambda: not _has_pipe(pid), what="it has closed them")
        begun_s = sum(map(cpu_s, own))
        pass_time(0.3)  # a loop that spins would use all of it
        assert sum(map(cpu_s, own)) - begun_s < 0.15
        assert daemon.workers()["c"]["pid"] == pid


def _has_pipe(pid: int) -> bool:
    folder = f"/proc/{pid}/fd"
    return any(os.readlink(f"{folder}/{fd}").startswith("pipe:") for fd in ("1", "2")
               if os.path.lexists(f"{folder}/{fd}"))  # fmt: skip
