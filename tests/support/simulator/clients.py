"""Two people who do not talk to each other, and what they have been told."""

from __future__ import annotations

import json
from typing import Protocol

from supervisord_lite.control.calls import Call, Peer
from supervisord_lite.control.interface import MANAGER
from supervisord_lite.core.pools import Slot
from tests.support.simulator.violation import BrokenPromiseError


class Listening(Protocol):
    """Whom a conversation tells what it hears."""

    def on_answer(self, talk: Talk, outcome: dict[str, object] | None, *, final: bool) -> None:
        """One reply has come."""

    def on_reloaded(self, talk: Talk, generation: int | None) -> None:
        """Somebody is told that the file is in force; None: that it is refused."""


def slot_of(name: str) -> Slot:
    """Return whom a printed name means, whatever size its pool has by now."""
    pool, _, index = name.partition("-")
    return pool, int(index or 1)


class Talk:
    """One call of one person, and its answers.

    Attributes:
        slots: Whom it is about; as known since it is being handled.
        names: As people have typed them.
        is_dry: A reload that only asks.
        sizes: Of a Scale.
        is_alone: It is to be started without what it requires.
        number: Place among all orders: what was ordered later has a higher one.
        answered: Those that were answered for.
        closed: The supervisor has died, or the person has hung up.
    """

    peer = Peer(1, 0, 0)

    def __init__(
        self,
        world: Listening,
        method: str,
        slots: list[Slot],
        *,
        names: list[str],
        wait: bool,
        is_alone: bool,
        is_dry: bool = False,
        sizes: dict[str, int] | None = None,
    ) -> None:
        self.method = method
        self.is_dry = is_dry
        self.sizes = sizes or {}
        self.slots = slots
        self.wait = wait
        self.is_alone = is_alone
        self.number = 0
        self.closed = False
        self.is_done = False
        self._world = world
        self.answered: list[Slot] = []
        self.names = names
        parameters: dict[str, object] = {"names": names, "wait": wait, "no_deps": is_alone}
        if method == "Signal":
            parameters = {"names": names, "signal": "SIGUSR1"}
        if method == "Shutdown":
            parameters = {}
        if method == "Reload":
            parameters = {"dry_run": is_dry}
        if method == "Scale":
            parameters = {"sizes": self.sizes}
        self.call = Call(self, f"{MANAGER}.{method}", parameters, more=True)

    def answer(self, data: bytes, *, final: bool) -> None:
        """Take one reply.

        Raises:
            BrokenPromiseError: It is one too many, or the last one and others are missing.
        """
        if self.closed:
            return
        if self.is_done:
            message = f"{self.method} is answered again"
            raise BrokenPromiseError(message)
        self.is_done = final
        reply = json.loads(data.rstrip(b"\0"))
        parameters = reply.get("parameters", {})
        outcome = parameters.get("outcome")
        if outcome is not None:
            self.answered.append(slot_of(outcome["name"]))
        is_refused = "error" in reply
        if self.method == "Reload" and not str(reply.get("error")).endswith(".Refused"):
            self._world.on_reloaded(self, parameters.get("generation"))
        if final and self.wait and not is_refused:
            self._check_answered()
        if not is_refused:
            self._world.on_answer(self, outcome, final=final)

    def _check_answered(self) -> None:
        answered = set(self.answered)
        # Others may be among them: what had to be started first is told of too.
        if len(answered) < len(self.answered) or set(self.slots) - answered:
            message = f"{self.method} of {self.slots} was answered for {self.answered}"
            raise BrokenPromiseError(message)

    def hang_up(self) -> None:
        """The person has had enough."""
        self.closed = True
        if not self.is_done and self.call.on_hang_up is not None:
            self.call.on_hang_up()
