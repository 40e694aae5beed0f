"""What `status` says that workers use, against what the test reads in /proc itself."""

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from supervisord_lite.supervisor import sampling_child
from tests.support.daemon import Daemon
from tests.support.programs import PYTHON
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

STATUS = "io.supervisordlite.Manager.Status"
#: A leader with 40 MB that two children share with it, a thread, and open files.
SHARING = """
import os, signal, sys, threading
shared = bytearray(os.urandom(1 << 20) * 40)
files = [open("/dev/null") for _ in range(20)]
for _ in range(2):
    if os.fork() == 0:
        signal.pause()
threading.Thread(target=signal.sigwait, args=([signal.SIGUSR2],), daemon=True).start()
open(sys.argv[1], "w").close()
signal.pause()
"""
#: A leader whose child leaves its session, and whose parent dies: an orphan that the keeper adopts.
LEAVING = """
import os, signal, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        with open(sys.argv[1], "w") as file:
            file.write(str(os.getpid()))
        os.rename(sys.argv[1], sys.argv[1] + ".there")
        signal.pause()
    os._exit(0)
os.wait()
signal.pause()
"""


def python(name: str, script: str, more: str = "") -> str:
    """Return a worker that runs *script* with the path of a file that it makes when it is there."""
    command = json.dumps([*PYTHON, script, f"@DIR@/{name}"])
    return f"[worker.{name}]\ncommand = {command}\n{more}"


def keeper_pid(daemon: Daemon) -> int:
    """Return the pid of the main process."""
    assert daemon.process is not None
    return daemon.process.pid


def sampled(daemon: Daemon, name: str) -> dict[str, Any]:
    """Return what is known of a worker, looked at for this question."""
    found: dict[str, Any] = daemon.call(STATUS, names=[name], samples=True)["workers"][0]
    return found


