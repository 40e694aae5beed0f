"""What became of an order, for whoever waits; and whom a name means."""

import pytest

from supervisord_lite.core import events
from supervisord_lite.core.states import Worker
from supervisord_lite.supervisor.names import NoSuchWorkerError, resolve
from supervisord_lite.supervisor.orders import Goal, Order, Orders, Outcome, judge
from tests.support.core import OneWorker, a_policy
from tests.support.supervisor import a_fleet, a_spec

WEB = ("web", 1)


def an_order(goal: Goal = "ready", run: int = 0) -> Order:
    return Order(WEB, goal, run, lambda _order, _outcome: None)


def verdict(bench: OneWorker, goal: Goal = "ready", run: int = 0) -> tuple[str, bool] | None:
    outcome = judge(an_order(goal, run), bench.worker)
    return None if outcome is None else (outcome.word, outcome.ok)


def test_a_start_is_done_when_it_is_ready() -> None:
    """Spawned is not ready."""
    bench = OneWorker()
    bench.start()
    assert verdict(bench) is None
    bench.spawned()
    assert verdict(bench) is None
    bench.wake()

    assert judge(an_order(), bench.worker) == Outcome("ready", ok=True, pid=4001)


def test_a_start_that_ends_early_has_failed_and_says_how() -> None:
    """The reason and the count are those of `status`."""
    bench = OneWorker()
    bench.start(10.0)
    bench.crash()

    outcome = judge(an_order(), bench.worker)

    detail = "exit 1 after 0.5s, failure 1 of 5, again in 1s"
    assert outcome == Outcome("failed", ok=False, detail=detail)


@pytest.mark.parametrize(("code", "word", "ok"), [(0, "exited", True), (3, "failed", False)])
def test_a_start_that_finishes_is_judged_by_its_exit_code(code: int, word: str, ok: bool) -> None:
    """A job that is done before it was ready is done."""
    bench = OneWorker(a_policy(restart="never"))
    bench.start()
    bench.spawned()
    bench.exits(code, 0.5)

    assert verdict(bench) == (word, ok)


def test_a_start_that_somebody_stops_is_no_success() -> None:
    """Two people, two orders: the first one hears of the second."""
    bench = OneWorker()
    bench.start()
    bench.spawned()
    bench.stop()
    assert verdict(bench) is None
    bench.exits(0)

    assert verdict(bench) == ("failed", False)


def test_an_older_run_is_no_answer_to_a_restart() -> None:
    """Ready must be the new one."""
    bench = OneWorker().up()
    run = bench.worker.run
    bench.tell(events.RestartRequested())

    assert verdict(bench, run=run) is None
    bench.exits(0, 5.0)
    assert verdict(bench, run=run) is None
    bench.spawned()
    bench.wake()
    assert verdict(bench, run=run) == ("ready", True)


def test_a_tripped_worker_tells_what_to_do() -> None:
    """It is not started by a start."""
    bench = OneWorker().trip()
    run = bench.worker.run
    bench.start()

    outcome = judge(an_order(run=run), bench.worker)

    assert outcome is not None
    assert not outcome.ok
    assert outcome.detail == "its breaker is open: reset it first"


def test_a_stop_is_done_when_nothing_is_left() -> None:
    """Its leader's end is not enough."""
    bench = OneWorker().up()
    bench.stop()
    assert verdict(bench, "stopped") is None
    bench.exits(0, emptied=False)
    assert verdict(bench, "stopped") is None
    bench.emptied()

    assert verdict(bench, "stopped") == ("stopped", True)


def test_a_stop_that_somebody_takes_back_has_failed() -> None:
    """The last order of a person wins."""
    bench = OneWorker().up()
    bench.stop()
    bench.start()

    assert verdict(bench, "stopped") == ("failed", False)


def test_orders_are_told_once_and_forgotten() -> None:
    """Decided, or its client gone: nobody is called again."""
    told: list[str] = []
    orders = Orders(lambda _slot: "")

    def order(name: str) -> Order:
        return Order(WEB, "ready", 0, lambda _order, outcome: told.append(f"{name} {outcome.word}"))

    bench = OneWorker()
    bench.start()
    first, gone = order("first"), order("gone")
    orders.add(first, bench.worker)
    orders.add(gone, bench.worker)
    orders.forget([gone])
    orders.forget([gone])
    before = bench.worker
    bench.up()
    orders.stepped(WEB, before, bench.worker, ())
    orders.stepped(WEB, before, bench.worker, ())
    orders.add(order("late"), bench.worker)
    assert told == []  # not before it has been saved

    assert orders.deliver()
    assert not orders.deliver()
    assert told == ["first ready", "late ready"]


def test_other_workers_do_not_decide() -> None:
    """An order waits for its own slot."""
    told: list[str] = []
    orders = Orders(lambda _slot: "")
    order = Order(WEB, "ready", 0, lambda _order, outcome: told.append(outcome.word))
    bench = OneWorker()
    bench.start()
    orders.add(order, bench.worker)

    ready = OneWorker().up().worker
    orders.stepped(("web", 2), ready, ready, ())

    assert not orders.deliver()
    assert told == []
    assert isinstance(bench.worker, Worker)


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "slots"),
    [
        ([], ["web-1", "web-2", "db", "cache-1", "cache-2"]),
        (["all"], ["web-1", "web-2", "db", "cache-1", "cache-2"]),
        (["web"], ["web-1", "web-2"]),
        (["web-2"], ["web-2"]),
        (["db"], ["db"]),
        (["db", "web-1", "db"], ["web-1", "db"]),
        (["web*"], ["web-1", "web-2"]),
        (["*-1"], ["web-1", "cache-1"]),
        (["[dc]*"], ["db", "cache-1", "cache-2"]),
        (["d?"], ["db"]),
        (["cache", "all"], ["web-1", "web-2", "db", "cache-1", "cache-2"]),
    ],
)
def test_names_pools_globs_and_all(names: list[str], slots: list[str]) -> None:
    """Each worker once, in the order of the file."""
    fleet, _, _ = a_fleet(a_spec("web", 2), a_spec("db"), a_spec("cache", 2))

    assert [fleet.name(slot) for slot in resolve(fleet, names)] == slots


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("wbe", "web"),
        ("web-3", "web-1"),
        ("db-1", None),
        ("zzz*", None),
        ("", None),
        ("ALL", None),
        ("Db", "db"),
    ],
)
def test_a_name_that_nothing_has_is_refused_with_a_guess(name: str, suggestion: str | None) -> None:
    """And none of the others is used."""
    fleet, _, _ = a_fleet(a_spec("web", 2), a_spec("db"))

    with pytest.raises(NoSuchWorkerError) as caught:
        resolve(fleet, ["web", name])

    assert caught.value.name == name
    assert caught.value.suggestion == suggestion
