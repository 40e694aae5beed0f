"""The keeper's side of its talk with the supervisor."""

from __future__ import annotations

import fcntl
import select
from collections import deque

from supervisord_lite.base.memory_files import memory_content, memory_file
from supervisord_lite.keeper.children import Child
from supervisord_lite.keeper.pulse import Pulse
from supervisord_lite.wire import channel
from supervisord_lite.wire.errors import WireError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from supervisord_lite.base.packets import PacketSocket
    from supervisord_lite.keeper.boot import Boot
    from supervisord_lite.keeper.feeds import Feeds
    from supervisord_lite.keeper.journal import Journal
    from supervisord_lite.keeper.notify import Notifier
    from supervisord_lite.keeper.poller import Poller
    from supervisord_lite.keeper.table import Table

#: Facts in one message, if they fit.
_PAGE = 100
#: The supervisor says when it means to wake; this much later we ask whether it did.
OVERSLEPT_S = 5.0


class SupervisorSide(Child):
    """The supervisor over all its lives.

    Attributes:
        pulse: Whether it is hung.
        oversleep_at_s: When to ask whether it woke as it meant to; None: it means to sleep on.
        has_spoken: This one has said anything that could be understood.
        when_obeyed: Told of each message behind all that is done about it here.
    """

    def __init__(
        self,
        boot: Boot,
        journal: Journal,
        notifier: Notifier,
        poller: Poller,
        table: Table,
        *,
        carry_out: Callable[[Any, float], None],
        record: Callable[[list[str]], None],
        feeds: Feeds,
        now_s: Callable[[], float],
    ) -> None:
        """Prepare.

        *carry_out* is called with the requests that it sends, *record* with lines for the
        journal; *feeds* takes those for listeners.
        """
        super().__init__(boot.calls, "supervisor", journal.descriptor)
        self._boot = boot
        self._has_other_socket = False
        self._journal = journal
        self._notifier = notifier
        self._poller = poller
        self._table = table
        self._carry_out = carry_out
        self._record = record
        self._feeds = feeds
        self._now_s = now_s
        self.pulse = Pulse(boot.calls, notifier.watchdog_s)
        self.oversleep_at_s: float | None = None
        self.has_spoken = False
        self.when_obeyed: Callable[[dict[str, Any], float], None] = lambda _message, _now_s: None
        self._told = 0
        self._notes: deque[dict[str, Any]] = deque(maxlen=1000)
        # Of forkservers, by id: somebody waits for each, so none is lost to many other notes.
        self._of_servers: dict[str, Any] = {}

    def begin(self, **about: object) -> None:
        """Start it with all that is known, and with *about*: what the keeper says of itself.

        Raises:
            OSError: It could not be started; ask again later.
        """
        handover = self.handover(about)
        try:
            http = [self._boot.http] if self._boot.http >= 0 else []
            self.start([handover, self._boot.listener, *http])
        finally:
            self._calls.close(handover)
        assert self.channel is not None
        self._poller.watch(self.channel.fileno(), select.EPOLLIN, self._readable)
        self.has_spoken = False
        self._told = self._table.last
        self._notes.clear()
        self._of_servers.clear()
        self._has_other_socket = False

    def handover(self, about: dict[str, object]) -> int:
        """Return the descriptor of a file in memory with all that is known, and with *about*.

        Raises:
            OSError: There is no memory, or no descriptor.
        """
        text = self._table.handover(adoption=self.lives, **about)
        return memory_file(text.encode(), "handover", self._calls)

    def buried(self, now_s: float) -> None:
        """It was reaped, and what it had said before was read: arrange the next start."""
        if self.channel is not None:
            self._poller.unwatch(self.channel.fileno())
            self.close_channel()
        self.pulse.forget()
        self.oversleep_at_s = None
        self.died(now_s)

    # -- talk -------------------------------------------------------------------------------------

    def read(self) -> None:
        """Take what it has said."""
        own = self.channel
        while own is not None and (packets := own.receive()):
            for data, descriptors in packets:
                self._take(data, descriptors)
        if own is not None:
            self._poller.mind(own, self._readable)
            if own.ended:
                self.ask(self._now_s())  # it is about to be reaped, or it hangs

    def _readable(self, _mask: int) -> None:
        self.read()

    def _take(self, data: bytes, descriptors: list[int]) -> None:
        try:
            if data == channel.IN_MEMORY:
                self._obey(channel.decode_whole(memory_content(descriptors[0], self._calls)))
            else:
                self._obey(channel.decode(data))
        except Exception as error:  # noqa: BLE001  # the keeper outlives whatever is said to it
            self._journal.write("error", "supervisor.bad_message", reason=repr(error))
        finally:
            for descriptor in descriptors:
                self._calls.close(descriptor)

    def _obey(self, message: dict[str, Any]) -> None:
        self.has_spoken = True
        if "save" in message or "applied" in message:
            self._table.save(message.get("save", {}), message.get("applied", 0))
        if "events" in message:
            self._record(message["events"])
        if "listeners" in message:
            self._feeds.keep(message["listeners"])
        if "feed" in message:
            self._feeds.take(message["feed"])
        if "sockets" in message:
            keep = {"do": "keep_sockets", "keys": message["sockets"]}
            self._carry_out([keep], self._now_s())
        if "servers" in message:
            self._carry_out([{"do": "keep_servers", "ids": message["servers"]}], self._now_s())
        if "do" in message:
            self._carry_out(message["do"], self._now_s())
        if "notify" in message:
            self._notifier.send(message["notify"])
        if "wake_at_s" in message:
            wake_at_s = message["wake_at_s"]
            self.oversleep_at_s = None if wake_at_s is None else wake_at_s + OVERSLEPT_S
        if "pong" in message and self.pulse.answered(message["pong"]):
            self.settled()
            if self._notifier.watchdog_s is not None:
                self._notifier.send("WATCHDOG=1")
        self.when_obeyed(message, self._now_s())

    def note(self, message: dict[str, Any]) -> None:
        """Tell it *message* with the next facts; one that is not there then needs not know."""
        if "servers" in message:
            self._of_servers.update(message["servers"])
        else:
            self._notes.append(message)

    def serve_at(self, listener: int) -> None:
        """Let whoever lives serve at another control socket; the next one is started with it."""
        assert listener == self._boot.listener
        self._has_other_socket = True

    def _hand_on_socket(self, own: PacketSocket) -> None:
        try:
            copy = self._calls.fcntl(self._boot.listener, fcntl.F_DUPFD_CLOEXEC, 10)
        except OSError:
            return  # no descriptor is left: in the next turn
        self._has_other_socket = False
        own.send(channel.encode({"socket": True}), [copy], owned=True)

    def tell(self) -> bool:
        """Send what it has not been told yet, as far as it listens; return whether facts went."""
        own = self.channel
        if own is None:
            return False
        if not own.is_blocked and self._has_other_socket:
            self._hand_on_socket(own)
        while not own.is_blocked and self._of_servers:
            name = next(iter(self._of_servers))
            own.send(channel.encode({"servers": {name: self._of_servers.pop(name)}}))
        while not own.is_blocked and self._notes:
            own.send(channel.encode(self._notes.popleft()))
        self._told = max(self._told, self._table.applied)
        before = self._told
        while not own.is_blocked and self._told < self._table.last:
            own.send(self._next_page())
        self._poller.mind(own, self._readable)
        return self._told != before

    def _next_page(self) -> bytes:
        most = _PAGE
        while True:
            page = self._table.page(self._told, most)
            try:
                data = channel.encode({"facts": page})
            except WireError:
                assert most > 1, "one fact fits"
                most //= 2
                continue
            self._told = page[-1]["n"]
            return data

    # -- is its loop live? ------------------------------------------------------------------------

    def ask(self, now_s: float) -> None:
        """Ask for a round trip, unless one is under way."""
        if self.channel is None:
            return
        if (ping := self.pulse.ask(self.pid, now_s)) is not None:
            stalls = self._poller.stalls
            said = {**ping, "stalls": [stalls.longest_s, stalls.count]}
            self.channel.send(channel.encode(said))

    def check(self, now_s: float) -> None:
        """Kill it if its answer is overdue; ask if it overslept."""
        if self.oversleep_at_s is not None and now_s >= self.oversleep_at_s:
            self.oversleep_at_s = None
            self.ask(now_s)
        if self.pulse.deadline_s is not None and now_s >= self.pulse.deadline_s:
            self.read()  # its answer may be there already
        if self.pulse.is_hung(now_s):
            self.pulse.forget()
            self.killed_because = "it hung"
            self._journal.write("error", "supervisor.hung", pid=self.pid)
            self.kill()
