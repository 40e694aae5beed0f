"""One more first: a restart starts the new process before the old one ends."""

import json
import os
import random  # noqa: TID251  # seeded, and printed
import signal
import threading
from typing import Any, Self

import pytest

from tests.support import leftovers
from tests.support.daemon import Daemon
from tests.support.programs import PYTHON
from tests.support.sockets import Load, free_port, server
from tests.support.wait import pass_random_time, wait_until

pytestmark = pytest.mark.process

#: Ready when it says so; fails where @DIR@/bad is, and never gets ready where @DIR@/mute is.
PROGRAM = (
    "trap 'sleep 0.05; exit 0' TERM; "
    "if [ -e @DIR@/bad ]; then echo line one; echo no module named shop >&2; exit 3; fi; "
    "while [ -e @DIR@/mute ]; do sleep 0.02; done; "
    "echo >&3; while :; do sleep 1000 & wait $!; done"
)

SURGE = "max_surge = 1\nmax_unavailable = 0\n"


def program(size: int = 1, *, more: str = SURGE) -> str:
    command = json.dumps(["/bin/sh", "-c", PROGRAM])
    return (
        f'[worker.web]\ncommand = {command}\npool_size = {size}\nready = "fd:3"\n'
        f'backoff.min = "20ms"\nbackoff.max = "20ms"\n{more}'
    )


def objects(daemon: Daemon) -> list[dict[str, Any]]:
    """Return every process of every worker, two of one that is being replaced."""
    found: list[dict[str, Any]] = daemon.call("io.supervisordlite.Manager.Status", names=[])[
        "workers"
    ]
    return found


def pids(daemon: Daemon) -> list[int]:
    return [worker["pid"] for worker in objects(daemon) if worker["ready"]]


def all_ready(daemon: Daemon, size: int) -> list[int]:
    """Wait until every instance has one process, and that is ready."""

    def found() -> list[int] | None:
        try:
            workers = objects(daemon)
        except OSError:
            return None
        is_quiet = len(workers) == size and all(worker["ready"] for worker in workers)
        return [worker["pid"] for worker in workers] if is_quiet else None

    return wait_until(found, what=f"{size} are ready, and nobody else is there")


def await_gone(daemon: Daemon, pid: int) -> None:
    """Wait until it is known that a process has ended."""
    wait_until(lambda: pid not in [w["pid"] for w in objects(daemon)], what="its end is known")


def told_run(daemon: Daemon) -> int:
    """Return the number of the run that was rejected last."""
    run: int = daemon.events("worker.rejected")[-1]["run"]
    return run


class Counting:
    """Counts, all the time, how many are ready and how many processes there are."""

    def __init__(self, daemon: Daemon) -> None:
        self.fewest, self.most = 1000, 0
        self.then: list[dict[str, Any]] = []
        self._daemon = daemon
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                workers = objects(self._daemon)
            except (OSError, ValueError):
                continue
            ready = sum(worker["ready"] for worker in workers)
            if ready < self.fewest:
                self.fewest, self.then = ready, workers
            self.most = max(self.most, sum(worker["pid"] is not None for worker in workers))


@pytest.mark.parametrize("size", [1, 3])
def test_a_pool_behind_a_socket_is_restarted_without_a_gap(size: int) -> None:
    """Nobody is refused or cut off, and there are never fewer than before: by default."""
    address = ("127.0.0.1", free_port())
    keys = {"pool_size": str(size), "sockets__http": f'"127.0.0.1:{address[1]}"'}
    with Daemon(server("web", **keys)) as daemon:
        before = all_ready(daemon, size)
        with Load(address) as load, Counting(daemon) as counting:
            wait_until(lambda: load.outcomes["answered"] > 20, what="it answers")
            done = daemon.ctl("restart", "web", check=True)
            assert counting.fewest == size
            assert counting.most == size + 1
            answered = load.outcomes["answered"]
            wait_until(lambda: load.outcomes["answered"] > answered + 20, what="it answers")
        assert set(load.outcomes) == {"answered"}
        after = all_ready(daemon, size)
        assert not set(before) & set(after)
        lines = done.stdout.splitlines()
        for line, old, new in zip(lines, before, after, strict=True):
            assert f"ready as {new} in 0." in line
            assert f"s, then {old} stopped in 0." in line
        assert not any(map(leftovers.is_alive, before))


#: Tells of each SIGHUP; not ready before @DIR@/mute is gone.
HEARING = (
    "trap 'echo heard $$' HUP; trap 'exit 0' TERM; echo up; "
    "while [ -e @DIR@/mute ]; do sleep 0.02; done; echo >&3; while :; do sleep 1000 & wait $!; done"
)


