"""Order among workers, and the end of a critical one; the supervisor may die meanwhile."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from supervisord_lite.base import exit_codes
from supervisord_lite.config.spec import Spec
from supervisord_lite.core import events
from supervisord_lite.core.policy import BackoffPolicy
from supervisord_lite.core.standing import is_ready
from supervisord_lite.core.states import Running, Starting, Stopped, Stopping, Tripped, Waiting
from supervisord_lite.supervisor.in_vain import why_stuck
from supervisord_lite.supervisor.orders import Order, Orders, Outcome
from tests.support.supervisor import Daemon, a_fleet, a_spec

DB, WEB = ("db", 1), ("web", 1)
SHOP = (a_spec("web", requires=["db"]), a_spec("db"))


@contextmanager
def a_daemon(*specs: Spec) -> Iterator[Daemon]:
    daemon = Daemon(*specs)
    try:
        yield daemon
    finally:
        daemon.close()


def states(daemon: Daemon) -> dict[str, str]:
    return {slot[0]: type(w.state).__name__.lower() for slot, w in daemon.workers.items()}


def up(daemon: Daemon) -> None:
    """Let time pass until everybody is ready."""
    for _ in range(len(daemon.workers)):
        daemon.settle()
        daemon.pass_s(1.0)
    daemon.settle()
    assert set(states(daemon).values()) == {"running"}


@pytest.mark.parametrize("dies_after", [0, 1, 2, None])
def test_a_boot_in_order_survives_the_supervisor(dies_after: int | None) -> None:
    """Wherever it dies, the next one lets the same workers wait, and starts each once."""
    with a_daemon(*SHOP) as daemon:
        daemon.turn(dies_after=dies_after)
        daemon.settle()
        assert states(daemon) == {"web": "waiting", "db": "starting"}
        daemon.clock.s += 1.0
        daemon.turn(dies_after=dies_after)
        up(daemon)

        assert daemon.keeper.started == [("db", 1, 1), ("web", 1, 1)]


@pytest.mark.parametrize("dies_after", [0, 1, 2, None])
def test_an_ordered_stop_survives_the_supervisor(dies_after: int | None) -> None:
    """The database hears its signal when the web server is gone, never before, and once."""
    with a_daemon(*SHOP) as daemon:
        up(daemon)
        daemon.supervisor._daemon.begin_stop("test")
        daemon.turn(dies_after=dies_after)
        if not daemon.supervisor._daemon.is_stopping:  # it died before it could save that
            daemon.supervisor._daemon.begin_stop("test")
        daemon.settle()
        assert {request["pool"] for request in daemon.keeper.signalled} == {"web"}

        for pool in ("web", "db"):
            (run,) = [run for run in daemon.keeper.live() if run.key[0] == pool]
            daemon.keeper.end(run, 0)
            daemon.turn(dies_after=dies_after)
            daemon.settle()

        assert [request["pool"] for request in daemon.keeper.signalled][-1] == "db"
        assert daemon.supervisor._daemon.is_over(daemon.clock.s)
        assert all(worker.state == Stopped() for worker in daemon.workers.values())


@pytest.mark.parametrize("dies_after", [0, 1, 2, None])
def test_a_tripped_critical_worker_ends_the_service_whoever_dies_meanwhile(
    dies_after: int | None,
) -> None:
    """In order, with the verdict 75, with the reason in the status text."""
    specs = (SHOP[0], a_spec("db", critical="any", max_restarts=1))
    with a_daemon(*specs) as daemon:
        up(daemon)
        (db,) = [run for run in daemon.keeper.live() if run.key[0] == "db"]
        daemon.keeper.end(db, 3)
        daemon.turn(dies_after=dies_after)
        daemon.settle()

        state = daemon.supervisor._daemon
        assert state.is_stopping
        assert state.verdict == exit_codes.CRITICAL_WORKER
        assert any("critical worker db tripped: exit 3 (failure 1 of 1)" in line
                   for line in daemon.notified)  # fmt: skip
        (web,) = daemon.keeper.live()
        daemon.keeper.end(web, 0)
        daemon.settle()
        assert state.is_over(daemon.clock.s)


@pytest.mark.parametrize("dies_after", [0, 1, 2, None])
def test_nobody_starts_once_a_critical_worker_has_tripped(dies_after: int | None) -> None:
    """What came after it does not have its turn now, nor what is due in the same moment."""
    specs = (
        a_spec("web", after=["crit"]),
        a_spec("late", backoff=BackoffPolicy(0.0, 0.0, jitter=False)),
        a_spec("crit", critical="any", max_restarts=1, ready_by="said"),
        a_spec("far", after=["web"]),
    )
    with a_daemon(*specs) as daemon:
        daemon.settle()
        live = {run.key[0]: run for run in daemon.keeper.live()}
        assert live.keys() == {"crit", "late"}
        daemon.keeper.end(live["crit"], 3)
        daemon.keeper.end(live["late"], 3)
        daemon.turn(dies_after=dies_after)
        daemon.settle()

        assert daemon.supervisor._daemon.verdict == exit_codes.CRITICAL_WORKER
        assert daemon.supervisor._daemon.is_over(daemon.clock.s)
        assert {key[0] for key in daemon.keeper.started} == {"crit", "late"}
        assert len(daemon.keeper.started) == 2
        assert daemon.keeper.signalled == []


def test_who_was_held_goes_on_if_the_service_does_not_end_after_all() -> None:
    """A reset may come between the trip and the decision."""
    specs = (a_spec("web", autostart=False), a_spec("crit", critical="any", max_restarts=1))
    with a_daemon(*specs) as daemon:
        daemon.settle()
        fleet = daemon.supervisor._fleet
        (crit,) = daemon.keeper.live()
        daemon.keeper.end(crit, 3)
        fleet.take_fact(daemon.keeper.table.log[-1])
        fleet.feed(WEB, events.StartRequested(), is_alone=True)
        assert states(daemon) == {"web": "waiting", "crit": "tripped"}

        fleet.feed(("crit", 1), events.ResetRequested())

        up(daemon)
        assert not daemon.supervisor._daemon.is_stopping


def test_an_escalation_is_decided_once() -> None:
    """A second critical worker that trips meanwhile changes neither reason nor verdict."""
    specs = [a_spec(name, critical="any", max_restarts=1) for name in ("a", "b")]
    with a_daemon(*specs, a_spec("slow")) as daemon:
        up(daemon)
        for run in [run for run in daemon.keeper.live() if run.key[0] != "slow"]:
            daemon.keeper.end(run, 3)
        daemon.settle()
        daemon.replace()
        daemon.settle()
        reasons = {line for line in daemon.notified if "critical worker" in line}
        assert all("critical worker a tripped" in line for line in reasons)
        assert len([r for r in daemon.keeper.signalled if r["pool"] == "slow"]) == 1


@pytest.mark.parametrize("is_stopped_first", [True, False])
def test_a_stop_by_hand_counts_for_all_of_a_critical_pool_whenever_it_comes(
    is_stopped_first: bool,
) -> None:
    """One instance tripped, the other stopped by hand: the service ends without a crash too."""
    with a_daemon(a_spec("web", 2, critical="all", max_restarts=1)) as daemon:
        up(daemon)
        for is_stop in (is_stopped_first, not is_stopped_first):
            index = 1 if is_stop else 2
            if is_stop:
                daemon.supervisor._fleet.feed(("web", index), events.StopRequested())
                daemon.turn()
            (run,) = [run for run in daemon.keeper.live() if run.key[1] == index]
            daemon.keeper.end(run, 3)
            daemon.turn()
        daemon.settle()
        assert daemon.supervisor._daemon.is_stopping
        assert daemon.supervisor._daemon.verdict == exit_codes.CRITICAL_WORKER


def test_a_worker_that_is_not_critical_trips_alone() -> None:
    """The others go on, and so does the service."""
    with a_daemon(a_spec("web"), a_spec("db", max_restarts=1)) as daemon:
        up(daemon)
        daemon.keeper.end(daemon.keeper.live()[1], 3)
        daemon.settle()
        assert states(daemon) == {"web": "running", "db": "tripped"}
        assert not daemon.supervisor._daemon.is_stopping


def test_readiness_is_said_when_whoever_still_waits_waits_in_vain() -> None:
    """A worker behind a failed one does not hold up the service's own start for ever."""
    with a_daemon(SHOP[0], a_spec("db", max_restarts=1)) as daemon:
        daemon.settle()
        assert "READY=1" not in daemon.notified
        daemon.keeper.end(daemon.keeper.live()[0], 1)
        daemon.settle()
        assert states(daemon) == {"web": "waiting", "db": "tripped"}
        assert "READY=1" in daemon.notified


