"""Many at once: hundreds of commands, thousands of exits, each seen exactly once."""

import json
import os
import random  # noqa: TID251  # seeded, and the seed is printed
import signal
import sys
from collections import Counter

import pytest

from tests.support import leftovers
from tests.support.daemon import Daemon
from tests.support.wait import wait_until

pytestmark = [pytest.mark.process, pytest.mark.slow]


def _all_running(daemon: Daemon) -> bool:
    return all(worker["state"] == "running" for worker in daemon.workers().values())


def test_five_hundred_commands_start_are_killed_one_by_one_and_stop() -> None:
    """Each of 500 random kills brings exactly one restart, and the end leaves nothing."""
    seed = int(os.environ.get("SDL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    sys.stderr.write(f"SDL_SEED={seed}\n")
    rng = random.Random(seed)
    text = (
        "[worker.many]\ncommand = ['/bin/sleep', '1000']\npool_size = 500\nready = 'spawned'\n"
        "backoff.min = '10ms'\nbackoff.max = '10ms'\nmax_restarts = 1000\n"
    )
    with Daemon(text) as daemon:
        wait_until(lambda: _all_running(daemon), what="500 run", timeout_s=60)
        killed: Counter[str] = Counter()
        workers = daemon.workers()
        for name in rng.sample(sorted(workers), 500):
            os.kill(workers[name]["pid"], signal.SIGKILL)
            killed[name] += 1

        def recovered() -> bool:
            now = daemon.workers()
            return all(
                now[name]["restarts"] == count and now[name]["state"] == "running"
                for name, count in killed.items()
            )

        wait_until(recovered, what="each was restarted once", timeout_s=60, every_s=0.25)
        pids = [worker["pid"] for worker in daemon.workers().values()]
        daemon.ctl("stop", "all", check=True, timeout_s=60)

        assert not any(map(leftovers.is_alive, pids))


def test_ten_thousand_exits_are_each_seen_once() -> None:
    """Bursts of 500 exits with codes of their own: no status is lost, doubled or mixed up."""
    # Run r of instance i exits with (7 i + r) mod 199 + 1: never 0, and telling. A FIFO that has
    # no line yet holds the whole burst back, at no cost.
    script = (
        'r=0; [ -e "$0" ] && read r <"$0"; r=$((r+1)); echo $r >"$0"; read x <@DIR@/go-$r; '
        "exit $(( (7 * $SUPERVISORD_LITE_INSTANCE + r) % 199 + 1 ))"
    )
    runs, size = 20, 500
    command = json.dumps(["/bin/sh", "-c", script, "@DIR@/run-%i"])
    text = (
        f"[worker.burst]\ncommand = {command}\npool_size = {size}\nready = 'spawned'\n"
        "backoff.min = '1ms'\nbackoff.max = '1ms'\nmax_restarts = 1000\nlog = 'null'\n"
    )
    daemon = Daemon(text)
    for run in range(1, runs + 2):
        os.mkfifo(daemon.folder / f"go-{run}")
    with daemon:
        for run in range(1, runs + 1):

            def arrived(run: int = run) -> bool:
                return all(w["run"] == run for w in daemon.workers().values())

            wait_until(arrived, what=f"run {run} of all", timeout_s=60, every_s=0.25)
            gate = os.open(daemon.folder / f"go-{run}", os.O_RDWR)
            os.write(gate, b"\n" * size)  # one line for each

            def ended(run: int = run) -> bool:
                return all(w["failures_in_window"] == run for w in daemon.workers().values())

            wait_until(ended, what=f"all {size} exits of run {run}", timeout_s=60, every_s=0.25)
            os.close(gate)
            for worker in daemon.workers().values():
                expected = (7 * worker["instance"] + run) % 199 + 1
                assert worker["last_exit"]["code"] == expected, worker
                assert worker["restarts"] in (run - 1, run)
