"""Any order of facts, orders and wake-ups, against a keeper that does what it is told."""

from collections.abc import Callable
from random import Random  # noqa: TID251  # hypothesis hands one over, seeded
from typing import Literal

import pytest
from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisord_lite.core import events, states
from supervisord_lite.core.policy import BackoffPolicy, Policy, Rung
from supervisord_lite.core.states import Worker
from supervisord_lite.core.step import next_deadline_s, step
from tests.support.core import KILL, TERM, World, after_a_crash, every_event

LADDERS = ((Rung(TERM, 10.0),), (Rung(TERM, 5.0), Rung(3, 2.0)), (Rung(TERM, 0.0),))

policies = st.builds(
    Policy,
    restart=st.sampled_from(("always", "on-failure", "never")),
    ready_by=st.sampled_from(("alive", "alive", "said", "health", "exit")),
    run_timeout_s=st.sampled_from((None, None, 20.0, 90.0)),
    ready_after_s=st.sampled_from((0.0, 1.0, 40.0, 90.0)),
    stop_ladder=st.sampled_from(LADDERS),
    stop_scope=st.sampled_from(("leader", "tree")),
    stable_run_period_s=st.sampled_from((0.0, 0.1, 30.0)),
    max_restarts=st.integers(1, 5),
    circuit_window_s=st.sampled_from((5.0, 600.0)),
    circuit_cooldown_s=st.sampled_from((None, 0.0, 60.0)),
    backoff=st.builds(
        BackoffPolicy,
        min_s=st.sampled_from((0.0, 0.5, 1.0)),
        max_s=st.sampled_from((1.0, 8.0, 300.0)),
        factor=st.sampled_from((1.0, 2.0, 10.0)),
        jitter=st.booleans(),
    ),
)

PERSONS: dict[str, events.Event] = {
    "start": events.StartRequested(),
    "stop": events.StopRequested(),
    "restart": events.RestartRequested(),
    "reset": events.ResetRequested(),
    "shutdown": events.ShutdownRequested(),
    "kill": events.ShutdownRequested(at_once=True),
}


def answer(world: World, amount: float) -> None:
    """The spawn that was asked for is answered: mostly it works."""
    run = world.worker.run
    if world.tree != "asked":
        return
    if amount < 20.0:
        world.fact(events.Spawned(run, 4000 + run), "alive", lag_s=0.01)
    else:
        failure = events.SpawnFailed(
            run, "exec", "no such file: /x", missing=30.0 < amount < 60.0, hopeless=amount > 300.0
        )
        world.fact(failure, "none")


def end(world: World, amount: float) -> None:
    """The leader ends, well or not, alone or leaving others behind."""
    if world.tree == "alive":
        code, signal = ((0, None), (1, None), (None, KILL))[int(amount * 10) % 3]
        emptied = int(amount * 100) % 2 == 0
        fact = events.Exited(world.worker.run, code, signal, emptied)
        world.fact(fact, "none" if emptied else "left", lag_s=0.01)


def clear(world: World, _: float) -> None:
    """What was left behind is dead."""
    if world.tree == "left":
        world.fact(events.Emptied(world.worker.run, ("4123 sh",)), "none")


def lose(world: World, amount: float) -> None:
    """A new supervisor: its request, or the run, is unknown to the keeper."""
    world.worker = after_a_crash(world.worker)
    if world.tree == "asked" or (world.tree != "none" and amount > 60.0):
        world.fact(events.Lost(world.worker.run), "none")


def repeat(world: World, amount: float) -> None:
    """Facts come twice, and from older runs."""
    for fact in world.delivered[-3:]:
        still_true = not isinstance(fact, events.Lost) and fact.run == world.worker.run
        if still_true or fact.run < world.worker.run:
            before = world.worker
            world.tell(fact, lag_s=min(amount, 0.5))
            assert world.worker is before, f"heard twice: {fact}"


def pass_time(world: World, amount: float) -> None:
    """Time passes, and the loop wakes up for what is due."""
    world.now_s += amount
    for _ in range(8):
        due_s = next_deadline_s(world.worker)
        if due_s is None or due_s > world.now_s:
            return
        world.tell(events.DeadlinePassed())
    due_s = next_deadline_s(world.worker)
    assert due_s is None or due_s > world.now_s, "a deadline that never ends"


def oversleep(world: World, amount: float) -> None:
    """Time passes, and the loop was busy."""
    world.now_s += amount


