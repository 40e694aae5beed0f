"""Orders that are asked again, and orders that find another one on its way."""

import json
from collections.abc import Iterator

import pytest

from supervisord_lite.control.calls import Call
from tests.support.driven import Asking
from tests.support.supervisor import Daemon, a_spec

WEB = ("web", 1)


def outcomes_of(client: Asking) -> list[tuple[str, float]]:
    """Return what it was told of each worker: the word, and after how many seconds."""
    return [(each["outcome"], each["elapsed_s"]) for each in client.told()]


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    made = Daemon(a_spec("web", restart="on-failure"))
    made.settle()
    made.pass_s(1.0)
    made.settle()
    made.clock.s += 10.0
    yield made
    made.close()


def ask(daemon: Daemon, method: str, **parameters: object) -> Asking:
    client = Asking()
    name = f"io.supervisordlite.Manager.{method}"
    asked = {"names": ["web"], "wait": True, **parameters}
    daemon.supervisor._verbs.handle(Call(client, name, asked, more=True))
    return client


def end_run(daemon: Daemon, code: int) -> None:
    (run,) = daemon.keeper.live()
    daemon.keeper.end(run, code)
    daemon.settle()


def test_a_restart_that_is_asked_again_meets_its_own_run(daemon: Daemon) -> None:
    """In whatever state that is: one order, one new process, and its outcome."""
    seen_s = daemon.clock.s
    daemon.clock.s += 0.1
    clients = [ask(daemon, "Restart", begun_by_s=seen_s)]
    daemon.settle()
    clients.append(ask(daemon, "Restart", begun_by_s=seen_s))  # it stops
    end_run(daemon, 0)
    clients.append(ask(daemon, "Restart", begun_by_s=seen_s))  # it starts
    daemon.settle()
    daemon.pass_s(1.0)
    clients.append(ask(daemon, "Restart", begun_by_s=seen_s))  # it is ready
    daemon.settle()

    assert daemon.keeper.started == [("web", 1, 1), ("web", 1, 2)]
    assert [outcomes_of(client) for client in clients] == [[("ready", 1.1)]] * 4


@pytest.mark.parametrize("how", ["crashed", "stopped"])
def test_a_run_that_was_ordered_and_is_over_is_not_ordered_again(daemon: Daemon, how: str) -> None:
    """Who asks again hears what became of it."""
    seen_s = daemon.clock.s
    daemon.clock.s += 0.1
    ask(daemon, "Restart", begun_by_s=seen_s)
    daemon.settle()
    end_run(daemon, 0)
    if how == "stopped":
        ask(daemon, "Stop")
        daemon.settle()
    end_run(daemon, 1)
    again = ask(daemon, "Restart", begun_by_s=seen_s)
    daemon.settle()

    assert len(daemon.keeper.started) == 2
    assert [word for word, _ in outcomes_of(again)] == ["failed"]


def test_a_stop_with_the_time_of_its_order_still_stops(daemon: Daemon) -> None:
    """Also where the run is younger than the order."""
    ask(daemon, "Stop", begun_by_s=1.0)
    daemon.settle()

    assert [each["run"] for each in daemon.keeper.signalled] == [1]


def test_a_restart_that_never_arrived_is_carried_out(daemon: Daemon) -> None:
    """What began before the client looked is what it wants to be rid of."""
    ask(daemon, "Restart", begun_by_s=daemon.clock.s)
    daemon.settle()
    end_run(daemon, 1)

    assert len(daemon.keeper.started) == 2


def test_an_order_that_found_another_on_its_way_had_to_wait(daemon: Daemon) -> None:
    """Stopped after 2.8 seconds is not "stopped already"; only what stood before is."""
    ask(daemon, "Stop", wait=False)
    daemon.settle()
    second = ask(daemon, "Stop")
    daemon.clock.s += 2.8
    end_run(daemon, 0)
    late = ask(daemon, "Stop")
    daemon.settle()

    assert outcomes_of(second) == [("stopped", 2.8)]
    assert outcomes_of(late) == [("unchanged", 0.0)]

    ask(daemon, "Start", wait=False)
    daemon.settle()
    second = ask(daemon, "Start")
    daemon.pass_s(1.0)
    daemon.settle()
    late = ask(daemon, "Start")
    daemon.settle()

    assert outcomes_of(second) == [("ready", 1.0)]
    assert outcomes_of(late) == [("unchanged", 0.0)]


