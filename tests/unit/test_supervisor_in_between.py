"""In the middle of a long turn: who only asks is answered, and everybody else waits."""

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from supervisord_lite.base.stalls import Stalls
from supervisord_lite.core.states import Running, Starting, Stopping
from supervisord_lite.supervisor.in_between import InBetween
from supervisord_lite.wire import channel
from tests.support.supervisor import Daemon, a_spec

CALM = ("calm", 1)
MANY = [a_spec(f"w{number}") for number in range(20)]


class Client:
    """Connects to the control socket, and asks before anybody listens."""

    def __init__(self, daemon: Daemon) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(daemon._listener.getsockname())
        self._socket.setblocking(False)

    def ask(self, method: str, **parameters: object) -> None:
        name = f"io.supervisordlite.Manager.{method}"
        self._socket.sendall(
            json.dumps({"method": name, "parameters": parameters}).encode() + b"\0"
        )

    def heard(self) -> dict[str, Any] | None:
        """Return the answer, or None while there is none."""
        try:
            data = self._socket.recv(1 << 20)
        except BlockingIOError:
            return None
        answer: dict[str, Any] = json.loads(data.rstrip(b"\0"))
        return answer

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    made = Daemon(a_spec("calm"))
    made.settle()
    made.pass_s(2.0)
    made.settle()
    assert isinstance(made.workers[CALM].state, Running)
    # As if each worker took its time, and the loop had slept before.
    made.supervisor._between._every_s = 0.0
    made.supervisor._poller.stalls.woke(time.monotonic())
    yield made
    made.close()


def said(daemon: Daemon) -> list[dict[str, Any]]:
    """Return what the supervisor has sent by now."""
    return [channel.decode(data) for data, _ in daemon._channel.receive()]


def test_who_asks_is_answered_and_who_orders_waits(daemon: Daemon) -> None:
    """While many come into force nothing else changes; then it does."""
    asking, ordering = Client(daemon), Client(daemon)
    asking.ask("Status", names=["calm"])
    ordering.ask("Stop", names=["calm"], wait=False)

    daemon.reload(a_spec("calm"), *MANY)

    assert "spec/w0" not in daemon.keeper.table.saves, "it is in the middle of it"
    assert isinstance(daemon.workers["w19", 1].state, Starting)
    answer = asking.heard()
    assert answer is not None
    assert answer["parameters"]["workers"][0]["state"] == "running"
    assert ordering.heard() is None
    assert isinstance(daemon.workers[CALM].state, Running)
    daemon.turn()
    assert daemon.supervisor._wait_s() == 0.0, "it does not sleep on an order"
    daemon.supervisor._verbs.take_put_off()
    daemon.turn()
    assert isinstance(daemon.workers[CALM].state, Stopping)
    assert ordering.heard() == {"parameters": {"outcome": None, "done": True}}
    asking.close()
    ordering.close()


def test_whoever_asks_for_much_all_the_time_does_not_keep_a_turn_from_its_end(
    daemon: Daemon,
) -> None:
    """A few whole answers are given in one turn; the others behind it."""
    clients = [Client(daemon) for _ in range(6)]
    for client in clients:
        client.ask("Status")
    few = Client(daemon)
    few.ask("Status", names=["calm"])

    daemon.reload(a_spec("calm"), *MANY)

    assert few.heard() is not None
    answers = [client.heard() for client in clients]
    assert sum(answer is not None for answer in answers) == 4
    daemon.turn()
    daemon.supervisor._verbs.take_put_off()
    late = [client.heard() for client, answer in zip(clients, answers, strict=True) if not answer]
    assert [len(answer["parameters"]["workers"]) for answer in late if answer] == [21, 21]
    for client in (few, *clients):
        client.close()


def test_a_ping_is_answered_and_a_fact_waits(daemon: Daemon) -> None:
    """Nobody takes us for hung; and nothing changes under the hands of whoever is at work."""
    (run,) = daemon.keeper.live()
    daemon.keeper.end(run, 1)
    page = daemon.keeper.table.page(daemon.told, 10)
    daemon.told = page[-1]["n"]
    said(daemon)
    daemon._channel.send(channel.encode({"ping": 7, "stalls": [0.5, 3]}))
    daemon._channel.send(channel.encode({"facts": page}))

    daemon.reload(a_spec("calm"), *MANY)

    assert said(daemon) == [{"pong": 7}]
    assert isinstance(daemon.workers[CALM].state, Running)
    daemon.turn()
    assert daemon.workers[CALM].last_exit is not None
    told = daemon.supervisor._loops.told()
    assert (told[1]["process"], told[1]["stalls"]) == ("keeper", 3)


def test_who_asks_for_others_is_still_who_asks(daemon: Daemon) -> None:
    """An answer in the middle of somebody's order does not take the order from them."""
    asking, ordering = Client(daemon), Client(daemon)
    ordering.ask("Stop", names=["calm"], wait=False)
    daemon.supervisor._callers.serve()
    ordering.heard()
    asking.ask("Status")
    daemon.supervisor._callers.serve()
    daemon.turn()
    (run,) = daemon.keeper.live()
    daemon.keeper.end(run, 0)
    daemon.settle()

    (stopped,) = (each for each in daemon.keeper.journal if each["event"] == "worker.stopped")
    assert stopped["by_verb"] == "stop"
    asking.close()
    ordering.close()


def test_before_the_first_sleep_nobody_looks_up() -> None:
    """Who has not taken over yet must not be believed to be well."""
    looked: list[str] = []
    stalls = Stalls()
    between = InBetween(
        stalls, lambda: looked.append("keeper"), lambda: looked.append("clients"), every_s=0.0
    )
    between.look()
    assert not looked
    stalls.woke(time.monotonic())
    between.look()
    assert looked == ["keeper", "clients"]


def test_not_before_it_is_time() -> None:
    """Each worker of a turn may ask, and only a long turn is interrupted."""
    looked: list[int] = []
    stalls = Stalls()
    between = InBetween(stalls, lambda: looked.append(1), lambda: None, every_s=3600.0)
    stalls.woke(time.monotonic())
    between.look()
    assert not looked
    stalls.woke(time.monotonic() - 3601.0)
    between.look()
    assert looked == [1]
    assert stalls.longest_s > 3600.0, "what was too long before counts"


def test_answers_are_interrupted_only_so_deep() -> None:
    """Each answer may take long itself, and the stack has an end."""
    depths: list[int] = []
    stalls = Stalls()

    def serve() -> None:
        depths.append(between.depth)
        between.look()

    between = InBetween(stalls, lambda: None, serve, every_s=0.0)
    stalls.woke(time.monotonic())
    between.look()
    assert depths == list(range(1, 9))
    assert between.depth == 0
