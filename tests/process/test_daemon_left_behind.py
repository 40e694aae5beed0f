"""A main process that is killed leaves nothing that the next `run` meets: never two of one slot."""

import json
import os
import random  # noqa: TID251  # seeded, and the seed is printed
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from supervisord_lite.keeper.traces import RECORD_BYTES, now_ns, record, records
from tests.support import cgroups, leftovers
from tests.support.daemon import MODULE, Daemon
from tests.support.wait import pass_random_time, wait_until

pytestmark = pytest.mark.process

#: How often the main process is killed at random; the count of the suite is for every day.
KILLS = int(os.environ.get("SDL_KEEPER_KILLS", "3"))
#: Every process of a slot has the slot's lock while it lives, grandchildren too. Whoever finds it
#: taken is the second one, and says so.
_ONE = """
import fcntl, os, signal, sys, time

def take(folder, name):
    lock = os.open(f"{folder}/{name}.one", os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(lock, True)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        with open(f"{folder}/doubles", "a") as file:
            file.write(f"{name} {os.getpid()}\\n")

def grow():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)
            time.sleep(1000)
        os._exit(0)
    os.wait()

def forked(folder):
    take(folder, os.environ["SUPERVISORD_LITE_NAME"])
    grow()
    time.sleep(1000)

if __name__ == "__main__":
    name, how, folder = os.environ.get("SUPERVISORD_LITE_NAME", "bare"), *sys.argv[1:3]
    take(folder, name)
    if how == "brief":
        time.sleep(float.fromhex("0x1p-5"))
        os._exit(0)
    if how == "clean":
        os.execve("/bin/sleep", ["sleep", "1000"], {})
    if how == "says":
        for number in range(1 << 30):
            print(name, number, flush=True)
            time.sleep(float.fromhex("0x1p-6"))
    grow()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(1000)
"""
_REMOUNT = (
    "for m in $(awk '$3 ~ /^cgroup/ {print $2}' /proc/self/mounts); do"
    ' mount -o remount,bind,ro "$m"; done; exec "$@"'
)
_BARE = ("unshare", "--mount", "--propagation", "private", "sh", "-c", _REMOUNT, "sh")
_QUICK = "ready = 'spawned'\nstop_timeout = '100ms'\nbackoff.min = '10ms'\nbackoff.max = '20ms'\n"
SLEEP = f"command = ['sleep', '1000']\n{_QUICK}"


def one(name: str, how: str, more: str = "") -> str:
    words = json.dumps([sys.executable, "-IS", "@DIR@/one.py", how, "@DIR@"])
    return f"[worker.{name}]\ncommand = {words}\n{_QUICK}max_restarts = 1000\n{more}"


WORKERS = (
    one("deaf", "deaf", "pool_size = 2\n")
    + one("clean", "clean")
    + one("says", "says")
    + "[worker.rank]\npython = 'one:forked'\nconfig.folder = '@DIR@'\ndirectory = '@DIR@'\n"
    f"pool_size = 2\n{_QUICK}environment.PYTHONDONTWRITEBYTECODE = '1'\n"
)


@pytest.fixture(params=["cgroup", "bare"])
def argv(request: pytest.FixtureRequest) -> tuple[str, ...]:
    if request.param == "bare":
        if os.geteuid() != 0:
            pytest.skip("needs root: hides cgroups")
        return (*_BARE, *MODULE)
    own = cgroups.own()
    if own is None or not os.access(own, os.W_OK):
        pytest.skip("needs a cgroup v2 mount that may be written")
    return MODULE


@pytest.fixture
def bare() -> tuple[str, ...]:
    if os.geteuid() != 0:
        pytest.skip("needs root: hides cgroups")
    return (*_BARE, *MODULE)


def a_daemon(workers: str, argv: tuple[str, ...]) -> Daemon:
    daemon = Daemon(workers, argv=argv)
    (daemon.folder / "one.py").write_text(_ONE)
    return daemon


def kill_keeper(daemon: Daemon) -> None:
    assert daemon.process is not None
    os.kill(daemon.keeper_pid, signal.SIGKILL)
    daemon.process.wait(10)


def start(daemon: Daemon) -> None:
    """Start it, and wait for its own answer: a supervisor of before may not have left yet."""
    daemon.start()

    def is_its_own() -> bool:
        try:
            told = daemon.call("io.supervisordlite.Manager.Status", names=[])["supervisor"]
        except OSError:
            return False
        return bool(told["keeper_pid"] == daemon.keeper_pid)

    wait_until(is_its_own, what="the new one answers")


def last_exit(daemon: Daemon, name: str) -> Any:
    return daemon.workers()[name]["last_exit"]


def doubles(daemon: Daemon) -> str:
    path = daemon.folder / "doubles"
    return path.read_text() if path.exists() else ""


