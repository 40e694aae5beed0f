"""The core in a simulated world: a million events, and none of them breaks a promise."""

import gc
from collections import Counter
from collections.abc import Iterator
from time import process_time

import pytest

from supervisord_lite.core.states import NEXT, Probing, Scheduled, Waiting
from tests.support.simulator.fast import FastWorld

SEEDS = 1000
EVENTS = 900


@pytest.fixture
def few_collections() -> Iterator[None]:
    """Let the collector of cycles look less often: it would look at every module each time."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, 20, 20)
    yield
    gc.set_threshold(*before)


@pytest.mark.slow
@pytest.mark.usefixtures("few_collections")
def test_a_million_events_break_no_promise(capsys: pytest.CaptureFixture[str]) -> None:
    """Crashes, stalls, reloads, two operators: no run too many, no count wrong, nothing stuck."""
    begun_s = process_time()
    count = 0
    edges: set[tuple[type, type]] = set()
    swaps: Counter[str] = Counter()
    for seed in range(SEEDS):
        world = FastWorld(seed)
        world.run(EVENTS)
        world.calm()
        count += world.trace.count
        edges |= world.edges
        swaps += world.swaps
    with capsys.disabled():
        print(f"\n{count} events, {count / (process_time() - begun_s):.0f}/s of CPU time")  # noqa: T201
    assert count >= 1_000_000
    assert min(swaps[each] for each in ("taken over", "given way", "rejected")) > 100, swaps
    wanted = {(before, after) for before, afters in NEXT.items() for after in afters}
    # One that ends well on trial just when what it requires is away, or when a reload has just made
    # a job of it: that is too rare.
    assert wanted - edges <= {(Probing, Waiting), (Probing, Scheduled)}, "never seen"