def pss_bytes(pid: int) -> int:
    """Return what the kernel says of one process."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(pid)


def samplers(daemon: Daemon) -> list[psutil.Process]:
    """Return the children that look at processes for this daemon."""
    return [child for child in alive(daemon) if child.name() == "sdl-sampling"]


def alive(daemon: Daemon, *, zombies: bool = False) -> list[psutil.Process]:
    """Return the processes below the daemon that live, or those that nobody has reaped."""
    found = []
    for child in psutil.Process(keeper_pid(daemon)).children(recursive=True):
        try:
            is_zombie = child.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            continue
        if is_zombie == zombies:
            found.append(child)
    return found


def test_memory_is_what_the_kernel_says_shared_pages_counted_once() -> None:
    """40 MB that three processes share are 40 MB, and 120 as RSS; all of the tree is counted."""
    with Daemon(python("a", SHARING)) as daemon:
        wait_until((daemon.folder / "a").exists, what="it shares")
        daemon.wait_state("a", "running")
        found = sampled(daemon, "a")
        leader = psutil.Process(found["pid"])
        tree = [leader, *leader.children(recursive=True)]
        real = sum(pss_bytes(process.pid) for process in tree)

        assert len(tree) == found["processes"] == 3
        assert abs(found["pss_bytes"] - real) < 0.05 * real
        assert 40 << 20 < found["pss_bytes"] < 80 << 20
        assert found["rss_bytes"] > 110 << 20
        assert found["memory_bytes"] > 40 << 20
        assert found["threads"] == sum(process.num_threads() for process in tree) == 4
        assert found["fds"] == sum(process.num_fds() for process in tree) >= 60
        assert found["sampled_at_s"] > found["started_at_s"]

        (shown,) = daemon.status()["workers"]
        assert shown["pss_bytes"] > 40 << 20
        assert shown["sample_age_s"] < 5
        assert f" {round(shown['pss_bytes'] / (1 << 20))}M\n" in daemon.ctl("status").stdout
        metrics = daemon.ctl("metrics", check=True).stdout
        line = r'supervisord_lite_worker_proportional_memory_bytes\{worker="a",pool="a"\} (\d+)'
        (said,) = re.findall(line, metrics)
        assert int(said) > 40 << 20
        detail = daemon.ctl("status", "a").stdout
        assert f"pid {found['pid']} (tree of 3)   run 1" in detail
        assert f"fds {found['fds']}   threads 4" in detail


def test_cpu_is_that_of_the_tree_since_the_sample_before() -> None:
    """A worker that has slept since shows that it sleeps now."""
    script = "import os, sys, signal, time\nend = time.process_time() + 0.5\n"
    script += "while time.process_time() < end: pass\n"
    script += "open(sys.argv[1], 'w').close()\nsignal.pause()\n"
    with Daemon(python("a", script, "ready = 'spawned'\n")) as daemon:
        wait_until((daemon.folder / "a").exists, what="it has worked", timeout_s=30)
        first = sampled(daemon, "a")
        assert first["cpu_percent"] > 0
        later = wait_until(
            lambda: (
                (found := sampled(daemon, "a"))["sampled_at_s"] > first["sampled_at_s"] and found
            ),
            what="it is looked at again",
        )
        assert isinstance(later, dict)
        assert later["cpu_percent"] < 1.0


def test_who_has_left_the_session_still_belongs_to_the_tree() -> None:
    """An orphan in a session of its own counts with the worker that it came from."""
    with Daemon(python("a", LEAVING) + python("b", LEAVING)) as daemon:
        for name in ("a", "b"):
            wait_until((daemon.folder / f"{name}.there").exists, what=f"{name} has its orphan")
            daemon.wait_state(name, "running")
        for name in ("a", "b"):
            orphan = int((daemon.folder / f"{name}.there").read_text())
            assert psutil.Process(orphan).ppid() == keeper_pid(daemon)
            found = sampled(daemon, name)
            assert found["processes"] == 2

            # The same without a cgroup to go by.
            tree = {"pid": found["pid"], "pool": name, "index": 1, "cgroup": None}
            tree["spawned_at_s"] = found["started_at_s"]
            (loose,) = sampling_child.look({"trees": [tree], "close": True}, keeper_pid(daemon))
            assert loose is not None
            assert loose[5] == 2


def test_a_process_with_the_pid_of_a_leader_is_not_taken_for_it() -> None:
    """A leader is a child of the keeper, and not younger than its run."""
    with Daemon("[worker.a]\ncommand = ['/bin/sleep', '1000']\nready = 'spawned'\n") as daemon:
        daemon.wait_state("a", "running")
        found = sampled(daemon, "a")
        tree = {"pid": found["pid"], "pool": "a", "index": 1, "cgroup": "/no/such"}
        tree["spawned_at_s"] = found["started_at_s"]
        keeper = keeper_pid(daemon)
        (real,) = sampling_child.look({"trees": [tree]}, keeper)
        assert real is not None
        assert (real[0] > 0, real[1], real[3], real[5]) == (True, None, None, 1)
        assert sampling_child.look({"trees": [tree]}, os.getpid()) == [None]
        older = {**tree, "spawned_at_s": found["started_at_s"] - 100.0}
        gone = {**tree, "pid": 1 << 22}
        assert sampling_child.look({"trees": [older, gone]}, keeper) == [None, None]


def test_a_question_about_one_worker_leaves_the_others_their_own() -> None:
    """A status of one, just before, does not leave the others without memory and CPU."""
    sleep = "command = ['/bin/sleep', '1000']\nready = 'spawned'\n"
    with Daemon(f"[worker.a]\n{sleep}[worker.b]\n{sleep}") as daemon:
        for name in ("a", "b"):
            daemon.wait_state(name, "running")
        assert daemon.call(STATUS, names=["a"])["workers"][0]["rss_bytes"] is None
        daemon.ctl("restart", "a", check=True)
        assert sampled(daemon, "a")["rss_bytes"] > 0
        assert daemon.call(STATUS, names=["a"])["workers"][0]["rss_bytes"] > 0
        assert all(worker["rss_bytes"] > 0 for worker in daemon.status()["workers"])
        daemon.ctl("stop", "a", check=True)
        assert sampled(daemon, "a")["rss_bytes"] is None


@pytest.mark.slow
def test_nobody_looks_while_nobody_asks_and_who_looks_may_be_killed() -> None:
    """The child comes with a question, ends after it, and its death costs nobody an answer."""
    with Daemon("[worker.a]\ncommand = ['/bin/sleep', '1000']\nready = 'spawned'\n") as daemon:
        daemon.wait_state("a", "running")
        assert not samplers(daemon)
        assert sampled(daemon, "a")["rss_bytes"]
        (child,) = samplers(daemon)
        child.kill()
        wait_until(lambda: not samplers(daemon), what="it is dead")
        daemon.ctl("restart", "a", check=True)
        assert sampled(daemon, "a")["rss_bytes"]
        assert len(samplers(daemon)) == 1
        wait_until(lambda: not samplers(daemon), what="it has ended by itself", timeout_s=20)
        wait_until(lambda: not alive(daemon, zombies=True), what="it is reaped")


@pytest.mark.slow
def test_a_child_that_hangs_costs_a_late_answer_and_nothing_else() -> None:
    """Whoever asks is answered with what is known; supervision goes on meanwhile."""
    with Daemon("[worker.a]\ncommand = ['/bin/sleep', '1000']\nready = 'spawned'\n") as daemon:
        daemon.wait_state("a", "running")
        assert sampled(daemon, "a")["rss_bytes"]
        (child,) = samplers(daemon)
        child.suspend()
        daemon.ctl("restart", "a", check=True)
        assert daemon.call(STATUS, names=["a"], samples=True, timeout_s=30)["workers"][0]["pid"]
        assert sampled(daemon, "a")["rss_bytes"]
        child.kill()


def test_the_child_dies_with_its_supervisor() -> None:
    """A supervisor that is killed leaves nobody behind who looks at processes."""
    with Daemon("[worker.a]\ncommand = ['/bin/sleep', '1000']\nready = 'spawned'\n") as daemon:
        daemon.wait_state("a", "running")
        assert sampled(daemon, "a")["rss_bytes"]
        (child,) = samplers(daemon)
        os.kill(daemon.call(STATUS, names=[])["supervisor"]["pid"], signal.SIGKILL)
        wait_until(lambda: child not in samplers(daemon), what="the child has ended")
        wait_until(daemon.answers, what="another supervisor answers")
        assert sampled(daemon, "a")["rss_bytes"]