def test_systemd_hears_how_long_a_chain_of_stops_may_take() -> None:
    """One after the other needs the sum, or the escalation's exit status never arrives."""
    with a_daemon(*SHOP) as daemon:
        up(daemon)
        daemon.supervisor._daemon.begin_stop("test")
        daemon.settle()
        assert f"EXTEND_TIMEOUT_USEC={(10 + 10 + 30) * 1_000_000}" in daemon.notified


def test_a_boot_starts_what_is_required_although_it_does_not_start_by_itself() -> None:
    """`autostart = false` means: not without a reason."""
    with a_daemon(SHOP[0], a_spec("db", autostart=False), a_spec("x", autostart=False)) as daemon:
        daemon.settle()
        assert states(daemon) == {"web": "waiting", "db": "starting", "x": "stopped"}


def test_a_fault_of_one_worker_does_not_keep_the_next_from_its_turn() -> None:
    """Whoever goes on because of another is guarded by itself."""
    fleet, _, _ = a_fleet(
        a_spec("db", ready_after_s=0.0), a_spec("a", requires=["db"]), a_spec("b", requires=["db"])
    )
    faults: list[str] = []
    fleet.on_fault = lambda slot, error: faults.append(f"{slot[0]} {error}")

    def refuse(slot: tuple[str, int], *_rest: object) -> None:
        if slot[0] == "a" and isinstance(fleet.workers[slot].state, Starting):
            message = "broken"
            raise ValueError(message)

    fleet.listen(refuse)
    for name in ("a", "b", "db"):
        fleet.feed((name, 1), events.StartRequested())
    fleet.feed(DB, events.Spawned(1, 4001))

    assert faults == ["a broken"]
    assert isinstance(fleet.workers["b", 1].state, Starting)