def shut(world: World, _: float) -> None:
    """What it depends on goes away, or what depends on it is on its way down."""
    world.is_shut = True


def reopen(world: World, _: float) -> None:
    """Its turn has come."""
    world.is_shut = False
    world.tell(events.GateMoved())


def say_ready(world: World, amount: float) -> None:
    """It says that it is ready, sometimes before the keeper says that it lives."""
    if world.tree in ("asked", "alive"):
        by: Literal["said", "health"] = "health" if int(amount * 10) % 2 else "said"
        world.tell(events.ReadySaid(world.worker.run, by), lag_s=min(amount, 0.5))


def extend(world: World, amount: float) -> None:
    """It asks for more time."""
    if world.tree in ("asked", "alive"):
        world.tell(events.Extended(world.worker.run, world.now_s + amount))


def judge(world: World, _: float) -> None:
    """Somebody who can know says that it does not work."""
    if world.tree == "alive":
        world.tell(events.JudgedFailed(world.worker.run, "no heartbeat for 30s"))


def recycle(world: World, _: float) -> None:
    """It has had its share."""
    if world.tree in ("asked", "alive"):
        world.tell(events.RecycleRequested(world.worker.run, "age 24h"))


def live(world: World, amount: float) -> None:
    """The next thing happens that nobody has to ask for."""
    due_s = next_deadline_s(world.worker)
    if world.tree == "asked":
        answer(world, amount)
    elif world.tree == "left":
        clear(world, amount)
    elif due_s is not None and amount > 1.0:
        pass_time(world, max(0.0, due_s - world.now_s))
    elif world.tree == "alive":
        world.now_s += amount
        end(world, amount)


MOVES: dict[str, Callable[[World, float], None]] = {
    "live": live,
    "answer": answer,
    "end": end,
    "lose": lose,
    "repeat": repeat,
    "pass_time": pass_time,
    "oversleep": oversleep,
    "shut": shut,
    "reopen": reopen,
    "say_ready": say_ready,
    "extend": extend,
    "judge": judge,
    "recycle": recycle,
}
# A life that goes on by itself is drawn more often than what ends it.
names = st.sampled_from((*MOVES, *PERSONS, "policy", "start", *["live"] * 30))
amounts = st.sampled_from(
    (0.0, 0.01, 0.07, 0.5, 1.0, 2.11, 9.99, 10.0, 29.9, 30.0, 31.2, 61.0, 310.0, 601.0)
)


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(
    policy=policies,
    others=policies,
    moves=st.lists(st.tuples(names, amounts), min_size=20, max_size=80),
    rng=st.randoms(use_true_random=False),
)
def test_no_order_of_events_breaks_a_promise(
    policy: Policy, others: Policy, moves: list[tuple[str, float]], rng: Random
) -> None:
    """One run at a time, none before its time, none after a stop, whatever happens when."""
    world = World(Worker("web", 1, policy), rng)
    world.tell(events.StartRequested())
    for name, amount in moves:
        if name in PERSONS:
            world.tell(PERSONS[name])
        elif name == "policy":
            world.tell(events.PolicyChanged(others))
        else:
            MOVES[name](world, amount)
    for before, after in world.edges:
        note(f"{before.__name__} -> {after.__name__}")
    # Whatever happened: a stop ends it, and it stays down.
    reopen(world, 0.0)
    world.tell(events.StopRequested())
    for _ in range(8):
        answer(world, 0.0)
        end(world, 0.1)
        clear(world, 0.0)
        pass_time(world, 1000.0)
    assert isinstance(world.worker.state, states.Stopped)


@pytest.mark.slow
@settings(deadline=None, max_examples=100)
@given(
    policy=policies,
    picks=st.lists(
        st.tuples(st.integers(0, len(every_event(1)) - 1), st.integers(-1, 1), amounts), max_size=60
    ),
    rng=st.randoms(use_true_random=False),
)
def test_no_event_is_an_error_even_where_it_makes_no_sense(
    policy: Policy, picks: list[tuple[int, int, float]], rng: Random
) -> None:
    """A keeper that reports nonsense, in any order and at any time, cannot stop supervision."""
    worker, now_s = Worker("web", 1, policy), 100.0
    for pick, run_offset, amount in picks:
        event = every_event(worker.run + run_offset)[pick]
        now_s += amount
        before = worker
        worker, _ = step(worker, event, now_s=now_s, rng=rng)
        assert worker is before or worker != before
        assert after_a_crash(worker) == worker
        assert len(worker.failures) <= worker.policy.max_restarts
