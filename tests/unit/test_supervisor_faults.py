"""One worker's step has a fault of ours: nothing is waited for that nobody will bring."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from supervisord_lite.config.spec import Spec
from supervisord_lite.core import events, fleet
from supervisord_lite.core.states import Backoff, Running, Stopped, Stopping, Tripped
from supervisord_lite.keeper.table import Run
from supervisord_lite.supervisor.outbox import Slot
from tests.support.supervisor import Daemon, a_spec

WEB, DB = ("web", 1), ("db", 1)
Start = Callable[..., Daemon]


@pytest.fixture
def start() -> Iterator[Start]:
    """Return what makes a daemon whose workers have been running for a second."""
    with ExitStack() as stack:

        def make(*specs: Spec) -> Daemon:
            daemon = Daemon(*specs)
            stack.callback(daemon.close)
            daemon.settle()
            daemon.pass_s(1.0)
            daemon.settle()
            return daemon

        yield make


class Stumbling:
    """The real `step`, behind a fault that happens with some events of one worker."""

    def __init__(self, daemon: Daemon, slot: Slot, *kinds: type, times: int = 1000) -> None:
        core = daemon.supervisor._fleet.core
        self.real, self.slot, self.kinds, self.left = core.step, slot, kinds, times
        core.step = self  # type: ignore[method-assign]

    def __call__(self, slot: Slot, event: events.SlotEvent, **more: object) -> fleet.Change:
        if slot == self.slot and isinstance(event, self.kinds) and self.left:
            self.left -= 1
            message = "a fault of ours"
            raise RuntimeError(message)
        return self.real(slot, event, **more)  # type: ignore[arg-type]


def run_of(daemon: Daemon, slot: Slot) -> Run:
    (run,) = (run for run in daemon.keeper.live() if run.key[:2] == slot)
    return run


def killed(daemon: Daemon, slot: Slot) -> list[int]:
    """Return the runs of *slot* that the keeper was asked to kill."""
    asked = [each for each in daemon.keeper.signalled if each["do"] == "kill"]
    return [each["run"] for each in asked if (each["pool"], each["index"]) == slot]


@pytest.mark.parametrize("emptied", [True, False])
def test_an_exit_that_could_not_be_judged_is_a_failure_like_any_other(
    start: Start, *, emptied: bool
) -> None:
    """The worker does not stay up without a process: it starts again when all of it is gone."""
    daemon = start(a_spec("web"), a_spec("db"))
    Stumbling(daemon, WEB, events.Exited, times=1)
    run = run_of(daemon, WEB)
    daemon.keeper.end(run, 1, emptied=emptied)
    daemon.settle()
    if not emptied:
        assert isinstance(daemon.workers[WEB].state, Stopping)
        daemon.keeper.empty(run)
        daemon.settle()
    assert isinstance(daemon.workers[WEB].state, Backoff)
    assert len(daemon.workers[WEB].failures) == 1
    daemon.pass_s(1.0)
    daemon.settle()
    assert run_of(daemon, WEB).key == ("web", 1, 2)


def test_a_run_that_was_killed_after_a_fault_is_not_forgotten_by_an_adoption(start: Start) -> None:
    """What was put is saved, so the next supervisor finds what is true."""
    daemon = start(a_spec("web"))
    Stumbling(daemon, WEB, events.Exited)
    run = run_of(daemon, WEB)
    daemon.keeper.end(run, 1, emptied=False)
    daemon.turn()
    daemon.replace()
    daemon.keeper.empty(run)
    daemon.settle()
    assert isinstance(daemon.workers[WEB].state, Backoff)


def test_a_worker_whose_every_end_has_a_fault_is_down(start: Start) -> None:
    """It is told as what it is, and a person may start it."""
    daemon = start(a_spec("web"))
    Stumbling(daemon, WEB, events.Exited, events.Lost)
    daemon.keeper.end(run_of(daemon, WEB), 1)
    daemon.settle()
    assert daemon.workers[WEB].state == Stopped()
    daemon.supervisor._fleet.feed(WEB, events.StartRequested())
    daemon.settle()
    daemon.pass_s(1.0)
    assert isinstance(daemon.workers[WEB].state, Running)


def test_a_spawn_that_could_not_be_asked_for_leaves_it_down() -> None:
    """Nobody waits for a process that nobody was asked to start, least of all the stop."""
    daemon = Daemon(a_spec("bad", launch={"argv": (7,)}), a_spec("web"))
    try:
        daemon.settle()
        daemon.pass_s(1.0)
        assert daemon.workers["bad", 1].state == Stopped()
        assert isinstance(daemon.workers[WEB].state, Running)
        daemon.supervisor._daemon.begin_stop("test")
        daemon.settle()
        daemon.keeper.end(run_of(daemon, WEB), 0)
        daemon.settle()
        assert daemon.supervisor._daemon.is_over(daemon.clock.s)
    finally:
        daemon.close()


def test_a_start_whose_answer_could_not_be_taken_is_ended(start: Start) -> None:
    """Nobody could signal a process whose pid is not known: its end is told all the same."""
    daemon = start(a_spec("web", autostart=False), a_spec("db"))
    Stumbling(daemon, WEB, events.Spawned, times=1)
    daemon.supervisor._fleet.feed(WEB, events.StartRequested())
    daemon.settle()
    assert killed(daemon, WEB) == [1]
    daemon.keeper.end(run_of(daemon, WEB), -9)
    daemon.settle()
    assert isinstance(daemon.workers[WEB].state, Backoff)


@pytest.mark.parametrize(
    "kinds",
    [(events.ShutdownRequested,), (events.ShutdownRequested, events.Exited), (object,)],
    ids=["the order", "the order and the end", "everything"],
)
def test_the_end_of_the_service_waits_for_nobody_who_stumbles(
    start: Start, kinds: tuple[type, ...]
) -> None:
    """Its run is killed; whoever comes before it in the order has its own ladder, after it."""
    daemon = start(a_spec("db"), a_spec("web", requires=["db"]))
    Stumbling(daemon, WEB, *kinds)
    daemon.supervisor._daemon.begin_stop("test")
    daemon.settle()
    assert killed(daemon, WEB) == [1]
    assert [each["do"] for each in daemon.keeper.signalled if each["pool"] == "db"] == []
    daemon.keeper.end(run_of(daemon, WEB), -9)
    daemon.settle()
    assert daemon.workers[WEB].state == Stopped()
    assert [each["do"] for each in daemon.keeper.signalled if each["pool"] == "db"] == ["signal"]
    assert not daemon.supervisor._daemon.is_over(daemon.clock.s)
    daemon.keeper.end(run_of(daemon, DB), 0)
    daemon.settle()
    assert daemon.supervisor._daemon.is_over(daemon.clock.s)


def test_who_waits_for_a_retry_is_down_at_the_end_whatever_its_step_says(start: Start) -> None:
    """There is no process to wait for."""
    daemon = start(a_spec("web", max_restarts=1), a_spec("db"))
    for slot in (WEB, DB):
        daemon.keeper.end(run_of(daemon, slot), 1)
    daemon.settle()
    assert isinstance(daemon.workers[WEB].state, Tripped)
    for slot in (WEB, DB):
        Stumbling(daemon, slot, object)
    daemon.supervisor._daemon.begin_stop("test")
    assert daemon.supervisor._daemon.is_over(daemon.clock.s)


def test_the_stop_is_over_when_no_ordered_one_could_take_longer(start: Start) -> None:
    """What a worker waits for after a fault may never come; it has its ladder's time still."""
    daemon = start(a_spec("web"), a_spec("db"))
    Stumbling(daemon, WEB, events.ShutdownRequested)
    daemon.supervisor._daemon.begin_stop("test")
    daemon.settle()
    daemon.keeper.end(run_of(daemon, DB), 0)
    daemon.settle()
    state = daemon.supervisor._daemon
    longest_s = daemon.supervisor._fleet.core.longest_stop_s()
    assert longest_s >= 10.0
    assert not state.is_over(daemon.clock.s)
    daemon.pass_s(longest_s)
    assert not state.is_over(daemon.clock.s)
    assert state.deadline_s == pytest.approx(daemon.clock.s + 10.0)
    daemon.pass_s(10.1)
    assert state.is_over(daemon.clock.s)


def test_without_a_fault_a_stop_has_no_limit_but_its_ladders(start: Start) -> None:
    """Who hangs in the kernel is waited for."""
    daemon = start(a_spec("web"))
    daemon.supervisor._daemon.begin_stop("test")
    daemon.settle()
    daemon.pass_s(10_000.0)
    assert not daemon.supervisor._daemon.is_over(daemon.clock.s)
    assert daemon.supervisor._daemon.deadline_s is None


def test_any_number_of_workers_may_stumble_together() -> None:
    """Each by itself: the last one of them all is down as well."""
    bad = [a_spec(f"bad{i}", launch={"argv": (7,)}, requires=["db"]) for i in range(1500)]
    daemon = Daemon(a_spec("db"), *bad)
    try:
        daemon.settle()
        faults = list[Slot]()
        daemon.supervisor._fleet.on_fault = lambda slot, _: faults.append(slot)
        daemon.pass_s(1.0)
        assert len(set(faults)) == 1500
        down = [slot for slot, each in daemon.workers.items() if each.state == Stopped()]
        assert down == [(spec.pool, 1) for spec in bad]
    finally:
        daemon.close()
