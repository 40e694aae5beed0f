"""A supervisor whose keeper speaks another protocol; the keeper is played by the test."""

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from supervisord_lite import __version__
from supervisord_lite.base import exit_codes
from supervisord_lite.base.packets import PacketSocket
from supervisord_lite.base.resident import own_code
from supervisord_lite.supervisor import other_keeper
from supervisord_lite.supervisor.other_keeper import replace_keeper
from supervisord_lite.wire import channel

LARGEST = channel.MAX_MESSAGE_BYTES
CODE = {"interpreter": own_code()[0], "resident": own_code()[1]}
TRIED = {"trial": {"id": "other keeper", **CODE}}


class Keeper:
    """Says all that it will ever say beforehand, and then hears what it was told."""

    def __init__(self) -> None:
        theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.supervisor = PacketSocket(theirs, LARGEST)
        self._ours = ours
        self._own = PacketSocket(ours, LARGEST)

    def say(self, *messages: dict[str, Any], is_over: bool = True) -> None:
        for message in messages:
            self._own.send(channel.encode(message))
        if is_over:
            self._ours.shutdown(socket.SHUT_WR)  # nobody waits for more

    def heard(self) -> list[dict[str, Any]]:
        return [channel.decode(data) for data, _ in self._own.receive()]

    def close(self) -> None:
        self._own.close()
        self.supervisor.close()


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    made = Keeper()
    yield made
    made.close()


def answer(**about: object) -> dict[str, Any]:
    return {"trial": {"id": "other keeper", "ok": True, "reason": "", **about}}


def test_a_keeper_that_can_be_replaced_is_and_this_one_makes_room(keeper: Keeper) -> None:
    """Words of its own protocol, and trials of others, mean nothing here; pings do."""
    keeper.say({"facts": [{"n": 1}]}, {"trial": {"id": "0.1", "ok": False}}, {"ping": 7}, answer())
    assert replace_keeper(keeper.supervisor) == channel.MADE_ROOM
    order = {**CODE, "version": __version__, "keeper": True}
    assert keeper.heard() == [TRIED, {"pong": 7}, {"replace": order}]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ([answer(ok=False, reason="KeyError: 'runs'"), {"ping": 8}], "KeyError: 'runs'"),
        ([{"ping": 8}], "no answer"),
    ],
)
def test_one_that_cannot_be_replaced_is_told_with_the_way_out(
    keeper: Keeper, said: list[dict[str, Any]], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is ordered, and whoever reads the log knows what to do."""
    keeper.say(*said)
    assert replace_keeper(keeper.supervisor) == exit_codes.INTERNAL_ERROR
    assert keeper.heard() == [TRIED, {"pong": 8}]
    told = capsys.readouterr().err
    assert f"cannot replace: {reason}; the workers run on" in told
    assert "put back the version of before, or restart the service" in told
    assert told.count("\n") == 1


def test_the_next_try_is_not_made_at_once(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keeper counts no deaths of one that has answered, so this one must not hurry to die."""
    monkeypatch.setattr(other_keeper, "_AGAIN_S", 0.05)
    keeper.say(answer(ok=False, reason="no"), is_over=False)
    began_s = time.monotonic()
    replace_keeper(keeper.supervisor)
    assert time.monotonic() - began_s >= 0.05
