"""A new run beside the old one: who is the slot, what counts, and when is it down."""

from typing import Any

from supervisord_lite.base.record import replace
from supervisord_lite.core import events
from supervisord_lite.core.actions import Announce, KillTree, SendSignal, Spawn
from supervisord_lite.core.events import SlotEvent
from supervisord_lite.core.gates import Gate, open_gate
from supervisord_lite.core.schedule import Schedule
from supervisord_lite.core.states import (
    Backoff,
    Running,
    Scheduled,
    Starting,
    State,
    Stopped,
    Stopping,
    Waiting,
    Worker,
)
from supervisord_lite.core.swap import due_s, is_coming, step_both
from tests.support.core import FixedRng, a_policy


class Slot:
    """A slot that has been running as run 1 for a minute, and what was done since."""

    def __init__(self, **policy: Any) -> None:
        self.policy = a_policy(ready_by="said", **policy)
        self.worker = Worker("web", 1, self.policy, Running(1, 4001, 0.0, 1.0), run=1)
        self.twin: Worker | None = None
        self.now_s = 60.0
        self.gate: Gate = open_gate
        self.actions: list[Any] = []

    def feed(self, *told: SlotEvent) -> None:
        for event in told:
            both = step_both(
                self.worker, self.twin, event, now_s=self.now_s, rng=FixedRng(), gate=self.gate
            )
            self.worker, self.twin = both.worker, both.twin
            self.actions += both.actions

    def begin(self, **policy: Any) -> None:
        """Let run 2 come, and live."""
        new = a_policy(ready_by="said", **policy)
        self.feed(events.ReplaceRequested(new), events.Spawned(2, 4002))

    def has_twin(self) -> bool:
        return self.twin is not None

    def state(self) -> State:
        return self.worker.state

    def said(self) -> list[str]:
        return [each.event for each in self.actions if isinstance(each, Announce)]

    def asked(self) -> list[tuple[str, int]]:
        return [
            (type(each).__name__, each.run)
            for each in self.actions
            if isinstance(each, Spawn | SendSignal | KillTree)
        ]


def test_the_new_run_is_the_slot_when_it_is_ready_and_the_old_one_ends_then() -> None:
    """It stays ready all the time; the old one ends by what it was started with."""
    slot = Slot()
    slot.begin()
    assert isinstance(slot.state(), Running)
    assert slot.worker.run == 1
    assert slot.asked() == [("Spawn", 2)]

    slot.feed(events.ReadySaid(2))

    assert isinstance(slot.state(), Running)
    assert (slot.worker.run, slot.state()) == (2, Running(2, 4002, 60.0, 60.0))
    assert slot.asked() == [("Spawn", 2), ("SendSignal", 1)]
    slot.now_s = 61.0
    slot.feed(events.Exited(1, 0, None, emptied=True))
    assert not slot.has_twin()
    assert slot.said() == ["worker.started", "worker.ready", "worker.stopped"]
    assert slot.worker.last_exit is not None
    assert (slot.worker.last_exit.pid, slot.worker.last_exit.asked) == (4001, True)
    assert slot.worker.failures == ()


def test_who_does_not_become_ready_is_cleared_away_and_counts_nowhere() -> None:
    """The slot is what it was, and the number is not used again."""
    slot = Slot(max_restarts=1)
    before = slot.worker
    slot.begin()
    slot.feed(events.Exited(2, 3, None, emptied=False))
    assert isinstance(slot.state(), Running)
    assert slot.has_twin()
    assert slot.said() == ["worker.started"]

    slot.feed(events.Emptied(2))

    assert not slot.has_twin()
    assert slot.said()[-1] == "worker.rejected"
    assert (slot.worker.state, slot.worker.failures) == (before.state, ())
    slot.feed(events.ReplaceRequested(slot.policy))
    assert slot.asked()[-1] == ("Spawn", 3)


