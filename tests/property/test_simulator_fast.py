"""The core in a simulated world: a million events, and none of them breaks a promise."""

import os
import subprocess
import sys
from time import process_time

import pytest

from supervisord_lite.core.states import NEXT, Probing, Waiting
from tests.support.simulator.fast import FastWorld

SEEDS = 1000
EVENTS = 900


@pytest.mark.slow
def test_a_million_events_break_no_promise(capsys: pytest.CaptureFixture[str]) -> None:
    """Crashes, stalls, reloads, two operators: no run too many, no count wrong, nothing stuck."""
    begun_s = process_time()
    count = 0
    edges: set[tuple[type, type]] = set()
    for seed in range(SEEDS):
        world = FastWorld(seed)
        world.run(EVENTS)
        world.calm()
        count += world.trace.count
        edges |= world.edges
    with capsys.disabled():
        print(f"\n{count} events, {count / (process_time() - begun_s):.0f}/s of CPU time")  # noqa: T201
    assert count >= 1_000_000
    wanted = {(before, after) for before, afters in NEXT.items() for after in afters}
    # One that ends well on trial just when what it requires is away: that is too rare.
    assert wanted - edges <= {(Probing, Waiting)}, "never seen"


@pytest.mark.slow
def test_a_seed_is_one_history_in_every_process() -> None:
    """A failure can be repeated from its seed alone, whatever Python does with its hashes."""
    outputs = []
    for hash_seed in ("0", "1234"):
        done = subprocess.run(
            [sys.executable, "-m", "tests.support.simulator", "fast", "5", "2000", "3"],
            env={
                **os.environ,
                "PYTHONHASHSEED": hash_seed,
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
            capture_output=True,
            text=True,
            check=True,
        )
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1]
    assert len(set(outputs[0].split("\n"))) == 4
    world = FastWorld(5)
    world.run(2000)
    world.calm()
    assert f"fast 5 {world.trace.count} {world.trace.digest()}" in outputs[0]
