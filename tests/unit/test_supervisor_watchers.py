"""Whoever follows the workers hears of each change, and in the end knows how they stand."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from supervisord_lite.control.calls import Call, Peer
from supervisord_lite.core import events
from supervisord_lite.supervisor.watchers import Watchers
from tests.support.supervisor import Daemon, a_spec


class Line:
    """One client's connection."""

    def __init__(self) -> None:
        self.peer = Peer(1, 0, 0)
        self.closed = False
        self.messages: list[dict[str, Any]] = []

    def answer(self, data: bytes, *, final: bool) -> None:
        message = json.loads(data.rstrip(b"\0"))
        assert final == (not message.get("continues", False))
        self.messages.append(message)

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


def follow(daemon: Daemon, *, more: bool = True) -> tuple[Watchers, Line, Call]:
    watchers, line = Watchers(daemon.supervisor._fleet), Line()
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
