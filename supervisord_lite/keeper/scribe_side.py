"""The keeper's side of its talk with the scribe."""

from __future__ import annotations

import os
import select
import signal

from supervisord_lite.base.newest import MOST_LOGS, remember
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

#: At the end of the daemon an answer must come within this time.
_LAST_PATIENCE_S = 1.5
#: A death by these is somebody else's doing, not that of what the memory holds.
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class ScribeSide(Child):
    """The scribe over all its lives, and what it said.

    Attributes:
        pulse: Whether it is hung.
        dropped: Log path -> [bytes, lines] lost since the keeper started; the one told last is
            last, and both tables end at `MOST_LOGS`.
        troubles: Log path -> why nothing can be written there now.
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
        self.troubles: dict[str, str] = {}
        self._hung_paths: set[str] = set()
        self._dropped_before: dict[str, int] = {}
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
            self._ask_soon(now_s)

    def pack(self) -> dict[str, Any]:
        """Return what a successor of this keeper must know, of counts too; it has ended."""
        more = {
            "own_deaths": self._own_deaths,
            "dropped": list(self.dropped.items()),
            "troubles": list(self.troubles.items()),
        }
        return {**super().pack(), **more}

    def unpack(self, said: dict[str, Any]) -> None:
        """Go on with what was packed: it is started at once."""
        super().unpack(said)
        self._own_deaths = said.get("own_deaths", 0)
        self.dropped = dict(said.get("dropped", ()))
        self.troubles = dict(said.get("troubles", ()))

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
        is_own = not self.is_settled and not self.is_leaving
        if is_own and (self._was_hung or dead.signal not in _FROM_OUTSIDE):
            self._own_deaths += 1
        self._was_hung = False
        for path in list(self._hung_paths):
            self._clear_trouble(path)
        is_leaving = self.is_leaving
        self.died(now_s)
        if self._is_finishing and dead.code == 0 and not is_leaving:
            self.start_at_s = None
            return
        if not is_leaving:
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
            counts = [message["bytes"], message["lines"]]
            remember(self.dropped, message["path"], counts, most=MOST_LOGS)
            self._note({"dropped": {message["path"]: counts}})
        elif said in ("trouble", "hung"):
            self._take_trouble(message["path"], message["reason"], is_hung=said == "hung")
        elif said == "resumed":
            path = message["path"]
            lost_bytes, lost_lines = self.dropped.get(path, (0, 0))
            self._journal.write(
                "info", "log.resumed", path=path, dropped_bytes=lost_bytes, dropped_lines=lost_lines
            )
            self._clear_trouble(path)

    def _take_trouble(self, path: str, reason: str, *, is_hung: bool) -> None:
        self._journal.write("error", "log.trouble", path=path, reason=reason)
        remember(self.troubles, path, reason, most=MOST_LOGS)
        if is_hung:
            self._hung_paths.add(path)
        self._note({"trouble": {path: reason}})

    def _clear_trouble(self, path: str) -> None:
        self._hung_paths.discard(path)
        if self.troubles.pop(path, None) is not None:
            self._note({"trouble": {path: None}})

    def tell(self) -> None:
        """Send what it has not been told yet, as far as it listens."""
        own = self.channel
        if own is None:
            return
        if not own.is_blocked:
            for message, descriptors in self._streams.pages():
                own.send(channel.encode(message), descriptors)
        self._poller.mind(own, self._readable)  # also what waits there from before

    def reopen(self) -> None:
        """Let it open all files anew."""
        self._say({"do": "reopen"})

    def leave(self) -> None:
        """Let it finish the chunk that it is at, and make room for another one."""
        super().leave()
        self._say({"do": "leave"})

    def finish(self, now_s: float) -> None:
        """Every writer is gone: let it write what is left, and leave."""
        self._is_finishing = True
        self._dropped_before = {path: counts[0] for path, counts in self.dropped.items()}
        self._streams.retire_all()
        self.tell()
        self._say({"do": "finish"})
        self._ask_soon(now_s)

    def _ask_soon(self, now_s: float) -> None:
        """At the end there is no time to wait for one that hangs; its successor needs some."""
        self.ask(now_s)
        self.pulse.hurry(now_s, _LAST_PATIENCE_S)

    def lost_at_the_end(self) -> dict[str, int]:
        """Return for each log that lost something since `finish` all that it lost, in bytes.

        What was lost before was told in `status`, and it ends with us.
        """
        lost = {path: counts[0] for path, counts in self.dropped.items()}
        for path, count in self._streams.unread_bytes().items():
            lost[path] = lost.get(path, 0) + count
        return {
            path: count for path, count in lost.items() if count > self._dropped_before.get(path, 0)
        }

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
            self.killed_because = "it hung"
            self._journal.write("error", "scribe.hung", pid=self.pid)
            self._was_hung = True
            self.kill()