def test_who_is_late_is_ended_by_the_ladder() -> None:
    """Its start_timeout counts from its own start."""
    slot = Slot(start_timeout_s=60.0)
    slot.begin(start_timeout_s=5.0)
    assert due_s(slot.worker, slot.twin) == 65.0
    slot.now_s = 65.0
    slot.feed(events.DeadlinePassed())
    assert slot.asked()[-1] == ("SendSignal", 2)
    slot.feed(events.Exited(2, None, 15, emptied=True))
    fields = dict(slot.actions[-1].fields)
    assert fields["reason"] == "not ready after 5s"
    assert isinstance(slot.state(), Running)


def test_the_old_run_may_end_meanwhile() -> None:
    """The new one is the slot then, as far as it has come; nothing is counted."""
    slot = Slot(max_restarts=1)
    slot.begin()
    slot.feed(events.Exited(1, None, 9, emptied=False))
    assert isinstance(slot.state(), Starting)
    assert (slot.worker.run, slot.worker.failures) == (2, ())
    assert slot.twin is not None
    assert not is_coming(slot.twin)
    slot.feed(events.Emptied(1), events.ReadySaid(2))
    assert isinstance(slot.state(), Running)
    assert not slot.has_twin()


def test_one_that_is_judged_meanwhile_gives_way_and_is_ended() -> None:
    """As one that was replaced: no failure."""
    slot = Slot(max_restarts=1)
    slot.begin()
    slot.feed(events.JudgedFailed(1, "no heartbeat for 3s"))
    assert isinstance(slot.state(), Starting)
    assert slot.asked()[-1] == ("SendSignal", 1)
    slot.feed(events.Exited(1, None, 15, emptied=True))
    assert slot.worker.failures == ()


def test_what_an_old_run_was_judged_for_is_told_and_not_our_own_signal() -> None:
    """Nobody serves from then on until the new run is ready: who asks why must find it."""
    slot = Slot()
    slot.begin()
    slot.feed(events.JudgedFailed(1, "no heartbeat for 3s"))
    slot.feed(events.Exited(1, None, 15, emptied=True))
    last = slot.worker.last_exit
    assert last is not None
    assert (last.reason, last.signal, last.asked) == ("no heartbeat for 3s", 15, False)
    told = [each for each in slot.actions if isinstance(each, Announce)]
    assert [each.event for each in told] == ["worker.started", "worker.stopped"]
    assert dict(told[1].fields)["reason"] == "no heartbeat for 3s"
    assert dict(told[1].fields)["asked"] == "replaced"


def test_after_the_swap_the_new_run_is_judged_as_any_other() -> None:
    """Also while the old one is still on its way out."""
    slot = Slot()
    slot.begin()
    slot.feed(events.ReadySaid(2), events.Exited(2, 1, None, emptied=True))
    assert isinstance(slot.state(), Backoff)
    assert len(slot.worker.failures) == 1
    assert slot.twin is not None


def test_down_means_both() -> None:
    """Whichever is gone first, "stopped" is said when the other is gone too."""
    for first, second in ((1, 2), (2, 1)):
        slot = Slot()
        slot.begin()
        slot.feed(events.StopRequested())
        assert slot.asked()[1:] == [("SendSignal", 1), ("SendSignal", 2)]
        slot.feed(events.Exited(first, 0, None, emptied=True))
        assert isinstance(slot.state(), Stopping)
        slot.feed(events.Exited(second, 0, None, emptied=True))
        assert slot.state() == Stopped(by_hand=True)
        assert not slot.has_twin()
        assert slot.said().count("worker.stopped") == 2


def test_a_slot_without_a_process_waits_for_its_old_run_too() -> None:
    """It had crashed into its backoff; a shutdown is over when nothing of either is left."""
    slot = Slot()
    slot.begin()
    slot.feed(events.ReadySaid(2), events.Exited(2, 1, None, emptied=True))
    slot.feed(events.ShutdownRequested())
    assert isinstance(slot.state(), Stopping)
    assert "worker.stopped" not in slot.said()
    slot.feed(events.Lost(2))
    assert isinstance(slot.state(), Stopping)
    slot.feed(events.Exited(1, 0, None, emptied=True))
    assert slot.state() == Stopped()


