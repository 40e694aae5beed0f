"""The whole fleet in a simulated world: supervisors die between any two things that they do."""

import os
import subprocess
import sys
from time import process_time

import pytest

from tests.support.simulator.fast import FastWorld
from tests.support.simulator.whole import WholeWorld

SEEDS = 80
EVENTS = 600


@pytest.mark.slow
def test_whoever_is_killed_whenever_nothing_is_lost_doubled_or_stuck(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One run of a slot at a time, each end counted once, what was said stays true."""
    begun_s = process_time()
    events = crashes = 0
    for seed in range(SEEDS):
        world = WholeWorld(seed)
        world.run(EVENTS)
        world.calm()
        events += world.trace.count
        crashes += world.crashes
    with capsys.disabled():
        rate = events / (process_time() - begun_s)
        print(f"\n{events} events, {crashes} crashes, {rate:.0f} events/s of CPU time")  # noqa: T201
    assert crashes > 2 * SEEDS


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["fast", "whole"])
def test_a_seed_is_one_history_in_every_process(kind: str) -> None:
    """A failure can be repeated from its seed alone, whatever Python does with its hashes."""
    outputs = []
    for hash_seed in ("0", "1234"):
        path = os.pathsep.join(each for each in sys.path if each)
        done = subprocess.run(
            [sys.executable, "-m", "tests.support.simulator", kind, "5", "1000", "3"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        )
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1]
    assert len({line.split()[-1] for line in outputs[0].splitlines()}) == 3
    world = FastWorld(5) if kind == "fast" else WholeWorld(5)
    world.run(1000)
    world.calm()
    assert f"{kind} 5 {world.trace.count} {world.trace.digest()}" in outputs[0]
