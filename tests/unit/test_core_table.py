"""Every state meets every event, and the table of legal moves is exactly what is reached."""

from collections import deque
from itertools import product
from typing import get_args

import pytest

from supervisord_lite.core.events import DeadlinePassed, Event, OfRun
from supervisord_lite.core.gates import Gate, open_gate
from supervisord_lite.core.policy import BackoffPolicy, Policy, Rung
from supervisord_lite.core.schedule import Schedule
from supervisord_lite.core.states import NEXT, LastExit, State, Worker
from supervisord_lite.core.step import next_deadline_s, step
from tests.support.core import FixedRng, a_policy, every_event, every_state, shut_gate

RNG = FixedRng(0.5)
POLICIES = (
    a_policy(jitter=True),
    a_policy(restart="always", ready_after_s=0.0, stable_run_period_s=0.0, max_restarts=1),
    a_policy(restart="never", circuit_cooldown_s=60.0, ready_after_s=90.0),
    a_policy(ready_by="said", run_timeout_s=30.0, circuit_cooldown_s=60.0),
    a_policy(ready_by="exit", restart="always", stable_run_period_s=0.0),
    a_policy(restart="never", schedule=Schedule(every_s=60.0)),
    a_policy(max_restarts=2, schedule=Schedule(every_s=60.0, overlap="wait", missed="once")),
    Policy(backoff=BackoffPolicy(min_s=0.0), stop_ladder=(Rung(15, 0.0), Rung(3, 0.0))),
)
LAST = LastExit(1, None, "exit 1", 0.5, 0.5)


GATES = (open_gate, shut_gate)


def in_each_state(policy: Policy) -> list[Worker]:
    many = (0.1, 0.2, 0.3, 0.4)[-policy.max_restarts :]
    return [
        Worker("web", 1, policy, state, run=3, attempt=attempt, failures=failures, last_exit=last)
        for state in every_state(run=3)
        for attempt, failures, last in ((0, (), None), (10_000, many, LAST))
    ]


def test_the_samples_hold_every_state_and_every_event() -> None:
    """Nobody can add a state or an event without the tests below meeting it."""
    assert {type(state) for state in every_state()} == set(get_args(State)) == set(NEXT)
    assert {type(event) for event in every_event(3)} == set(get_args(Event))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("now_s", [0.0, 2.0, 40.0, 1e9])
@pytest.mark.parametrize("gate", GATES)
def test_every_event_is_accepted_in_every_state(policy: Policy, now_s: float, gate: Gate) -> None:
    """No order of events is an error, however late or early they come; the times stay finite."""
    for worker in in_each_state(policy):
        for event in every_event(run=3):
            moved, _ = step(worker, event, now_s=now_s, rng=RNG, gate=gate)
            assert moved is worker or moved != worker
            due_s = next_deadline_s(moved)
            assert due_s is None or 0.0 <= due_s < 2e9
            assert len(moved.failures) <= moved.policy.max_restarts


def test_facts_of_another_run_change_nothing_in_any_state() -> None:
    """Reports about an older run, or one that never was, are ignored everywhere."""
    for worker in in_each_state(POLICIES[0]):
        for run in (1, 2, 4):
            for event in every_event(run):
                if isinstance(event, OfRun):
                    assert step(worker, event, now_s=50.0, rng=RNG) == (worker, ())


def test_a_deadline_that_has_been_dealt_with_is_not_due_again() -> None:
    """The loop never wakes up twice for the same thing: no busy waiting."""
    for policy in POLICIES:
        for worker in in_each_state(policy):
            asked = worker
            for _ in range(len(policy.stop_ladder) + 3):
                due_s = next_deadline_s(asked)
                if due_s is None:
                    break
                asked, _ = step(asked, DeadlinePassed(), now_s=due_s, rng=RNG)
            due_s = next_deadline_s(asked)
            assert due_s is None or due_s > (next_deadline_s(worker) or 0.0)


@pytest.mark.slow
def test_each_edge_of_the_table_is_reached_and_no_other() -> None:
    """README's diagram shows what the program does: neither more nor less.

    The walk starts where the shell does, and never builds a state by hand.
    """
    policy = a_policy(max_restarts=2, circuit_cooldown_s=60.0)
    always = a_policy(max_restarts=2, circuit_cooldown_s=60.0, restart="always")
    reached: set[tuple[type[State], type[State]]] = set()
    job = a_policy(max_restarts=2, schedule=Schedule(every_s=60.0))
    for begin in (policy, always, job):
        reached |= edges_from(Worker("web", 1, begin))
    table = {(before, after) for before, afters in NEXT.items() for after in afters}
    assert reached == table


def edges_from(worker: Worker) -> set[tuple[type[State], type[State]]]:
    """Return the moves that are possible from *worker* on, by walking through all of them."""
    edges = set()
    seen = {shape_of(worker)}
    queue = deque([(worker, 0.0)])
    while queue:
        worker, now_s = queue.popleft()
        due_s = next_deadline_s(worker)
        for event in every_event(worker.run):
            for at_s, gate in product((now_s + 0.5, max(now_s + 31.0, due_s or 0.0)), GATES):
                moved, _ = step(worker, event, now_s=at_s, rng=RNG, gate=gate)
                if type(moved.state) is not type(worker.state):
                    edges.add((type(worker.state), type(moved.state)))
                if shape_of(moved) not in seen:
                    seen.add(shape_of(moved))
                    queue.append((moved, at_s))
    return edges


def shape_of(worker: Worker) -> tuple[object, ...]:
    """Return what distinguishes two workers but for their times and numbers."""
    state = worker.state
    times = ("pid", "ready_at_s", "exited_at_s", "said_at_s")
    known = [getattr(state, name, None) is None for name in times]
    words = [getattr(state, n, None) for n in ("outcome", "was_probing", "start_again", "then")]
    is_job = worker.policy.schedule is not None, worker.is_owed
    return (type(state), *known, *words, len(worker.failures), worker.policy.restart, *is_job)