def all_run(daemon: Daemon) -> dict[str, int]:
    """Wait until all run; return their pids."""

    def running() -> dict[str, int] | None:
        found = {}
        for name, worker in daemon.workers().items():
            if worker["state"] != "running":
                return None
            found[name] = worker["pid"]
        return found

    return wait_until(running, what="all run", timeout_s=20)


def traces_of(daemon: Daemon) -> Path:
    return Path((daemon.folder / "state/lock").read_text().splitlines()[2])


def test_what_a_killed_daemon_leaves_has_ended_before_the_next_one_starts_anything(
    argv: tuple[str, ...],
) -> None:
    """Also who is deaf, has no environment, or is a fork; it is told, and no line is lost."""
    with a_daemon(WORKERS, argv) as daemon:
        all_run(daemon)
        wait_until(lambda: len(daemon.log("says").splitlines()) > 5, what="it has spoken")
        before = {pid for pid in daemon.marked_pids() if pid != daemon.keeper_pid}
        before |= set(all_run(daemon).values())
        own = {daemon.supervisor_pid, daemon.scribe_pid}
        kill_keeper(daemon)

        start(daemon)

        assert [pid for pid in before | own if leftovers.is_alive(pid)] == []
        all_run(daemon)
        assert doubles(daemon) == ""
        (told,) = daemon.events("daemon.cleared")
        assert told["held"] == 0
        assert told["ended"] >= told["killed"] >= 4 + 2, "the deaf, and what forks have left"
        why = daemon.ctl("why", "deaf-1", check=True).stdout
        assert "had been killed; ended" in why
        lines = daemon.log("says").splitlines()
        numbers = [int(line.split()[1]) for line in lines]
        again = len(numbers) - numbers[::-1].index(0) - 1
        assert numbers[:again] == list(range(again)), "the scribe has written what was said"
        assert traces_of(daemon).exists()
        path = traces_of(daemon)
        assert daemon.stop() == 0
        assert not path.exists()


def test_own_processes_that_were_stopped_are_ended_too(bare: tuple[str, ...]) -> None:
    """A supervisor and a scribe in SIGSTOP, which notice no end of anything."""
    with a_daemon(f"[worker.web]\n{SLEEP}", bare) as daemon:
        all_run(daemon)
        own = [daemon.supervisor_pid, daemon.scribe_pid]
        for pid in own:
            os.kill(pid, signal.SIGSTOP)
        kill_keeper(daemon)
        start(daemon)
        assert [pid for pid in own if leftovers.is_alive(pid)] == []