def test_a_start_while_both_go_down_comes_up_when_both_are_gone() -> None:
    """The last word of a person wins."""
    slot = Slot()
    slot.begin()
    slot.feed(events.StopRequested(), events.Exited(1, 0, None, emptied=True))
    slot.feed(events.StartRequested())
    assert isinstance(slot.state(), Stopping)
    slot.feed(events.Exited(2, 0, None, emptied=True))
    assert isinstance(slot.state(), Starting)
    assert slot.asked()[-1] == ("Spawn", 3)


def test_at_once_kills_both() -> None:
    """A second signal to the daemon."""
    slot = Slot()
    slot.begin()
    slot.feed(events.ReadySaid(2), events.ShutdownRequested(at_once=True))
    assert slot.asked()[-2:] == [("KillTree", 2), ("KillTree", 1)]


def test_a_new_run_waits_for_its_turn() -> None:
    """What it requires is away; the old one serves meanwhile, and the new number is not used."""
    slot = Slot()
    slot.gate = lambda ask: "" if ask == "stop" else "requires db"
    slot.feed(events.ReplaceRequested(slot.policy))
    assert slot.twin is not None
    assert slot.twin.state == Waiting("requires db")
    assert slot.asked() == []
    slot.gate = open_gate
    slot.feed(events.GateMoved())
    assert slot.asked() == [("Spawn", 2)]


def test_one_that_is_not_ready_or_a_one_shot_is_restarted_in_place() -> None:
    """There is nothing to keep, or nobody to take over."""
    slot = Slot()
    slot.worker = slot.worker.in_state(Starting(1, 0.0, 4001, 1.0))
    slot.feed(events.ReplaceRequested(slot.policy))
    assert not slot.has_twin()
    assert slot.asked() == [("SendSignal", 1)]
    other = Slot()
    other.feed(events.ReplaceRequested(a_policy(ready_by="exit")))
    assert other.asked() == [("SendSignal", 1)]


def test_a_restart_in_place_ends_a_swap() -> None:
    """And its run is none of those."""
    slot = Slot()
    slot.begin()
    slot.feed(events.RestartRequested(), events.Exited(1, 0, None, emptied=True))
    assert slot.asked()[1:] == [("SendSignal", 1), ("SendSignal", 2), ("Spawn", 3)]


def test_a_spawn_that_never_arrived_is_asked_for_again() -> None:
    """Of the new run as of any other."""
    slot = Slot()
    slot.feed(events.ReplaceRequested(slot.policy), events.Lost(2))
    assert slot.asked() == [("Spawn", 2), ("Spawn", 2)]


def test_the_number_of_a_new_run_that_failed_is_not_used_by_a_job_either() -> None:
    """The keeper starts a number once: a planned run that had it again would never come."""
    slot = Slot()
    slot.begin()
    slot.feed(events.Exited(2, 3, None, emptied=True), events.Exited(1, 0, None, emptied=True))
    slot.feed(events.PolicyChanged(a_policy(schedule=Schedule(every_s=60.0))))
    assert isinstance(slot.state(), Scheduled)
    slot.feed(events.PlanBegun(0.0), events.CameDue(60.0))
    assert slot.asked()[-1] == ("Spawn", 3)


def test_a_swap_that_somebody_asked_for_is_no_recycle() -> None:
    """Whatever a fault has left behind in the record."""
    slot = Slot()
    slot.worker = replace(slot.worker, recycle="age 24h")
    slot.begin()
    slot.feed(events.ReadySaid(2), events.Exited(1, 0, None, emptied=True))
    assert slot.worker.recycles == 0
    assert "worker.recycled" not in slot.said()
