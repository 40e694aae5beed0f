"""What survives what: the supervisor's death, the keeper's, a stop, an escalation."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support import leftovers
from tests.support.daemon import Daemon
from tests.support.roles import has_role
from tests.support.wait import wait_until

pytestmark = pytest.mark.process

FILE = "carry.json"
LIVES = 'command = ["sleep", "1000"]\nready = "20ms"\n'
FAILS = (
    'command = ["/bin/sh", "-c", "exit 3"]\nmax_restarts = 2\n'
    'backoff.min = "20ms"\nbackoff.max = "20ms"\n'
)
WORKERS = f"[worker.bad]\n{FAILS}[worker.web]\n{LIVES}[worker.pool]\n{LIVES}[worker.db]\n{LIVES}"


def file_of(daemon: Daemon) -> Path:
    return daemon.folder / "state" / FILE


def content_of(daemon: Daemon) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(file_of(daemon).read_text())
    except FileNotFoundError:
        return {"records": [], "sizes": {}}
    return content


def is_written(daemon: Daemon) -> bool:
    content = content_of(daemon)
    words = {each["pool"]: each["state"]["is"] for each in content["records"]}
    return words == {"bad": "tripped", "web": "stopped"} and content["sizes"] == {"pool": [3, 1]}


def make_it_special(daemon: Daemon) -> None:
    """Let one trip, stop one, and give one another size; wait until that is on the disk."""
    daemon.wait_state("bad", "tripped")
    daemon.wait_state("web", "running")
    daemon.ctl("stop", "web", check=True)
    daemon.ctl("scale", "pool=3", check=True)
    wait_until(lambda: is_written(daemon), what="the state is written")


def kill_keeper(daemon: Daemon) -> None:
    """Kill the main process, and then everybody else."""
    assert daemon.process is not None
    os.kill(daemon.keeper_pid, signal.SIGKILL)
    daemon.process.wait(10)
    # A service manager kills what is left in the cgroup.
    leftovers.kill(daemon.marked_pids())
    wait_until(lambda: not daemon.marked_pids(), what="no worker of the daemon lives")
    wait_until(lambda: not is_listening(daemon), what="its supervisor has left")


def is_listening(daemon: Daemon) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(daemon.control_path)) == 0


def states(daemon: Daemon) -> dict[str, str]:
    return {worker["name"]: worker["state"] for worker in daemon.status()["workers"]}


def special(daemon: Daemon) -> bool:
    now = states(daemon)
    return now == {
        "bad": "tripped", "web": "stopped", "pool-1": "running", "pool-2": "running",
        "pool-3": "running", "db": "running",
    }  # fmt: skip


def as_in_the_file(daemon: Daemon) -> bool:
    now = states(daemon)
    return now == {"bad": "tripped", "web": "running", "pool": "running", "db": "running"}


def test_a_keeper_that_is_killed_leaves_breakers_stops_and_sizes() -> None:
    """Twice in a row; and what a supervisor's death leaves is the same."""
    with Daemon(WORKERS) as daemon:
        make_it_special(daemon)
        for _ in range(2):
            kill_keeper(daemon)
            daemon.start()
            wait_until(lambda: special(daemon), what="all is as it was")
            bad = daemon.workers()["bad"]
            assert (bad["breaker"], bad["failures_in_window"], bad["run"]) == ("open", 2, 0)
            wait_until(lambda: is_written(daemon), what="the state is written again")
        event = daemon.events("state.restored")[-1]
        assert (event["tripped"], event["stopped"], event["scaled"]) == (1, 1, 1)

        daemon.kill_supervisor()
        wait_until(lambda: special(daemon), what="all is as it was")

        daemon.ctl("reset", "bad", check=True)
        daemon.ctl("start", "web", check=True)
        daemon.ctl("scale", "pool=1", check=True)


