"""What is killed makes no difference: supervisor and scribe die hundreds of times under flood."""

import json
import os
import random  # noqa: TID251  # seeded, and the seed is printed
import signal
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.flood import WRITER, check_lines, has_ended, segments, writer_command
from tests.support.wait import pass_random_time, wait_until

pytestmark = [pytest.mark.process, pytest.mark.slow]

KILLS = 200
WRITERS = 8

#: Ends at once with another code each time, and writes down which.
_CRASHER = r"""
import os, sys
path = sys.argv[1]
with open(path, "a+") as file:
    file.seek(0)
    code = (len(file.read().split()) * 7) % 100 + 1
    file.write(f"{code} ")
os._exit(code)
"""


def _seed() -> int:
    seed = int(os.environ.get("SDL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    sys.stderr.write(f"SDL_SEED={seed}\n")
    return seed


def _flooded(crashers: int = 0) -> Daemon:
    writers = "".join(
        f"[worker.w{n}]\n{writer_command(Path('@DIR@/writer.py'), f'w{n}')}"
        "log.max_size = '256K'\nlog.backups = 1000\nstop_timeout = '20s'\n"
        for n in range(WRITERS)
    )
    command = json.dumps([sys.executable, "-I", "-S", "@DIR@/crasher.py", "@DIR@/codes@N@"])
    table = (
        f"[worker.c@N@]\ncommand = {command}\nmax_restarts = 1000\ncircuit_window = '1h'\n"
        "backoff.min = '200ms'\nbackoff.max = '400ms'\nlog = 'null'\n"
    )
    daemon = Daemon(writers + "".join(table.replace("@N@", str(n)) for n in range(crashers)))
    (daemon.folder / "writer.py").write_text(WRITER)
    (daemon.folder / "crasher.py").write_text(_CRASHER)
    return daemon


def _check_logs(daemon: Daemon) -> None:
    for n in range(WRITERS):
        daemon.ctl("stop", f"w{n}", check=True, timeout_s=60)
    for n in range(WRITERS):
        path = daemon.folder / f"log/w{n}.log"
        wait_until(partial(has_ended, path), what="the last words arrived")
        assert check_lines(path, f"w{n}") > 100
        assert len(segments(path)) > 3, "it has rotated"


def test_two_hundred_kills_of_the_supervisor_change_nothing() -> None:
    """No worker restarts, no line is lost, every exit status and failure count is right."""
    rng = random.Random(_seed())
    with _flooded(crashers=3) as daemon:
        before = {f"w{n}": daemon.wait_state(f"w{n}", "running")["pid"] for n in range(WRITERS)}
        early = 0
        for _ in range(KILLS):
            os.kill(daemon.supervisor_pid, signal.SIGKILL)
            # Ten that die before they answer are a crash loop, and end the daemon.
            early = early + 1 if early < 5 and rng.random() < 0.3 else 0
            if not early:
                wait_until(daemon.answers, what="an answer", every_s=0.001)
            pass_random_time(rng, at_most_s=0.05)
        workers = wait_until(daemon.workers, what="it answers")

        assert {name: workers[name]["pid"] for name in before} == before
        _check_logs(daemon)
        _check_crashers(daemon, 3)


def _check_crashers(daemon: Daemon, count: int) -> None:
    for n in range(count):
        daemon.ctl("stop", f"c{n}", check=True)
        worker = daemon.workers()[f"c{n}"]
        codes = [int(code) for code in (daemon.folder / f"codes{n}").read_text().split()]
        assert len(codes) > 20
        # A stop can meet a process that has not written its code yet: that run is a clean end.
        cut_off = worker["run"] - len(codes)
        assert cut_off in (0, 1)
        assert worker["failures_in_window"] in (len(codes), len(codes) - 1 + cut_off)
        assert worker["restarts"] in (worker["run"] - 1, worker["run"])
        if not cut_off:
            assert worker["last_exit"]["code"] == codes[-1]


def test_two_hundred_kills_of_the_scribe_lose_no_line() -> None:
    """Not one line is lost, doubled or cut, across rotations."""
    rng = random.Random(_seed())
    with _flooded() as daemon:
        before = {f"w{n}": daemon.wait_state(f"w{n}", "running")["pid"] for n in range(WRITERS)}
        early = 0
        for _ in range(KILLS):
            os.kill(daemon.scribe_pid, signal.SIGKILL)
            written = _written_bytes(daemon)
            # Those that die before they write are started again later each time, up to a second.
            early = early + 1 if early < 5 and rng.random() < 0.3 else 0
            if not early:
                wait_until(partial(_has_written, daemon, written), what="it writes", every_s=0.001)
            pass_random_time(rng, at_most_s=0.05)
        workers = daemon.workers()

        assert {name: workers[name]["pid"] for name in before} == before
        assert all(workers[name]["output"]["dropped_bytes"] == 0 for name in before)
        _check_logs(daemon)


def _written_bytes(daemon: Daemon) -> int:
    """Return the size of all logs; one that is just being renamed counts as nothing."""
    size_bytes = 0
    for path in (daemon.folder / "log").iterdir():
        with suppress(FileNotFoundError):
            size_bytes += path.stat().st_size
    return size_bytes


def _has_written(daemon: Daemon, before: int) -> bool:
    return _written_bytes(daemon) != before


def test_control_answers_within_a_second_of_the_supervisors_death() -> None:
    """With 500 workers, a client that asks right after the kill is answered in time."""
    text = "[worker.many]\ncommand = ['/bin/sleep', '1000']\npool_size = 500\nready = 'spawned'\n"
    with Daemon(text) as daemon:
        wait_until(
            lambda: all(w["state"] == "running" for w in daemon.workers().values()),
            what="500 run",
            timeout_s=60,
        )
        before = {name: w["pid"] for name, w in daemon.workers().items()}
        waits_s = []
        for _ in range(10):
            os.kill(daemon.supervisor_pid, signal.SIGKILL)
            begun_s = time.monotonic()
            # The listening socket outlives the supervisor: the client waits in its queue.
            wait_until(daemon.answers, what="an answer", every_s=0.001)
            waits_s.append(time.monotonic() - begun_s)
        assert {name: w["pid"] for name, w in daemon.workers().items()} == before
        assert max(waits_s) < 1.0, waits_s
