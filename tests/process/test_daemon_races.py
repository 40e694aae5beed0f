"""Thousands of orders and files at once: one transition for each cause, and nothing else."""

import os
import random  # noqa: TID251  # seeded, and the seed is printed
import sys
from collections import Counter
from typing import Any

import pytest

from supervisord_lite.config.errors import ConfigurationError
from supervisord_lite.config.load import judge
from tests.fuzz.test_locate_mutations import damaged
from tests.support.daemon import Daemon, MethodFailedError
from tests.support.slow import set_back
from tests.support.wait import wait_until

pytestmark = [pytest.mark.process, pytest.mark.slow]

ORDERS = 10_000
FILES = 1_000
RELOADED_EACH = 4
_MANAGER = "io.supervisordlite.Manager"
_ENDS = ("worker.stopped", "worker.exited", "worker.failed")
#: From those that end at once to one that never does.
_LIVES = ("exit 0", "exit 1", "sleep 0.01", "sleep 0.05; exit 3", "exec sleep 1000")


def _rng() -> random.Random:
    seed = int(os.environ.get("SDL_SEED", "0")) or random.SystemRandom().getrandbits(32)
    sys.stderr.write(f"SDL_SEED={seed}\n")
    return random.Random(seed)


def _ended(events: list[dict[str, Any]]) -> Counter[tuple[str, int]]:
    """Return how often each run has ended."""
    # A stop that comes when the next start is only waited for ends no run.
    return Counter((event["name"], event["run"]) for event in events if "ran_s" in event)


def test_ten_thousand_orders_race_with_exits() -> None:
    """Each run is told to have started once and to have ended once, in order, and none is left."""
    rng = _rng()
    text = "".join(
        f"[worker.w{n}]\ncommand = ['/bin/sh', '-c', '{life}']\npool_size = 2\nrestart = 'always'\n"
        "ready = 'spawned'\nmax_restarts = 1000\nbackoff.min = '5ms'\nbackoff.max = '20ms'\n"
        "stop_timeout = '1s'\n"
        for n, life in enumerate(_LIVES)
    )
    with Daemon(text) as daemon:
        names = list(daemon.workers())
        for _ in range(ORDERS):
            verb = rng.choice(("Start", "Stop"))
            daemon.call(f"{_MANAGER}.{verb}", names=[rng.choice(names)], wait=False)
        daemon.ctl("stop", "all", check=True)
        workers = daemon.workers()

        assert {worker["state"] for worker in workers.values()} == {"stopped"}
        started = Counter(
            (event["name"], event["run"]) for event in daemon.events("worker.started")
        )
        wait_until(lambda: _ended(daemon.events(*_ENDS)) == started, what="each run has ended once")
        assert set(started.values()) == {1}
        for name in names:
            runs = [run for each, run in started if each == name]
            assert runs == sorted(runs)
            assert len(runs) <= workers[name]["run"]
        assert len(started) > 500


def _places(daemon: Daemon) -> list[tuple[int, int]]:
    """Judge the file as a daemon's child does; return where something is wrong: line, column."""
    try:
        judge(str(daemon.config), environ=daemon.environment, as_root=os.geteuid() == 0)
    except ConfigurationError as error:
        problems = error.problems
    else:
        return []
    assert problems
    return [(problem.line, problem.column) for problem in problems]


def _problems(daemon: Daemon) -> list[dict[str, Any]]:
    """Reload; return what is wrong with the file."""
    try:
        daemon.call(f"{_MANAGER}.Reload", dry_run=False)
    except MethodFailedError as error:
        name, parameters = error.args
        assert name == f"{_MANAGER}.ConfigurationRefused"
        assert parameters["problems"], parameters
        problems: list[dict[str, Any]] = parameters["problems"]
        return problems
    return []


def test_a_thousand_damaged_files_change_nothing() -> None:
    """What is refused has a place, and leaves every process and what is in force as they are."""
    rng = _rng()
    text = "".join(
        f"[worker.w{n}]\ncommand = ['/bin/sleep', '1000']\nready = 'spawned'\n"
        f"stop_signal = ['SIGTERM', 'SIGINT']\nstop_timeout = ['1s', {n}.5]\nbackoff.max = '5m'\n"
        for n in range(5)
    )
    with Daemon(text) as daemon:
        for n in range(5):
            daemon.wait_state(f"w{n}", "running")
        before = {name: worker["pid"] for name, worker in daemon.workers().items()}
        good = daemon.config.read_text()
        head = good[: good.index("[worker.w0]")]
        refused = 0
        for _ in range(FILES):
            daemon.config.write_bytes(head.encode() + damaged(good[len(head) :], rng))
            set_back(daemon.config)  # a thousand waits of a tenth of a second
            places = _places(daemon)
            if not places:
                continue  # a good one, and another one: not to be put in force here
            assert min(line for line, _ in places) >= 1, places
            refused += 1
            if refused % RELOADED_EACH == 0:  # each of these is a process
                problems = _problems(daemon)
                assert [(each["line"], each["column"]) for each in problems] == places
        assert refused > FILES / 4
        assert {name: worker["pid"] for name, worker in daemon.workers().items()} == before
        assert daemon.status()["supervisor"]["generation"] == 1
        assert "Traceback" not in daemon.output()
