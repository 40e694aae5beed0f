"""What is told of workers is kept, and is at any time what would be told if nothing were kept."""

import json
import os
import random  # noqa: TID251  # the seed is printed
from collections.abc import Iterator
from typing import Any

import pytest

from supervisord_lite.base.record import replace
from supervisord_lite.config.spec import Health, Spec
from supervisord_lite.core import events
from supervisord_lite.core.probing import Pace
from supervisord_lite.core.schedule import Schedule
from supervisord_lite.supervisor.kept_status import KeptStatus
from supervisord_lite.wire import channel
from tests.support.supervisor import Daemon, a_spec

_ROUNDS = 40
_STEPS = 60
_HEALTH = Health("exec", Pace(interval_s=5.0, timeout_s=3.0, failures=2), argv=("check",))

_ORDERS: tuple[events.Event, ...] = (
    events.StartRequested(),
    events.StopRequested(),
    events.RestartRequested(),
    events.ResetRequested(),
)


def fleet(nice: int, size: int) -> list[Spec]:
    """Return workers of all kinds that a status tells apart."""
    launch = {"nice": nice}
    return [
        a_spec("db", ready_after_s=1.0, max_restarts=3),
        a_spec("web", size, requires=["db"], ready_after_s=0.5, circuit_window_s=20.0),
        replace(a_spec("api", 2, ready_after_s=1.0, launch=launch), max_surge=1),
        replace(a_spec("asked", ready_by="health"), health=_HEALTH),
        a_spec("job", schedule=Schedule(every_s=7.0), ready_by="exit"),
        a_spec("often", ready_after_s=0.0, restart="always", launch=launch),
    ]


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(each) for key, each in value.items() if each is not None}
    return value


