"""Pools whose workers are forks of a warm interpreter, with the real daemon."""

import os
import random  # noqa: TID251  # seeded, and the seed is printed
import re
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.support.daemon import Daemon
from tests.support.wait import pass_random_time, wait_until

pytestmark = pytest.mark.process

RANK = """
from supervisord_lite.worker import context
import model

def rank(code=None):
    print("version", model.VERSION, flush=True)
    if code is not None:
        raise SystemExit(code)
    context.sleep(600)
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "rank.py").write_text(RANK)
    (tmp_path / "model.py").write_text("VERSION = 1\n")
    before = sys.dont_write_bytecode
    yield tmp_path
    sys.dont_write_bytecode = before


def pool(project: Path, keys: str = "", *, name: str = "rank", preload: str = '["model"]') -> str:
    """Return the table of a pool of three that preloads the model."""
    return (
        f'[worker.{name}]\npython = "rank:rank"\ndirectory = "{project}"\npreload = {preload}\n'
        f'environment.PYTHONDONTWRITEBYTECODE = "1"\n'
        + ("" if "pool_size" in keys else "pool_size = 3\n")
        + keys
        + "\n"
    )


def forkservers(daemon: Daemon) -> set[int]:
    """Return the pids of all forkservers."""
    found = set()
    for child in psutil.Process(daemon.keeper_pid).children():
        with suppress(psutil.Error):
            words = child.cmdline()
            if len(words) > 2 and words[1].endswith("boot.py") and words[2] == "warm":
                found.add(child.pid)
    return found


def pipes_of(pid: int) -> set[str]:
    """Return the pipes that a process has open."""
    links = {str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()}
    return {link for link in links if link.startswith("pipe:")}


def running(daemon: Daemon, count: int = 3, name: str = "rank") -> dict[str, int]:
    """Wait until a pool is up; return the pids by name."""
    for number in range(1, count + 1):
        daemon.wait_state(f"{name}-{number}", "running", timeout_s=60)
    workers = daemon.workers()
    return {f"{name}-{n}": workers[f"{name}-{n}"]["pid"] for n in range(1, count + 1)}


def versions(daemon: Daemon, name: str) -> list[str]:
    return re.findall(r"version (\d)", daemon.log(name))


def test_a_restart_whose_new_code_is_broken_touches_nobody(project: Path) -> None:
    """The old processes go on; the traceback is told; mended, all come from the new code."""
    with Daemon(pool(project)) as daemon:
        before = running(daemon)
        assert {each["forkserver"] for each in daemon.workers().values()} == {1}
        servers = forkservers(daemon)
        assert len(servers) == 1
        (project / "model.py").write_text("VERSION = {\n")

        done = daemon.ctl("restart", "rank")

        assert done.returncode == 1
        assert "\n  SyntaxError: '{' was never closed\n" in done.stderr
        assert "\\x0a" not in done.stderr
        assert "model.py" in done.stderr
        assert running(daemon) == before
        assert forkservers(daemon) == servers

        (project / "model.py").write_text("VERSION = 2\n")
        daemon.ctl("restart", "rank", check=True)

        after = running(daemon)
        assert not set(after.values()) & set(before.values())
        assert {each["forkserver"] for each in daemon.workers().values()} == {3}
        assert "run 2 of import 3" in daemon.ctl("status", "rank-3", check=True).stdout
        said = {"rank-1": ["1", "2"], "rank-3": ["1", "2"]}  # the first has the imports' words too
        wait_until(lambda: {n: versions(daemon, n) for n in said} == said, what="they have said so")
        (server,) = forkservers(daemon) - servers
        assert not pipes_of(server)
        wait_until(lambda: len(forkservers(daemon)) == 1, what="the old one has ended")
        assert forkservers(daemon) != servers


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ("import nowhere_at_all\n", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("import os; os._exit(0)\n", "rank:rank: its import ended the process"),
        ("def other(): ...\n", 'rank has no "rank"'),
    ],
    ids=["import", "exit", "name"],
)
def test_a_target_that_nobody_preloads_is_tried_before_a_restart(
    project: Path, broken: str, told: str
) -> None:
    """A child of the new server imports it, and nobody is stopped where that fails."""
    with Daemon(pool(project, preload="[]")) as daemon:
        before = running(daemon)
        (project / "rank.py").write_text(broken)
        done = daemon.ctl("restart", "rank")
        assert done.returncode == 1
        assert told in " ".join(done.stderr.split()), done.stderr
        assert running(daemon) == before
        (project / "rank.py").write_text(RANK)
        daemon.ctl("restart", "rank", check=True)
        assert not set(running(daemon).values()) & set(before.values())


def test_a_target_that_needs_what_a_server_has_not_is_not_tried(project: Path) -> None:
    """A variable of its instance, when it is imported: a restart works all the same."""
    keys = 'environment.SHARD = "%i"\n'
    (project / "rank.py").write_text(f"import os\nos.environ['SHARD']\n{RANK}")
    with Daemon(pool(project, keys, preload="[]")) as daemon:
        before = running(daemon)
        daemon.ctl("restart", "rank", check=True)
        assert not set(running(daemon).values()) & set(before.values())


def test_a_restart_that_swaps_comes_from_the_new_code(project: Path) -> None:
    """The new ones stand beside the old ones for a while, each from its own import."""
    with Daemon(pool(project, "max_surge = 1")) as daemon:
        before = running(daemon)
        (project / "model.py").write_text("VERSION = 2\n")
        daemon.ctl("restart", "rank", check=True)
        wait_until(lambda: not set(running(daemon).values()) & set(before.values()), what="all new")
        assert {each["forkserver"] for each in daemon.workers().values()} == {2}
        wait_until(lambda: len(forkservers(daemon)) == 1, what="the old one has ended")


def test_a_crash_starts_what_had_been_running(project: Path) -> None:
    """Whatever is on the disk by now; a stop and a start go by the disk."""
    with Daemon(pool(project, 'backoff.min = "10ms"')) as daemon:
        before = running(daemon)
        (project / "model.py").write_text("VERSION = 2\n")
        os.kill(before["rank-1"], signal.SIGKILL)
        wait_until(lambda: versions(daemon, "rank-1") == ["1", "1"], what="it was started again")

        daemon.ctl("stop", "rank", check=True)
        wait_until(lambda: not forkservers(daemon), what="nobody needs it")
        daemon.ctl("start", "rank", check=True)

        running(daemon)
        wait_until(lambda: versions(daemon, "rank-1") == ["1", "1", "2"], what="it is new")


def test_a_reload_builds_before_it_stops(project: Path) -> None:
    """Another preload that is broken is refused as a whole; a good one replaces them all."""
    with Daemon(pool(project)) as daemon:
        before = running(daemon)
        (project / "other.py").write_text("raise RuntimeError('not today')\n")
        daemon.write(pool(project, preload='["model", "other"]'))

        done = daemon.ctl("reload")

        assert done.returncode != 0
        assert "RuntimeError: not today" in done.stdout + done.stderr
        assert running(daemon) == before

        (project / "other.py").write_text("")
        daemon.ctl("reload", check=True)
        wait_until(lambda: not set(running(daemon).values()) & set(before.values()), what="all new")
        assert len(daemon.events("config.reloaded")) == 1
        wait_until(lambda: len(forkservers(daemon)) == 1, what="the old one has ended")
        assert (daemon.folder / "state" / "effective.toml").read_text().count('"other"') == 1

        daemon.write('[worker.other]\ncommand = ["sleep", "600"]\n')
        daemon.ctl("reload", check=True)
        wait_until(lambda: not forkservers(daemon), what="nobody needs it")


def test_preload_that_fails_is_told_with_its_words(project: Path) -> None:
    """As a failed start of stage "preload", tried again; the whole traceback is in the log."""
    (project / "model.py").write_text("import nowhere_to_be_found\n")
    with Daemon(pool(project, 'backoff.max = "50ms"\nbackoff.min = "50ms"')) as daemon:
        last = daemon.wait_state("rank-2", "backoff", "tripped")["last_exit"]
        assert "preload" in last["reason"]
        assert "ModuleNotFoundError: No module named 'nowhere_to_be_found'" in last["reason"]
        wait_until(lambda: "Traceback" in daemon.log("rank-1"), what="the log has it")
        (project / "model.py").write_text("VERSION = 1\n")
        daemon.wait_state("rank-3", "tripped", "running")
        daemon.ctl("reset", "all", check=True)
        running(daemon)


def test_a_stop_does_not_wait_for_imports_that_hang(project: Path) -> None:
    (project / "model.py").write_text("import time\ntime.sleep(600)\n")
    with Daemon(pool(project)) as daemon:
        wait_until(lambda: forkservers(daemon), what="it imports")
        daemon.ctl("stop", "rank", check=True)
        wait_until(lambda: not forkservers(daemon), what="nobody needs it")


def test_imports_that_hang_are_failed_starts(project: Path) -> None:
    (project / "model.py").write_text("import time\ntime.sleep(600)\n")
    with Daemon(pool(project, 'start_timeout = "300ms"')) as daemon:
        last = daemon.wait_state("rank-1", "backoff", "tripped")["last_exit"]
        assert "preload" in last["reason"]
        assert "not ready after 0.3s" in last["reason"]


def test_supervisors_come_and_go_while_workers_are_being_forked(project: Path) -> None:
    """Whoever asks, and whoever asks again: each is started once, and none is lost."""
    (project / "model.py").write_text("import time\ntime.sleep(0.5)\nVERSION = 1\n")
    seed = int(os.environ.get("SDL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    sys.stderr.write(f"SDL_SEED={seed}\n")
    rng = random.Random(seed)
    with Daemon(pool(project, "pool_size = 40")) as daemon:
        for _ in range(4):
            pass_random_time(rng, at_most_s=0.4)
            daemon.kill_supervisor()
        pids = running(daemon, 40)
        assert len(set(pids.values())) == 40
        once = lambda: all(versions(daemon, name) == ["1"] for name in pids)  # noqa: E731
        wait_until(once, what="each has said so once")
        wait_until(lambda: len(forkservers(daemon)) == 1, what="one is enough")
        workers = daemon.workers()
        assert {workers[name]["run"] for name in pids} == {1}

        # Their generation is known still: a crash does not build another one.
        server = forkservers(daemon)
        os.kill(pids["rank-7"], signal.SIGKILL)
        wait_until(lambda: daemon.workers()["rank-7"]["run"] == 2, what="it is started again")
        daemon.wait_state("rank-7", "running")
        assert forkservers(daemon) == server


def test_the_forkserver_dies_and_the_workers_live(project: Path) -> None:
    """Also in the middle of a restart: each failed start is tried again."""
    with Daemon(pool(project, 'backoff.min = "10ms"')) as daemon:
        before = running(daemon)
        (server,) = forkservers(daemon)
        os.kill(server, signal.SIGKILL)
        wait_until(lambda: not forkservers(daemon), what="it is gone")
        assert running(daemon) == before
        os.kill(before["rank-1"], signal.SIGKILL)
        wait_until(lambda: daemon.workers()["rank-1"]["run"] > 1, what="it is started again")
        assert running(daemon)["rank-2"] == before["rank-2"]
        assert len(forkservers(daemon)) == 1


def test_what_differs_is_forked_from_different_servers(project: Path) -> None:
    """Alike, two pools that start together share one; another environment is another one."""
    tables = (
        pool(project, name="a")
        + pool(project, name="b")
        + pool(project, 'environment.MODE = "fast"', name="c")
    )
    with Daemon(tables) as daemon:
        for name in "abc":
            running(daemon, name=name)
        assert len(forkservers(daemon)) == 2
        daemon.ctl("restart", "a", check=True)
        assert len(forkservers(daemon)) == 3


def test_two_hundred_workers_that_end_at_once_have_each_its_status(project: Path) -> None:
    """Started once each, whatever the order in which their ends are seen."""
    keys = 'pool_size = 200\nrestart = "never"\nconfig.code = 3\nlog.stdout = "null"\n'
    with Daemon(pool(project, keys)) as daemon:

        def over() -> bool:
            return all(each["state"] == "exited" for each in daemon.workers().values())

        wait_until(over, what="all have ended", timeout_s=60)
        ends = [(each["last_exit"]["code"], each["run"]) for each in daemon.workers().values()]
        assert ends == [(3, 1)] * 200


def pss_kib(pid: int) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.findall(r"^Pss: +(\d+)", text, re.MULTILINE)[0])


def test_preloaded_memory_is_shared(project: Path) -> None:
    """Eight workers over one model need far less than eight that each load it."""
    if os.geteuid() != 0:
        pytest.skip("needs root: to read how much memory is shared")
    big = 'BLOB = bytearray(b"x" * (64 << 20))\nVERSION = 1\n'
    (project / "model.py").write_text(big)
    tables = pool(project, "pool_size = 8", name="warm") + pool(
        project, "pool_size = 8", name="cold", preload="[]"
    )
    with Daemon(tables) as daemon:
        used = {}
        for name in ("warm", "cold"):
            pids = running(daemon, 8, name)
            for each in pids:
                wait_until(lambda each=each: versions(daemon, each), what="it has its model")  # type: ignore[misc]
            used[name] = sum(pss_kib(pid) for pid in pids.values())
        assert used["cold"] > 8 * 64 * 1024
        assert used["warm"] < used["cold"] / 4, used


def test_a_restart_ordered_while_the_supervisor_dies_is_carried_out(project: Path) -> None:
    """The client asks again, and the build begins again."""
    with Daemon(pool(project)) as daemon:
        before = running(daemon)
        (project / "model.py").write_text("import time\ntime.sleep(1)\nVERSION = 2\n")
        with ThreadPoolExecutor(1) as executor:
            done = executor.submit(daemon.ctl, "restart", "rank")
            wait_until(lambda: len(forkservers(daemon)) == 2, what="the new one is being built")
            daemon.kill_supervisor()
            assert done.result().returncode == 0, done.result().stderr
        after = running(daemon)
        assert not set(after.values()) & set(before.values())
        wait_until(lambda: versions(daemon, "rank-1")[-1] == "2", what="it is new")
        wait_until(lambda: len(forkservers(daemon)) == 1, what="one is left")


def test_a_fork_that_comes_late_is_still_known_to_the_next_supervisor(project: Path) -> None:
    """Stopped while its server does not answer: down is said when nothing can come any more."""
    with Daemon(pool(project)) as daemon:
        running(daemon)
        (server,) = forkservers(daemon)
        daemon.ctl("stop", "rank-1")
        os.kill(server, signal.SIGSTOP)
        daemon.ctl("start", "rank-1", "--no-wait")
        daemon.ctl("stop", "rank-1", "--no-wait")
        daemon.kill_supervisor()
        wait_until(daemon.answers, what="the next supervisor")
        assert daemon.workers()["rank-1"]["state"] == "stopping"
        os.kill(server, signal.SIGCONT)
        daemon.wait_state("rank-1", "stopped")
        told = daemon.events("worker.started", "worker.stopped")
        mine = [(each["event"], each["run"]) for each in told if each["name"] == "rank-1"]
        assert mine[-2:] == [("worker.started", 2), ("worker.stopped", 2)]