def test_a_fault_at_a_deadline_is_told_once() -> None:
    """The same moment is not tried again and again; the next event goes on."""
    fleet, _, _ = a_fleet(a_spec("a", ready_after_s=1.0))
    faults: list[str] = []
    fleet.on_fault = lambda slot, error: faults.append(f"{slot[0]} {error}")

    def refuse(slot: tuple[str, int], *_rest: object) -> None:
        if is_ready(fleet.workers[slot]):
            message = "broken"
            raise ValueError(message)

    fleet.listen(refuse)
    fleet.feed(("a", 1), events.StartRequested())
    fleet.feed(("a", 1), events.Spawned(1, 4001))
    at_s = fleet.next_deadline_s()
    assert at_s is not None

    fleet.fire_due(at_s)

    assert faults == ["a broken"]
    next_s = fleet.next_deadline_s()
    assert next_s is None or next_s > at_s


def test_a_start_fails_when_what_it_waits_for_has_given_up() -> None:
    """`start web` is told with the chain, as soon as it can know; the worker goes on waiting."""
    fleet, _, _ = a_fleet(
        a_spec("db", max_restarts=1),
        a_spec("migrate", requires=["db"]),
        a_spec("web", requires=["migrate"]),
    )
    orders = Orders(partial(why_stuck, fleet))
    fleet.listen(orders.stepped)
    told: list[Outcome] = []
    order = Order(WEB, "ready", 0, lambda _order, outcome: told.append(outcome))
    for slot in fleet.core.to_start([WEB], by_person=True):
        fleet.feed(slot, events.StartRequested())
    orders.add(order, fleet.workers[WEB])
    assert not orders.deliver()

    fleet.feed(DB, events.SpawnFailed(1, "exec", "no such file: /x"))

    assert isinstance(fleet.workers[DB].state, Tripped)
    assert orders.deliver()
    assert not told[0].ok
    assert told[0].detail == ("waiting: requires migrate, which requires db, which is tripped")
    assert isinstance(fleet.workers[WEB].state, Waiting)