def plain(workers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return them without milliseconds of wall time, which are counted from two clocks."""
    for worker in workers:
        if "last_exit" in worker:
            worker["last_exit"]["at"] = worker["last_exit"]["at"][:-5]
    return workers


def check(daemon: Daemon) -> list[dict[str, Any]]:
    """Compare what is told with what would be told anew; return it."""
    status = daemon.supervisor._status
    slots = list(daemon.workers)
    told = json.loads(status.answer(slots))["workers"]
    anew = json.loads(json.dumps(without_nulls_of(status.of(slots, with_twins=True))))
    assert plain(told) == plain(anew)
    return told  # type: ignore[no-any-return]


def without_nulls_of(workers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [without_nulls(worker) for worker in workers]


def say(daemon: Daemon, message: dict[str, Any]) -> None:
    """Let the keeper say something."""
    daemon._channel.send(channel.encode(message))


def step(daemon: Daemon, rng: random.Random) -> None:
    """Let something happen that somebody may be told."""
    supervisor, keeper = daemon.supervisor, daemon.keeper
    slot = rng.choice(list(daemon.workers))
    live = keeper.live()
    match rng.randrange(13):
        case 0 | 1 if live:
            keeper.end(rng.choice(live), rng.choice([0, 1]), emptied=rng.random() < 0.8)
        case 2 if ended := [r for r in keeper.table.runs.values() if r.ended and not r.emptied]:
            keeper.empty(rng.choice(ended))
        case 3 if live:
            run = rng.choice(live)
            say(daemon, {"words": [*run.key, {"status": f"at {rng.randrange(3)}"}]})
        case 4:
            trouble = rng.choice([None, "no space"])
            say(daemon, {"trouble": {"inherit": trouble}, "dropped": {"inherit": [5, 1]}})
        case 5:
            supervisor._fleet.feed_guarded(slot, rng.choice(_ORDERS))
        case 6:
            supervisor._rolls.begin(slot[0], [slot[1]])
        case 7:
            daemon.write(*fleet(rng.randrange(2), rng.randrange(1, 4)))
            daemon.reload()
        case 8:
            daemon.set_wall_clock(rng.choice([-3600.0, 0.2, 86400.0]))
        case 9:
            supervisor._rolls.outdated.mark([slot])
        case 10 if keeper.asked_probes:
            asked = rng.choice(keeper.asked_probes)
            outcome = {"code": rng.randrange(2), "signal": None, "line": "bad"}
            if "number" in asked:
                told = [asked["pool"], asked["index"], asked["run"], asked["number"], outcome]
                say(daemon, {"probed": told})
        case 11:
            sample(daemon, rng)
        case _:
            daemon.pass_s(rng.choice([0.1, 1.0, 30.0]))
    daemon.turn()


def sample(daemon: Daemon, rng: random.Random) -> None:
    """Let somebody look at what processes use."""
    samples = daemon.supervisor._samples
    slots = [slot for slot in daemon.workers if samples._trees(slot)]
    if slots and not samples._told:
        samples.ask(slots, lambda: None)
        used = [[rng.randrange(9), 1, 0.5, 3, 1, 1, None, 77, 4.0] for _ in samples._asked]
        daemon.samplings[-1].says(*used)
        daemon.supervisor._poller.wait(0.0)


@pytest.mark.slow
def test_what_is_kept_is_what_is_true() -> None:
    """After whatever has happened, in whichever order; and most of it was not made anew."""
    seed = int(os.environ.get("SEED", random.SystemRandom().randrange(2**32)))
    print(f"SEED={seed}")  # noqa: T201
    rng = random.Random(seed)
    for _ in range(_ROUNDS):
        daemon = Daemon(*fleet(0, 2))
        try:
            daemon.settle()
            for _ in range(_STEPS):
                step(daemon, rng)
                check(daemon)
        finally:
            daemon.close()


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    """Return one with three workers that run."""
    made = Daemon(a_spec("web", 3, ready_after_s=0.0))
    made.settle()
    yield made
    made.close()


def made_for(daemon: Daemon) -> list[tuple[str, int]]:
    """Ask; return for whom something was made anew."""
    status = daemon.supervisor._status
    made: list[tuple[str, int]] = []
    tell = status.kept._tell

    def noted(slot: tuple[str, int], *run: Any) -> dict[str, object]:
        made.append(slot)
        return tell(slot, *run)

    status.kept._tell = noted
    try:
        status.answer(list(daemon.workers))
    finally:
        status.kept._tell = tell
    return made


def test_only_what_has_changed_is_made_anew(daemon: Daemon) -> None:
    """One of three has ended: the other two are told as before."""
    assert len(made_for(daemon)) == 3
    assert made_for(daemon) == []
    daemon.keeper.end(daemon.keeper.live()[1], 1)
    daemon.settle()
    assert made_for(daemon) == [("web", 2)]
    assert made_for(daemon) == []


def test_a_failure_that_leaves_the_window_is_counted_no_more(daemon: Daemon) -> None:
    """Nothing else has happened than that time has passed."""
    daemon.keeper.end(daemon.keeper.live()[0], 1)
    daemon.settle()
    daemon.pass_s(5.0)
    assert check(daemon)[0]["failures_in_window"] == 1
    daemon.clock.s += 594.0
    assert check(daemon)[0]["failures_in_window"] == 1
    daemon.clock.s += 60.0
    assert check(daemon)[0]["failures_in_window"] == 0


def test_nothing_is_kept_where_nobody_asks(daemon: Daemon) -> None:
    """Before the first question, and a minute after the last one; then nobody wakes for it."""
    kept: KeptStatus = daemon.supervisor._status.kept
    assert count_and_deadline(kept) == (0, None)
    made_for(daemon)
    assert count_and_deadline(kept) == (3, daemon.clock.s + 60.0)
    daemon.clock.s += 59.0
    made_for(daemon)
    daemon.pass_s(59.0)
    assert count_and_deadline(kept)[0] == 3
    daemon.pass_s(2.0)
    assert count_and_deadline(kept) == (0, None)


def count_and_deadline(kept: KeptStatus) -> tuple[int, float | None]:
    return len(kept._kept), kept.deadline_s


def test_who_is_gone_is_not_kept(daemon: Daemon) -> None:
    """A slot that the file has no place for any more."""
    made_for(daemon)
    daemon.write(a_spec("web", 1, ready_after_s=0.0))
    daemon.reload()
    daemon.settle()
    for run in daemon.keeper.live():
        if run.key[1] > 1:
            daemon.keeper.end(run, 0)
    daemon.settle()
    assert [worker["name"] for worker in check(daemon)] == ["web"]
    assert set(daemon.supervisor._status.kept._kept) == {("web", 1)}
