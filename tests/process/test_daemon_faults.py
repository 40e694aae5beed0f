"""Frozen disks, hung supervisors, crash loops: supervision goes on or ends as documented."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support import leftovers
from tests.support.daemon import Daemon
from tests.support.flood import WRITER, has_ended, segments, writer_command
from tests.support.wait import wait_until

pytestmark = [pytest.mark.process, pytest.mark.slow]

SLEEP = "command = ['/bin/sleep', '1000']\n"


def _restart_s(daemon: Daemon, name: str) -> float:
    """Return how long a killed worker takes to be back."""
    old = daemon.workers()[name]["pid"]
    begun_s = time.monotonic()
    os.kill(old, signal.SIGKILL)
    wait_until(
        lambda: daemon.workers()[name]["pid"] not in (None, old), what="it is back", every_s=0.001
    )
    return time.monotonic() - begun_s


def _is(daemon: Daemon, name: str, state: str) -> bool:
    return bool(daemon.workers()[name]["state"] == state)


def _has_more_lines(daemon: Daemon, count: int) -> bool:
    return len(daemon.log("a").splitlines()) > count


def _turn_s(daemon: Daemon, verb: str, name: str, state: str) -> float:
    """Return how long it takes from asking for *verb* until *name* is in *state*."""
    begun_s = time.monotonic()
    daemon.call(f"io.supervisordlite.Manager.{verb}", names=[name], wait=False)
    wait_until(partial(_is, daemon, name, state), what=state, every_s=0.001)
    return time.monotonic() - begun_s


def _status_s(daemon: Daemon) -> float:
    begun_s = time.monotonic()
    daemon.workers()
    return time.monotonic() - begun_s


def _measure(daemon: Daemon) -> dict[str, list[float]]:
    """Return for each kind how long each of 21 took, in seconds, in ascending order."""
    times_s: dict[str, list[float]] = {"restart": [], "stop": [], "start": [], "status": []}
    for _ in range(21):
        times_s["restart"].append(_restart_s(daemon, "crash"))
        times_s["stop"].append(_turn_s(daemon, "Stop", "stop", "stopped"))
        times_s["start"].append(_turn_s(daemon, "Start", "stop", "running"))
        times_s["status"].append(_status_s(daemon))
    return {kind: sorted(times) for kind, times in times_s.items()}


def test_a_frozen_log_disk_delays_nobody(disk: Path) -> None:
    """Restart, status and stop of others stay below 100 ms; after the thaw logging goes on."""
    quick = "ready = 'spawned'\nbackoff.min = '1ms'\nbackoff.max = '1ms'\nmax_restarts = 1000\n"
    text = "".join(
        f"[worker.w{n}]\n{writer_command(Path('@DIR@/writer.py'), f'w{n}')}"
        f"log.stdout = '{disk}/w{n}.log'\nstop_timeout = '20s'\n"
        for n in range(2)
    )
    text += f"[worker.crash]\n{SLEEP}{quick}[worker.stop]\n{SLEEP}{quick}"
    daemon = Daemon(text)
    (daemon.folder / "writer.py").write_text(WRITER)
    with daemon:
        wait_until((disk / "w1.log").exists, what="the writers write")
        subprocess.run(["fsfreeze", "--freeze", disk], check=True)
        # The writers must not stand still: their output is dropped and counted.
        wait_until(lambda: daemon.workers()["w0"]["output"]["dropped_bytes"] > 500_000,
                   what="output is dropped", timeout_s=30)  # fmt: skip

        frozen = _measure(daemon)

        for kind, times_s in frozen.items():
            # All but two: the machine itself may stand still for once.
            assert times_s[-3] < 0.1, (kind, times_s)
        subprocess.run(["fsfreeze", "--unfreeze", disk], check=True)
        size = (disk / "w1.log").stat().st_size
        wait_until(lambda: (disk / "w1.log").stat().st_size > size + 10_000, what="it goes on")
        daemon.ctl("stop", "w0", "w1", check=True)
        for n in range(2):
            wait_until(partial(has_ended, disk / f"w{n}.log"), what="the last words")
            for segment in segments(disk / f"w{n}.log"):
                lines = segment.read_bytes().split(b"\n")
                assert lines.pop() == b""
                numbers = [int(line.split()[1]) for line in lines if b" end " not in line]
                assert numbers == sorted(set(numbers)), "no line is doubled or out of order"


def test_a_hung_supervisor_is_replaced() -> None:
    """One that does not answer is killed; the workers and what happened meanwhile are kept."""
    with Daemon(f"[worker.a]\n{SLEEP}[worker.b]\n{SLEEP}") as daemon:
        pid = daemon.wait_state("a", "running")["pid"]
        victim = daemon.wait_state("b", "running")["pid"]
        old = daemon.supervisor_pid
        os.kill(old, signal.SIGSTOP)
        os.kill(victim, signal.SIGKILL)

        wait_until(lambda: not leftovers.is_alive(old), what="it is killed", timeout_s=60)

        worker = wait_until(
            lambda: (w := daemon.workers()["b"])["restarts"] == 1 and w, what="b was restarted"
        )
        assert worker["last_exit"]["signal"] == "SIGKILL"
        assert daemon.workers()["a"]["pid"] == pid


def test_a_supervisor_that_cannot_live_ends_the_daemon() -> None:
    """Ten deaths in a row before the first answer: all workers are stopped, exit 70."""
    with Daemon(f"[worker.a]\n{SLEEP}") as daemon:
        pid = daemon.wait_state("a", "running")["pid"]
        daemon.exit_status = 70
        assert daemon.process is not None

        for child in _supervisors(daemon):
            os.kill(child, signal.SIGKILL)

        assert daemon.process.wait(30) == 70
        assert not leftovers.is_alive(pid)
        assert "supervisor.given_up" in daemon.output()


def _supervisors(daemon: Daemon) -> Iterator[int]:
    """Yield each new supervisor the moment it is there, until the daemon has ended."""
    assert daemon.process is not None
    keeper = daemon.keeper_pid
    seen: set[int] = set()
    while daemon.process.poll() is None:
        try:
            children = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
        except OSError:
            return
        for child in map(int, children):
            try:
                words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"supervisor" in words and child not in seen:
                seen.add(child)
                yield child


def test_workers_stay_when_both_of_the_daemons_processes_die_together() -> None:
    """Supervisor and scribe killed in the same moment: pids kept, output goes on."""
    script = "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.01; done"
    with Daemon(f"[worker.a]\ncommand = ['/bin/sh', '-c', '{script}']\n") as daemon:
        pid = daemon.wait_state("a", "running")["pid"]
        for _ in range(20):
            os.kill(daemon.supervisor_pid, signal.SIGKILL)
            os.kill(daemon.scribe_pid, signal.SIGKILL)
            count = len(daemon.log("a").splitlines())
            wait_until(partial(_has_more_lines, daemon, count), what="more lines")
            wait_until(daemon.answers, what="an answer")

        assert daemon.workers()["a"]["pid"] == pid
        lines = daemon.log("a").splitlines()
        assert lines == [f"line {n}" for n in range(1, len(lines) + 1)]


def test_a_stopped_scribe_is_replaced() -> None:
    """One that does not answer is killed, and the output that waited meanwhile arrives."""
    script = "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.01; done"
    with Daemon(f"[worker.a]\ncommand = ['/bin/sh', '-c', '{script}']\n") as daemon:
        pid = daemon.wait_state("a", "running")["pid"]
        old = daemon.scribe_pid
        os.kill(old, signal.SIGSTOP)

        # Whoever asks makes the keeper look; but an answer from before the stop may be on its way.
        wait_until(
            lambda: daemon.workers() and not leftovers.is_alive(old),
            what="it is killed",
            timeout_s=60,
        )

        count = len(daemon.log("a").splitlines())
        wait_until(partial(_has_more_lines, daemon, count), what="more lines")
        assert daemon.workers()["a"]["pid"] == pid
        lines = daemon.log("a").splitlines()
        assert lines == [f"line {n}" for n in range(1, len(lines) + 1)]


@pytest.mark.parametrize("role", ["supervisor", "scribe"])
def test_any_signal_may_kill_the_daemons_own_processes(role: str) -> None:
    """Real-time signals have no name in Python, and kill like any other."""
    with Daemon(f"[worker.a]\n{SLEEP}") as daemon:
        pid = daemon.wait_state("a", "running")["pid"]
        old = daemon.supervisor_pid if role == "supervisor" else daemon.scribe_pid

        os.kill(old, signal.SIGRTMIN + 1)

        wait_until(lambda: not leftovers.is_alive(old), what="it is dead")
        wait_until(daemon.answers, what="an answer")
        assert daemon.workers()["a"]["pid"] == pid


def test_asking_twice_for_a_shutdown_is_asking_once() -> None:
    """A client that repeats its request takes nobody's time to end; a second signal does."""
    script = 'trap "sleep 1; echo ended well; exit 0" TERM; echo up; while :; do sleep 0.05; done'
    text = f"[worker.a]\ncommand = ['/bin/sh', '-c', '{script}']\n"
    with Daemon(text) as daemon:
        wait_until(lambda: "up" in daemon.log("a"), what="it is up")
        daemon.ctl("shutdown", "--no-wait", check=True)
        daemon.ctl("shutdown", check=True)

        assert daemon.process is not None
        assert daemon.process.wait(10) == 0
        assert daemon.log("a").split() == ["up", "ended", "well"]


def test_a_worker_that_ends_well_again_and_again_holds_nobody_up() -> None:
    """The daemon is ready when everybody has been ready once or has had their chance."""
    text = "[worker.a]\ncommand = ['/bin/true']\nrestart = 'always'\nbackoff.min = '50ms'\n"
    text += "[worker.b]\ncommand = ['/nonexistent']\n"
    with Daemon(text) as daemon:
        wait_until(lambda: daemon.status()["supervisor"]["state"] == "running", what="it is ready")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_are_no_trouble(closed: str) -> None:
    """A daemon started without stdin, stdout or stderr works as any other."""
    daemon = Daemon(f"[worker.a]\n{SLEEP}")
    command = f'exec "$@" run -c {daemon.config} {closed}'
    daemon.process = subprocess.Popen(
        ["sh", "-c", command, "sh", *daemon.argv], env=daemon.environment, cwd=daemon.folder
    )
    wait_until(daemon.answers, what="an answer")
    daemon.wait_state("a", "running")

    assert daemon.stop() == 0
