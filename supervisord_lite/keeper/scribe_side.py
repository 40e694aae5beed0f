"""The keeper's side of its talk with the scribe."""

from __future__ import annotations

import os
import select
import signal

from supervisord_lite.keeper.children import MOST_EARLY_DEATHS, Child
from supervisord_lite.keeper.pulse import Pulse
from supervisord_lite.wire import channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from supervisord_lite.keeper.boot import Boot
    from supervisord_lite.keeper.journal import Journal
    from supervisord_lite.keeper.poller import Poller
    from supervisord_lite.keeper.reap import Ended
    from supervisord_lite.keeper.streams import Streams

#: A death by these is somebody else's doing, not that of what the memory holds.
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class ScribeSide(Child):
    """The scribe over all its lives, and what it said.

    Attributes:
        pulse: Whether it is hung.
        dropped: Log path -> [bytes, lines] lost since the keeper started.
    """

    def __init__(
        self,
        boot: Boot,
        journal: Journal,
        poller: Poller,
        streams: Streams,
        note: Callable[[dict[str, Any]], None],
    ) -> None:
        """Prepare; *note* passes a message on to the supervisor."""
        super().__init__(boot.calls, "scribe", 2)
        self._boot = boot
        self._journal = journal
        self._poller = poller
        self._streams = streams
        self._note = note
        self.pulse = Pulse(boot.calls)
        self.dropped: dict[str, list[int]] = {}
        self._is_finishing = False
        self._was_hung = False
        self._own_deaths = 0

    def begin(self, now_s: float) -> None:
        """Start it, and tell it every open stream.

        Raises:
            OSError: It could not be started; ask again later.
        """
        if self._own_deaths >= MOST_EARLY_DEATHS:
            self._discard_memory()
        self.start([self._boot.scribe_memory])
        assert self.channel is not None
        self._poller.watch(self.channel.fileno(), select.EPOLLIN, self._readable)
        self._streams.restart()
        self.ask(now_s)
        if self._is_finishing:
            self.tell()
            self._say({"do": "finish"})

    def _discard_memory(self) -> None:
        """It dies of what its memory holds: a chunk may be lost, but not all logs for ever."""
        self._journal.write("error", "scribe.memory_discarded")
        memory = self._calls.memfd_create("scribe", os.MFD_CLOEXEC)
        self._calls.close(self._boot.scribe_memory)
        self._boot.scribe_memory = memory
        self._own_deaths = 0

    def settled(self) -> None:
        """It has answered: what its memory holds is good."""
        super().settled()
        self._own_deaths = 0

    def buried(self, dead: Ended, now_s: float) -> None:
        """It was reaped: hear its last words, and arrange the next start."""
        self.read()
        if self.channel is not None:
            self._poller.unwatch(self.channel.fileno())
            self.close_channel()
        self.pulse.forget()
        if not self.is_settled and (self._was_hung or dead.signal not in _FROM_OUTSIDE):
            self._own_deaths += 1
        self._was_hung = False
        self.died(now_s)
        if self._is_finishing and dead.code == 0:
            self.start_at_s = None
            return
        self._journal.write("error", "scribe.died", pid=dead.pid, **dead.how())

    # -- talk -------------------------------------------------------------------------------------

    def read(self) -> None:
        """Take what it has said."""
        own = self.channel
        while own is not None and (packets := own.receive()):
            for data, _ in packets:
                try:
                    self._hear(channel.decode(data))
                except Exception as error:  # noqa: BLE001  # the keeper outlives whatever is said
                    self._journal.write("error", "scribe.bad_message", reason=repr(error))
        if own is not None:
            self._poller.mind(own, self._readable)

    def _readable(self, _mask: int) -> None:
        self.read()

    def _hear(self, message: dict[str, Any]) -> None:
        said = message["said"]
        if said == "pong":
            if self.pulse.answered(message["id"]):
                self.settled()
        elif said == "done":
            self._streams.done(message["stream"])
        elif said == "dropped":
            self.dropped[message["path"]] = [message["bytes"], message["lines"]]
            self._note({"dropped": {message["path"]: message["bytes"]}})
        elif said in ("trouble", "resumed"):
            level = "error" if said == "trouble" else "info"
            self._journal.write(
                level, f"log.{said}", path=message["path"], reason=message.get("reason")
            )

    def tell(self) -> None:
        """Send what it has not been told yet, as far as it listens."""
        own = self.channel
        if own is None or own.is_blocked:
            return
        for message, descriptors in self._streams.pages():
            own.send(channel.encode(message), descriptors)
        self._poller.mind(own, self._readable)

    def reopen(self) -> None:
        """Let it open all files anew."""
        self._say({"do": "reopen"})

    def finish(self) -> None:
        """Every writer is gone: let it write what is left, and leave."""
        self._is_finishing = True
        self._streams.retire_all()
        self.tell()
        self._say({"do": "finish"})

    def _say(self, message: dict[str, Any]) -> None:
        if self.channel is not None:
            self.channel.send(channel.encode(message))

    # -- is it live? ------------------------------------------------------------------------------

    def ask(self, now_s: float) -> None:
        """Ask for a round trip, unless one is under way."""
        if self.channel is None:
            return
        if (ping := self.pulse.ask(self.pid, now_s)) is not None:
            self._say({"do": "ping", "id": ping["ping"]})

    def check(self, now_s: float) -> None:
        """Kill it if its answer is overdue."""
        if self.pulse.deadline_s is not None and now_s >= self.pulse.deadline_s:
            self.read()  # its answer may be there already
        if self.pulse.is_hung(now_s):
            # Its watcher answers during a disk call, however long; so this one is stopped or stuck.
            self.pulse.forget()
            self._journal.write("error", "scribe.hung", pid=self.pid)
            self._was_hung = True
            self.kill()
