"""Whoever follows the workers hears of each change, and in the end knows how they stand."""

from collections.abc import Iterator

import pytest

from supervisord_lite.control.calls import Call
from supervisord_lite.core import events
from supervisord_lite.core.states import Stopped
from supervisord_lite.supervisor.watchers import Watchers
from tests.support.driven import Line
from tests.support.supervisor import Daemon, a_spec


class Taker(Line):
    """A connection that tells what came since the last time."""

    def take(self) -> dict[str, str]:
        """Return name -> state as told since the last time."""
        told, self.messages = self.messages, []
        workers = [worker for message in told for worker in message["parameters"]["workers"]]
        return {worker["name"]: worker["state"] for worker in workers}


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    daemon = Daemon(a_spec("web", 2), a_spec("job", max_restarts=1))
    daemon.settle()
    yield daemon
    daemon.close()


def follow(daemon: Daemon, *, more: bool = True) -> tuple[Watchers, Taker, Call]:
    watchers, line = Watchers(daemon.supervisor._fleet), Taker()
    call = Call(line, "io.supervisordlite.Manager.Watch", {}, more=more)
    watchers.begin(call)
    watchers.deliver()
    return watchers, line, call


def test_all_are_told_at_first_and_then_those_that_changed(daemon: Daemon) -> None:
    """Two changes of one worker between two deliveries are told as one."""
    watchers, line, _ = follow(daemon)
    assert line.take() == {"web-1": "starting", "web-2": "starting", "job": "starting"}

    daemon.pass_s(2.0)
    daemon.supervisor._fleet.feed(("web", 1), events.StopRequested())
    watchers.deliver()
    watchers.deliver()

    assert line.take() == {"web-1": "stopping", "web-2": "running", "job": "running"}
    assert line.messages == []


def test_one_answer_is_enough_for_who_wants_one(daemon: Daemon) -> None:
    """Without `more` it is a question, and nothing is kept for the client."""
    watchers, line, call = follow(daemon, more=False)

    assert len(line.take()) == 3
    assert call.answered
    daemon.pass_s(2.0)
    watchers.deliver()
    assert line.messages == []


def test_who_has_left_is_forgotten(daemon: Daemon) -> None:
    """By hanging up, or found gone when there is something to tell."""
    watchers, line, call = follow(daemon)
    other, gone, _ = follow(daemon)
    assert call.on_hang_up is not None
    call.on_hang_up()
    gone.closed = True

    daemon.pass_s(2.0)
    watchers.deliver()
    other.deliver()

    assert len(line.messages) == len(gone.messages) == 1
    assert not watchers._news
    assert not other._news


def test_at_rest_is_who_will_not_move_by_itself(daemon: Daemon) -> None:
    """An open breaker is; a failure that is waited out is not."""
    watchers, line, _ = follow(daemon)
    for run in daemon.keeper.live():
        daemon.keeper.end(run, 3)
    daemon.settle()
    line.messages.clear()
    watchers.deliver()

    (message,) = line.messages
    told = {worker["name"]: worker for worker in message["parameters"]["workers"]}
    assert (told["job"]["state"], told["job"]["at_rest"]) == ("tripped", True)
    assert (told["web-1"]["state"], told["web-1"]["at_rest"]) == ("backoff", False)
    assert (told["job"]["failures"], told["job"]["max_restarts"]) == (1, 1)
    assert (told["job"]["reason"], told["job"]["window_s"]) == ("exit 3", 600.0)


def told_tripped(daemon: Daemon) -> dict[str, bool]:
    """Return by name what a client is told that asks now."""
    _, line, _ = follow(daemon, more=False)
    (message,) = line.messages
    return {told["name"]: told["tripped"] for told in message["parameters"]["workers"]}


def end_all(daemon: Daemon, code: int) -> None:
    for run in daemon.keeper.live():
        daemon.keeper.end(run, code)
    daemon.settle()


def test_a_critical_worker_that_trips_is_told_though_it_is_stopped_at_once() -> None:
    """Its open breaker ends the service in the same turn; also the next supervisor tells it."""
    daemon = Daemon(a_spec("web"), a_spec("db", critical="any", max_restarts=1))
    daemon.settle()
    watchers, line, _ = follow(daemon)
    line.take()

    (db,) = [run for run in daemon.keeper.live() if run.key[0] == "db"]
    daemon.keeper.end(db, 3)
    daemon.turn()
    watchers.deliver()

    told = {each["name"]: each for each in line.messages[-1]["parameters"]["workers"]}
    assert isinstance(daemon.workers["db", 1].state, Stopped)
    assert (told["db"]["tripped"], told["db"]["reason"]) == (True, "exit 3")
    assert not told["web"]["tripped"]
    daemon.settle()
    daemon.replace()
    assert told_tripped(daemon) == {"web": False, "db": True}
    daemon.close()


def test_who_was_started_again_has_not_tripped(daemon: Daemon) -> None:
    """Neither has one that only failed, or was stopped; this holds through an adoption too."""
    watchers, line, _ = follow(daemon)
    end_all(daemon, 3)
    daemon.supervisor._fleet.feed(("web", 1), events.StopRequested())
    watchers.deliver()
    tripped = {
        each["name"]: each["tripped"]
        for message in line.messages
        for each in message["parameters"]["workers"]
    }
    assert tripped == {"web-1": False, "web-2": False, "job": True}

    daemon.supervisor._fleet.feed(("job", 1), events.ResetRequested("asked"))
    daemon.settle()
    line.messages.clear()
    watchers.deliver()
    (message,) = line.messages
    assert [each["tripped"] for each in message["parameters"]["workers"]] == [False]
    daemon.replace()
    assert told_tripped(daemon) == {"web-1": False, "web-2": False, "job": False}
