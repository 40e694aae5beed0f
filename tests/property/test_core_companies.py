"""Any fleet, any order of events: order is kept, nobody waits for ever, all can be stopped."""

from collections.abc import Callable
from random import Random  # noqa: TID251  # hypothesis hands one over, seeded

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisord_lite.core import events, states
from supervisord_lite.core.actions import SendSignal, Spawn
from supervisord_lite.core.fleet import Change, Fleet
from supervisord_lite.core.policy import BackoffPolicy, Policy
from supervisord_lite.core.pools import Pool, Slot
from supervisord_lite.core.standing import is_ready
from supervisord_lite.core.states import Worker
from supervisord_lite.core.step import next_deadline_s
from tests.support.core_fleet import Company

NAMES = ("a", "b", "c", "d", "e")
#: Enough for any chain of this many workers to come to rest.
ROUNDS = 60


class Watched(Company):
    """A company that looks at every spawn and every first signal."""

    def _take(self, change: Change) -> None:
        for action in change.actions:
            if isinstance(action, Spawn) and action.run > change.before.run:
                self._check_spawn(change)
            if isinstance(action, SendSignal):
                self._check_signal(change)
        super()._take(change)

    def _check_spawn(self, change: Change) -> None:
        for name in self.fleet.graph.requires[change.slot[0]]:
            workers = self.fleet.workers
            assert any(is_ready(workers[s]) for s in workers if s[0] == name), (
                f"{change.slot} started without {name}"
            )

    def _check_signal(self, change: Change) -> None:
        before, after = change.before.state, change.after.state
        assert isinstance(after, states.Stopping)
        if after.outcome == "failed" or (isinstance(before, states.Stopping) and before.rung >= 0):
            return
        for slot, worker in self.fleet.workers.items():
            state = worker.state
            if slot[0] in self.fleet.graph.behind(change.slot[0]):
                assert not isinstance(state, states.Stopping) or state.outcome in (
                    "failed",
                    "ended",
                ), f"{change.slot} told to stop before {slot} was gone"

    def end_some(self, slot: Slot, code: int) -> None:
        """A leader ends, if there is one."""
        if self.trees.get(slot) in ("alive", "stopping"):
            del self.trees[slot]
            run = self.fleet.workers[slot].run
            self.feed(slot, events.Exited(run, code, None, emptied=True))

    def answer(self, slot: Slot) -> None:
        """A spawn that was asked for succeeds, if there is one."""
        if self.trees.get(slot) == "asked":
            self.trees[slot] = "alive"
            run = self.fleet.workers[slot].run
            self.feed(slot, events.Spawned(run, 4000 + run))

    def pass_time(self, slot: Slot) -> None:
        """Whatever is due next for this worker happens."""
        due_s = next_deadline_s(self.fleet.workers[slot])
        if due_s is not None:
            self.now_s = max(self.now_s, due_s)
            self.feed(slot, events.DeadlinePassed())

    def heal(self) -> None:
        """From now on everything works: all are wanted, and whatever is asked for happens."""
        for slot in self.fleet.graph.in_start_order(self.fleet.workers):
            self.feed(slot, events.ResetRequested())
            self.feed(slot, events.StartRequested())
        self.live()

    def live(self) -> None:
        """Let whatever is due or asked for happen until nothing is."""
        for _ in range(ROUNDS):
            for slot in self.fleet.workers:
                self.answer(slot)
                if self.trees.get(slot) == "stopping":
                    self.end_some(slot, 0)
                if isinstance(self.fleet.workers[slot].state, states.Backoff | states.Starting):
                    self.pass_time(slot)


@st.composite
def fleets(draw: st.DrawFn) -> tuple[list[Pool], dict[Slot, Worker]]:
    """Draw pools whose order has no cycle, in any order of the file, with one to three workers."""
    pools = []
    workers = {}
    for place, name in enumerate(NAMES[: draw(st.integers(1, len(NAMES)))]):
        ahead = st.lists(st.sampled_from(NAMES[:place]), max_size=2) if place else st.just([])
        pools.append(Pool(name, tuple(draw(ahead)), tuple(draw(ahead))))
    for pool in draw(st.permutations(pools)):
        policy = Policy(
            restart=draw(st.sampled_from(("always", "on-failure"))),
            ready_after_s=draw(st.sampled_from((0.0, 1.0))),
            max_restarts=draw(st.integers(1, 4)),
            circuit_cooldown_s=draw(st.sampled_from((None, 60.0))),
            backoff=BackoffPolicy(jitter=False),
        )
        for index in range(1, draw(st.integers(1, 3)) + 1):
            workers[pool.name, index] = Worker(pool.name, index, policy)
    return draw(st.permutations(pools)), workers


PERSONS: dict[str, events.Event] = {
    "start": events.StartRequested(),
    "stop": events.StopRequested(),
    "restart": events.RestartRequested(),
    "reset": events.ResetRequested(),
}
MOVES: dict[str, Callable[[Watched, Slot], None]] = {
    "answer": Watched.answer,
    "pass_time": Watched.pass_time,
    "crash": lambda company, slot: company.end_some(slot, 1),
    "end": lambda company, slot: company.end_some(slot, 0),
    "supervisor": lambda company, _slot: company.crash_of_the_supervisor(),
}
moves = st.lists(
    st.tuples(
        st.sampled_from((*MOVES, *["answer", "pass_time", "crash"] * 3, *PERSONS)),
        st.integers(0, 59),
    ),
    min_size=20,
    max_size=120,
)


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(
    fleet=fleets(),
    moves=moves,
    rng=st.randoms(use_true_random=False),
    is_up=st.booleans(),
    is_end=st.booleans(),
)
def test_order_is_kept_and_nobody_waits_for_ever(
    fleet: tuple[list[Pool], dict[Slot, Worker]],
    moves: list[tuple[str, int]],
    rng: Random,
    is_up: bool,
    is_end: bool,
) -> None:
    """Once nothing fails any more, all that is wanted runs; and everything can be stopped."""
    company = Watched(Fleet(*fleet), rng)
    company.boot()
    if is_up:
        company.live()
    slots = list(company.fleet.workers)
    for name, number in moves:
        slot = slots[number % len(slots)]
        if name in PERSONS:
            company.feed(slot, PERSONS[name])
        else:
            MOVES[name](company, slot)
    if not is_end:
        company.heal()
        company.heal()  # what tripped on the way is reset once more
        left = {s: w.state for s, w in company.fleet.workers.items() if not is_ready(w)}
        assert not left, "somebody waits for ever"
    company.shut_down()
    spawned = [what for what, _ in company.done].count("spawn")
    company.live()
    left = {s: w.state for s, w in company.fleet.workers.items() if w.state != states.Stopped()}
    assert all(state == states.Stopped(by_hand=True) for state in left.values()), left
    assert not company.trees
    assert [what for what, _ in company.done].count("spawn") == spawned, "started after the end"
