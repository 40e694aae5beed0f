"""No worker outlives its stop: fifty hostile trees, with a cgroup and without one."""

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support import cgroups, leftovers
from tests.support.daemon import MODULE, Daemon
from tests.support.wait import wait_until

pytestmark = [pytest.mark.process, pytest.mark.slow]

TREES = 50

#: Ignores TERM; leaves a child, a child in its own session, and a double-forked one, all deaf.
_HOSTILE = r"""
import os, signal, sys, time
if len(sys.argv) > 2:
    sys.argv[1] += "-" + os.environ["INVOCATION_ID"]
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)

def deaf(what):
    with open(sys.argv[1], "a") as file:
        file.write(f"{os.getpid()} {what}\n")
    while True:
        time.sleep(1000)

if os.fork() == 0:
    deaf("child")
if os.fork() == 0:
    os.setsid()
    deaf("session")
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        deaf("double")
    os._exit(0)
os.wait()
if len(sys.argv) > 2:
    mine = sys.argv[1]
    while not os.path.exists(mine) or len(open(mine).read().splitlines()) < 3:
        time.sleep(0.005)
    os._exit(int(sys.argv[2]))
deaf("leader")
"""

#: Runs a command where the cgroup file systems are read-only: nothing can be made there.
_REMOUNT = (
    "for m in $(awk '$3 ~ /^cgroup/ {print $2}' /proc/self/mounts); do"
    ' mount -o remount,bind,ro "$m"; done; exec "$@"'
)
_WITHOUT_CGROUPS = ("unshare", "--mount", "--propagation", "private", "sh", "-c", _REMOUNT, "sh")


def _daemon(kind: str, text: str) -> Daemon:
    if kind == "cgroup" and cgroups.own() is None:
        pytest.skip("needs a cgroup v2 mount that may be written")
    if kind == "cgroup" and not os.access(str(cgroups.own()), os.W_OK):
        pytest.skip("needs a cgroup v2 mount that may be written")
    argv: Sequence[str] = MODULE
    if kind == "bare" and os.geteuid() == 0:
        argv = (*_WITHOUT_CGROUPS, *MODULE)
    daemon = Daemon(text, argv=argv)
    (daemon.folder / "hostile.py").write_text(_HOSTILE)
    return daemon


def _command(*more: str) -> str:
    words = [sys.executable, "-I", "-S", "@DIR@/hostile.py", "@DIR@/pids-%i", *more]
    return f"command = {json.dumps(words)}\n"


def _pids(folder: Path, index: int) -> list[int]:
    """Return who has written down its pid, in every run of one instance."""
    lines = [
        line
        for path in [folder / f"pids-{index}", *folder.glob(f"pids-{index}-*")]
        if path.exists()
        for line in path.read_text().splitlines()
    ]
    return [int(line.split()[0]) for line in lines if len(line.split()) == 2]


@pytest.mark.parametrize("kind", ["cgroup", "bare"])
def test_stopped_is_said_when_the_whole_tree_is_gone(kind: str) -> None:
    """TERM ignored, setsid, double fork: after `stop` none of 200 processes lives."""
    text = f"[worker.tree]\n{_command()}pool_size = {TREES}\nstop_timeout = '200ms'\n"
    with _daemon(kind, text) as daemon:
        wait_until(
            lambda: all(len(_pids(daemon.folder, i)) == 4 for i in range(1, TREES + 1)),
            what="every tree has grown",
            timeout_s=60,
        )
        assert ("cgroups=yes" in daemon.output() or '"cgroups": "yes"' in daemon.output()) == (
            kind == "cgroup"
        )
        everybody = [pid for i in range(1, TREES + 1) for pid in _pids(daemon.folder, i)]

        daemon.ctl("stop", "tree", check=True, timeout_s=60)

        # At this moment, without waiting: `stopped` has been said.
        assert [pid for pid in everybody if leftovers.is_alive(pid)] == []
        states = {worker["state"] for worker in daemon.workers().values()}
        assert states == {"stopped"}


@pytest.mark.parametrize("kind", ["cgroup", "bare"])
def test_what_a_crashed_worker_leaves_is_gone_before_its_next_start(kind: str) -> None:
    """The next run never meets a survivor of the one before."""
    text = (
        f"[worker.tree]\n{_command('9')}pool_size = 4\nbackoff.min = '10ms'\nbackoff.max = '10ms'\n"
        "max_restarts = 6\n"
    )
    with _daemon(kind, text) as daemon:
        for i in range(1, 5):
            daemon.wait_state(f"tree-{i}", "tripped", timeout_s=30)
        everybody = [pid for i in range(1, 5) for pid in _pids(daemon.folder, i)]

        assert len(everybody) == 4 * 6 * 3
        assert [pid for pid in everybody if leftovers.is_alive(pid)] == []
        assert all(w["last_exit"]["code"] == 9 for w in daemon.workers().values())


@pytest.mark.parametrize("kind", ["cgroup", "bare"])
def test_a_neighbours_children_are_left_alone(kind: str) -> None:
    """Ending one tree touches no process of another, double-forked ones included."""
    text = f"[worker.tree]\n{_command()}pool_size = 2\nstop_timeout = '100ms'\n"
    with _daemon(kind, text) as daemon:
        wait_until(
            lambda: all(len(_pids(daemon.folder, i)) == 4 for i in (1, 2)), what="both have grown"
        )

        daemon.ctl("stop", "tree-1", check=True)

        assert not any(map(leftovers.is_alive, _pids(daemon.folder, 1)))
        assert all(map(leftovers.is_alive, _pids(daemon.folder, 2)))


@pytest.mark.parametrize("kind", ["cgroup", "bare"])
def test_a_killed_supervisor_in_the_middle_of_a_stop_leaves_nothing(kind: str) -> None:
    """The stop goes on under the next supervisor, and ends as it would have."""
    text = f"[worker.tree]\n{_command()}pool_size = 5\nstop_timeout = '1s'\n"
    with _daemon(kind, text) as daemon:
        wait_until(
            lambda: all(len(_pids(daemon.folder, i)) == 4 for i in range(1, 6)), what="all grown"
        )
        everybody = [pid for i in range(1, 6) for pid in _pids(daemon.folder, i)]
        daemon.ctl("stop", "tree", "--no-wait", check=True)

        os.kill(daemon.supervisor_pid, signal.SIGKILL)

        for i in range(1, 6):
            daemon.wait_state(f"tree-{i}", "stopped")
        assert not any(map(leftovers.is_alive, everybody))
