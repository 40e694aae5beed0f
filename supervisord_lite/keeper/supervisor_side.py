"""The keeper's side of its talk with the supervisor.

What it says is received at once and obeyed in order, for `_BUDGET_S` in one turn: ten thousand
starts take seconds, and the loop must not be away from its descriptors for so long. What is left
stands here, in memory, and is as good as obeyed:

* A supervisor that has died is reaped when all that it had said is taken in: its saves, and which
  runs it had asked for. So the handover to the next one has all of it. What is to be done for that
  may take longer, and comes before whatever the next one says.
* Before another keeper takes the place of this one, all is done.
* When the daemon ends, what is not done will not be.

That is bounded: while more than `_MOST_AHEAD_BYTES` wait here, what comes next waits in the socket,
and behind that in the supervisor. Of a dead one all is taken in, piece by piece.

An answer to a ping is no order, and is heard at once.
"""

from __future__ import annotations

import fcntl
import select
import time
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
    from supervisord_lite.keeper.journal import Journal
    from supervisord_lite.keeper.notify import Notifier
    from supervisord_lite.keeper.poller import Poller
    from supervisord_lite.keeper.runs import Runs
    from supervisord_lite.keeper.table import Table

#: Facts in one message, if they fit.
_PAGE = 100
#: The supervisor says when it means to wake; this much later we ask whether it did.
OVERSLEPT_S = 5.0
#: Of one turn, for what it has said.
_BUDGET_S = 0.02
#: Of what it has said, before it is obeyed. A message that is longer is taken as a whole.
_MOST_AHEAD_BYTES = 8 << 20
#: How a message begins that is an answer and nothing else.
_PONG = b'{"pong":'


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
        runs: Runs,
        record: Callable[[list[str]], None],
        now_s: Callable[[], float],
    ) -> None:
        """Prepare.

        *runs* does what it asks for; *record* is called with lines for the journal.
        """
        super().__init__(boot.calls, "supervisor", journal.descriptor)
        self._boot = boot
        self._has_other_socket = False
        self._journal = journal
        self._notifier = notifier
        self._poller = poller
        self._table = table
        self._runs = runs
        self._record = record
        self._now_s = now_s
        self.pulse = Pulse(boot.calls, notifier.watchdog_s)
        self.oversleep_at_s: float | None = None
        self.has_spoken = False
        self.when_obeyed: Callable[[dict[str, Any], float], None] = lambda _message, _now_s: None
        # Received, and not obeyed yet; without descriptors: those are read at once.
        self._heard: deque[bytes] = deque()
        self._heard_bytes = 0
        # Something of it may wait in the socket.
        self._is_held_back = False
        # Taken in, and still to be done.
        self._todo: deque[dict[str, Any]] = deque()
        # The message of which that is the first half.
        self._begun: dict[str, Any] | None = None
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
        self._is_held_back = False

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

    @property
    def is_behind(self) -> bool:
        """Whether something that it has said is not obeyed yet: call `go_on`."""
        return self._begun is not None or bool(self._todo or self._heard)

    def read(self) -> None:
        """Take what it has said, and obey as much of it as one turn has time for."""
        own = self.channel
        self._receive()
        self.go_on()
        if own is not None:
            self._poller.mind(own, self._readable)
            if own.ended:
                self.ask(self._now_s())  # it is about to be reaped, or it hangs

    def _receive(self) -> None:
        own = self.channel
        while own is not None and self._heard_bytes < _MOST_AHEAD_BYTES:
            packets = own.receive(1)
            self._is_held_back = bool(packets)
            if not packets:
                return
            for data, descriptors in packets:
                self._take(data, descriptors)

    def _readable(self, _mask: int) -> None:
        self.read()

    def go_on(self) -> None:
        """Obey what it has said, for a while."""
        until_s = time.monotonic() + _BUDGET_S
        while self.is_behind:
            try:
                self._go_on(until_s)
            except Exception as error:  # noqa: BLE001  # the keeper outlives whatever is said to it
                self._bad(error)
            if time.monotonic() >= until_s:
                break

    def _go_on(self, until_s: float) -> None:
        if self._todo:
            self._runs.carry_out(self._todo, self._now_s(), until_s)
        elif self._begun is not None:
            self._finish_begun()
        else:
            self._begin_next()

    def hear_out(self) -> bool:
        """Take in what it has said, for a while: it is dead. Return whether that is all of it.

        What is to be done for that may still be to be done.
        """
        until_s = time.monotonic() + _BUDGET_S
        while self._has_more():
            try:
                if self._begun is not None:
                    self._finish_begun()
                else:
                    self._begin_next()
            except Exception as error:  # noqa: BLE001  # as in `go_on`
                self._bad(error)
            if time.monotonic() >= until_s:
                break
        return not self._has_more()

    def _has_more(self) -> bool:
        """Return whether anything is to be taken in, also of what has waited in the socket."""
        if not self._heard and self._begun is None:
            self._receive()
        return bool(self._heard) or self._begun is not None

    def drop(self) -> None:
        """What it wanted done, and is not, will not be: the daemon ends."""
        self._todo.clear()

    def _begin_next(self) -> None:
        data = self._heard.popleft()
        self._heard_bytes -= len(data)
        message = channel.decode_whole(data)
        self._begun = message
        self._begin(message)

    def _finish_begun(self) -> None:
        message, self._begun = self._begun, None
        assert message is not None
        self._finish(message)

    def _take(self, data: bytes, descriptors: list[int]) -> None:
        try:
            if data == channel.IN_LINES:
                self._hear(*memory_content(descriptors[0], self._calls).split(b"\n"))
            elif data == channel.IN_MEMORY:
                self._hear(memory_content(descriptors[0], self._calls))
            elif data.startswith(_PONG) and (said := channel.decode(data)).keys() == {"pong"}:
                self.has_spoken = True
                self._finish(said)
            else:
                self._hear(data)
        except Exception as error:  # noqa: BLE001  # as in `go_on`
            self._bad(error)
        finally:
            for descriptor in descriptors:
                self._calls.close(descriptor)

    def _hear(self, *messages: bytes) -> None:
        self._heard.extend(messages)
        self._heard_bytes += sum(map(len, messages))

    def _bad(self, error: Exception) -> None:
        self._journal.write("error", "supervisor.bad_message", reason=repr(error))

    def _begin(self, message: dict[str, Any]) -> None:
        """Obey the first half of a message, up to what it asks for."""
        self.has_spoken = True
        if "save" in message or "applied" in message:
            self._table.save(message.get("save", {}), message.get("applied", 0))
        if "events" in message:
            self._record(message["events"])
        if "listeners" in message:
            self._todo.append({"do": "keep_feeds", "listeners": message["listeners"]})
        if "feed" in message:
            self._todo.append({"do": "feed", "lines": message["feed"]})
        if "sockets" in message:
            self._todo.append({"do": "keep_sockets", "keys": message["sockets"]})
        if "servers" in message:
            self._todo.append({"do": "keep_servers", "ids": message["servers"]})
        if "do" in message:
            self._todo.extend(self._runs.prepare(message["do"]))

    def _finish(self, message: dict[str, Any]) -> None:
        """Obey the other half of a message, when what it asks for is done."""
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
        if self.is_behind or self._is_held_back:
            self.pulse.forgive(now_s)  # its answer may be behind what is still to be obeyed
        if self.pulse.is_hung(now_s):
            self.pulse.forget()
            self.killed_because = "it hung"
            self._journal.write("error", "supervisor.hung", pid=self.pid)
            self.kill()