def test_while_there_are_two_both_get_a_signal_and_have_samples() -> None:
    """Whichever of them is meant; and the verb says how many there were."""
    command = json.dumps(["/bin/sh", "-c", HEARING])
    with Daemon(f'[worker.web]\ncommand = {command}\nready = "fd:3"\n{SURGE}') as daemon:
        (old,) = all_ready(daemon, 1)
        (daemon.folder / "mute").touch()
        daemon.ctl("restart", "web", "--no-wait", check=True)
        wait_until(lambda: daemon.log("web").count("up\n") == 2, what="the new one is there")
        (new,) = [worker["pid"] for worker in objects(daemon) if worker["pid"] != old]

        done = daemon.ctl("signal", "HUP", "web", check=True)

        assert done.stdout == "SIGHUP sent to 2 processes\n"
        wait_until(lambda: daemon.log("web").count("heard") == 2, what="both hear it")
        assert {f"heard {old}", f"heard {new}"} <= set(daemon.log("web").splitlines())
        events = map(json.loads, daemon.ctl("events", "--json", check=True).stdout.splitlines())
        assert [e["run"] for e in events if e["event"] == "worker.signalled"] == [1, 2]
        told = daemon.call("io.supervisordlite.Manager.Status", names=[], samples=True)["workers"]
        assert [worker["pid"] for worker in told] == [old, new]
        assert all(worker["rss_bytes"] > 0 for worker in told)


def test_a_release_that_fails_costs_nothing() -> None:
    """The old ones go on, the restart says why with the last lines, and the breaker is closed."""
    with Daemon(program(2)) as daemon:
        before = all_ready(daemon, 2)
        (daemon.folder / "bad").touch()

        for _ in range(5):  # more often than the breaker would bear
            assert daemon.ctl("restart", "web").returncode == 1
        done = daemon.ctl("restart", "web")

        assert done.returncode == 1
        the_pids = f"({before[0]}, {before[1]})"
        first, *lines = done.stderr.splitlines()
        assert first.startswith("web-1     new process ")
        assert first.endswith("s, not ready")
        assert "failed: exit 3 after 0." in first
        given_up = f"web       given up; nothing was stopped. web-1 and web-2 run on {the_pids}."
        last_words = ["          | line one", "          | no module named shop"]
        assert lines == [*last_words, given_up]
        run = told_run(daemon)
        assert daemon.ctl("logs", "--run", str(run), "web-1").stdout.startswith("line one")
        assert all_ready(daemon, 2) == before
        assert all(worker["breaker"] == "closed" for worker in objects(daemon))
        assert all(not worker["failures_in_window"] for worker in objects(daemon))
        told = json.loads(daemon.ctl("restart", "--json", "web").stdout)
        assert [(o["name"], o["outcome"], o["pid"]) for o in told["workers"]] == [
            ("web-1", "kept", before[0]), ("web-2", "kept", before[1]),
        ]  # fmt: skip
        (daemon.folder / "bad").unlink()
        daemon.ctl("restart", "web", check=True)
        assert not set(before) & set(all_ready(daemon, 2))


def test_one_that_never_gets_ready_is_late_and_cleared_away() -> None:
    """`start_timeout` counts for the new process; meanwhile both are shown."""
    with Daemon(program(more=SURGE + 'start_timeout = "3s"\n')) as daemon:
        (old,) = all_ready(daemon, 1)
        (daemon.folder / "mute").touch()
        daemon.ctl("restart", "--no-wait", "web", check=True)

        both = wait_until(
            lambda: two if len(two := objects(daemon)) == 2 else None, what="two are there"
        )
        assert {worker["name"] for worker in both} == {"web"}
        outgoing = [worker for worker in both if worker["outgoing"]]
        assert [worker["pid"] for worker in outgoing] == [old]
        line = daemon.ctl("status", check=True).stdout.splitlines()[1]
        assert "1/1" in line
        assert "being replaced" in line
        wait_until(lambda: len(objects(daemon)) == 1, what="it is cleared away")
        assert all_ready(daemon, 1) == [old]
        events = daemon.events("worker.rejected")
        assert events[-1]["reason"] == "not ready after 3s"


