"""How many events the pure core takes in a second, with all that it decides about a fleet."""

import time

import pytest

from supervisord_lite.core import events
from supervisord_lite.core.events import Event
from supervisord_lite.core.fleet import Fleet
from supervisord_lite.core.policy import Policy
from supervisord_lite.core.pools import Pool, Slot
from supervisord_lite.core.states import Tripped, Worker
from supervisord_lite.core.step import next_deadline_s
from tests.support.core import FixedRng

pytestmark = pytest.mark.bench

#: On one core of anything; a small server takes more than twice as many.
EVENTS_PER_S_MIN = 50_000
WORKERS, LIVES = 100, 200


def test_the_core_takes_fifty_thousand_events_a_second(capsys: pytest.CaptureFixture[str]) -> None:
    """Births, ready, crashes and restarts of a fleet in which everybody waits for two others."""
    pools = [Pool("db"), Pool("log")]
    pools += [Pool(f"web{n}", ("db",), ("log",), "any") for n in range(WORKERS)]
    fleet = Fleet(pools, {(pool.name, 1): Worker(pool.name, 1, Policy()) for pool in pools})
    rng, now_s, count = FixedRng(0.3), 0.0, 0

    def feed(slot: Slot, event: Event) -> None:
        nonlocal count
        for change in fleet.feed(slot, event, now_s=now_s, rng=rng):
            count += 1
            next_deadline_s(change.after)
            if isinstance(change.after.state, Tripped):
                fleet.escalation()

    begun_s = time.perf_counter()
    for slot in fleet.to_start(fleet.workers, by_person=False):
        feed(slot, events.StartRequested())
    for _ in range(LIVES):
        for span_s, make in (
            (0.0, lambda run: events.Spawned(run, 4000)),
            (1.0, lambda _run: events.DeadlinePassed()),
            (300.0, lambda run: events.Exited(run, 1, None, emptied=True)),
            (10.0, lambda _run: events.DeadlinePassed()),
        ):
            now_s += span_s
            for slot, worker in list(fleet.workers.items()):
                feed(slot, make(worker.run))
    events_per_s = count / (time.perf_counter() - begun_s)

    with capsys.disabled():
        print(f"\ncore: {events_per_s:,.0f} events/s")
    assert all(worker.restarts > LIVES // 3 for worker in fleet.workers.values())
    assert events_per_s >= EVENTS_PER_S_MIN
