"""Daemons that tests drive by hand, from where most tests begin; and a client of their verbs."""

import json
from typing import Any

from supervisord_lite.config.spec import Spec
from supervisord_lite.control.calls import Peer
from supervisord_lite.supervisor.outbox import Slot
from supervisord_lite.supervisor.reload import Done, Refusal
from tests.support.supervisor import Daemon


class Client:
    """Asks one thing and keeps the answers."""

    def __init__(self, peer: Peer | None = None) -> None:
        self.peer = peer or Peer(1, 0, 0)
        self.closed = False
        self.heard = b""

    def answer(self, data: bytes, *, final: bool) -> None:
        self.heard += data
        self.closed = final


class Asking(Client):
    """One whose answers are outcomes."""

    def told(self) -> list[dict[str, Any]]:
        """Return what it was told of each worker."""
        replies = [json.loads(each)["parameters"] for each in self.heard.split(b"\0") if each]
        return [reply["outcome"] for reply in replies]


class Line:
    """A connection that stays, and takes message by message."""

    def __init__(self, peer: Peer | None = None) -> None:
        self.peer = peer or Peer(1, 0, 0)
        self.closed = False
        self.messages: list[dict[str, Any]] = []

    def answer(self, data: bytes, *, final: bool) -> None:
        message = json.loads(data.rstrip(b"\0"))
        assert final == (not message.get("continues", False))
        self.messages.append(message)


def running(made: list[Daemon], *specs: Spec) -> Daemon:
    """Return a daemon whose workers all run; *made* (a fixture) closes it."""
    daemon = Daemon(*specs)
    made.append(daemon)
    daemon.settle()
    be_ready(daemon)
    return daemon


def be_ready(daemon: Daemon) -> None:
    """Let those who are starting have lived long enough."""
    daemon.pass_s(1.0)
    daemon.settle()


def end(daemon: Daemon, slot: Slot, code: int = 0) -> None:
    """Let the leader of *slot* end."""
    (run,) = (run for run in daemon.keeper.live() if run.key[:2] == slot)
    daemon.keeper.end(run, code)
    daemon.settle()


def good(answers: list[Done | Refusal]) -> Done:
    """Return the one answer of a reload, which must be a good one."""
    (answer,) = answers
    assert isinstance(answer, Done)
    return answer