@pytest.mark.parametrize("how", ["shutdown", "SIGTERM", "SIGTERM while the supervisor dies"])
def test_a_service_that_was_stopped_leaves_nothing(how: str) -> None:
    """Whoever stops it begins anew with the next start."""
    with Daemon(WORKERS) as daemon:
        make_it_special(daemon)
        assert daemon.process is not None
        if how == "shutdown":
            daemon.ctl("shutdown", check=True)
        else:
            os.kill(daemon.keeper_pid, signal.SIGTERM)
        if "dies" in how:
            daemon.kill_supervisor()
        assert daemon.process.wait(20) == 0
        left = sorted(os.listdir(daemon.folder / "state"))
        assert left == ["effective.toml", "events.jsonl", "lock"]

        daemon.start()
        wait_until(lambda: as_in_the_file(daemon), what="all begins anew")
        assert not daemon.events("state.restored")


def test_an_escalation_leaves_nothing() -> None:
    """Exit 75: systemd starts it again, with every breaker closed."""
    script = "[ -e @DIR@/bad ] && exit 9; exec sleep 1000"
    critical = (
        f"[worker.core]\ncommand = {json.dumps(['/bin/sh', '-c', script])}\ncritical = true\n"
        'max_restarts = 1\nbackoff.min = "20ms"\nbackoff.max = "20ms"\n'
    )
    with Daemon(WORKERS + critical) as daemon:
        make_it_special(daemon)
        (daemon.folder / "bad").touch()
        os.kill(daemon.wait_state("core", "running")["pid"], signal.SIGKILL)
        assert daemon.process is not None
        assert daemon.process.wait(20) == 75
        assert not file_of(daemon).exists()
        (daemon.folder / "bad").unlink()

        daemon.start()
        wait_until(lambda: states(daemon)["web"] == "running", what="web is started")
        assert daemon.workers()["core"]["breaker"] == "closed"


def test_a_file_that_changed_meanwhile_is_the_one_that_counts() -> None:
    """What was mended is started; a stop by hand holds; a new size of the file wins."""
    with Daemon(WORKERS) as daemon:
        make_it_special(daemon)
        kill_keeper(daemon)
        daemon.write(
            f"[worker.bad]\n{LIVES}[worker.web]\n{LIVES}nice = 1\n"
            f"[worker.pool]\n{LIVES}pool_size = 2\n"
        )
        daemon.start()
        wait_until(
            lambda: (
                states(daemon)
                == {"bad": "running", "web": "stopped", "pool-1": "running", "pool-2": "running"}
            ),
            what="the new file is in force, and web is stopped",
        )


@pytest.mark.parametrize("damage", ["", "{", "records", "specs", "tries"])
def test_a_damaged_file_keeps_nobody_from_starting(damage: str) -> None:
    """It is told on stderr, taken away, and all begins anew."""
    with Daemon(WORKERS) as daemon:
        make_it_special(daemon)
        kill_keeper(daemon)
        text = damage
        if len(damage) > 1:
            text = json.dumps({**content_of(daemon), damage: [{"pool": "web"}]})
        file_of(daemon).write_text(text)
        daemon.start()
        wait_until(lambda: as_in_the_file(daemon), what="all begins anew")
        assert "what the last daemon left is not used" in daemon.output()
        assert content_of(daemon)["sizes"] == {}


def test_what_an_earlier_daemon_s_child_wrote_late_is_nobody_s() -> None:
    """The file of a life that is not the last one's was written when its keeper was gone."""
    with Daemon(WORKERS) as daemon:
        make_it_special(daemon)
        late = file_of(daemon).read_text()
        assert daemon.stop() == 0
        daemon.start()
        daemon.wait_state("web", "running")
        kill_keeper(daemon)
        file_of(daemon).write_text(late)
        daemon.start()
        wait_until(lambda: as_in_the_file(daemon), what="all begins anew")