def line_for(pid: int, slot: str) -> bytes:
    """Return a line that says that *pid* is the leader of a slot, as a liar would write it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    born_ns = int(fields[19]) * (1_000_000_000 // os.sysconf("SC_CLK_TCK"))
    about = {"what": "run", "key": [slot, 1, 1], "name": slot, "marker": "0" * 32}
    return record(about, pid, born_ns, now_ns())


@pytest.fixture
def stranger() -> Iterator[int]:
    process = subprocess.Popen(["sleep", "1000"])
    yield process.pid
    process.kill()
    process.wait()


def test_whom_the_file_alone_accuses_is_not_ended_and_its_slot_waits(
    bare: tuple[str, ...], stranger: int
) -> None:
    """A lie, or a program that shows nothing of us: it lives, and there is no second one."""
    hides = "import os; os.execve('/bin/sleep', ['sleep', '1000'], {})"
    workers = (
        f"[worker.web]\n{SLEEP}[worker.db]\n{SLEEP}"
        f"[worker.hides]\ncommand = {json.dumps([sys.executable, '-ISc', hides])}\n{_QUICK}"
        "log.stdout = 'null'\nmax_restarts = 1000\n"
    )
    with a_daemon(workers, bare) as daemon:
        hidden = all_run(daemon)["hides"]
        environment = Path(f"/proc/{hidden}/environ")
        wait_until(lambda: not environment.read_bytes(), what="its environment is empty")
        kill_keeper(daemon)
        with traces_of(daemon).open("ab") as file:
            file.write(line_for(stranger, "web") + b"x" * RECORD_BYTES)

        start(daemon)

        wait_until(lambda: daemon.workers()["db"]["state"] == "running", what="db runs")
        for name, pid in (("web", stranger), ("hides", hidden)):
            end = wait_until(partial(last_exit, daemon, name), what="it fails")
            assert f"cannot be ended: pid {pid}" in end["reason"]
            assert leftovers.is_alive(pid)
        output = daemon.output()
        assert f"process {stranger} sleep is not ended: it does not show whose it is" in output
        assert "1 line of it cannot be read" in output

        # Killed once more, the daemon has not forgotten.
        kill_keeper(daemon)
        start(daemon)
        wait_until(lambda: daemon.workers()["hides"]["last_exit"], what="it fails again")
        os.kill(hidden, signal.SIGKILL)
        wait_until(lambda: daemon.workers()["hides"]["state"] == "running", what="it is started")
        assert leftovers.is_alive(stranger)


def test_who_runs_below_what_is_left_is_told_so(bare: tuple[str, ...]) -> None:
    """A shell in a worker: `run` there would end itself."""
    with a_daemon(f"[worker.web]\n{SLEEP}", bare) as daemon:
        web = all_run(daemon)["web"]
        words = Path(f"/proc/{web}/environ").read_bytes().split(b"\0")
        marker = next(word for word in words if word.startswith(b"INVOCATION_ID="))
        kill_keeper(daemon)
        done = subprocess.run(
            [*MODULE, "run", "-c", str(daemon.config)], capture_output=True, text=True, timeout=30,
            env={**daemon.environment, "INVOCATION_ID": marker.decode()[14:]}, check=False,
        )  # fmt: skip
        assert done.returncode == 77
        assert "this command runs below" in done.stderr
        assert leftovers.is_alive(web)
        start(daemon)
        assert not leftovers.is_alive(web)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts")
@pytest.mark.parametrize("sees", ["its file of traces", "its cgroups alone"])
def test_another_folder_of_the_same_path_takes_nothing_from_a_daemon_that_lives(sees: str) -> None:
    """Below a mount, say, or in a container: the lock of that folder is another one."""
    own = cgroups.own()
    if own is None or not os.access(own, os.W_OK):
        pytest.skip("needs a cgroup v2 mount that may be written")
    with Daemon(f"[worker.web]\n{SLEEP}") as daemon:
        pids = {*all_run(daemon).values(), daemon.supervisor_pid, daemon.scribe_pid}
        traces = traces_of(daemon).read_bytes()
        hidden = [f"{daemon.folder}/{name}" for name in ("state", "runtime", "c")]
        hidden += ["/dev/shm"] if sees == "its cgroups alone" else []
        mounts = "".join(f"mount -t tmpfs none {path} && " for path in hidden)
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", f'{mounts}exec "$@"', "sh", *MODULE, "run", "-c",
             str(daemon.config)],
            capture_output=True, text=True, timeout=30, env=daemon.environment, check=False,
        )  # fmt: skip
        assert done.returncode == 77, done.stderr
        said = " ".join(done.stderr.split())
        assert f"pid {daemon.keeper_pid} is a daemon that lives" in said
        assert "ending" not in done.stderr
        assert [pid for pid in pids if not leftovers.is_alive(pid)] == []
        assert {*all_run(daemon).values(), daemon.supervisor_pid, daemon.scribe_pid} == pids
        assert traces_of(daemon).read_bytes() == traces


def test_of_two_that_start_at_once_one_ends_it(bare: tuple[str, ...]) -> None:
    """The other one finds the folders taken."""
    with a_daemon(one("deaf", "deaf"), bare) as daemon:
        all_run(daemon)
        kill_keeper(daemon)
        command = [*bare, "run", "-c", str(daemon.config)]
        with (daemon.folder / "second").open("wb") as output:
            second = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=daemon.environment,
            )  # fmt: skip
        first = daemon.process
        try:
            with suppress(AssertionError):  # it may be the one that ends
                daemon.start()
            first = daemon.process
            assert first is not None
            wait_until(lambda: 77 in (first.poll(), second.poll()), what="one has ended")
            if first.poll() is not None:
                daemon.process = second
            wait_until(daemon.answers, what="the other one answers")
            all_run(daemon)
            assert doubles(daemon) == ""
        finally:
            if daemon.process is not second:
                second.kill()
                second.wait()


@pytest.mark.slow
def test_killed_at_any_moment_of_a_busy_life_it_never_leads_to_two_of_a_slot(
    argv: tuple[str, ...],
) -> None:
    """Starts, ends, forks and probes all the time; each slot has one process at most."""
    seed = random.randrange(1 << 32)
    sys.stderr.write(f"seed {seed}\n")
    rng = random.Random(seed)
    busy = WORKERS + one("brief", "brief", "pool_size = 4\nrestart = 'always'\n")
    busy += one("asked", "deaf", "health.exec = ['true']\nhealth.interval = '50ms'\n")
    with a_daemon(busy, argv) as daemon:
        for _ in range(KILLS):
            pass_random_time(rng, at_most_s=1.0)
            kill_keeper(daemon)
            start(daemon)
            assert doubles(daemon) == "", seed
        all_of_them_run(daemon)
        assert doubles(daemon) == "", seed
        lines, damaged = records(traces_of(daemon).read_bytes())
        assert (damaged, lines[0]["v"]) == (0, 1)


def all_of_them_run(daemon: Daemon) -> None:
    def running() -> bool:
        workers: dict[str, Any] = daemon.workers()
        return all(
            worker["state"] == "running" or name.startswith("brief")
            for name, worker in workers.items()
        )

    wait_until(running, what="all run", timeout_s=20)