@pytest.mark.parametrize("verb", ["stop", "shutdown"])
def test_down_means_both(verb: str) -> None:
    """Whatever the swap has come to, nothing of either process is left when it is said."""
    with Daemon(program()) as daemon:
        all_ready(daemon, 1)
        (daemon.folder / "mute").touch()
        daemon.ctl("restart", "--no-wait", "web", check=True)
        wait_until(lambda: len(objects(daemon)) == 2, what="two are there")
        both = [worker["pid"] for worker in objects(daemon)]
        if verb == "shutdown":
            assert daemon.stop() == 0
        else:
            daemon.ctl("stop", "web", check=True)
            assert [worker["state"] for worker in objects(daemon)] == ["stopped"]
        assert not any(leftovers.is_alive(pid) for pid in both if pid)


def test_who_crashes_while_it_is_replaced_is_not_missed() -> None:
    """The new process is the worker then; nothing is counted."""
    with Daemon(program()) as daemon:
        (old,) = all_ready(daemon, 1)
        (daemon.folder / "mute").touch()
        daemon.ctl("restart", "--no-wait", "web", check=True)
        new = wait_until(
            lambda: next((w["pid"] for w in objects(daemon) if w["pid"] != old), None),
            what="the new one is there",
        )
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: len(objects(daemon)) == 1, what="the old one is gone")
        (daemon.folder / "mute").unlink()
        assert all_ready(daemon, 1) == [new]
        (worker,) = objects(daemon)
        assert (worker["failures_in_window"], worker["restarts"]) == (0, 0)


def test_a_reload_swaps_too_and_the_old_process_ends_as_it_was_started() -> None:
    """Its plan says so before; the old stop signal is for the old process."""
    with Daemon(program(2)) as daemon:
        before = all_ready(daemon, 2)
        text = program(2).replace("echo >&3", "trap 'exit 0' INT; echo >&3")
        daemon.write(text + 'stop_signal = "SIGINT"\nstop_timeout = "60s"\n')
        plan = daemon.ctl("reload", "--dry-run", check=True).stdout
        assert "~ web restart, 1 more first: command" in plan
        with Counting(daemon) as counting:
            daemon.ctl("reload", check=True)
            wait_until(
                lambda: not set(before) & set(pids(daemon)) and len(objects(daemon)) == 2,
                what="both are new",
            )
        assert counting.fewest == 2
        assert counting.most == 3
        all_ready(daemon, 2)
        daemon.ctl("restart", "web", check=True)


@pytest.mark.parametrize("seed", range(4))
def test_whoever_is_killed_at_any_moment_of_a_swap_there_is_one_in_the_end(seed: int) -> None:
    """The supervisor, the old process or the new one: never three, never none by our doing."""
    rng = random.Random(seed)
    with Daemon(program(2, more=SURGE + "max_restarts = 1000\n")) as daemon:
        all_ready(daemon, 2)
        for _ in range(6):
            with Counting(daemon) as counting:
                daemon.ctl("restart", "--no-wait", "web", check=True)
                pass_random_time(rng, at_most_s=0.25)
                victim = rng.choice(["supervisor", "supervisor", "worker"])
                if victim == "supervisor":
                    daemon.kill_supervisor()
                else:
                    pid = rng.choice([w["pid"] for w in objects(daemon) if w["pid"]])
                    os.kill(pid, signal.SIGKILL)
                    await_gone(daemon, pid)
                all_ready(daemon, 2)
            assert counting.most <= 3
            if victim == "supervisor":
                assert counting.fewest == 2, counting.then
        keys = [(event["name"], event["run"]) for event in daemon.events("worker.started")]
        assert len(keys) == len(set(keys)), "a number is used once"


def test_both_write_to_one_log_and_the_new_one_may_say_much_before_it_is_ready() -> None:
    """It is read while the old one lives; each line is whole, and found by its run."""
    script = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('bye', flush=True), sys.exit(0)))\n"
        "for n in range(4000): print('x' * 60, n)\n"  # four times what a pipe holds
        "print('up', flush=True); open(3, 'w').write('\\n')\n"
        "while True: time.sleep(0.01); print('tick', flush=True)\n"
    )
    command = json.dumps([*PYTHON, script])
    with Daemon(f'[worker.web]\ncommand = {command}\nready = "fd:3"\n{SURGE}') as daemon:
        all_ready(daemon, 1)
        daemon.ctl("restart", "web", check=True)
        wait_until(lambda: "bye" in daemon.log("web"), what="the old one's last words")
        old = daemon.ctl("logs", "--run", "1", "web", check=True).stdout.splitlines()
        new = daemon.ctl("logs", "--run", "2", "web", check=True).stdout.splitlines()
        assert old[-1] == "bye"
        assert "bye" not in new
        assert new[:4001] == [*(f"{'x' * 60} {n}" for n in range(4000)), "up"]
