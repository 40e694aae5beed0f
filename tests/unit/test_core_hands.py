"""What people did by hand, what a service leaves to the next, and who waits for whom."""

from typing import get_args

import pytest

from supervisord_lite.core import events
from supervisord_lite.core.carry import carried_over, is_worth_carrying
from supervisord_lite.core.meetings import MEETINGS, Doing, Rule, rule_for
from supervisord_lite.core.orders import told_of_change
from supervisord_lite.core.scale import (
    MAX_POOL_SIZE,
    ScaledByHand,
    size_in_force,
    why_not,
)
from supervisord_lite.core.states import (
    Backoff,
    Exited,
    Probing,
    Running,
    Starting,
    State,
    Stopped,
    Stopping,
    Tripped,
    Waiting,
    Worker,
)
from tests.support.core import OneWorker, a_policy, every_state

# -- scale ---------------------------------------------------------------------------------------


def test_a_person_s_size_holds_until_the_file_says_something_new() -> None:
    """A reload that changes other things leaves it; one that changes this size takes over."""
    by_hand = ScaledByHand(size=12, file_size=8)
    assert size_in_force(8, None) == 8
    assert size_in_force(8, by_hand) == 12
    assert size_in_force(10, by_hand) == 10


def test_a_size_that_no_pool_can_have_is_refused_with_the_reason() -> None:
    """Never clamped, never ignored."""
    assert why_not(1, is_singleton=False) == ""
    assert why_not(MAX_POOL_SIZE, is_singleton=False) == ""
    assert "1024" in why_not(MAX_POOL_SIZE + 1, is_singleton=False)
    assert "1024" in why_not(-1, is_singleton=False)
    assert "stop" in why_not(0, is_singleton=False)


def test_a_singleton_is_never_scaled() -> None:
    """One typing error must not make two of it."""
    assert "singleton" in why_not(2, is_singleton=True)
    assert "singleton" in why_not(1, is_singleton=True)


# -- from one service to the next ----------------------------------------------------------------

OPEN = Worker(
    "web", 1, a_policy(), Tripped(40.0, 100.0), run=5, attempt=5,
    failures=(1.0, 2.0, 3.0, 30.0, 40.0), restarts=4,
)  # fmt: skip


def test_a_keeper_that_died_without_a_verdict_leaves_breakers_as_they_were() -> None:
    """An open breaker stays open, with its cooldown; what failed is still counted."""
    policy = a_policy(max_restarts=3)
    kept = carried_over(OPEN, policy)
    assert kept.state == Tripped(40.0, 100.0)
    assert (kept.failures, kept.attempt, kept.restarts) == ((3.0, 30.0, 40.0), 5, 4)
    assert kept.policy == policy


@pytest.mark.parametrize("state", every_state())
def test_what_is_carried_over_is_down_and_counts_its_runs_anew(state: State) -> None:
    """What lived is stopped for now, to be started like everything at a boot."""
    kept = carried_over(OPEN.in_state(state), a_policy())
    assert (kept.run, kept.failures) == (0, OPEN.failures)
    match state:
        case Tripped():
            assert kept.state == state
        case Stopped(by_hand=True) | Stopping(outcome="stopped"):
            assert kept.state == Stopped(by_hand=True)
        case Waiting(then="probe") | Probing() | Stopping(was_probing=True):
            assert kept.state == Tripped(40.0, 40.0)  # one failure is still enough
        case _:
            assert kept.state == Stopped()


@pytest.mark.parametrize("state", every_state())
def test_another_program_has_not_failed_yet_but_stays_stopped_by_hand(state: State) -> None:
    """What the file changed since is what a reload would have changed."""
    kept = carried_over(OPEN.in_state(state), a_policy(), is_other_program=True)
    fresh = Worker("web", 1, a_policy())
    is_by_hand = state == Stopped(by_hand=True) or getattr(state, "outcome", "") == "stopped"
    assert kept == (fresh.in_state(Stopped(by_hand=True)) if is_by_hand else fresh)


def test_only_what_differs_from_a_beginning_is_worth_carrying() -> None:
    """A healthy fleet leaves nothing at all."""
    healthy = Worker("web", 1, a_policy(), Running(3, 77, 1.0, 2.0), run=3)
    assert not is_worth_carrying(healthy)
    assert not is_worth_carrying(healthy.in_state(Stopped()))
    assert is_worth_carrying(healthy.in_state(Stopped(by_hand=True)))
    assert is_worth_carrying(OPEN)
    assert is_worth_carrying(OPEN.in_state(Running(6, 78, 1.0, 2.0)))


# -- a changed configuration ---------------------------------------------------------------------