# -- restarts that replace a few at a time ---------------------------------------------------------


@pytest.fixture
def pool() -> Iterator[Daemon]:
    made = Daemon(a_spec("web", 3, restart="on-failure"))
    made.settle()
    made.pass_s(1.0)
    made.settle()
    made.clock.s += 10.0
    made.keeper.started.clear()
    yield made
    made.close()


def stop_old(daemon: Daemon) -> None:
    """Let the instances that were told to stop do so."""
    told = {(each["pool"], each["index"], each["run"]) for each in daemon.keeper.signalled}
    for run in daemon.keeper.live():
        if run.key in told:
            daemon.keeper.end(run, 0)
    daemon.settle()


def test_a_roll_that_is_asked_for_again_at_each_moment_replaces_each_once(pool: Daemon) -> None:
    """Whoever dies in between, and however often the client asks."""
    seen_s = pool.clock.s
    last = Asking()
    for _ in range(3):
        for happens in (stop_old, lambda daemon: daemon.pass_s(1.0)):
            pool.clock.s += 0.1
            ask(pool, "Restart", begun_by_s=seen_s)
            pool.turn(dies_after=None)
            pool.replace()
            last = ask(pool, "Restart", begun_by_s=seen_s)
            pool.settle()
            happens(pool)
    pool.settle()

    assert pool.keeper.started == [("web", 1, 2), ("web", 2, 2), ("web", 3, 2)]
    assert {each["run"] for each in pool.keeper.signalled} == {1}, "and no new one is told to stop"
    assert [word for word, _ in outcomes_of(last)] == ["ready"] * 3


def test_a_roll_that_has_failed_is_not_begun_again_by_who_asks_again(pool: Daemon) -> None:
    """The instances that nobody touched stay as they are, and the answer is the same."""
    seen_s = pool.clock.s
    pool.clock.s += 0.1
    first = ask(pool, "Restart", begun_by_s=seen_s)
    pool.settle()
    stop_old(pool)
    (bad,) = [run for run in pool.keeper.live() if run.key == ("web", 1, 2)]
    pool.keeper.end(bad, 5)
    pool.settle()
    pool.replace()
    again = ask(pool, "Restart", begun_by_s=seen_s)
    pool.settle()

    assert pool.keeper.started == [("web", 1, 2)]
    assert [word for word, _ in outcomes_of(first)] == ["failed"] * 3
    assert [word for word, _ in outcomes_of(again)] == ["failed"] * 3


def test_a_restart_of_who_is_on_the_way_out_fails_and_is_answered(daemon: Daemon) -> None:
    """Its pool is in no file any more: there is no place for a new run."""
    daemon.reload(a_spec("db"))
    daemon.settle()
    client = ask(daemon, "Restart")
    end_run_of(daemon, WEB)

    assert [word for word, _ in outcomes_of(client)] == ["failed"]
    assert [key for key in daemon.keeper.started if key[0] == "web"] == [("web", 1, 1)]


def test_who_is_forgotten_is_told_of_by_the_name_that_it_had(daemon: Daemon) -> None:
    """Whoever asked for three hears of three, and not of the pool three times."""
    daemon.reload(a_spec("web", 3), a_spec("db"))
    daemon.settle()
    client = ask(daemon, "Stop")
    daemon.settle()
    daemon.reload(a_spec("db"))
    daemon.settle()
    for index in (1, 2, 3):
        end_run_of(daemon, ("web", index))

    replies = [json.loads(each)["parameters"] for each in client.heard.split(b"\0") if each]
    names = {reply["outcome"]["name"] for reply in replies}
    assert names == {"web-1", "web-2", "web-3"}


def end_run_of(daemon: Daemon, slot: tuple[str, int]) -> None:
    (run,) = (run for run in daemon.keeper.live() if run.key[:2] == slot)
    daemon.keeper.end(run, 0)
    daemon.settle()