def test_what_the_file_does_not_say_is_saved_as_nothing() -> None:
    """The record of a daemon without an escalation names none."""
    with a_daemon(a_spec("web")) as daemon:
        up(daemon)
        record = json.loads(daemon.keeper.table.saves["daemon"])
        assert (record["verdict"], record["broken"]) == (0, "")
        assert isinstance(daemon.workers[WEB].state, Running)
        daemon.supervisor._daemon.begin_stop("test")
        daemon.settle()
        assert isinstance(daemon.workers[WEB].state, Stopping)


# -- rolls -----------------------------------------------------------------------------------------


def restarted(daemon: Daemon) -> list[tuple[str, int, int]]:
    """Return the runs that were started after the first of each."""
    return [key for key in daemon.keeper.started if key[2] > 1]


@pytest.mark.parametrize("dies_after", [0, 1, 2, None])
def test_a_roll_goes_on_whoever_dies_and_restarts_each_once(dies_after: int | None) -> None:
    """One after the other, each when the one before is ready, under any number of supervisors."""
    with a_daemon(a_spec("web", 3)) as daemon:
        up(daemon)
        daemon.supervisor._rolls.begin("web", [1, 2, 3])
        daemon.turn(dies_after=dies_after)
        if not daemon.keeper.signalled and not daemon.supervisor._rolls._rolls:
            daemon.supervisor._rolls.begin("web", [1, 2, 3])  # it died before it could save that
            daemon.turn()
        for index in (1, 2, 3):
            daemon.settle()
            (asked,) = {(r["index"], r["run"]) for r in daemon.keeper.signalled}
            assert asked == (index, 1)
            daemon.keeper.signalled.clear()
            (run,) = [run for run in daemon.keeper.live() if run.key == ("web", index, 1)]
            daemon.keeper.end(run, 0)
            daemon.turn(dies_after=dies_after)
            daemon.settle()
            assert daemon.keeper.signalled == []  # not before this one is ready
            daemon.clock.s += 1.0
            daemon.turn(dies_after=dies_after)
        daemon.settle()

        assert restarted(daemon) == [("web", 1, 2), ("web", 2, 2), ("web", 3, 2)]
        assert "roll/web" not in daemon.keeper.table.saves
        assert daemon.keeper.signalled == []


def test_a_shutdown_ends_a_roll() -> None:
    """Nothing is started for it any more, also not by the next supervisor."""
    with a_daemon(a_spec("web", 3)) as daemon:
        up(daemon)
        daemon.supervisor._rolls.begin("web", [1, 2, 3])
        daemon.settle()
        daemon.supervisor._daemon.begin_stop("test")
        daemon.settle()
        daemon.replace()
        for run in daemon.keeper.live():
            daemon.keeper.end(run, 0)
        daemon.settle()
        assert restarted(daemon) == []
        assert daemon.supervisor._daemon.is_over(daemon.clock.s)


def test_nothing_starts_in_the_replay_once_the_end_has_begun() -> None:
    """The end was saved, its supervisor died, and then a worker ended that would start again."""
    with a_daemon(a_spec("web", restart="always", stable_run_period_s=0.0)) as daemon:
        up(daemon)
        daemon.supervisor._daemon.begin_stop("test")

        def end_it() -> None:
            daemon.keeper.end(daemon.keeper.live()[0], 0)

        daemon.turn(dies_after=1, meanwhile=end_it)
        daemon.settle()

        assert daemon.supervisor._daemon.is_over(daemon.clock.s)
        assert daemon.keeper.started == [("web", 1, 1)]