def test_a_writer_that_was_held_up_never_writes_after_a_successor() -> None:
    """It dies with its supervisor, however far it had come."""
    with Daemon(f"[worker.web]\n{LIVES}") as daemon:
        daemon.wait_state("web", "running")
        held: list[psutil.Process] = []
        holder = threading.Thread(target=hold_writer, args=(daemon.supervisor_pid, held))
        holder.start()
        daemon.ctl("stop", "web", check=True)
        holder.join()
        opened = Path(f"/proc/{held[0].pid}/fd")
        sockets = {each.name for each in opened.iterdir() if "socket:" in os.readlink(each)}
        assert sockets <= {"0", "1"}, "it has descriptors of its supervisor"
        daemon.kill_supervisor()
        daemon.ctl("start", "web", check=True)
        with contextlib.suppress(psutil.NoSuchProcess):
            held[0].resume()
        wait_until(lambda: not held[0].is_running(), what="it has ended")
        wait_until(lambda: not (writers(daemon) or file_of(daemon).exists()), what="it is removed")
        kill_keeper(daemon)
        daemon.start()
        daemon.wait_state("web", "running")


def writers(daemon: Daemon) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for each in psutil.Process(daemon.keeper_pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended since
            found += [each] if has_role(each, "carry") else []
    return found


def hold_writer(parent_pid: int, held: list[psutil.Process]) -> None:
    """Stop the next child that writes, as soon as it is there."""

    # Only who is new is looked at: a look at everybody takes longer than a writer on a busy box.
    known = set(psutil.pids())

    def is_held() -> bool:
        for pid in set(psutil.pids()) - known:
            with contextlib.suppress(psutil.Error):
                child = psutil.Process(pid)
                if child.ppid() == parent_pid and has_role(child, "carry"):
                    child.suspend()
                    held.append(child)
                    return True
        return False

    wait_until(is_held, what="a child that writes", every_s=0.0005)


def test_a_start_that_is_refused_forgets_nothing() -> None:
    """A control socket that cannot be made: mended, and started again."""
    with Daemon(WORKERS) as daemon:
        make_it_special(daemon)
        kill_keeper(daemon)
        daemon.control_path.unlink()
        daemon.control_path.write_text("in the way")
        argv = [*daemon.argv, "run", "-c", str(daemon.config)]
        refused = subprocess.run(
            argv, env=daemon.environment, capture_output=True, text=True, check=False
        )
        assert refused.returncode == 77
        daemon.control_path.unlink()
        daemon.start()
        wait_until(lambda: special(daemon), what="all is as it was")


def test_a_start_that_is_killed_forgets_nothing() -> None:
    """At any moment, up to the first words of the supervisor."""
    with Daemon(WORKERS) as daemon:
        make_it_special(daemon)
        for _ in range(2):
            kill_keeper(daemon)
            daemon.start()
        wait_until(lambda: special(daemon), what="all is as it was")


def test_a_stop_that_was_under_way_is_a_stop() -> None:
    """Long before it is complete."""
    stubborn = "trap '' TERM; while :; do sleep 0.05; done"
    slow = f"command = {json.dumps(['/bin/sh', '-c', stubborn])}\nstop_timeout = '60s'\n"
    with Daemon(f"[worker.slow]\n{slow}ready = '20ms'\n[worker.web]\n{LIVES}") as daemon:
        daemon.wait_state("slow", "running")
        daemon.ctl("stop", "slow", "--no-wait", check=True)
        wait_until(lambda: bool(content_of(daemon)["records"]), what="the state is written")
        kill_keeper(daemon)
        daemon.start()
        daemon.wait_state("web", "running")
        assert states(daemon)["slow"] == "stopped"


def test_a_file_that_cannot_be_written_costs_a_line_and_never_the_stop() -> None:
    """Told once, tried again later; the end does not wait for it."""
    with Daemon(WORKERS) as daemon:
        file_of(daemon).mkdir()
        daemon.ctl("stop", "web", check=True)
        wait_until(lambda: bool(daemon.events("carry.not_written")), what="it is told")
        daemon.ctl("start", "web", check=True)
        assert daemon.stop() == 0
        file_of(daemon).rmdir()
        daemon.start()
        daemon.wait_state("web", "running")