def test_a_changed_spec_closes_the_breaker_and_starts_what_it_kept_down() -> None:
    """Whatever failed before was another program."""
    slot = OneWorker(a_policy(max_restarts=2)).trip()
    policy = a_policy(max_restarts=2, ready_after_s=0.0)
    for event in told_of_change(slot.worker, policy, is_new_run=False):
        slot.tell(event)
    assert slot.worker.failures == ()
    slot.expect(Starting)
    assert slot.said("worker.reset")["reason"] == "changed"


def test_a_change_that_applies_to_the_live_process_keeps_its_pid() -> None:
    """Its failures are forgotten, and nothing else happens to it."""
    slot = OneWorker().up()
    before = slot.expect(Running)
    for event in told_of_change(slot.worker, a_policy(max_restarts=2), is_new_run=False):
        assert slot.tell(event) == ()
    assert slot.expect(Running) == before


def test_a_change_that_needs_a_new_process_restarts_and_is_no_failure() -> None:
    """A live one is stopped and started, without a failure."""
    slot = OneWorker().up()
    for event in told_of_change(slot.worker, a_policy(max_restarts=2), is_new_run=True):
        slot.tell(event)
    assert slot.expect(Stopping).outcome == "restart"


def test_a_change_starts_nothing_that_somebody_stopped_by_hand() -> None:
    """What people did by hand survives a reload, also one that changed this very worker."""
    slot = OneWorker()
    slot.stop()
    for event in told_of_change(slot.worker, a_policy(max_restarts=2), is_new_run=True):
        assert slot.tell(event) == ()
    assert slot.expect(Stopped).by_hand
    assert slot.worker.policy.max_restarts == 2


def test_a_finished_one_shot_runs_again_when_it_is_another_program() -> None:
    """A new migration is run by the reload that brings it; a live change runs nothing."""
    slot = OneWorker(a_policy(ready_by="exit"))
    slot.start()
    slot.spawned()
    slot.exits(0)
    for event in told_of_change(slot.worker, slot.worker.policy, is_new_run=False):
        slot.tell(event)
    slot.expect(Exited)
    for event in told_of_change(slot.worker, slot.worker.policy, is_new_run=True):
        slot.tell(event)
    slot.expect(Starting)


# -- who waits for whom --------------------------------------------------------------------------


def test_every_pair_has_a_rule() -> None:
    """Nobody has to guess what happens when two things are wanted at once."""
    doings = set(get_args(Doing))
    assert set(MEETINGS) == doings
    for rules in MEETINGS.values():
        assert set(rules) == doings
        assert set(rules.values()) <= set(get_args(Rule))


def test_nothing_undoes_or_delays_a_shutdown() -> None:
    """It replaces whatever is under way, and whatever comes later is refused or joins it."""
    for doing in get_args(Doing):
        assert MEETINGS[doing]["shutdown"] == ("joins" if doing == "shutdown" else "replaces")
        assert MEETINGS["shutdown"][doing] in ("refused", "joins")


def test_the_strongest_rule_of_all_that_is_under_way_counts() -> None:
    """A stop of what a reload rolls takes it out of both; nothing starts in a shutdown."""
    assert rule_for("start", []) == "now"
    assert rule_for("stop", ["roll", "reload"]) == "replaces"
    assert rule_for("reload", ["start", "reload"]) == "waits"
    assert rule_for("roll", ["reload", "shutdown"]) == "refused"
    assert rule_for("upgrade", ["roll", "reload", "stop"]) == "waits"
    assert rule_for("upgrade", ["reload", "upgrade"]) == "refused"


@pytest.mark.parametrize("first", ["start", "stop"])
@pytest.mark.parametrize("second", ["start", "stop", "roll"])
def test_the_table_says_of_one_worker_what_step_does(first: Doing, second: Doing) -> None:
    """ "joins" changes nothing of what is under way; "replaces" leads elsewhere."""
    told: dict[Doing, events.Event] = {
        "start": events.StartRequested(),
        "stop": events.StopRequested(),
        "roll": events.RestartRequested(),
    }
    slot = OneWorker() if first == "start" else OneWorker().up()
    slot.tell(told[first])
    if first == "start":
        slot.spawned()
    under_way = slot.worker

    slot.tell(told[second])

    is_same = slot.worker is under_way
    assert is_same == (rule_for(second, [first]) == "joins"), slot.worker


def test_an_order_while_the_service_ends_changes_nothing() -> None:
    """What the table refuses, `step` ignores."""
    slot = OneWorker().up()
    slot.tell(events.ShutdownRequested())
    for event in (events.StartRequested(), events.RestartRequested(), events.StopRequested()):
        slot.tell(event)
        assert slot.expect(Stopping).outcome == "shutdown"


def test_a_backoff_is_no_part_of_what_a_service_leaves() -> None:
    """A new service does not wait for an old one's restart."""
    kept = carried_over(OPEN.in_state(Backoff(50.0, 4.0)), a_policy())
    assert kept.state == Stopped()
    assert kept.attempt == 5
