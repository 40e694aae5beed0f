"""One request of one client, as whoever handles it sees it."""

from __future__ import annotations

from supervisord_lite.base.record import record
from supervisord_lite.wire import varlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Protocol

    class Transport(Protocol):
        """What a call needs of its connection."""

        peer: Peer

        @property
        def closed(self) -> bool:
            """Return whether nobody will read an answer any more."""

        def answer(self, data: bytes, *, final: bool) -> None:
            """Send *data* (empty: nothing); *final* ends the call in flight."""


@record
class Peer:
    """Who connected: the credentials of the process at its connect (SO_PEERCRED, SO_PEERGROUPS).

    Attributes:
        groups: Supplementary ones; empty where there are more than can be asked for (256).
    """

    pid: int
    uid: int
    gid: int
    groups: tuple[int, ...] = ()


class Call:
    """One request. Answer it now or later, from the loop's thread, exactly once.

    Attributes:
        interface: "io.supervisordlite.Manager".
        method: The method's bare name: "Status".
        parameters: As they came; see `control.parameters`.
        more: The client takes several replies.
        oneway: The client wants none; replying is still right and sends nothing.
        on_hang_up: Called once when the client leaves before the last reply; set it to forget a
            waiter. Never called from inside `reply` or `error`.
    """

    __slots__ = (
        "_answered",
        "_transport",
        "interface",
        "method",
        "more",
        "on_hang_up",
        "oneway",
        "parameters",
    )

    def __init__(
        self,
        transport: Transport,
        method: str,
        parameters: dict[str, object],
        *,
        more: bool = False,
        oneway: bool = False,
    ) -> None:
        """Take the connection and the request; *method* with its interface."""
        self.interface, _, self.method = method.rpartition(".")
        self.parameters = parameters
        self.more = more
        self.oneway = oneway
        self.on_hang_up: Callable[[], None] | None = None
        self._transport = transport
        self._answered = False

    @property
    def peer(self) -> Peer:
        """Return who asks."""
        return self._transport.peer

    @property
    def closed(self) -> bool:
        """Return whether nobody will read an answer any more; answering is harmless then."""
        return self._transport.closed

    @property
    def answered(self) -> bool:
        """Return whether the last reply has been given."""
        return self._answered

    def reply(self, parameters: Mapping[str, object], *, continues: bool = False) -> None:
        """Answer; with *continues* more replies follow.

        To a client that did not ask for `more` only the last reply is sent.

        Raises:
            WireError: *parameters* hold something that JSON does not know; nothing was sent.
        """
        self._send(varlink.reply(parameters, continues=continues), final=not continues)

    def reply_raw(self, fragment: bytes, *, continues: bool = False) -> None:
        """Answer with parameters that are already a JSON object (no NUL byte in it)."""
        self._send(varlink.reply_raw(fragment, continues=continues), final=not continues)

    def error(self, name: str, parameters: Mapping[str, object]) -> None:
        """Answer with the error *name* (with its interface); it is the last reply."""
        self._send(varlink.error(name, parameters), final=True)

    def _send(self, data: bytes, *, final: bool) -> None:
        assert not self._answered, f"{self.method} was answered twice"
        if self.oneway or not (final or self.more):
            data = b""
        self._answered = final
        self._transport.answer(data, final=final)
