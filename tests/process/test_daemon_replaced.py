"""Whoever waits for an order does not notice that the supervisor was replaced meanwhile."""

import os
import random  # noqa: TID251  # seeded, and the seed is printed
import signal
import subprocess
import sys
from contextlib import suppress
from functools import partial

import pytest

from tests.support.daemon import Daemon
from tests.support.wait import pass_random_time, wait_until

pytestmark = [pytest.mark.process, pytest.mark.slow]

ROUNDS = 16
#: Notes each start, and needs a while to stop.
_NOTING = """
[worker.web]
pool_size = 2
ready = "100ms"
command = ["/bin/sh", "-c", '''
echo %i >> @DIR@/starts
trap 'sleep 0.1; exit 0' TERM
while :; do sleep 0.05; done''']
"""


def _seed() -> int:
    seed = int(os.environ.get("SDL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    sys.stderr.write(f"SDL_SEED={seed}\n")
    return seed


def _has_started(daemon: Daemon, times: int) -> bool:
    return len((daemon.folder / "starts").read_text().split()) >= times


@pytest.mark.parametrize("options", [(), ("--no-wait",)])
def test_a_restart_succeeds_and_happens_once_whenever_the_supervisor_dies(
    options: tuple[str, ...],
) -> None:
    """Killed before, while and after it is ordered: exit 0, and one new process for each."""
    rng = random.Random(_seed())
    with Daemon(_NOTING) as daemon:
        daemon.ctl("start", "all", check=True)
        argv = [*daemon.argv, "restart", "--socket", str(daemon.control_path), "web", *options]
        for number in range(1, ROUNDS + 1):
            victim = daemon.supervisor_pid
            with subprocess.Popen(
                argv,
                env=daemon.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            ) as order:
                pass_random_time(rng, at_most_s=1.0)
                with suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
                out, err = order.communicate(timeout=30)
            assert (order.returncode, err) == (0, "")
            assert options or out.startswith("web       2 of 2 ready, "), out
            wait_until(partial(_has_started, daemon, 2 * (number + 1)), what="both are replaced")
            daemon.ctl("start", "all", check=True)
            starts = (daemon.folder / "starts").read_text().split()
            assert sorted(starts) == ["1"] * (number + 1) + ["2"] * (number + 1)


def test_following_logs_goes_on_through_a_replaced_supervisor_and_ends_with_the_daemon() -> None:
    """No line is missing or doubled, up to the last word of a worker that is stopped."""
    text = """[worker.web]
command = ["/bin/sh", "-c", '''
trap 'echo last words; exit 0' TERM
n=0; while :; do n=$((n+1)); echo $n; sleep 0.01; done''']
"""
    with Daemon(text) as daemon:
        daemon.ctl("start", "all", check=True)
        argv = [*daemon.argv, "logs", "-f", "-n", "1000000", "--socket", str(daemon.control_path)]
        with subprocess.Popen(
            argv,
            env=daemon.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as follower:
            assert follower.stdout is not None
            assert follower.stderr is not None
            said = [follower.stdout.readline()]
            for _ in range(3):
                daemon.kill_supervisor()
                said += [follower.stdout.readline() for _ in range(20)]
            daemon.ctl("shutdown", check=True)
            said += follower.stdout.readlines()
            err = follower.stderr.read()
            follower.wait(30)
        *numbers, last = said
        assert (follower.returncode, last) == (0, "last words\n")
        assert err == "supervisord-lite: logs: the daemon has ended\n"
        assert list(map(int, numbers)) == list(range(1, len(numbers) + 1))
